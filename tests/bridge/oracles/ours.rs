//! The bridge's library behind the two questions that the vendors' libraries are asked.

use std::sync::Arc;

use bytes::Bytes;
use hookferry::name::SourceName;
use hookferry::source::{
    DeliveryHead, Inbound, Provider, Secret, SigningKey, Source, TimeUnit, built_in,
};
use hookferry::trace::TraceContext;
use jiff::Timestamp;

use crate::harness::Question;
use crate::harness::sdk::Headers;

/// A built-in provider.
pub struct Ours(pub Arc<Provider>);

impl Ours {
    /// The provider of this name.
    pub fn named(name: &str) -> Self {
        Self(built_in(name).unwrap_or_else(|| panic!("there is no provider {name}")))
    }

    /// Whether the bridge takes the delivery, or why it does not.
    pub fn verify(&self, question: &Question<'_>) -> Result<(), String> {
        self.verify_head(question, &head(question))
    }

    /// The same for a delivery with this head, whatever headers the question has.
    pub fn verify_head(&self, question: &Question<'_>, head: &DeliveryHead) -> Result<(), String> {
        let form = &self.0.signature.secret;
        let secret = Secret::read(question.secret.as_bytes(), form, None);
        let secret = secret.map_err(|error| error.to_string())?;
        let name = SourceName::parse("source").expect("a slug");
        let mut source = Source::new(name, Arc::clone(&self.0), vec![secret]);
        source.url = Some(url(question).to_owned());
        let inbound = Inbound {
            body: Bytes::copy_from_slice(question.body),
            content_type: None,
            trace: TraceContext::start(false),
        };
        let reason = |rejection: hookferry::source::Rejection| rejection.reason().to_owned();
        let claim = source.read_signature(head).map_err(reason)?;
        let verified = claim.verify(inbound, time(question), || i64::MIN);
        verified.map(drop).map_err(reason)
    }

    /// The headers of a delivery that is signed with the question's secret, its own among them.
    pub fn sign(&self, question: &Question<'_>) -> Headers {
        let form = &self.0.signature.secret;
        let key = SigningKey::read(question.secret.as_bytes(), form, None);
        self.sign_with(&key.expect("a key of the provider's form"), question)
    }

    /// The same with a key that was read otherwise.
    pub fn sign_with(&self, key: &SigningKey, question: &Question<'_>) -> Headers {
        let target = (url(question), question.body);
        self.0.sign(key, head(question), target, time(question))
    }

    /// The header that holds the signature.
    pub fn header(&self) -> &str {
        &self.0.signature.headers[0]
    }

    /// How it writes the time that it signs.
    pub fn unit(&self) -> TimeUnit {
        self.0.signature.unit
    }
}

fn head(question: &Question<'_>) -> DeliveryHead {
    let query = question.url.split_once('?').map(|(_, query)| query);
    DeliveryHead {
        query: query.map(str::to_owned),
        method: Some(question.method.to_owned()),
        ..DeliveryHead::of(question.headers.clone())
    }
}

/// The URL as it is configured: without the query, which comes with the request.
fn url<'a>(question: &Question<'a>) -> &'a str {
    question.url.split('?').next().unwrap_or_default()
}

fn time(question: &Question<'_>) -> Timestamp {
    Timestamp::from_second(question.timestamp).expect("within the calendar")
}

/// The value of a header that must be there.
pub fn value<'a>(headers: &'a Headers, name: &str) -> &'a str {
    let found = headers.iter().find(|(of, _)| of == name);
    &found
        .unwrap_or_else(|| panic!("no {name} in {headers:?}"))
        .1
}

/// The headers with another value for one of them.
pub fn with_value(headers: &Headers, name: &str, value: &str) -> Headers {
    let mut headers = without(headers, name);
    headers.push((name.to_owned(), value.to_owned()));
    headers
}

/// The headers without one of them.
pub fn without(headers: &Headers, name: &str) -> Headers {
    let others = headers.iter().filter(|(of, _)| of != name);
    others.cloned().collect()
}
