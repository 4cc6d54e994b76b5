use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::event::{Content, Event, Understood};
use crate::name::SourceName;
use crate::source::{
    GeneratedKey, Inbound, ProviderTables, Rejection, Secret, SigningKey, Source, Variable,
    built_in,
};
use crate::trace::TraceContext;

const OBJECT: &str = "7428cca4a3a04a8e";
const URL: &str = "https://bridge.example/webhooks/lab";

fn values(time: Timestamp, object: &str) -> SampleValues {
    SampleValues {
        object: ObjectId::parse(object).expect("hex digits"),
        event_type: EventType::parse("sample.uploaded").expect("words"),
        time,
    }
}

/// A source of this provider and a delivery of its sample, signed as of `now` with the source's key.
struct Signed {
    source: Source,
    head: DeliveryHead,
    sample: Sample,
}

impl Signed {
    fn of(name: &str, object: &str, now: Timestamp) -> Self {
        let provider = built_in(name).expect(name);
        let form = &provider.signature.secret;
        let key = GeneratedKey::new(form);
        let secret = Secret::read(key.verifying.as_bytes(), form, None).expect(name);
        let signing = SigningKey::read(key.signing.as_bytes(), form, None);
        let signing = signing.unwrap_or_else(|error| panic!("{name}: {error}"));
        let sample = provider.new_sample(&values(now, object)).expect(name);
        let content = (URL, sample.body.as_slice());
        let mut head = DeliveryHead::of(provider.sign(&signing, sample.head.clone(), content, now));
        head.path_secret = Some(key.verifying);
        let source = SourceName::parse("lab").expect("a name");
        let source = Source {
            url: Some(URL.to_owned()),
            ..Source::new(source, Arc::clone(&provider), vec![secret])
        };
        Self {
            source,
            head,
            sample,
        }
    }

    fn read(&self, now: Timestamp) -> Result<Event, Rejection> {
        let claim = self.source.read_signature(&self.head)?;
        let inbound = Inbound {
            body: Bytes::from(self.sample.body.clone()),
            content_type: Some(self.sample.content_type.clone()),
            trace: TraceContext::start(false),
        };
        Ok(Event::read(claim.verify(inbound, now, || i64::MIN)?))
    }
}

#[test]
fn every_built_in_sample_is_signed_accepted_and_understood() {
    let now = Timestamp::now();
    for name in ProviderTables::built_in().names() {
        let signed = Signed::of(name, OBJECT, now);
        let event = signed.read(now);
        let event = event.unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
        let Content::Understood(Understood { object_id, .. }) = event.content() else {
            panic!("{name}: {:?}", event.content());
        };
        let object_id = object_id.as_ref().expect(name);
        assert_eq!(object_id.as_str(), OBJECT, "{name}");
        let is_json = signed.sample.content_type == "application/json";
        let read = serde_json::from_slice::<serde_json::Value>(&signed.sample.body);
        assert_eq!(read.is_ok(), is_json, "{name}: {read:?}");
    }
}

#[test]
fn two_samples_are_two_events_and_one_that_is_sent_again_is_the_same() {
    let now = Timestamp::now();
    for name in ProviderTables::built_in().names() {
        let first = Signed::of(name, OBJECT, now);
        let id = |signed: &Signed| signed.read(now).expect(name).id();
        assert_eq!(id(&first), id(&first), "{name}");
        let later = now + std::time::Duration::from_secs(1);
        let second = Signed::of(name, "2", later);
        assert_ne!(id(&first), second.read(later).expect(name).id(), "{name}");
    }
}

#[test]
fn a_time_that_is_signed_in_the_body_is_that_of_the_sample() {
    let now = Timestamp::now();
    let signed = Signed::of("linear", OBJECT, now);
    let timestamp = &signed.source.provider.signature.timestamp;
    assert!(matches!(timestamp, Some(Variable::Pointer(_))));
    assert!(signed.read(now).is_ok());
    let later = now + std::time::Duration::from_secs(301);
    assert_eq!(signed.read(later).err(), Some(Rejection::TimestampStale));
}

#[test]
fn an_event_that_is_known_by_its_mac_is_so_in_either_case() {
    let now = Timestamp::now();
    let mut signed = Signed::of("meta", OBJECT, now);
    let id = signed.read(now).expect("signed").id();
    for (name, value) in &mut signed.head.headers {
        if name == "x-hub-signature-256" {
            *value = value.to_uppercase().replace("SHA256", "sha256");
        }
    }
    assert_eq!(signed.read(now).expect("signed").id(), id);
}

#[test]
fn placeholders_are_filled_in_and_nothing_else() {
    let time = "2026-03-02T09:15:42.123456789Z".parse().expect("RFC 3339");
    let fills = Placeholders::new(&values(time, OBJECT));
    for (text, expected) in [
        ("<object> <type>", "7428cca4a3a04a8e sample.uploaded"),
        ("<now>", "2026-03-02T09:15:42.123456Z"),
        ("<now:s>,<now:ms>", "1772442942,1772442942123"),
        ("<@U0> <now:> <<object>>", "<@U0> <now:> <7428cca4a3a04a8e>"),
        ("", ""),
    ] {
        assert_eq!(fills.fill(text), expected, "{text}");
    }
    let ids = fills.fill("<id> <uuid>");
    assert_eq!(fills.fill("<id> <uuid>"), ids, "one sample has one of each");
    assert_ne!(
        Placeholders::new(&values(time, OBJECT)).fill("<id> <uuid>"),
        ids
    );
    let (id, uuid) = ids.split_once(' ').expect("two words");
    assert_eq!((id.len(), uuid.len()), (16, 36));
}

#[test]
fn only_a_sample_with_a_place_for_the_type_takes_one() {
    let takes = |name: &str| built_in(name).expect(name).sample_takes_type();
    assert!(takes("onecodex"));
    assert!(!takes("github"));
    let form = built_in("twilio").expect("built in");
    assert!(form.sample_content_type().contains("form"));
}
