//! The event: what was read from a verified delivery, with its body as it was received.

mod encoding;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::content::{Content, Understood};
use super::fields;
use super::id::EventId;
use super::ordering_key::OrderingKey;
use super::unsigned::UnsignedFields;
use crate::name::SourceName;
use crate::seeded;
use crate::source::{
    AuthenticDelivery, EventOrigin, ForwardedHeaders, HeadValues, Inbound, Replay, Source,
};
use crate::trace::{TraceParent, TraceState};
pub use encoding::EventDecodeError;

/// An authentic event: everything a consumer will be told, and the body as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    id: EventId,
    source: SourceName,
    source_uri: Arc<str>,
    content: Content,
    received_at: Timestamp,
    origin: EventOrigin,
    /// What tells a repeated delivery, where that is not the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deduplication_id: Option<EventId>,
    #[serde(default)]
    forwarded: ForwardedHeaders,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "UnsignedFields::is_empty")]
    unsigned: UnsignedFields,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    traceparent: TraceParent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<TraceState>,
    #[serde(skip)]
    body: Bytes,
    /// What the conditions of its source's routes ask for; not kept, because it is routed once.
    #[serde(skip)]
    conditions: Vec<Option<String>>,
}

/// What a delivery says, before it is an event.
#[derive(Debug, Clone)]
pub struct EventPreview {
    /// The event's id.
    pub id: EventId,
    /// What tells whether it was accepted before.
    pub deduplication_id: EventId,
    /// What it says, or why it could not be understood.
    pub content: Content,
}

/// The id of a delivery's event, of its bytes where it has none; and what tells a repeated delivery,
/// where that is not the id.
fn ids(delivery: &AuthenticDelivery, parsed: Option<EventId>) -> (EventId, Option<EventId>) {
    let of_bytes = || EventId::of_bytes(delivery.source(), &delivery.replay_bytes());
    let id = parsed.unwrap_or_else(of_bytes);
    let is_by_body = delivery.provider().replay == Replay::Body;
    let by_body = is_by_body.then(of_bytes);
    (id, by_body.filter(|by_body| *by_body != id))
}

impl Event {
    /// Reads a delivery that is proven.
    #[must_use]
    pub fn read(proven: impl Into<AuthenticDelivery>) -> Self {
        let delivery: AuthenticDelivery = proven.into();
        let source = delivery.source().clone();
        let source_uri = Arc::clone(delivery.uri());
        let (received_at, origin) = (delivery.received_at(), delivery.origin());
        let parsed = fields::read(
            &source,
            delivery.provider(),
            delivery.head(),
            delivery.inbound(),
        );
        let (id, deduplication_id) = ids(&delivery, parsed.id);
        let conditions = fields::conditions(&delivery);
        let (inbound, forwarded) = delivery.into_parts();
        Self {
            id,
            source,
            source_uri,
            content: parsed.content,
            received_at,
            origin,
            deduplication_id,
            forwarded,
            attributes: parsed.attributes,
            unsigned: parsed.unsigned,
            events: parsed.events,
            content_type: inbound.content_type,
            traceparent: inbound.trace.parent,
            tracestate: inbound.trace.state,
            body: seeded::kept_or_encoded_again(inbound.body),
            conditions,
        }
    }

    /// What a delivery says, and what it is known by, without taking it.
    #[must_use]
    pub fn preview(delivery: &AuthenticDelivery) -> EventPreview {
        let parsed = fields::read(
            delivery.source(),
            delivery.provider(),
            delivery.head(),
            delivery.inbound(),
        );
        let (id, deduplication_id) = ids(delivery, parsed.id);
        EventPreview {
            id,
            deduplication_id: deduplication_id.unwrap_or(id),
            content: parsed.content,
        }
    }

    /// When the event of a delivery happened; none where its id has no time.
    #[must_use]
    pub fn own_time(source: &Source, head: &HeadValues, inbound: &Inbound) -> Option<Timestamp> {
        let parsed = fields::read(&source.name, &source.provider, head, inbound);
        match parsed.content {
            Content::Understood(content) => content.triggered_at,
            Content::Quarantined(_) => None,
        }
    }

    /// Puts the body back that a stored event is kept apart from.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// The id, the same for every copy of this event.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The source that sent it.
    #[must_use]
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// The CloudEvents `source`: the configured URI of its source.
    #[must_use]
    pub fn source_uri(&self) -> &str {
        &self.source_uri
    }

    /// What it says, or why it could not be understood.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// When the bridge verified it.
    #[must_use]
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// How it came in.
    #[must_use]
    pub fn origin(&self) -> EventOrigin {
        self.origin
    }

    /// What tells whether it was accepted before: its id, or an id of the body's bytes where somebody
    /// could change the id without the secret.
    #[must_use]
    pub fn deduplication_id(&self) -> EventId {
        self.deduplication_id.unwrap_or(self.id)
    }

    /// What of the request's head travels with it.
    #[must_use]
    pub fn forwarded(&self) -> &ForwardedHeaders {
        &self.forwarded
    }

    /// What else the sender says of it: CloudEvents extension attributes by their names.
    #[must_use]
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// What of it no signature covers.
    #[must_use]
    pub fn unsigned(&self) -> UnsignedFields {
        self.unsigned
    }

    /// How many events the delivery holds, where its sender lists several.
    #[must_use]
    pub fn events(&self) -> Option<u32> {
        self.events
    }

    /// What the conditions of its source's routes ask for, in their order; none where it is not there.
    /// Only of an event that was just received.
    #[must_use]
    pub fn conditions(&self) -> &[Option<String>] {
        &self.conditions
    }

    /// The content type, as received; none where the sender named none that can be carried on.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn traceparent(&self) -> &TraceParent {
        &self.traceparent
    }

    /// What tracing systems say of that trace.
    #[must_use]
    pub fn tracestate(&self) -> Option<&TraceState> {
        self.tracestate.as_ref()
    }

    /// The body, byte for byte as received.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The first 8 bytes of the body's SHA-256, in big endian; computed on each call. It tells a
    /// redelivery with the same bytes from one with the same id and other bytes.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let whole: [u8; 32] = Sha256::digest(&self.body).into();
        let mut first = [0; 8];
        first.copy_from_slice(&whole[..8]);
        u64::from_be_bytes(first)
    }

    /// What must stay in order: the source and the object. An event without one is an object of its
    /// own.
    #[must_use]
    pub fn ordering_key(&self) -> OrderingKey {
        match &self.content {
            Content::Understood(Understood {
                object_id: Some(object),
                ..
            }) => OrderingKey::Object(self.source.clone(), object.clone()),
            _ => OrderingKey::Alone(self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pinned: digests are stored, and compared with those of later deliveries.
    #[test]
    fn the_digest_is_of_the_body_and_nothing_else() {
        let json = r#"{"id":"019caf8c-6ee8-8fa1-96d2-170867d5071e","source":"onecodex","source_uri":"https://app.onecodex.com","content":{"quarantined":{"reason":"invalid_json","detail":"expected value"}},"received_at":"2026-03-02T17:15:43.184121934Z","origin":"webhook","traceparent":"00-4afa1524aaa0f7484914532e7bc97288-fafad99992dcf708-00"}"#;
        let event: Event = serde_json::from_str(json).expect("an event without its body");
        assert_eq!(event.digest(), 0xe3b0_c442_98fc_1c14);
        let event = event.with_body(Bytes::from_static(b"abc"));
        assert_eq!(event.digest(), 0xba78_16bf_8f01_cfea);
        let again = Event {
            received_at: Timestamp::UNIX_EPOCH,
            ..event.clone()
        };
        assert_eq!(again.digest(), event.digest());
    }
}
