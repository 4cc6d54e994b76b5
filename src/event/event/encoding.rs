//! How an event, without its body, lies in a record.
//!
//! Numbers are little endian. A length, a count or a tag is a varint: seven bits a byte, the lowest
//! first, the eighth set where more follow. A text is its length and its UTF-8.
//!
//! | field | encoded as |
//! |---|---|
//! | what tells a repeated delivery: the id, or another | 16 bytes |
//! | when it was received | seconds since 1970 (8 bytes), nanoseconds (4 bytes) |
//! | when it happened | likewise; zero where it is not known |
//! | origin | a byte: 0 webhook, 1 backfill |
//! | content | a byte: 0 understood, with a time and an object; 1 quarantined; 2 understood, without a time; 3 without an object; 4 without both |
//! | source, its URI | texts |
//! | what was understood | texts: event type, object id (empty where there is none) |
//! | or why it was quarantined | texts: reason, detail |
//! | headers | a count, and as many pairs of texts: name, value |
//! | further fields | up to the end: a tag, a length, as many bytes |
//!
//! | tag | further field |
//! |---|---|
//! | 1 | the id, where the first field is another: 16 bytes |
//! | 2 | forwarded headers: a count, and as many pairs of texts |
//! | 3 | the URL that was signed |
//! | 4 | extension attributes: a count, and as many pairs of texts |
//! | 5 | what is not signed, as bits: a byte |
//! | 6 | how many events the delivery holds: 4 bytes |
//!
//! What a later version adds as a header or a further field is skipped here, and left out when the
//! event is encoded again. Checksums are the log's business: here changed bytes give an error or
//! another event.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::Event;
use crate::event::content::{Content, Understood};
use crate::event::id::EventId;
use crate::event::quarantine::{Quarantine, QuarantineReason};
use crate::event::unsigned::UnsignedFields;
use crate::name::{EventType, ObjectId, SourceName};
use crate::source::{EventOrigin, ForwardedHeaders};
use crate::trace::{TraceParent, TraceState};

/// The headers that travel with the message, by their names in a record. Every provider's
/// signature is `signature`, whatever its header is called on the way in.
const HEADERS: [&str; 4] = ["signature", "content-type", "traceparent", "tracestate"];

/// The kind of a content that was not understood.
const QUARANTINED: u8 = 1;

/// The tags of further fields.
const ID: usize = 1;
const HEADERS_TAG: usize = 2;
const URL: usize = 3;
const ATTRIBUTES: usize = 4;
const UNSIGNED: usize = 5;
const EVENTS: usize = 6;

/// The further fields.
#[derive(Default)]
struct FurtherFields {
    id: Option<EventId>,
    headers: Vec<(String, String)>,
    url: Option<String>,
    attributes: Vec<(String, String)>,
    unsigned: UnsignedFields,
    events: Option<u32>,
}

/// The bytes are not those of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no encoded event")]
pub struct EventDecodeError;

impl Event {
    /// Appends all of the event but its body.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let (kind, triggered_at, texts) = match &self.content {
            Content::Understood(it) => (
                understood_kind(it),
                it.triggered_at,
                [
                    it.event_type.as_str(),
                    it.object_id.as_ref().map_or("", ObjectId::as_str),
                ],
            ),
            Content::Quarantined(it) => (QUARANTINED, None, [it.reason.as_str(), &it.detail]),
        };
        to.extend_from_slice(self.deduplication_id().as_bytes());
        put_time(to, self.received_at);
        put_time(to, triggered_at.unwrap_or(Timestamp::UNIX_EPOCH));
        to.extend([u8::from(self.origin == EventOrigin::Backfill), kind]);
        put_text(to, self.source.as_str());
        put_text(to, &self.source_uri);
        for text in texts {
            put_text(to, text);
        }
        let values = [
            // Always there, for the versions that read no event without it.
            Some(self.forwarded.signature.as_deref().unwrap_or_default()),
            self.content_type.as_deref(),
            Some(self.traceparent.as_str()),
            self.tracestate.as_ref().map(TraceState::as_str),
        ];
        put_number(to, values.iter().flatten().count());
        for (name, value) in HEADERS.into_iter().zip(values) {
            if let Some(value) = value {
                put_text(to, name);
                put_text(to, value);
            }
        }
        self.encode_further(to);
    }

    fn encode_further(&self, to: &mut Vec<u8>) {
        if self.deduplication_id.is_some() {
            put_further(to, ID, |field| field.extend_from_slice(self.id.as_bytes()));
        }
        for (tag, pairs) in [
            (HEADERS_TAG, &self.forwarded.headers),
            (ATTRIBUTES, &self.attributes),
        ] {
            if !pairs.is_empty() {
                put_further(to, tag, |field| put_pairs(field, pairs));
            }
        }
        if let Some(url) = &self.forwarded.url {
            put_further(to, URL, |field| field.extend_from_slice(url.as_bytes()));
        }
        if !self.unsigned.is_empty() {
            put_further(to, UNSIGNED, |field| field.push(self.unsigned.bits()));
        }
        if let Some(events) = self.events {
            put_further(to, EVENTS, |field| field.extend(events.to_le_bytes()));
        }
    }

    /// Reads what [`Event::encode`] has written; the body is empty.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventDecodeError> {
        Decoder(bytes).event().ok_or(EventDecodeError)
    }
}

/// The kind of a content that was understood.
fn understood_kind(content: &Understood) -> u8 {
    match (&content.triggered_at, &content.object_id) {
        (Some(_), Some(_)) => 0,
        (None, Some(_)) => 2,
        (Some(_), None) => 3,
        (None, None) => 4,
    }
}

fn put_further(to: &mut Vec<u8>, tag: usize, put: impl FnOnce(&mut Vec<u8>)) {
    let mut field = Vec::new();
    put(&mut field);
    put_number(to, tag);
    put_number(to, field.len());
    to.extend(field);
}

fn put_pairs(to: &mut Vec<u8>, pairs: &[(String, String)]) {
    put_number(to, pairs.len());
    for (name, value) in pairs {
        put_text(to, name);
        put_text(to, value);
    }
}

fn put_time(to: &mut Vec<u8>, time: Timestamp) {
    to.extend_from_slice(&time.as_second().to_le_bytes());
    to.extend_from_slice(&time.subsec_nanosecond().to_le_bytes());
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_number(to, text.len());
    to.extend_from_slice(text.as_bytes());
}

fn put_number(to: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// What is left to read; each verb takes its part off the front.
struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn event(&mut self) -> Option<Event> {
        let id = EventId::from_bytes(self.array()?);
        let (received_at, triggered_at) = (self.time()?, self.time()?);
        let origin = self.either(EventOrigin::Webhook, EventOrigin::Backfill)?;
        let [kind] = self.array()?;
        let source = SourceName::parse(self.text()?).ok()?;
        let source_uri = Arc::from(self.text()?);
        let content = if kind == QUARANTINED {
            self.quarantine().map(Content::Quarantined)?
        } else {
            self.understood(kind, triggered_at)
                .map(Content::Understood)?
        };
        let [signature, content_type, traceparent, tracestate] = self.headers()?;
        let further = self.further_fields()?;
        Some(Event {
            id: further.id.unwrap_or(id),
            deduplication_id: further.id.map(|_| id),
            source,
            source_uri,
            content,
            received_at,
            origin,
            forwarded: ForwardedHeaders {
                signature: Some(signature?.to_owned()).filter(|it| !it.is_empty()),
                headers: further.headers,
                url: further.url,
            },
            attributes: further.attributes,
            unsigned: further.unsigned,
            events: further.events,
            content_type: content_type.map(str::to_owned),
            traceparent: TraceParent::parse(traceparent?)?,
            // As on the way in, an invalid one is left behind: no event is lost over it.
            tracestate: tracestate.and_then(|it| TraceState::parse(std::iter::once(it))),
            body: Bytes::new(),
            conditions: Vec::new(),
        })
    }

    fn understood(&mut self, kind: u8, triggered_at: Timestamp) -> Option<Understood> {
        let event_type = EventType::parse(self.text()?).ok()?;
        let object = self.text()?;
        let object = || ObjectId::parse(object).ok();
        let (triggered_at, object_id) = match kind {
            0 => (Some(triggered_at), Some(object()?)),
            2 => (None, Some(object()?)),
            3 => (Some(triggered_at), None),
            4 => (None, None),
            _ => return None,
        };
        Some(Understood {
            event_type,
            object_id,
            triggered_at,
        })
    }

    fn quarantine(&mut self) -> Option<Quarantine> {
        let reason = self.text()?;
        let is_it = |known: &QuarantineReason| known.as_str() == reason;
        Some(Quarantine {
            reason: QuarantineReason::ALL.into_iter().find(is_it)?,
            detail: self.text()?.to_owned(),
        })
    }

    /// The values of [`HEADERS`]; of two with the same name the last counts.
    fn headers(&mut self) -> Option<[Option<&'a str>; HEADERS.len()]> {
        let mut values = [None; HEADERS.len()];
        for _ in 0..self.number()? {
            let (name, value) = (self.text()?, self.text()?);
            if let Some(known) = HEADERS.iter().position(|known| *known == name) {
                values[known] = Some(value);
            }
        }
        Some(values)
    }

    fn further_fields(&mut self) -> Option<FurtherFields> {
        let mut fields = FurtherFields::default();
        while !self.0.is_empty() {
            let (tag, length) = (self.number()?, self.number()?);
            let mut field = Decoder(self.take(length)?);
            match tag {
                ID => fields.id = Some(EventId::from_bytes(field.array()?)),
                HEADERS_TAG => fields.headers = field.pairs()?,
                ATTRIBUTES => fields.attributes = field.pairs()?,
                URL => fields.url = Some(std::str::from_utf8(field.0).ok()?.to_owned()),
                UNSIGNED => fields.unsigned = UnsignedFields::from_bits(field.array::<1>()?[0]),
                EVENTS => fields.events = Some(u32::from_le_bytes(field.array()?)),
                _ => {}
            }
        }
        Some(fields)
    }

    fn pairs(&mut self) -> Option<Vec<(String, String)>> {
        let mut pairs = Vec::new();
        for _ in 0..self.number()? {
            pairs.push((self.text()?.to_owned(), self.text()?.to_owned()));
        }
        Some(pairs)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let second = i64::from_le_bytes(self.array()?);
        Timestamp::new(second, i32::from_le_bytes(self.array()?)).ok()
    }

    fn either<T>(&mut self, zero: T, one: T) -> Option<T> {
        match self.array()? {
            [0] => Some(zero),
            [1] => Some(one),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// Nine bytes at most: 63 bits, which no length in memory exceeds.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests;
