//! What the demo sends: good deliveries, and one of each kind that needs care.

use jiff::Timestamp;

use super::sender::DemoSender;
use crate::cli::sample_delivery;
use crate::name::{EventType, ObjectId};
use crate::source::{ONE_CODEX, Sample, SampleValues};

/// A delivery, and what should be answered.
#[derive(Debug, Clone)]
pub(super) struct DemoDelivery {
    /// What it is, for a person.
    pub what: String,
    /// What is sent.
    pub sample: Sample,
    /// Whether it is signed with another key than the bridge has.
    pub forged: bool,
    /// What the answer should say.
    pub expected: &'static str,
}

/// All of them, in order. An object's later events happen later.
pub(super) fn deliveries(sender: &DemoSender, now: Timestamp) -> Vec<DemoDelivery> {
    if sender.provider.name == ONE_CODEX.name {
        of_one_codex(sender, now)
    } else {
        of_sample(sender, now)
    }
}

fn of_one_codex(sender: &DemoSender, now: Timestamp) -> Vec<DemoDelivery> {
    let (uploaded, analysed) = (sample_delivery::object_id(), sample_delivery::object_id());
    let of = |event_type: &str, object: &ObjectId, seconds_ago| {
        let event_type = EventType::parse(event_type).expect("a documented event type");
        good(sender, event_type, object, ago(now, seconds_ago))
    };
    let mut all: Vec<DemoDelivery> = [
        of("sample.uploaded", &uploaded, 3),
        of("analysis.failed", &analysed, 2),
        of("analysis.succeeded", &analysed, 1),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.extend(all.last().map(repeated));
    all.extend(of("sample.uploaded", &uploaded, 0).map(forged));
    all.extend(all.first().map(unreadable));
    all
}

/// Three of the sample's type; their objects are new, where the sample has a place for one.
fn of_sample(sender: &DemoSender, now: Timestamp) -> Vec<DemoDelivery> {
    let new = |seconds_ago| {
        let object = sample_delivery::object_id();
        good(
            sender,
            sender.event_type.clone(),
            &object,
            ago(now, seconds_ago),
        )
    };
    let mut all: Vec<DemoDelivery> = [3, 2, 1].into_iter().filter_map(new).collect();
    all.extend(all.last().map(repeated));
    all.extend(new(0).map(forged));
    all
}

fn ago(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(now.as_second() - seconds).unwrap_or(now)
}

fn good(
    sender: &DemoSender,
    event_type: EventType,
    object: &ObjectId,
    time: Timestamp,
) -> Option<DemoDelivery> {
    let what = format!("{event_type} {object}");
    let sample = sender.sample(&SampleValues {
        object: object.clone(),
        event_type,
        time,
    })?;
    Some(DemoDelivery {
        what,
        sample,
        forged: false,
        expected: "accepted",
    })
}

fn repeated(delivery: &DemoDelivery) -> DemoDelivery {
    DemoDelivery {
        what: "the same delivery once more".into(),
        expected: "duplicate",
        ..delivery.clone()
    }
}

fn forged(delivery: DemoDelivery) -> DemoDelivery {
    DemoDelivery {
        what: "one with a wrong signature".into(),
        forged: true,
        expected: "signature_mismatch",
        ..delivery
    }
}

fn unreadable(delivery: &DemoDelivery) -> DemoDelivery {
    let body = format!(r#"{{"hello":"{}""#, sample_delivery::hex_digits());
    DemoDelivery {
        what: "one that is authentic, but no event".into(),
        sample: Sample {
            body: body.into_bytes(),
            ..delivery.sample.clone()
        },
        forged: false,
        expected: "quarantined",
    }
}
