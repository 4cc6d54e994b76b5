//! Messages as the pipeline makes them, signature and all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookferry::event::{Event, Position, SinkIndex, SinkSet};
use hookferry::name::{EventType, SourceName};
use hookferry::route::{Route, Router};
use hookferry::sink::Message;
use hookferry::source::{Inbound, ONE_CODEX, Secret, Source};
use jiff::Timestamp;

/// A message as the pipeline makes it, signature and all.
pub(super) fn message_of(body: impl Into<Bytes>, content_type: Option<&str>) -> Message {
    let body = body.into();
    let secret = || Secret::new("a secret for tests").unwrap();
    let name = SourceName::parse("onecodex").unwrap();
    let source = Source {
        name: name.clone(),
        provider: &ONE_CODEX,
        uri: ONE_CODEX.uri.into(),
        secrets: vec![secret()],
        tolerance: Duration::from_secs(300),
    };
    let now = Timestamp::now();
    let header = ONE_CODEX.scheme.sign(&secret(), &body, now);
    let inbound = Inbound {
        body,
        content_type: content_type.map(str::to_owned),
        traceparent: None,
    };
    let claim = source
        .read_signature([header.as_bytes()].into_iter())
        .unwrap();
    let event = Event::read(claim.verify(inbound, now).unwrap());
    let sinks: SinkSet = [SinkIndex::new(0).unwrap()].into_iter().collect();
    let route = Route {
        source: name.clone(),
        event_types: None,
        sinks,
    };
    let known = ["sample.uploaded", "analysis.failed"].map(|t| EventType::parse(t).unwrap());
    let router = Router::new(vec![route], [(name, known.into_iter().collect())].into());
    let routed = router.route(event);
    let position = Position {
        sequence: 1,
        sinks,
        bytes: 0,
    };
    let lane = routed.lane();
    Message::new(position, lane, Arc::new(routed.into_event()))
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
