//! Deliveries of other providers than the first one, each signed as its sender does, and explained
//! with one usual mistake.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hookferry::source::{
    DeliveryHead, Encoding, KeyForm, Provider, Scheme, SecretForm, SigningKey, built_in,
};
use jiff::Timestamp;

use super::super::{Said, hookferry};

/// When all of them are sent.
const NOW: i64 = 1_492_774_577;
const SECRET: &str = "s3cr3t-of-these-tests";
const URL: &str = "https://hooks.example.org/webhooks/a";

/// A signed request, and what explains it.
struct Request {
    provider: Arc<Provider>,
    /// What it is explained as.
    explained_as: String,
    secret: String,
    headers: Vec<(String, String)>,
    body: String,
    more: Vec<String>,
}

fn provider(name: &str) -> Arc<Provider> {
    built_in(name).expect("built in")
}

impl Request {
    /// A request as `name` signs it.
    fn of(name: &str, secret: &str, body: &str) -> Self {
        let form = provider(name).signature.secret.clone();
        Self::signed(name, secret, &form, body)
    }

    /// A request by a sender that reads the secret in another form.
    fn signed(name: &str, secret: &str, form: &SecretForm, body: &str) -> Self {
        let key = SigningKey::read(secret.as_bytes(), form, None).expect("a secret");
        let provider = provider(name);
        let now = Timestamp::from_second(NOW).expect("in range");
        let headers = provider.sign(&key, DeliveryHead::default(), (URL, body.as_bytes()), now);
        Self {
            explained_as: name.to_owned(),
            provider,
            secret: secret.to_owned(),
            headers,
            body: body.to_owned(),
            more: Vec::new(),
        }
    }

    fn explained_as(mut self, name: &str) -> Self {
        self.explained_as = name.to_owned();
        self
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.more
            .extend(arguments.iter().map(|text| (*text).to_owned()));
        self
    }

    /// Writes a header's value again.
    fn header(mut self, name: &str, write: impl Fn(&str) -> String) -> Self {
        let value = self.headers.iter_mut().find(|(of, _)| of == name);
        let (_, value) = value.expect("signed");
        *value = write(value);
        self
    }

    fn explain(&self) -> Said {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("body");
        std::fs::write(&file, &self.body).expect("written");
        let mut command = hookferry(&["explain", "--provider", &self.explained_as]);
        command.args(["--secret-env", "S", "--now", &NOW.to_string(), "--body"]);
        command.arg(&file).args(&self.more).env("S", &self.secret);
        for (name, value) in &self.headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        let said = Said::of(command.output().expect("the program starts"));
        assert!(!said.out.contains(&self.secret), "{}", said.out);
        assert!(!said.err.contains(&self.secret), "{}", said.err);
        said
    }

    /// It does not verify, and the mistake is named.
    #[track_caller]
    fn names(&self, mistakes: &[&str]) {
        let said = self.explain().with_code(1);
        for mistake in mistakes {
            assert!(
                said.out.contains(mistake),
                "{mistake} is not in {}",
                said.out
            );
        }
        assert!(!said.out.contains("another secret, or"), "{}", said.out);
    }
}

/// 24 bytes, as Standard Webhooks writes them.
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn what_a_sender_signs_verifies() {
    let body = r#"{"id":"evt_1","type":"a.b","data":{"id":"c"}}"#;
    let first_of_two = |value: &str| format!("{},v1={}", value, "00".repeat(32));
    for request in [
        Request::of("stripe", WHSEC, body).header("stripe-signature", first_of_two),
        Request::of("standard_webhooks", WHSEC, body),
        Request::of("slack", SECRET, body),
        Request::of("github", SECRET, body).with(&["--header", "X-GitHub-Event: push"]),
        Request::of("shopify", SECRET, body),
        Request::of("square", SECRET, body).with(&["--url", URL]),
        Request::of("hubspot", SECRET, body).with(&["--url", URL]),
        Request::of("gitlab_token", SECRET, body),
    ] {
        let said = request.explain().with_code(0);
        assert!(said.out.contains("it verifies"), "{}", said.out);
        let name = &request.provider.name;
        assert!(said.out.contains("✓ signature"), "{name}: {}", said.out);
    }
}

#[test]
fn the_event_and_what_is_not_signed_of_it_are_told() {
    let body = r#"{"action":"opened","repository":{"id":42}}"#;
    let request = Request::of("github", SECRET, body).with(&[
        "--header",
        "X-GitHub-Event: issues",
        "--header",
        "X-GitHub-Delivery: 1",
    ]);
    let said = request.explain().with_code(0);
    for text in [
        "issues.opened of 42",
        "! unsigned",
        "id, type: no signature",
        "github.other",
    ] {
        assert!(said.out.contains(text), "{text} is not in {}", said.out);
    }
}

/// One prefix, two meanings.
#[test]
fn the_other_reading_of_the_secret_is_named() {
    let text = SecretForm::default();
    let base64 = SecretForm {
        key: KeyForm::Base64,
        prefix: "whsec_".to_owned(),
        ..SecretForm::default()
    };
    Request::signed("stripe", WHSEC, &base64, "{}")
        .names(&["whsec_ were left out of the secret", "decoded from base64"]);
    Request::signed("standard_webhooks", WHSEC, &text, r#"{"type":"a"}"#)
        .names(&["if the secret were not decoded"]);
}

#[test]
fn another_url_is_named() {
    let request = Request::of("square", SECRET, "{}");
    let at = |url: &str| {
        let request = Request::of("square", SECRET, "{}");
        request.with(&["--url", url])
    };
    at("http://hooks.example.org/webhooks/a").names(&["began with https://"]);
    at("https://hooks.example.org:443/webhooks/a").names(&["had no port"]);
    at("https://hooks.example.org/webhooks/a/").names(&["no slash at its end"]);
    at("https://hooks.example.org/webhooks/a?b=c").names(&["no query"]);
    let without = request.explain().with_code(2);
    assert!(without.err.contains("--url"), "{}", without.err);
    let twice = at("https://a.example/b?c=d").with(&["--query", "e=f"]);
    let twice = twice.explain().with_code(2);
    assert!(twice.err.contains("--query"), "{}", twice.err);
}

#[test]
fn seconds_in_the_place_of_milliseconds_are_named() {
    let name = "x-hubspot-request-timestamp";
    let in_seconds = |value: &str| value[..value.len() - 3].to_owned();
    let request = Request::of("hubspot", SECRET, "[]").with(&["--url", URL]);
    // The sender has signed milliseconds, and somebody has written seconds.
    request
        .header(name, in_seconds)
        .names(&["the timestamp were in milliseconds", "unit = \"s\""]);
    // The sender has signed seconds.
    let hubspot = provider("hubspot");
    let key =
        SigningKey::read(SECRET.as_bytes(), &hubspot.signature.secret, None).expect("a secret");
    let head = DeliveryHead::of(vec![(name.to_owned(), NOW.to_string())]);
    let now = Timestamp::from_second(NOW).expect("in range");
    let mut request = Request::of("hubspot", SECRET, "[]").with(&["--url", URL]);
    request.headers = hubspot.sign(&key, head, (URL, b"[]"), now);
    let said = request.explain().with_code(1);
    for text in ["✓ signature", "✗ timestamp", "unit = \"s\"", "2017-04-21"] {
        assert!(said.out.contains(text), "{text} is not in {}", said.out);
    }
}

#[test]
fn another_providers_signature_is_known() {
    let slack = Request::of("slack", SECRET, "{}").explained_as("github");
    slack.names(&[
        "if the provider were slack: this is how it signs",
        "no x-hub-signature-256",
    ]);
    let json = r#"{"type":"a.b"}"#;
    let svix = Request::of("svix", WHSEC, json).explained_as("standard_webhooks");
    svix.names(&["svix", "the headers svix-… were called webhook-…"]);
    let intercom = Request::of("intercom", SECRET, "{}").explained_as("bitbucket");
    intercom.names(&["intercom", "hash = \"sha1\""]);
}

/// As a configuration defines it; the others may be it as well.
#[test]
fn a_provider_of_a_configuration_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hookferry.toml");
    let table =
        "[provider.lab]\nextends = \"github\"\n[provider.lab.signature]\nheader = \"x-lab\"\n";
    std::fs::write(&file, table).expect("written");
    let config = file.display().to_string();
    let mut request = Request::of("github", SECRET, "{}").with(&["--config", &config]);
    request.headers[0].0 = "x-lab".to_owned();
    request.names(&["if the provider were lab: this is how it signs"]);
    let request = request.explained_as("lab");
    request.explain().with_code(0);
}

#[test]
fn a_handshake_is_told_with_its_answer() {
    let body = r#"{"type":"url_verification","challenge":"abc123"}"#;
    let slack = Request::of("slack", SECRET, body).explain().with_code(0);
    assert!(
        slack.out.contains("answered with the text abc123"),
        "{}",
        slack.out
    );
    let mut okta = Request::of("okta", SECRET, "{}").with(&["--method", "GET"]);
    let name = "x-okta-verification-challenge".to_owned();
    okta.headers = vec![(name, "abc123".to_owned())];
    let okta = okta.explain().with_code(0);
    for text in ["abc123", "needs no signature"] {
        assert!(okta.out.contains(text), "{text} is not in {}", okta.out);
    }
}

#[test]
fn a_signed_header_that_is_missing_is_named() {
    let mut request = Request::of("slack", SECRET, "{}");
    request
        .headers
        .retain(|(name, _)| name != "x-slack-request-timestamp");
    let said = request.explain().with_code(1);
    for text in [
        "x-slack-request-timestamp, which the signature covers",
        "signed_header_missing",
    ] {
        assert!(said.out.contains(text), "{text} is not in {}", said.out);
    }
}

#[test]
fn a_time_that_is_none_is_named_and_the_signature_judged_all_the_same() {
    let sender = provider("standard_webhooks");
    let key = SigningKey::read(WHSEC.as_bytes(), &sender.signature.secret, None).expect("a secret");
    let name = "webhook-timestamp".to_owned();
    let head = DeliveryHead::of(vec![(name, "2017-04-21T11:36:17Z".to_owned())]);
    let now = Timestamp::from_second(NOW).expect("in range");
    let mut request = Request::of("standard_webhooks", WHSEC, "{}");
    request.headers = sender.sign(&key, head, (URL, b"{}"), now);
    let said = request.explain().with_code(1);
    for text in ["✗ timestamp", "unit = \"rfc3339\"", "timestamp_malformed"] {
        assert!(said.out.contains(text), "{text} is not in {}", said.out);
    }
}

#[test]
fn a_token_is_compared_and_never_printed() {
    let right = Request::of("gitlab_token", "a very secret token", "{}");
    assert!(
        right
            .explain()
            .with_code(0)
            .out
            .contains("the token is the secret")
    );
    let wrong = right.header("x-gitlab-token", |_| "another secret token".to_owned());
    let said = wrong.explain().with_code(1);
    assert!(
        said.out.contains("the token is not the secret"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("another secret token"), "{}", said.out);
}

#[test]
fn a_secret_in_the_url_is_compared_and_never_printed() {
    let request = |url: &str| {
        let mut request = Request::of("docker_hub", "0123456789abcdef", "{}");
        request.headers.clear();
        request.with(&["--url", url])
    };
    let right = request("https://hooks.example.org/webhooks/a/0123456789abcdef");
    assert!(
        right
            .explain()
            .with_code(0)
            .out
            .contains("ends in the secret")
    );
    let said = request("https://hooks.example.org/webhooks/a/fedcba9876543210").explain();
    let said = said.with_code(1);
    assert!(said.out.contains("not the secret"), "{}", said.out);
    assert!(!said.out.contains("fedcba9876543210"), "{}", said.out);
}

/// The first key pair of RFC 8032, section 7.1: the private key as PKCS #8, the public one as it is.
const PRIVATE_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const PUBLIC_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[test]
fn a_public_key_in_another_form_is_named_and_a_private_one_is_refused() {
    let form = SecretForm {
        scheme: Scheme::Ed25519,
        key: KeyForm::Pem,
        prefix: String::new(),
    };
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{PRIVATE_KEY}\n-----END PRIVATE KEY-----\n");
    let mut request = Request::signed("discord", &pem, &form, r#"{"type":1}"#);
    request.secret = PUBLIC_KEY.to_owned();
    request.explain().with_code(0);
    let bytes = Encoding::Hex.decode(PUBLIC_KEY.as_bytes()).expect("hex");
    request.secret = BASE64_STANDARD.encode(bytes);
    request.names(&["decoded from base64"]);
    request.secret = PRIVATE_KEY.to_owned();
    let private = request.explain().with_code(1);
    assert!(private.out.contains("private key"), "{}", private.out);
}
