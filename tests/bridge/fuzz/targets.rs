//! What must hold for any bytes at all: one function for each place where the bridge reads what
//! somebody else may have written. The tests run them over the corpora and mutations of these;
//! cargo-fuzz runs the same functions from `fuzz/`.
//!
//! Each panics where a property does not hold.

use std::time::Duration;

use hookferry::config;
use hookferry::event::{Content, Event, QuarantineReason};
use hookferry::name::{EventType, ObjectId, SourceName};
use hookferry::source::{Inbound, ONE_CODEX, Rejection, Secret, SignatureHeader, Source, Verified};
use hookferry::trace::TraceContext;
use jiff::Timestamp;

use super::reference;

/// A moment that all of them agree on.
const NOW: i64 = 1_492_774_577;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("in 2017")
}

fn source() -> Source {
    Source {
        name: SourceName::parse("fuzz").expect("a name"),
        provider: &ONE_CODEX,
        uri: "https://example.org".into(),
        secrets: vec![Secret::new("whsec_test_secret").expect("not empty")],
        // Signatures of any time: what is looked at is what the header says.
        tolerance: Duration::from_secs(u64::MAX >> 1),
        deduplication: None,
        forward_signature: true,
    }
}

fn inbound(body: &[u8]) -> Inbound {
    Inbound {
        body: body.to_vec().into(),
        content_type: None,
        trace: TraceContext::start(false),
    }
}

/// The signature header: reads as the reference does, and proves what it should and nothing else.
///
/// Each `@` in the input stands for the right signature, which chance would never find.
pub fn header(data: &[u8]) {
    const BODY: &[u8] = b"{}";
    let source = source();
    let with = |tag: &str| -> Vec<u8> {
        let pieces: Vec<&[u8]> = data.split(|byte| *byte == b'@').collect();
        pieces.join(tag.as_bytes())
    };
    let digits = reference::parse(&with(&"0".repeat(64))).map(|parsed| parsed.digits);
    let right = digits.map_or_else(
        |_| "0".repeat(64),
        |digits| hex::encode(source.secrets[0].sign(&[digits.as_bytes(), b".", BODY])),
    );
    let value = with(&right);
    let expected = reference::parse(&value);
    let read = SignatureHeader::read([value.as_slice()].into_iter());
    let claim = match (&read, &expected) {
        (Ok(header), Ok(parsed)) => {
            assert_eq!(header.digits(), parsed.digits);
            assert_eq!(header.seconds().to_string(), decimal(&parsed.digits));
            assert_eq!(header.text().as_bytes(), value, "it travels as it came");
            source
                .read_signature([value.as_slice()].into_iter())
                .expect("it was read before")
        }
        (Err(rejection), Err(reason)) => {
            assert!(Rejection::ALL.contains(rejection));
            assert_eq!(rejection.reason(), *reason);
            return;
        }
        other => panic!("the two parsers disagree: {other:?}"),
    };
    let signed = expected.is_ok_and(|parsed| parsed.tags.contains(&right));
    match claim.verify(inbound(BODY), now(), || i64::MIN) {
        Ok(_) => assert!(signed, "proven by no signature"),
        Err(Rejection::SignatureMismatch) => assert!(!signed, "a right signature is refused"),
        Err(other) => panic!("a signature of any time is taken here: {other:?}"),
    }
}

/// Digits as a number would be written.
fn decimal(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    }
}

fn verified(body: &[u8]) -> Verified {
    let source = source();
    let value = ONE_CODEX.scheme.sign(&source.secrets[0], body, now());
    let claim = source.read_signature([value.as_bytes()].into_iter());
    claim
        .expect("well-formed")
        .verify(inbound(body), now(), || i64::MIN)
        .expect("signed")
}

/// A signed body: it is kept as it came, under an id that does not change, and it either says where
/// it belongs, in names that cannot do harm, or why nobody knows.
pub fn event(data: &[u8]) {
    let event = Event::read(verified(data));
    assert!(*event.body() == data, "the very bytes");
    let again = Event::read(verified(data));
    assert_eq!(event.id(), again.id());
    assert_eq!(event.ordering_key(), again.ordering_key());
    match event.content() {
        Content::Understood(content) => {
            assert!(is_plain(content.event_type.as_str(), 100, "._-"));
            assert!(is_plain(content.object_id.as_str(), 64, "_-"));
            EventType::parse(content.event_type.as_str()).expect("parsed before");
            ObjectId::parse(content.object_id.as_str()).expect("parsed before");
            assert!(content.triggered_at >= Timestamp::UNIX_EPOCH);
            let plain: Result<serde_json::Value, _> = serde_json::from_slice(data);
            let plain = plain.expect("what is understood is JSON to every parser");
            assert_eq!(plain["event_type"], content.event_type.as_str());
        }
        Content::Quarantined(quarantine) => {
            assert!(QuarantineReason::ALL.contains(&quarantine.reason));
            assert!(quarantine.detail.len() <= 200);
            assert!(quarantine.detail.bytes().all(|b| matches!(b, b' '..=b'~')));
        }
    }
}

fn is_plain(text: &str, most: usize, besides: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || besides.contains(c);
    (1..=most).contains(&text.len()) && text.chars().all(plain)
}

/// A configuration: settings that serve something, or problems, each with its place and a remedy.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A file that names another could name any: none is opened here but what cannot be there.
    if text.contains("file") && !text.contains("/nowhere/") {
        return;
    }
    match config::parse(text, &|name| {
        name.starts_with('S').then(|| "secret".to_owned())
    }) {
        Ok(settings) => {
            assert!(!settings.sources.is_empty() && !settings.sinks.is_empty());
            assert!(!settings.routes.is_empty());
        }
        Err(problems) => {
            let said = problems.to_string();
            assert!(!problems.is_empty() && !said.is_empty());
            for problem in problems.iter() {
                assert!(!problem.path.is_empty(), "nowhere: {problem}");
                assert!(
                    !problem.found.is_empty() && !problem.remedy.is_empty(),
                    "{problem}"
                );
            }
        }
    }
}

/// An event as it lies in a record: bytes are one or they are not, and one that is read is written
/// and read again as it was.
pub fn record(data: &[u8]) {
    let Ok(event) = Event::decode(data) else {
        return;
    };
    assert!(event.body().is_empty(), "the body lies behind it");
    let mut written = Vec::new();
    event.encode(&mut written);
    assert_eq!(Event::decode(&written), Ok(event));
}
