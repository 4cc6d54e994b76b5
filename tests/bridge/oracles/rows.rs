//! The vendors' libraries, each with the built-in providers that sign as it does.

use super::bodies::Body;
use crate::harness::Language::{self, Go, Node, Python};
use crate::harness::sdk::Headers;
use crate::harness::{KeyPair, Question, Sdk};

/// The time at which deliveries are signed.
pub const NOW: i64 = 1_700_000_000;

/// A library.
pub struct Row {
    pub language: Language,
    /// Its name in the program.
    pub library: &'static str,
    /// The first is its own; the others sign alike.
    pub providers: &'static [&'static str],
    pub key: Key,
    /// Headers of a delivery that are there whether it is signed or not.
    pub companions: &'static [(&'static str, &'static str)],
    /// Whether the library, or its program, can sign.
    pub signs: bool,
}

/// What deliveries are signed with and proven with.
pub enum Key {
    /// A secret as the vendor's page shows it, and another one.
    Shared(&'static str, &'static str),
    /// A key pair over P-256, whose public key is written as PEM.
    PublicPem,
    /// The same as base64.
    PublicBase64,
}

/// The two halves; of a shared secret, both are it.
pub struct Pair {
    pub signs: String,
    pub proves: String,
}

const HEX: Key = Key::Shared(
    "000102030405060708090a0b0c0d0e0f",
    "100102030405060708090a0b0c0d0e0f",
);
const TEXT: Key = Key::Shared("It's a secret of ours", "It's another secret of ours");
const BASE64: Key = Key::Shared(
    "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
    "whsec_AQECAwQFBgcICQoLDA0ODxAREhMUFRYX",
);
const SHOPIFY: Key = Key::Shared(
    "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",
    "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",
);

/// One that signs nothing else than the body, or what stands beside it.
const fn row(
    language: Language,
    library: &'static str,
    providers: &'static [&'static str],
    key: Key,
) -> Row {
    Row {
        language,
        library,
        providers,
        key,
        companions: &[],
        signs: true,
    }
}

impl Row {
    const fn with(self, companions: &'static [(&'static str, &'static str)]) -> Self {
        Self { companions, ..self }
    }

    const fn verifies_only(self) -> Self {
        Self {
            signs: false,
            ..self
        }
    }
}

pub const ROWS: &[Row] = &[
    row(
        Python,
        "standard_webhooks",
        &["standard_webhooks", "gitlab"],
        BASE64,
    )
    .with(&[("webhook-id", "msg_1")]),
    row(Python, "svix", &["svix"], BASE64).with(&[("svix-id", "msg_1")]),
    row(
        Python,
        "stripe",
        &["stripe"],
        Key::Shared(
            "whsec_AAECAwQFBgcICQoLDA0ODxA",
            "whsec_AQECAwQFBgcICQoLDA0ODxA",
        ),
    ),
    row(Python, "slack", &["slack"], HEX),
    row(Python, "twilio", &["twilio"], HEX),
    row(Python, "sendgrid", &["sendgrid"], Key::PublicBase64),
    row(Python, "square", &["square"], TEXT).verifies_only(),
    row(Python, "paddle", &["paddle"], TEXT).verifies_only(),
    row(Python, "hubspot", &["hubspot"], TEXT),
    row(Python, "benchling", &["benchling"], Key::PublicPem).with(&[("webhook-id", "msg_1")]),
    row(Python, "github", &["github"], TEXT).verifies_only(),
    row(Node, "github", &["github", "meta", "whatsapp"], TEXT),
    row(Node, "bitbucket", &["bitbucket", "jira"], TEXT),
    row(Node, "linear", &["linear"], TEXT).verifies_only(),
    row(Node, "shopify", &["shopify"], SHOPIFY).with(&[
        ("x-shopify-topic", "orders/create"),
        ("x-shopify-shop-domain", "example.myshopify.com"),
        ("x-shopify-api-version", "2026-07"),
        (
            "x-shopify-webhook-id",
            "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        ),
    ]),
    row(Node, "shopify_events", &["shopify_events"], SHOPIFY).with(&[
        ("shopify-topic", "Product"),
        ("shopify-shop-domain", "example.myshopify.com"),
        ("shopify-api-version", "2026-07"),
        ("shopify-webhook-id", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"),
    ]),
    row(Go, "pagerduty", &["pagerduty"], TEXT).verifies_only(),
];

impl Key {
    /// Two keys.
    pub fn pairs(&self) -> [Pair; 2] {
        let shared = |text: &str| Pair {
            signs: text.to_owned(),
            proves: text.to_owned(),
        };
        let public = |written: fn(&KeyPair) -> String| {
            let pair = KeyPair::p256();
            Pair {
                proves: written(&pair),
                signs: pair.private_pem,
            }
        };
        match self {
            Self::Shared(one, other) => [shared(one), shared(other)],
            Self::PublicPem => [(); 2].map(|()| public(|pair| pair.public_pem.clone())),
            Self::PublicBase64 => [(); 2].map(|()| public(KeyPair::public_base64)),
        }
    }
}

impl Row {
    /// The row of this library.
    pub fn of(library: &str) -> &'static Self {
        let mut rows = ROWS.iter().filter(|row| row.library == library);
        rows.next().unwrap_or_else(|| panic!("no row {library}"))
    }

    /// What is to be signed, with the companions.
    pub fn unsigned<'a>(&self, pair: &'a Pair, body: &'a [u8]) -> Question<'a> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let companions: Headers = self.companions.iter().map(owned).collect();
        Question::new(self.library, &pair.signs, body, NOW).with(&companions)
    }

    /// What is to be verified.
    pub fn signed<'a>(&self, pair: &'a Pair, body: &'a [u8], headers: &Headers) -> Question<'a> {
        Question::new(self.library, &pair.proves, body, NOW).with(headers)
    }

    /// A body as the sender would send it: Linear's has the time in it. None where it cannot.
    pub fn prepared(&self, body: &Body) -> Option<Vec<u8>> {
        match self.library {
            "linear" => body.with_number("webhookTimestamp", NOW * 1000),
            _ => Some(body.bytes.clone()),
        }
    }

    /// How the library's words begin where it does not take a body that was rightly signed.
    pub fn refusal(&self, body: &[u8]) -> Option<&'static str> {
        let is_text = std::str::from_utf8(body).is_ok();
        match (self.language, self.library) {
            // These take bytes, and empty ones too.
            (Python, "github") | (Node, "linear") => None,
            (Python, "square") if body.is_empty() => Some("answered false"),
            (Python, _) if !is_text => Some("UnicodeDecodeError"),
            (Node, "shopify" | "shopify_events") if body.is_empty() => Some("Error: missing_body"),
            (Node, _) if body.is_empty() || !is_text => Some("TypeError"),
            (Go, _) if body.is_empty() => Some("HTTP request body is either empty"),
            _ => None,
        }
    }

    /// The same where it does not sign a body.
    pub fn signing_refusal(&self, body: &[u8]) -> Option<&'static str> {
        match self.library {
            // Signed in the program, with a library for keys: the vendor's only verifies.
            "sendgrid" | "benchling" => None,
            "shopify" | "shopify_events" if body.is_empty() => None,
            _ => self.refusal(body),
        }
    }
}

/// The programs, each started when it is first asked.
#[derive(Default)]
pub struct Programs([Option<Sdk>; 3]);

impl Programs {
    /// That of a row.
    pub fn of(&mut self, row: &Row) -> &mut Sdk {
        let place = match row.language {
            Python => 0,
            Node => 1,
            Go => 2,
        };
        self.0[place].get_or_insert_with(|| Sdk::start(row.language))
    }
}
