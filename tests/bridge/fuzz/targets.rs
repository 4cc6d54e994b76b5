//! What must hold for any bytes at all: one function for each place where the bridge reads what
//! somebody else may have written. The tests run them over the corpora and mutations of these;
//! cargo-fuzz runs the same functions from `fuzz/`.
//!
//! Each panics where a property does not hold.

use std::time::Duration;

use hookferry::config;
use hookferry::event::{Content, Event, QuarantineReason};
use hookferry::name::{EventType, ObjectId, SourceName};
use hookferry::source::{
    HeaderValue, Inbound, ONE_CODEX, Rejection, RequestHead, Secret, Source, Variable, Verified,
};
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
        // Signatures of any time: what is looked at is what the header says.
        tolerance: Duration::from_secs(u64::MAX >> 1),
        ..Source::new(
            SourceName::parse("fuzz").expect("a name"),
            ONE_CODEX.clone(),
            vec![Secret::new("whsec_test_secret").expect("not empty")],
        )
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
    let head = Head(&value);
    let read = source.read_signature(&head);
    let claim = match (read, &expected) {
        (Ok(claim), Ok(parsed)) => {
            let time = claim.head().value(&Variable::Item("t".to_owned()));
            assert_eq!(time.as_deref(), Some(parsed.digits.as_str()));
            let text = claim.signature().text().expect("there is a header");
            assert_eq!(text.as_bytes(), value, "it travels as it came");
            claim
        }
        (Err(rejection), Err(reason)) => {
            assert!(Rejection::ALL.contains(&rejection));
            assert_eq!(rejection.reason(), *reason);
            return;
        }
        (read, expected) => panic!("the two parsers disagree: {read:?} {expected:?}"),
    };
    let signed = expected.is_ok_and(|parsed| parsed.tags.contains(&right));
    match claim.verify(inbound(BODY), now(), || i64::MIN) {
        Ok(_) => assert!(signed, "proven by no signature"),
        Err(Rejection::SignatureMismatch) => assert!(!signed, "a right signature is refused"),
        Err(other) => panic!("a signature of any time is taken here: {other:?}"),
    }
}

/// A head with the signature header alone, whatever its bytes are.
struct Head<'a>(&'a [u8]);

impl RequestHead for Head<'_> {
    fn header(&self, name: &str) -> HeaderValue<'_> {
        match name {
            "x-onecodex-signature" => HeaderValue::Once(self.0),
            _ => HeaderValue::Missing,
        }
    }

    fn method(&self) -> &'static str {
        "POST"
    }

    fn query(&self) -> Option<&str> {
        None
    }

    fn path_secret(&self) -> Option<&str> {
        None
    }
}

fn verified(body: &[u8]) -> Verified {
    let source = source();
    let head = ONE_CODEX.signed_head(&source.secrets[0], body, now());
    let claim = source.read_signature(&head);
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
            EventType::parse(content.event_type.as_str()).expect("parsed before");
            let object = content.object_id.as_ref().expect("One Codex names one");
            assert!(is_plain(object.as_str(), 64, "_-"));
            ObjectId::parse(object.as_str()).expect("parsed before");
            assert!(content.triggered_at >= Some(Timestamp::UNIX_EPOCH));
            let plain: Result<serde_json::Value, _> = serde_json::from_slice(data);
            let plain = plain.expect("what is understood is JSON to every parser");
            let is_hash = content.event_type.as_str().starts_with("h-");
            let own = plain["event_type"]
                .as_str()
                .map(|text| text.replace(['/', ':', ' '], "."));
            assert!(is_hash || own.is_none_or(|own| own == content.event_type.as_str()));
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
