//! An event as a few bytes, without its body: what the spool keeps beside it. JSON with its names
//! would be longer than many a body, and every byte is written twice, to the log and to the file.
//!
//! The fields in the order of [`Event::pack`], numbers in little endian. A text is the length of its
//! plain part, the length of its packed part, and both: a tail of at least 16 lower-case hex digits,
//! such as a signature's or an object id's, takes one byte for two of them.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::content::{Content, Understood};
use super::{Event, EventId, Origin, Quarantine, QuarantineReason};
use crate::name::{EventType, ObjectId, SourceName};
use crate::trace::{TraceParent, TraceState};

/// A shorter tail is not worth its packing.
const LEAST_HEX: usize = 16;

/// The parts of a `traceparent` that end in hex: the version with the trace, and the span.
const TRACE_ENDS: usize = 35;
const SPAN_LENGTH: usize = 17;

/// The bytes are not those of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no packed event")]
pub struct Unpackable;

impl Event {
    /// Appends all of the event but its body.
    pub fn pack(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.id.as_bytes());
        put_text(to, self.source.as_str());
        put_text(to, &self.source_uri);
        match &self.content {
            Content::Understood(content) => {
                to.push(0);
                put_text(to, content.event_type.as_str());
                put_text(to, &content.object_type);
                put_text(to, content.object_id.as_str());
                put_time(to, content.triggered_at);
            }
            Content::Quarantined(quarantine) => {
                to.push(1);
                put_text(to, quarantine.reason.as_str());
                put_text(to, &quarantine.detail);
            }
        }
        put_time(to, self.received_at);
        to.push(u8::from(self.origin == Origin::Backfill));
        put_text(to, &self.signature);
        put_optional(to, self.content_type.as_deref());
        put_traceparent(to, self.traceparent.as_str());
        put_optional(to, self.tracestate.as_ref().map(TraceState::as_str));
    }

    /// Reads what [`Event::pack`] has written; the body is empty.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn unpack(bytes: &[u8]) -> Result<Self, Unpackable> {
        let mut packed = Packed(bytes);
        packed
            .event()
            .filter(|_| packed.0.is_empty())
            .ok_or(Unpackable)
    }
}

fn put_optional(to: &mut Vec<u8>, text: Option<&str>) {
    to.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(to, text);
    }
}

fn put_time(to: &mut Vec<u8>, time: Timestamp) {
    to.extend_from_slice(&time.as_second().to_le_bytes());
    to.extend_from_slice(&time.subsec_nanosecond().to_le_bytes());
}

fn put_traceparent(to: &mut Vec<u8>, text: &str) {
    let (trace, rest) = text.split_at_checked(TRACE_ENDS).unwrap_or((text, ""));
    let (span, flags) = rest.split_at_checked(SPAN_LENGTH).unwrap_or((rest, ""));
    for part in [trace, span, flags] {
        put_text(to, part);
    }
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = text.bytes().rev().take_while(is_hex).count() & !1;
    let digits = if digits < LEAST_HEX { 0 } else { digits };
    let (plain, hex) = text.as_bytes().split_at(text.len() - digits);
    put_length(to, plain.len());
    put_length(to, digits / 2);
    to.extend_from_slice(plain);
    to.extend(
        hex.chunks_exact(2)
            .map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])),
    );
}

fn nibble(digit: u8) -> u8 {
    if digit <= b'9' {
        digit - b'0'
    } else {
        digit - b'a' + 10
    }
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn put_length(to: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        to.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    to.push(length.to_le_bytes()[0]);
}

/// What is left to read.
struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn event(&mut self) -> Option<Event> {
        Some(Event {
            id: EventId::from_bytes(self.array()?),
            source: SourceName::parse(&self.text()?).ok()?,
            source_uri: Arc::from(self.text()?),
            content: self.content()?,
            received_at: self.time()?,
            origin: self.flag(Origin::Webhook, Origin::Backfill)?,
            signature: self.text()?,
            content_type: self.optional()?,
            traceparent: TraceParent::parse(&[self.text()?, self.text()?, self.text()?].concat())?,
            tracestate: match self.optional()? {
                Some(text) => Some(TraceState::parse(std::iter::once(text.as_str()))?),
                None => None,
            },
            body: Bytes::new(),
        })
    }

    fn content(&mut self) -> Option<Content> {
        if self.flag(true, false)? {
            return Some(Content::Understood(Understood {
                event_type: EventType::parse(&self.text()?).ok()?,
                object_type: self.text()?,
                object_id: ObjectId::parse(&self.text()?).ok()?,
                triggered_at: self.time()?,
            }));
        }
        let reason = self.text()?;
        let is_it = |known: &QuarantineReason| known.as_str() == reason;
        Some(Content::Quarantined(Quarantine {
            reason: QuarantineReason::ALL.into_iter().find(is_it)?,
            detail: self.text()?,
        }))
    }

    fn optional(&mut self) -> Option<Option<String>> {
        if self.flag(false, true)? {
            self.text().map(Some)
        } else {
            Some(None)
        }
    }

    fn time(&mut self) -> Option<Timestamp> {
        let second = i64::from_le_bytes(self.array()?);
        Timestamp::new(second, i32::from_le_bytes(self.array()?)).ok()
    }

    fn flag<T>(&mut self, zero: T, one: T) -> Option<T> {
        match self.array()? {
            [0] => Some(zero),
            [1] => Some(one),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        let (plain, packed) = (self.length()?, self.length()?);
        let mut text = std::str::from_utf8(self.take(plain)?).ok()?.to_owned();
        let packed = self.take(packed)?;
        if !packed.is_empty() {
            text.push_str(&hex::encode(packed));
        }
        Some(text)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for shift in (0..28).step_by(7) {
            let [byte] = self.array()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(length);
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
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn event(content: Content) -> Event {
        Event {
            id: EventId::from_bytes([7; 16]),
            source: SourceName::parse("onecodex").expect("a slug"),
            source_uri: "https://app.example".into(),
            content,
            received_at: "2026-03-02T17:15:42.184121001Z".parse().expect("RFC 3339"),
            origin: Origin::Backfill,
            signature: format!("t=1772471742 v1={}", "0f".repeat(32)),
            content_type: Some("application/json".to_owned()),
            traceparent: TraceParent::parse(TRACE).expect("valid"),
            tracestate: TraceState::parse(["a=1,b=2"].into_iter()),
            body: Bytes::new(),
        }
    }

    fn understood(object_id: &str) -> Event {
        event(Content::Understood(Understood {
            event_type: EventType::parse("sample.uploaded").expect("valid"),
            object_type: "sample ✓".to_owned(),
            object_id: ObjectId::parse(object_id).expect("valid"),
            triggered_at: "1969-12-31T23:59:59.5Z".parse().expect("RFC 3339"),
        }))
    }

    fn quarantined(detail: String) -> Event {
        let reason = QuarantineReason::InvalidFields;
        Event {
            content_type: None,
            tracestate: None,
            origin: Origin::Webhook,
            ..event(Content::Quarantined(Quarantine { reason, detail }))
        }
    }

    fn packed(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        event.pack(&mut bytes);
        bytes
    }

    #[test]
    fn every_field_comes_back_as_it_was() {
        let ids = [
            "7428cca4a3a04a8e",
            "7428cca4a3a04a8",
            "1",
            "x-0123456789abcdef0",
            "ABCDEF0123456789",
        ];
        let details = [String::new(), "é".repeat(100), "a".repeat(20_000)];
        let events = ids.into_iter().map(understood);
        for event in events.chain(details.into_iter().map(quarantined)) {
            assert_eq!(Event::unpack(&packed(&event)), Ok(event));
        }
    }

    #[test]
    fn it_is_less_than_half_of_its_json() {
        let event = understood("7428cca4a3a04a8e");
        let json = serde_json::to_vec(&event).expect("encodes");
        assert!(packed(&event).len() * 2 < json.len());
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_no_event() {
        let whole = packed(&understood("7428cca4a3a04a8e"));
        for length in 0..whole.len() {
            assert_eq!(Event::unpack(&whole[..length]), Err(Unpackable), "{length}");
        }
        assert_eq!(Event::unpack(&[&whole[..], &[0]].concat()), Err(Unpackable));
    }

    #[test]
    fn no_changed_byte_is_more_than_an_error() {
        let whole = packed(&understood("7428cca4a3a04a8e"));
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(event) = Event::unpack(&changed) {
                    assert_eq!(Event::unpack(&packed(&event)), Ok(event));
                }
            }
        }
    }
}
