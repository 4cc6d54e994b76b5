//! Messages as the pipeline makes them, signature and all.

use bytes::Bytes;
use hookferry::sink::Message;

use crate::message::Sender;

/// A message as the pipeline makes it, signature and all.
pub(super) fn message_of(body: impl Into<Bytes>, content_type: Option<&str>) -> Message {
    Sender::new("onecodex").saying(content_type).body(body)
}

pub(super) fn delivery(event_type: &str, object_id: &str, padding: usize) -> String {
    format!(
        r#"{{ "api_version": "v1", "event_type":"{event_type}","object_type":"sample", "triggered_at":"2026-03-02T09:15:42.184121-08:00","object":{{"$uri":"/api/v1/samples/{object_id}", "note":"é {}"}}}}"#,
        "x".repeat(padding)
    )
}

pub(super) fn message(number: usize) -> Message {
    message_of(
        delivery("sample.uploaded", &format!("object{number}"), 0),
        None,
    )
}
