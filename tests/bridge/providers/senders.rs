//! Senders of every kind before one bridge: each with its source, its key and its sample.

use std::fmt::Write as _;
use std::sync::Arc;

use hookferry::source::{DeliveryHead, Provider, Scheme, SigningKey, built_in};
use jiff::Timestamp;

use crate::harness::{Answer, Bridge, KeyPair, Post, Setup};

/// The content type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// The content type of JSON.
pub const JSON: &str = "application/json";

const TOKEN: &str = "a-secret-of-the-tests-that-is-long";
const BASE64: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
/// Those that sign the webhook's URL, so that it is configured.
const SIGN_URLS: [&str; 4] = ["hubspot", "square", "trello", "twilio"];

/// A sender with a source of the name of its provider.
pub struct Sender {
    pub provider: Arc<Provider>,
    /// The table in the configuration; the built-in one unless a test says otherwise.
    table: String,
    /// What the bridge verifies with, as it lies in a file.
    pub proves: String,
    signs: String,
    /// More keys of the source.
    keys: String,
}

/// A delivery that is not signed yet.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub headers: Vec<(String, String)>,
    pub content_type: String,
    pub query: Option<String>,
    pub body: Vec<u8>,
}

/// What stands in the place of a sample's placeholders.
#[derive(Debug, Clone)]
pub struct Values {
    pub id: String,
    pub uuid: String,
    pub object: String,
    /// A whole second, so that it is the same in each unit.
    pub time: Timestamp,
}

impl Values {
    /// New ones, of now.
    pub fn new() -> Self {
        let second = Timestamp::now().as_second();
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            uuid: uuid::Builder::from_random_bytes(rand::random())
                .into_uuid()
                .to_string(),
            object: format!("{:016x}", rand::random::<u64>()),
            time: Timestamp::from_second(second).expect("within the calendar"),
        }
    }

    /// The text with its placeholders filled in.
    pub fn fill(&self, text: &str) -> String {
        let milliseconds = self.time.as_millisecond().to_string();
        text.replace("<id>", &self.id)
            .replace("<uuid>", &self.uuid)
            .replace("<object>", &self.object)
            .replace("<type>", "sample.uploaded")
            .replace("<now>", &self.time.to_string())
            .replace("<now:s>", &self.time.as_second().to_string())
            .replace("<now:ms>", &milliseconds)
    }
}

impl Delivery {
    /// With this body and without headers.
    pub fn new(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            headers: Vec::new(),
            content_type: content_type.to_owned(),
            query: None,
            body: body.into(),
        }
    }

    /// With this header, in the place of one of its name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(of, _)| of != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// To a URL with this query.
    pub fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }
}

impl Sender {
    /// A sender of a built-in provider.
    pub fn of(provider: &str) -> Self {
        let (signs, proves) = keys(provider);
        Self {
            provider: built_in(provider).unwrap_or_else(|| panic!("no provider {provider}")),
            table: provider.to_owned(),
            proves,
            signs,
            keys: String::new(),
        }
    }

    /// The same, whose source has these keys besides.
    pub fn with(self, keys: &str) -> Self {
        let keys = keys.to_owned();
        Self { keys, ..self }
    }

    /// The same, whose source has the provider of another table.
    pub fn of_table(self, table: &str) -> Self {
        let table = table.to_owned();
        Self { table, ..self }
    }

    /// The source's name.
    pub fn source(&self) -> &str {
        &self.provider.name
    }

    /// The webhook's URL as the sender knows it.
    pub fn url(&self) -> String {
        format!("https://hooks.example.com/webhooks/{}", self.source())
    }

    /// The provider's sample, filled in.
    pub fn sample(&self, values: &Values) -> Delivery {
        let table = self.provider.sample.as_ref().expect("each has one");
        let body = table.body.as_deref().expect("it has a body");
        let headers = table.headers.iter().flatten();
        Delivery {
            headers: headers
                .map(|(name, value)| (name.clone(), values.fill(value)))
                .collect(),
            content_type: table.content_type.as_deref().unwrap_or(JSON).to_owned(),
            query: None,
            body: values.fill(body).into_bytes(),
        }
    }

    /// The request, signed now.
    pub fn post(&self, delivery: &Delivery) -> Post {
        self.post_at(delivery, Timestamp::now())
    }

    /// The request, signed at some time.
    pub fn post_at(&self, delivery: &Delivery, time: Timestamp) -> Post {
        let form = &self.provider.signature.secret;
        let key = SigningKey::read(self.signs.as_bytes(), form, None);
        let key = key.expect("a key of the provider's form");
        let head = DeliveryHead {
            query: delivery.query.clone(),
            ..DeliveryHead::of(delivery.headers.clone())
        };
        let url = self.url();
        let signed = self.provider.sign(&key, head, (&url, &delivery.body), time);
        let mut path = format!("/webhooks/{}", self.source());
        if self.provider.signature.scheme() == Scheme::Url {
            let _ = write!(path, "/{}", self.proves);
        }
        if let Some(query) = &delivery.query {
            let _ = write!(path, "?{query}");
        }
        let mut post = Post::unsigned(self.source(), delivery.body.clone()).path(&path);
        post.headers = vec![("content-type".to_owned(), delivery.content_type.clone())];
        post.headers.extend(signed);
        post
    }

    /// Sends it; asserts that it is answered as an event with this outcome.
    pub async fn sends(&self, bridge: &Bridge, delivery: &Delivery, outcome: &str) -> Answer {
        let answer = bridge.post(&self.post(delivery)).await;
        assert_outcome(self.source(), &answer, outcome);
        answer
    }

    /// Its source, with a route to these sinks.
    fn configuration(&self, setup: &Setup, sinks: &[&str]) -> String {
        let (source, table, keys) = (self.source(), &self.table, &self.keys);
        let secret = setup.path(&format!("secret-of-{source}"));
        std::fs::write(&secret, &self.proves).expect("writable");
        let url = if SIGN_URLS.contains(&source) {
            format!("url = {:?}\n", self.url())
        } else {
            String::new()
        };
        format!(
            "[source.{source}]\nprovider = {table:?}\nsecrets = [{{ file = {secret:?} }}]\n\
             answer = \"json\"\n{url}{keys}\n[[route]]\nsource = {source:?}\nsinks = {sinks:?}\n"
        )
    }
}

/// Asserts that a delivery was answered as an event with this outcome.
#[track_caller]
pub fn assert_outcome(source: &str, answer: &Answer, outcome: &str) {
    assert_eq!(answer.status, 200, "{source}: {answer:?}");
    assert_eq!(answer.outcome(), outcome, "{source}: {answer:?}");
}

/// Adds the sources of these senders to a configuration, with a route to each of its sinks.
pub fn add(setup: &mut Setup, senders: &[Sender]) {
    let sinks: Vec<&str> = setup.sinks.iter().map(|(name, _)| name.as_str()).collect();
    let sources = senders.iter();
    let text: String = sources
        .map(|sender| sender.configuration(setup, &sinks))
        .collect();
    setup.more.push_str(&text);
}

/// A bridge to the store with these sources.
pub async fn with_store(senders: &[Sender]) -> (Setup, Bridge) {
    let mut setup = Setup::store();
    add(&mut setup, senders);
    let bridge = setup.start().await;
    (setup, bridge)
}

/// What a sender of this provider signs with, and what its receiver verifies with.
fn keys(provider: &str) -> (String, String) {
    let public = |pair: KeyPair, proves: String| (pair.private_pem, proves);
    match provider {
        "standard_webhooks" | "svix" | "gitlab" => (BASE64.to_owned(), BASE64.to_owned()),
        "standard_webhooks_ed25519" => {
            let pair = KeyPair::ed25519();
            let proves = format!("whpk_{}", pair.raw_public_base64());
            public(pair, proves)
        }
        "discord" => {
            let pair = KeyPair::ed25519();
            let proves = hex::encode(pair.raw_public());
            public(pair, proves)
        }
        "benchling" => {
            let pair = KeyPair::p256();
            let proves = pair.public_pem.clone();
            public(pair, proves)
        }
        "sendgrid" => {
            let pair = KeyPair::p256();
            let proves = pair.public_base64();
            public(pair, proves)
        }
        _ => (TOKEN.to_owned(), TOKEN.to_owned()),
    }
}
