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
use crate::event::origin::EventOrigin;
use crate::event::quarantine::{Quarantine, QuarantineReason};
use crate::event::unsigned::UnsignedFields;
use crate::name::{EventType, ObjectId, SourceName};
use crate::source::ForwardedHeaders;
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
mod tests {
    use super::*;

    const SIGNATURE: &str = HEADERS[0];
    const TRACEPARENT: &str = HEADERS[2];
    const TRACESTATE: &str = HEADERS[3];
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn event(content: Content) -> Event {
        Event {
            id: EventId::from_bytes([7; 16]),
            source: SourceName::parse("onecodex").expect("a slug"),
            source_uri: "https://app.onecodex.com".into(),
            content,
            received_at: "2026-03-02T17:15:42.184121001Z".parse().expect("RFC 3339"),
            origin: EventOrigin::Webhook,
            deduplication_id: None,
            forwarded: ForwardedHeaders {
                signature: Some(format!("t=1772471742 v1={}", "0f".repeat(32))),
                ..ForwardedHeaders::default()
            },
            attributes: vec![("apiversion".to_owned(), "v1".to_owned())],
            unsigned: UnsignedFields::default(),
            events: None,
            content_type: Some("application/json".to_owned()),
            traceparent: TraceParent::parse(TRACE).expect("valid"),
            tracestate: None,
            body: Bytes::new(),
            conditions: Vec::new(),
        }
    }

    fn understood(object_id: Option<&str>, triggered_at: Option<&str>) -> Event {
        event(Content::Understood(Understood {
            event_type: EventType::parse("sample.uploaded").expect("valid"),
            object_id: object_id.map(|text| ObjectId::parse(text).expect("valid")),
            triggered_at: triggered_at.map(|text| text.parse().expect("RFC 3339")),
        }))
    }

    /// As most events are.
    fn usual() -> Event {
        let usual = understood(
            Some("7428cca4a3a04a8e"),
            Some("2026-03-02T17:15:42.184121Z"),
        );
        let attributes = [("apiversion", "v1"), ("objecttype", "sample")];
        Event {
            attributes: attributes
                .map(|(name, value)| (name.into(), value.into()))
                .to_vec(),
            ..usual
        }
    }

    /// With every field that an event can have.
    fn full() -> Event {
        Event {
            origin: EventOrigin::Backfill,
            tracestate: TraceState::parse(["a=1,b=2"].into_iter()),
            deduplication_id: Some(EventId::from_bytes([9; 16])),
            forwarded: ForwardedHeaders {
                signature: Some("v1,abc".to_owned()),
                headers: vec![("webhook-id".to_owned(), "msg_1".to_owned())],
                url: Some("https://bridge.example/webhooks/a?b=c".to_owned()),
            },
            unsigned: UnsignedFields::from_bits(5),
            events: Some(7),
            ..understood(Some("a"), Some("1969-12-31T23:59:59.5Z"))
        }
    }

    fn quarantined(reason: QuarantineReason, detail: &str) -> Event {
        let detail = detail.to_owned();
        Event {
            content_type: None,
            forwarded: ForwardedHeaders::default(),
            attributes: Vec::new(),
            ..event(Content::Quarantined(Quarantine { reason, detail }))
        }
    }

    fn encoded(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    }

    /// An event's bytes with these headers in place of its own.
    fn with_headers(event: &Event, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = encoded(event);
        let mut first = vec![9];
        first.extend_from_slice(SIGNATURE.as_bytes());
        let at = bytes.windows(10).position(|part| part == first);
        bytes.truncate(at.expect("the first header is the signature") - 1);
        put_number(&mut bytes, headers.len());
        for (name, value) in headers {
            put_text(&mut bytes, name);
            put_text(&mut bytes, value);
        }
        bytes
    }

    #[test]
    fn every_field_comes_back_as_it_was() {
        let details = [String::new(), "é".repeat(64), "a".repeat(20_000)];
        let reasons = QuarantineReason::ALL.into_iter();
        let unread =
            reasons.flat_map(|reason| details.each_ref().map(|it| quarantined(reason, it)));
        let partly = [
            understood(None, Some("2026-03-02T17:15:42Z")),
            understood(Some("a"), None),
            understood(None, None),
        ];
        for event in [usual(), full()].into_iter().chain(partly).chain(unread) {
            assert_eq!(Event::decode(&encoded(&event)), Ok(event));
        }
    }

    /// Pinned: records outlive the program that wrote them.
    #[test]
    fn the_format_does_not_drift() {
        let event = quarantined(QuarantineReason::NotUtf8, "é");
        let expected = [
            &[7; 16][..],
            &1_772_471_742_i64.to_le_bytes(),
            &184_121_001_i32.to_le_bytes(),
            &[0; 12],
            &[0, 1],
            b"\x08onecodex\x18https://app.onecodex.com",
            b"\x08not_utf8\x02\xc3\xa9",
            b"\x02\x09signature\x00\x0btraceparent\x37",
            TRACE.as_bytes(),
        ];
        assert_eq!(encoded(&event), expected.concat());
    }

    #[test]
    fn it_is_appended_to_what_is_there() {
        let mut bytes = b"before".to_vec();
        full().encode(&mut bytes);
        assert_eq!(bytes, [&b"before"[..], &encoded(&full())].concat());
    }

    /// Every event is written with the group that it was accepted in: this size is paid each time.
    #[test]
    fn a_usual_event_takes_at_most_352_bytes_beside_its_body() {
        let length = encoded(&usual()).len();
        assert!(length <= 352, "{length}");
    }

    #[test]
    fn what_is_cut_off_is_no_event() {
        let plain = Event {
            attributes: Vec::new(),
            ..usual()
        };
        for event in [plain, quarantined(QuarantineReason::NotUtf8, "detail")] {
            let whole = encoded(&event);
            for length in 0..whole.len() {
                assert_eq!(
                    Event::decode(&whole[..length]),
                    Err(EventDecodeError),
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn no_changed_byte_is_more_than_an_error() {
        for event in [full(), quarantined(QuarantineReason::NotUtf8, "detail")] {
            let mut bytes = encoded(&event);
            for at in 0..bytes.len() {
                let right = bytes[at];
                for value in 0..=u8::MAX {
                    bytes[at] = value;
                    if let Ok(event) = Event::decode(&bytes) {
                        assert_eq!(Event::decode(&encoded(&event)), Ok(event));
                    }
                }
                bytes[at] = right;
            }
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error_however_large() {
        let largest = [&[0xff; 8][..], &[0x7f]].concat();
        for length in [&[5][..], &[0xff, 0x7f], &largest, &[0xff; 9], &[0xff; 10]] {
            let bytes = [length, b"text"].concat();
            assert_eq!(Decoder(&bytes).text(), None, "{length:?}");
        }
    }

    #[test]
    fn numbers_come_back_at_every_width() {
        let numbers = (0..63).map(|bits| 1_usize << bits);
        for number in numbers.flat_map(|it| [it - 1, it, it + 1]) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut decoder = Decoder(&bytes);
            assert_eq!(decoder.number(), Some(number));
            assert!(decoder.0.is_empty());
        }
    }

    #[test]
    fn headers_of_unknown_names_are_skipped() {
        let event = quarantined(QuarantineReason::EmptyBody, "");
        let headers = [
            ("x-github-event", "push"),
            (SIGNATURE, ""),
            ("", ""),
            (TRACEPARENT, TRACE),
            ("webhook-id", "msg_✓"),
        ];
        assert_eq!(Event::decode(&with_headers(&event, &headers)), Ok(event));
    }

    #[test]
    fn without_its_signature_or_its_trace_it_is_no_event() {
        let event = quarantined(QuarantineReason::EmptyBody, "");
        for headers in [
            &[][..],
            &[(SIGNATURE, "")],
            &[(TRACEPARENT, TRACE)],
            &[(SIGNATURE, ""), (TRACEPARENT, "00-0-0-00")],
        ] {
            let bytes = with_headers(&event, headers);
            assert_eq!(Event::decode(&bytes), Err(EventDecodeError), "{headers:?}");
        }
    }

    #[test]
    fn an_invalid_tracestate_is_left_behind() {
        let event = quarantined(QuarantineReason::EmptyBody, "");
        let headers = [(SIGNATURE, ""), (TRACEPARENT, TRACE), (TRACESTATE, "=")];
        assert_eq!(Event::decode(&with_headers(&event, &headers)), Ok(event));
    }

    #[test]
    fn further_fields_are_skipped_where_they_are_whole() {
        let whole = encoded(&full());
        for fields in [&[99, 0][..], &[99, 3, 7, 7, 7], &[0xff, 1, 1, 0, 98, 0]] {
            let longer = [&whole, fields].concat();
            assert_eq!(Event::decode(&longer), Ok(full()), "{fields:?}");
        }
        for fields in [
            &[99][..],
            &[99, 1],
            &[99, 3, 7, 7],
            &[0xff, 0xff],
            &[1, 0],
            &[6, 1, 1],
        ] {
            let longer = [&whole, fields].concat();
            assert_eq!(Event::decode(&longer), Err(EventDecodeError), "{fields:?}");
        }
    }
}
