//! Who sends the demo's deliveries: a provider with a key made for it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::cli::sample_delivery;
use crate::event::{Content, Event, Understood};
use crate::name::{EventType, SourceName};
use crate::source::{
    DeliveryHead, GeneratedKey, Inbound, Provider, Sample, SampleValues, Secret, SigningKey, Source,
};
use crate::trace::TraceContext;

/// The URL that is signed in a delivery that goes nowhere.
const NOWHERE: &str = "http://127.0.0.1/";

/// The sender.
#[derive(Clone)]
pub(super) struct DemoSender {
    /// What kind of sender.
    pub provider: Arc<Provider>,
    /// What it signs with, and what the bridge verifies with.
    pub key: GeneratedKey,
    /// The type of its sample.
    pub event_type: EventType,
    /// The provider's table, where it is not built in.
    pub definition: Option<String>,
}

impl DemoSender {
    /// One of this provider with a new key; none where the provider has no sample that the bridge
    /// understands.
    pub(super) fn new(provider: Arc<Provider>) -> Option<Self> {
        let key = GeneratedKey::new(&provider.signature.secret);
        Some(Self {
            event_type: type_of_sample(&provider, &key)?,
            key,
            provider,
            definition: None,
        })
    }

    /// The event types that get topics of their own.
    pub(super) fn event_types(&self) -> Vec<&EventType> {
        let mut event_types: Vec<&EventType> = self.provider.event_types.iter().collect();
        if !event_types.contains(&&self.event_type) {
            event_types.push(&self.event_type);
        }
        event_types
    }

    /// What it signs with.
    pub(super) fn signing_key(&self) -> SigningKey {
        signing_key(&self.provider, &self.key)
    }

    /// Whether the bridge has one half of a pair and the sender the other.
    pub(super) fn has_key_pair(&self) -> bool {
        self.key.signing != self.key.verifying
    }

    /// Whether the webhook's URL is signed, so that the bridge has to know it.
    pub(super) fn signs_url(&self) -> bool {
        self.provider.signature.signs_url()
    }

    /// A new delivery.
    pub(super) fn sample(&self, values: &SampleValues) -> Option<Sample> {
        sample_delivery::new(&self.provider, values)
    }
}

/// The event type that the bridge reads in the sample: its table need not say it.
fn type_of_sample(provider: &Arc<Provider>, key: &GeneratedKey) -> Option<EventType> {
    let now = Timestamp::now();
    let values = SampleValues {
        object: sample_delivery::object_id(),
        event_type: sample_delivery::event_type(provider),
        time: now,
    };
    let sample = sample_delivery::new(provider, &values)?;
    let form = &provider.signature.secret;
    let secret = Secret::read(key.verifying.as_bytes(), form, None).ok()?;
    let name = SourceName::parse("demo").expect("a name");
    let source = Source {
        url: Some(NOWHERE.to_owned()),
        ..Source::new(name, Arc::clone(provider), vec![secret])
    };
    let content = (NOWHERE, sample.body.as_slice());
    let signed = provider.sign(&signing_key(provider, key), sample.head, content, now);
    let head = DeliveryHead {
        path_secret: Some(key.signing.clone()),
        ..DeliveryHead::of(signed)
    };
    let inbound = Inbound {
        body: Bytes::from(sample.body),
        content_type: Some(sample.content_type),
        trace: TraceContext::start(false),
    };
    let claim = source.read_signature(&head).ok()?;
    let event = Event::read(claim.verify(inbound, now, || i64::MIN).ok()?);
    match event.content() {
        Content::Understood(Understood { event_type, .. }) => Some(event_type.clone()),
        Content::Quarantined(_) => None,
    }
}

/// The sender's half of a key that was made for this provider.
pub(super) fn signing_key(provider: &Provider, key: &GeneratedKey) -> SigningKey {
    let read = SigningKey::read(key.signing.as_bytes(), &provider.signature.secret, None);
    read.expect("it was made in this form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{ProviderTables, built_in};

    #[test]
    fn every_built_in_provider_can_be_shown() {
        for name in ProviderTables::built_in().names() {
            let provider = built_in(name).expect(name);
            assert!(DemoSender::new(provider).is_some(), "{name}");
        }
    }

    #[test]
    fn the_type_is_the_one_that_the_bridge_reads() {
        for (name, types) in [
            ("github", vec!["push"]),
            ("shopify", vec!["orders.create"]),
            ("linear", vec!["Issue.create"]),
            (
                "onecodex",
                vec!["sample.uploaded", "analysis.succeeded", "analysis.failed"],
            ),
        ] {
            let sender = DemoSender::new(built_in(name).expect(name)).expect(name);
            assert_eq!(sender.event_type.as_str(), types[0]);
            let all = sender.event_types().into_iter();
            assert_eq!(all.map(EventType::as_str).collect::<Vec<_>>(), types);
        }
    }
}
