//! Events come back from their bytes as they were, and other bytes are refused.

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
    let unread = reasons.flat_map(|reason| details.each_ref().map(|it| quarantined(reason, it)));
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
