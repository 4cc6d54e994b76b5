//! What the demo sends: good deliveries, and one of each kind that needs care.

use jiff::Timestamp;

use crate::cli::sample_delivery;
use crate::name::EventType;

/// A delivery, and what should be answered.
#[derive(Debug, Clone)]
pub(super) struct DemoDelivery {
    /// What it is, for a person.
    pub what: String,
    /// The body.
    pub body: Vec<u8>,
    /// Whether its signature is wrong.
    pub forged: bool,
    /// What the answer should say.
    pub expected: &'static str,
}

/// All of them, in order. An object's later events happen later.
pub(super) fn deliveries(now: Timestamp) -> Vec<DemoDelivery> {
    let (uploaded, analysed) = (sample_delivery::object_id(), sample_delivery::object_id());
    let body = |event_type: &str, object, seconds_ago| {
        let event_type = EventType::parse(event_type).expect("a documented event type");
        let time = Timestamp::from_second(now.as_second() - seconds_ago).unwrap_or(now);
        sample_delivery::body(&event_type, object, time).into_bytes()
    };
    let good = |event_type: &str, object, seconds_ago| DemoDelivery {
        what: format!("{event_type} {object}"),
        body: body(event_type, object, seconds_ago),
        forged: false,
        expected: "accepted",
    };
    let sample_uploaded = good("sample.uploaded", &uploaded, 3);
    let failed = good("analysis.failed", &analysed, 2);
    let succeeded = good("analysis.succeeded", &analysed, 1);
    let again = DemoDelivery {
        what: "the same delivery once more".into(),
        expected: "duplicate",
        ..succeeded.clone()
    };
    let forged = DemoDelivery {
        what: "one with a wrong signature".into(),
        body: body("sample.uploaded", &uploaded, 0),
        forged: true,
        expected: "signature_mismatch",
    };
    let unreadable = DemoDelivery {
        what: "one that is authentic, but no event".into(),
        body: format!(r#"{{"hello":"{}""#, sample_delivery::hex_digits()).into_bytes(),
        forged: false,
        expected: "quarantined",
    };
    vec![
        sample_uploaded,
        failed,
        succeeded,
        again,
        forged,
        unreadable,
    ]
}
