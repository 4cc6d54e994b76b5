//! Deliveries as One Codex makes them (<https://docs.onecodex.com>, webhooks), with objects of our
//! own invention: each is a new event.

use jiff::Timestamp;

use crate::name::{EventType, ObjectId};

/// The body of a delivery: `object` happened to have `event_type` at `now`.
pub(super) fn body(event_type: &EventType, object: &ObjectId, now: Timestamp) -> String {
    let now = microseconds(now);
    match event_type.as_str().split('.').next() {
        Some("sample") => sample(event_type, object, now),
        _ => analysis(event_type, object, now),
    }
}

/// An object id nobody has used: 16 hex digits.
pub(super) fn object_id() -> ObjectId {
    ObjectId::parse(&hex_digits()).expect("hex digits are within the character set")
}

/// 16 random hex digits.
pub(super) fn hex_digits() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

fn sample(event_type: &EventType, object: &ObjectId, now: Timestamp) -> String {
    let (owner, classification) = (hex_digits(), hex_digits());
    format!(
        concat!(
            r#"{{"api_version":"v1","event_type":"{event_type}","object_type":"sample","triggered_at":"{now}","#,
            r#""object":{{"$uri":"/api/v1/samples/{object}","created_at":"{now}","filename":"zymo-mock-{object}.fastq.gz","#,
            r#""owner":{{"$ref":"/api/v1/users/{owner}"}},"primary_classification":{{"$ref":"/api/v1/classifications/{classification}"}},"#,
            r#""project":null,"size":73400320,"tags":[],"visibility":"private","status":"available"}}}}"#
        ),
        event_type = event_type,
        now = now,
        object = object,
        owner = owner,
        classification = classification,
    )
}

fn analysis(event_type: &EventType, object: &ObjectId, now: Timestamp) -> String {
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
    use crate::source::ONE_CODEX;

    #[test]
    fn every_documented_type_makes_json_that_names_it() {
        for event_type in &ONE_CODEX.event_types {
            let object = ObjectId::parse("7428cca4a3a04a8e").expect("hex");
            let body = body(event_type, &object, Timestamp::UNIX_EPOCH);
            let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(value["event_type"], event_type.as_str());
            let uri = value["object"]["$uri"].as_str().expect("a string");
            assert!(uri.ends_with("/7428cca4a3a04a8e"), "{uri}");
            assert_eq!(value["triggered_at"], "1970-01-01T00:00:00Z");
        }
    }
}
