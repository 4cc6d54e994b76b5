//! A provider as its table says it: plain data that mirrors the TOML, every key optional. The doc
//! comments are the descriptions of the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// How one kind of sender signs its deliveries, and where they say what happened. The built-in ones
/// are printed by `hookferry config providers`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderTable {
    /// Another provider, whose values hold where this table has none. Default: none.
    pub extends: Option<String>,
    /// The CloudEvents `source` of its events, unless the source's `uri` names another. Default:
    /// `"urn:hookferry:NAME"`.
    pub uri: Option<String>,
    /// The event types with topics of their own, unless the source's `event_types` names others.
    /// Default: none.
    pub event_types: Option<Vec<String>>,
    /// What the body of a 200 is: `"json"`, `"empty"` or `"twiml"`. Default: `"json"`.
    pub answer: Option<AnswerForm>,
    /// The API of the provider's own record, from which `[source.NAME.recovery]` fetches what was missed:
    /// `"onecodex"` or `"github"`. Default: none.
    pub recovery: Option<RecordName>,
    /// How deliveries are proven. Required.
    pub signature: Option<SignatureTable>,
    /// Where a delivery says what happened. Required.
    pub event: Option<EventTable>,
    /// The same for a body of the content type `application/cloudevents+json`. Default: as `event`.
    pub structured: Option<EventTable>,
    /// Requests by which a sender makes sure of the webhook; they are answered, and are no events.
    /// Default: none.
    pub handshake: Option<Vec<HandshakeTable>>,
    /// What the vendor says of its deliveries; nothing is decided by it. Default: none.
    pub facts: Option<FactsTable>,
    /// A delivery of our own invention, for `send`, `demo` and tests. Default: none.
    pub sample: Option<SampleTable>,
}

/// What the body of a 200 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// The event's id and what became of it.
    #[default]
    Json,
    /// Nothing.
    Empty,
    /// A `TwiML` document without a verb.
    Twiml,
}

/// The API of a provider's own record of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordName {
    /// One Codex's Events API, which has the events themselves.
    Onecodex,
    /// GitHub's deliveries of a hook, which can be delivered again.
    Github,
}

/// One text, or several of which the first that can be filled in counts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "this is neither a text nor a list of texts")]
pub enum OneOrSeveral {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl OneOrSeveral {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

/// How deliveries are proven.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignatureTable {
    /// `"hmac"`, `"ed25519"`, `"ecdsa-p256"`, `"token"` or `"url"`. Default: `"hmac"`.
    pub scheme: Option<SchemeName>,
    /// The hash function of an HMAC: `"sha256"`, `"sha1"` or `"sha512"`. Default: `"sha256"`.
    pub hash: Option<HashName>,
    /// The header that holds the signature or the token; of several a match in any counts. Required,
    /// but for `"url"`.
    pub header: Option<OneOrSeveral>,
    /// The characters that separate the header's items. Default: `""`, it is one item.
    pub items: Option<String>,
    /// What stands between an item's name and its value. Default: `""`, items have no names.
    pub pair: Option<String>,
    /// The name of the items that are signatures. Required, where items have names.
    pub tag: Option<String>,
    /// How a signature is written: `"hex"` or `"base64"`. Default: `"hex"`.
    pub encoding: Option<EncodingName>,
    /// The bytes that are signed, as a template. Default: `"{body}"`.
    pub signed: Option<String>,
    /// The variable that is the time of the delivery. Default: none, no time is signed.
    pub timestamp: Option<String>,
    /// How that time is written: `"s"`, `"ms"` or `"rfc3339"`. Default: `"s"`.
    pub unit: Option<UnitName>,
    /// Whether one ASCII letter after the time's digits is not a part of it. Default: `false`.
    pub stray_letter: Option<bool>,
    /// How a secret is written: `"text"`, `"base64"`, `"hex"` or `"pem"`. Default: `"text"`.
    pub key: Option<KeyFormName>,
    /// What is taken off the secret's text first, where it begins with it. Default: `""`.
    pub key_prefix: Option<String>,
    /// What tells a repeated delivery: `"id"`, the event's id, or `"body"`, the bytes of the body.
    /// Default: `"body"` where neither the time nor the id is signed, else `"id"`.
    pub replay: Option<ReplayName>,
}

/// A scheme by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SchemeName {
    /// An HMAC under a shared secret.
    Hmac,
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256.
    EcdsaP256,
    /// A shared secret in a header.
    Token,
    /// A shared secret in the URL's path.
    Url,
}

/// A hash function by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashName {
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// SHA-512.
    Sha512,
}

/// An encoding by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodingName {
    /// Two hex digits for each byte.
    Hex,
    /// Base64 of the standard alphabet.
    Base64,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum UnitName {
    /// Seconds since 1970.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds since 1970.
    #[serde(rename = "ms")]
    Milliseconds,
    /// RFC 3339.
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyFormName {
    /// The text is the key.
    Text,
    /// Base64.
    Base64,
    /// Hex.
    Hex,
    /// PEM.
    Pem,
}

/// What tells a repeated delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayName {
    /// The event's id.
    Id,
    /// The bytes of the body.
    Body,
}

/// Where a delivery says what happened.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTable {
    /// The sender's own id, the same for every retry. Default: none, the id is made of the other
    /// three.
    pub id: Option<OneOrSeveral>,
    /// What happened. Required.
    #[serde(rename = "type")]
    pub event_type: Option<OneOrSeveral>,
    /// What it happened to; the object id is what stands after the last `/`. Default: none.
    pub object: Option<OneOrSeveral>,
    /// When it happened, the same for every retry. Default: none.
    pub time: Option<OneOrSeveral>,
    /// How that time is written: `"rfc3339"`, `"s"` or `"ms"`. Default: `"rfc3339"`.
    pub unit: Option<UnitName>,
    /// The field of a form body in which the JSON lies. Default: none.
    pub form: Option<String>,
    /// The JSON pointer of the array of events, where a delivery holds several. Default: none.
    pub list: Option<String>,
    /// CloudEvents extension attributes, by name, as templates. Default: none.
    pub attributes: Option<BTreeMap<String, String>>,
}

/// A request by which a sender makes sure of the webhook.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandshakeTable {
    /// Its method: `"POST"`, `"GET"`, `"HEAD"` or `"OPTIONS"`. Default: `"POST"`.
    pub method: Option<HandshakeMethodName>,
    /// Whether it is signed as a delivery is; only a POST can be. Default: `true` for a POST.
    pub signed: Option<bool>,
    /// What must hold: the text that each template gives, or `{ secret = "verify" }` for the source's
    /// `verify`. Required.
    pub when: Option<BTreeMap<String, ExpectedTable>>,
    /// The answer: a template for a plain text, or a table for JSON. Required.
    pub answer: Option<AnswerTable>,
}

/// A method by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HandshakeMethodName {
    /// POST.
    Post,
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

/// What a template of a handshake must give.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "this is neither a text nor { secret = \"verify\" }"
)]
pub enum ExpectedTable {
    /// This text; `"*"` is any.
    Text(String),
    /// The secret of the source with this name.
    Secret {
        /// The source's key that holds it: `"verify"`.
        secret: String,
    },
}

/// The answer to a handshake.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "this is neither a text nor a table")]
pub enum AnswerTable {
    /// A plain text, as a template.
    Text(String),
    /// A JSON object, whose texts are templates.
    Json(serde_json::Map<String, serde_json::Value>),
}

/// What the vendor says of its deliveries.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FactsTable {
    /// How long it waits for an answer, such as `"10s"`. Default: not known.
    pub deadline: Option<String>,
    /// The largest body it sends, such as `"25MiB"`. Default: not known.
    pub max_body: Option<String>,
    /// What it sends again: `"non-2xx"`, `"5xx"` or `"none"`. Default: `"non-2xx"`.
    pub retries: Option<RetriesName>,
    /// Where the vendor says so. Default: none.
    pub link: Option<String>,
}

/// What a sender sends again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum RetriesName {
    /// Whatever was not answered 2xx.
    #[default]
    #[serde(rename = "non-2xx")]
    NonSuccess,
    /// What was answered 5xx, or not at all.
    #[serde(rename = "5xx")]
    ServerErrors,
    /// Nothing.
    #[serde(rename = "none")]
    Nothing,
}

/// A delivery of our own invention.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleTable {
    /// Headers besides those of the signature. Default: none.
    pub headers: Option<BTreeMap<String, String>>,
    /// The content type. Default: `"application/json"`.
    pub content_type: Option<String>,
    /// The body, with the placeholders `<id>`, `<uuid>`, `<object>`, `<type>`, `<now>`, `<now:s>` and
    /// `<now:ms>`. Required.
    pub body: Option<String>,
}
