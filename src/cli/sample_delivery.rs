//! Deliveries that the commands make: a provider's sample, with objects of our own invention. One
//! Codex has a second one, because its analyses look otherwise (<https://docs.onecodex.com>, webhooks).

use jiff::Timestamp;

use crate::name::{EventType, ObjectId};
use crate::source::{ONE_CODEX, Provider, Sample, SampleValues};

/// The type of a sample whose provider lists none and whose table leaves it open.
const ANY_TYPE: &str = "test";

/// A new delivery; none where the provider's table has no sample.
pub(super) fn new(provider: &Provider, values: &SampleValues) -> Option<Sample> {
    let mut sample = provider.new_sample(values)?;
    let is_of_sample = values.event_type.as_str().starts_with("sample.");
    if provider.name == ONE_CODEX.name && !is_of_sample {
        sample.body = analysis(values).into_bytes();
    }
    Some(sample)
}

/// The event type of a delivery for which nobody chose one.
pub(super) fn event_type(provider: &Provider) -> EventType {
    let first = provider.event_types.first().cloned();
    first.unwrap_or_else(|| EventType::parse(ANY_TYPE).expect("a word"))
}

/// An object id nobody has used: 16 hex digits.
pub(super) fn object_id() -> ObjectId {
    ObjectId::parse(&hex_digits()).expect("hex digits are within the character set")
}

/// 16 random hex digits.
pub(super) fn hex_digits() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn analysis(values: &SampleValues) -> String {
    let SampleValues {
        object, event_type, ..
    } = values;
    let now = Timestamp::from_microsecond(values.time.as_microsecond()).unwrap_or(values.time);
    let (job, of) = (hex_digits(), hex_digits());
    let failed = event_type.as_str().ends_with(".failed");
    let error = if failed {
        "the job ran out of memory; it is tried again"
    } else {
        ""
    };
    format!(
        concat!(
            r#"{{"api_version":"v1","event_type":"{event_type}","object_type":"analysis","triggered_at":"{now}","#,
            r#""object":{{"$uri":"/api/v1/analyses/{object}","analysis_type":"classification","complete":true,"#,
            r#""created_at":"{now}","updated_at":"{now}","error_msg":"{error}","job":{{"$ref":"/api/v1/jobs/{job}"}},"job_args":{{}},"#,
            r#""sample":{{"$ref":"/api/v1/samples/{of}"}},"success":{success},"cost":null,"dependencies":[],"draft":false}}}}"#
        ),
        event_type = event_type,
        now = now,
        object = object,
        error = error,
        job = job,
        of = of,
        success = !failed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::built_in;

    #[test]
    fn every_documented_type_makes_json_that_names_it() {
        for event_type in &ONE_CODEX.event_types {
            let values = SampleValues {
                object: ObjectId::parse("7428cca4a3a04a8e").expect("hex"),
                event_type: event_type.clone(),
                time: Timestamp::UNIX_EPOCH,
            };
            let sample = new(&ONE_CODEX, &values).expect("it has one");
            let value: serde_json::Value = serde_json::from_slice(&sample.body).expect("JSON");
            assert_eq!(value["event_type"], event_type.as_str());
            let uri = value["object"]["$uri"].as_str().expect("a string");
            assert!(uri.ends_with("/7428cca4a3a04a8e"), "{uri}");
            assert_eq!(value["triggered_at"], "1970-01-01T00:00:00Z");
        }
    }

    #[test]
    fn the_first_of_a_providers_types_is_taken_unless_it_lists_none() {
        assert_eq!(event_type(&ONE_CODEX).as_str(), "sample.uploaded");
        let github = built_in("github").expect("built in");
        assert_eq!(event_type(&github).as_str(), ANY_TYPE);
    }
}
