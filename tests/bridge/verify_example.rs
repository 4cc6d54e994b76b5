//! deploy/examples/verify.py, which verifies a message again: the signatures that vendors and
//! standards have published are right to it, and no longer when one character is another.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::consumers::example;
use crate::repository::{place, read};

const VERIFIED: i32 = 0;
const FAILED: i32 = 1;
const UNUSABLE: i32 = 2;
/// The message has no signature, or its scheme has none.
const NOTHING_TO_VERIFY: i32 = 3;

const FORM: &str = "application/x-www-form-urlencoded";
const BUILT_IN: &str = "src/source/provider/builtin.toml";
const SENDGRID_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

/// A message with the tables of providers, the one that sent it, and its secrets.
#[derive(Clone)]
struct Case {
    tables: String,
    provider: &'static str,
    secrets: Vec<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Case {
    /// Of a provider that is built in.
    fn of(provider: &'static str, secret: &str, signature: &str, body: &str) -> Self {
        Self {
            tables: read(BUILT_IN),
            provider,
            secrets: vec![secret.to_owned()],
            headers: vec![("hookferry-signature".to_owned(), signature.to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    /// Of a provider with these keys for its signature.
    fn new(keys: &str, secret: &str, signature: &str, body: &str) -> Self {
        let mut case = Self::of("tested", secret, signature, body);
        case.tables = format!("[provider.tested.signature]\n{keys}\n");
        case
    }

    /// From a provider that has other keys, and else those of this one.
    fn but(self, keys: &str) -> Self {
        self.but_of("tested", keys)
    }

    fn but_of(mut self, name: &'static str, keys: &str) -> Self {
        let base = self.provider;
        self.tables += &format!(
            "[provider.{name}]\nextends = \"{base}\"\n[provider.{name}.signature]\n{keys}\n"
        );
        self.provider = name;
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another signature header.
    fn signed(mut self, signature: &str) -> Self {
        signature.clone_into(&mut self.headers[0].1);
        self
    }

    fn run(&self, more: &[&str]) -> Output {
        let folder = tempfile::tempdir().expect("a folder");
        self.run_with(more, &folder, None)
    }

    fn run_with(&self, more: &[&str], folder: &TempDir, modules: Option<&Path>) -> Output {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("writable");
            path
        };
        let mut command = example("verify.py");
        command
            .arg("--provider")
            .arg(write("providers.toml", self.tables.as_bytes()))
            .args(["--provider-name", self.provider]);
        for (number, secret) in self.secrets.iter().enumerate() {
            let text = format!("{secret}\n");
            let path = write(&format!("secret-{number}"), text.as_bytes());
            command.arg("--secret-file").arg(path);
        }
        let headers: serde_json::Map<_, _> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let headers = serde_json::to_vec(&headers).expect("texts");
        command
            .arg("--headers")
            .arg(write("headers.json", &headers));
        command.args(more).arg(write("body", &self.body));
        if let Some(modules) = modules {
            command.env("PYTHONPATH", modules);
        }
        command.output().expect("python runs")
    }

    /// Runs it, and takes the words for the person.
    fn ends(&self, code: i32, words: &str) {
        said(&self.run(&[]), code, words);
    }
}

#[track_caller]
fn said(output: &Output, code: i32, words: &str) {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(format!("{out}{err}").contains(words), "{out}{err}");
    assert!(!err.contains("Traceback"), "{err}");
}

/// "Validating webhook deliveries" of GitHub's documentation.
fn github() -> Case {
    Case::of(
        "github",
        "It's a Secret to Everybody",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "Hello, World!",
    )
}

/// "Verifying requests from Slack" of Slack's documentation.
fn slack() -> Case {
    Case::of(
        "slack",
        "8f742231b10e8888abcd99yyyzzz85a5",
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        SLACK_BODY,
    )
    .with("x-slack-request-timestamp", "1531420618")
    .with("content-type", FORM)
}

/// The vector of the libraries of Standard Webhooks and Svix.
fn standard_webhooks() -> Case {
    Case::of(
        "standard_webhooks",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        r#"{"test": 2432232314}"#,
    )
    .with("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
    .with("webhook-timestamp", "1614265330")
}

/// The same with Ed25519, beside a signature of the other scheme.
fn ed25519() -> Case {
    let mut case = standard_webhooks().signed(
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    );
    case.provider = "standard_webhooks_ed25519";
    case.secrets = vec!["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=".to_owned()];
    case
}

/// The vector of Twilio's documentation and library.
fn twilio() -> Case {
    Case::of(
        "twilio",
        "12345",
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE",
    )
    .with("hookferry-url", "https://mycompany.com/myapp.php?foo=1&bar=2")
    .with("content-type", FORM)
}

/// Of Twilio's library: a value that is there twice counts once, and values are sorted.
fn twilio_with_repeated_values() -> Case {
    let mut case = twilio().signed("IK+Dwps556ElfBT0I3Rgjkr1wJU=");
    case.body = b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234".to_vec();
    case
}

/// Of SendGrid's library.
fn sendgrid() -> Case {
    let body = concat!(
        r#"[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","#,
        r#""sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","#,
        r#""sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","#,
        r#""smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]"#,
        "\r\n"
    );
    let signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
    Case::of("sendgrid", SENDGRID_KEY, signature, body)
        .with("x-twilio-email-event-webhook-timestamp", "1600112502")
}

/// RFC 4231, test case 2.
fn sha512() -> Case {
    Case::new(
        r#"hash = "sha512""#,
        "Jefe",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        "what do ya want for nothing?",
    )
}

/// Another character of the same kind in the middle, where all of base64's bits count.
fn altered(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] = match bytes[middle] {
        b'0'..=b'8' => bytes[middle] + 1,
        b'9' => b'0',
        b'a' => b'b',
        _ => b'a',
    };
    String::from_utf8(bytes).expect("ASCII")
}

#[track_caller]
fn holds_until_a_character_is_another(case: &Case) {
    case.ends(VERIFIED, "verified: ");
    let mut changed = case.clone();
    let middle = changed.body.len() / 2;
    changed.body[middle] ^= 1;
    changed.ends(FAILED, "failed: no signature");
    for number in 0..case.headers.len() {
        let mut changed = case.clone();
        let (name, value) = &mut changed.headers[number];
        if name != "content-type" {
            *value = altered(value);
            changed.ends(FAILED, "failed: ");
        }
    }
}

#[test]
fn the_vectors_of_hmac_hold() {
    for case in [github(), slack(), standard_webhooks(), sha512()] {
        holds_until_a_character_is_another(&case);
    }
}

#[test]
fn the_vectors_of_forms_hold() {
    for case in [twilio(), twilio_with_repeated_values()] {
        holds_until_a_character_is_another(&case);
    }
}

#[test]
fn the_vectors_of_public_keys_hold() {
    for case in [ed25519(), sendgrid()] {
        holds_until_a_character_is_another(&case);
    }
    let mut pem = sendgrid().but("key = \"pem\"");
    let (first, second) = SENDGRID_KEY.split_at(64);
    pem.secrets = vec![format!(
        "-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----"
    )];
    pem.ends(VERIFIED, "verified: ");
}

#[test]
fn any_signature_with_any_secret_is_enough() {
    let right = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let mut case = github().but("items = \";\"").signed(&format!(
        "v2=x;sha256=no;sha256={};sha256={}",
        "0".repeat(64),
        right.to_uppercase()
    ));
    case.secrets.insert(0, "another".to_owned());
    case.ends(VERIFIED, "verified: ");
    case.secrets.pop();
    case.ends(FAILED, "failed: no signature");
}

#[test]
fn a_signature_may_stand_in_any_of_several_headers() {
    let right = &github().headers[0].1;
    let case = github().signed("sha256=00").with("x-second", right);
    case.ends(FAILED, "failed: no signature");
    let case = case.but("header = [\"x-first\", \"x-second\"]");
    case.ends(VERIFIED, "verified: ");
}

#[test]
fn one_codex_is_the_default_and_its_stray_letter_is_not_signed() {
    let verify = |signature: &str| {
        let mut command = example("verify.py");
        let header = format!("hookferry-signature: {signature}");
        command.args(["-H", &header, "/dev/null"]);
        command.env("ONECODEX_SECRET", "key");
        command.output().expect("python runs")
    };
    let tag = crate::harness::delivery::tag("key", "1492774577", b"");
    let good = format!("t=1492774577c v0=1, v1={tag}");
    said(&verify(&good), VERIFIED, "verified: ");
    let twice = format!("t=1492774577 t=1492774577 v1={tag}");
    said(&verify(&twice), FAILED, "{item.t} is there 2 times");
    let letters = format!("t=1492774577cc v1={tag}");
    said(&verify(&letters), FAILED, "{item.t} is no time");
    let none = format!("v1={tag}");
    said(&verify(&none), FAILED, "{item.t} was signed");
    said(&verify("t=1492774577"), FAILED, "no item named `v1`");
}

#[test]
fn the_table_that_is_the_default_is_the_built_in_one() {
    let signature = |path: &str| {
        let tables: toml::Table = read(path).parse().expect("TOML");
        tables["provider"]["onecodex"]["signature"].clone()
    };
    let own = signature("deploy/examples/onecodex.toml");
    assert_eq!(own, signature(BUILT_IN));
}

#[test]
fn a_missing_variable_is_named_and_no_empty_text() {
    for (mut case, header, words) in [
        (standard_webhooks(), "webhook-id", "{header.webhook-id} was"),
        (
            slack(),
            "x-slack-request-timestamp",
            "request-timestamp} was",
        ),
        (twilio(), "hookferry-url", "{url} was signed"),
        (github(), "hookferry-signature", "no hookferry-signature"),
    ] {
        case.headers.retain(|(name, _)| name != header);
        case.ends(FAILED, words);
    }
    let mut case = twilio();
    case.headers.pop();
    let case = case.with("content-type", "application/json");
    case.ends(FAILED, "the body is no form");
}

/// The same signed text, cut elsewhere, is another body under the same signature.
#[test]
fn the_end_of_a_signed_part_cannot_be_moved() {
    let mut longer_time = standard_webhooks();
    longer_time.headers[2].1 += ".{\"test\":";
    longer_time.body = b" 2432232314}".to_vec();
    longer_time.ends(FAILED, "{header.webhook-timestamp} is no time");
    let mut longer_id = standard_webhooks();
    longer_id.headers[1].1 += ".1";
    longer_id.ends(FAILED, "{header.webhook-id} has `.` in it");
    let longer_url = github().with("hookferry-url", "https://a.example/{\"a\":");
    let longer_url = longer_url.but("signed = \"{url}{body}\"");
    longer_url.ends(FAILED, "hookferry-url is no URL");
}

#[test]
fn the_signed_url_is_the_one_that_the_consumer_expects() {
    let expecting = |url: &str| twilio().run(&["--signed-url", url]);
    let own = "https://mycompany.com/myapp.php";
    said(&expecting(own), VERIFIED, "verified: ");
    said(
        &expecting("https://mycompany.com/my"),
        FAILED,
        "another URL",
    );
}

#[test]
fn what_has_no_signature_is_no_success() {
    for scheme in ["token", "url"] {
        let mut case = Case::new(&format!("scheme = \"{scheme}\""), "secret", "secret", "{}");
        case.ends(NOTHING_TO_VERIFY, "not verifiable: ");
        case.secrets.clear();
        case.ends(NOTHING_TO_VERIFY, "not verifiable: ");
    }
    let mut case = github();
    case.secrets.clear();
    case.ends(NOTHING_TO_VERIFY, "not verifiable: no secret");
}

#[test]
fn what_a_recovery_fetched_is_told_from_what_lost_its_signature() {
    let unsigned = |origin: &str| {
        let mut case = github().with("hookferry-origin", origin);
        case.headers.remove(0);
        case
    };
    unsigned("backfill").ends(NOTHING_TO_VERIFY, "no signature (backfill): ");
    let mut without_secret = unsigned("backfill");
    without_secret.secrets.clear();
    without_secret.ends(NOTHING_TO_VERIFY, "no signature (backfill): ");
    unsigned("webhook").ends(FAILED, "though the event was delivered");
    unsigned("webhook").ends(FAILED, "forward_signature = false");
    for other in ["Backfill", "backfill ", "backfill, webhook", ""] {
        unsigned(other).ends(FAILED, "does not say where the event is from");
    }
    // A signature is looked at, whatever the message says of itself.
    let signed = |case: Case| case.with("hookferry-origin", "backfill");
    signed(github()).ends(VERIFIED, "verified: ");
    signed(github().signed("sha256=00")).ends(FAILED, "failed: no signature is");
    signed(github().signed("")).ends(FAILED, "failed: ");
}

/// What the example consumers print of a message without a signature.
#[test]
fn a_consumer_says_of_an_unsigned_event_how_it_came() {
    let program = r#"
import sys
from event import describe
from verify import Verifier, signature_table
verifier = Verifier(signature_table("onecodex.toml"), [b"secret"])
print(describe(verifier, {}, "ce_", {"ce_id": "1", "hookferry-origin": sys.argv[1]}, b"{}"))
"#;
    for (origin, verified, result) in [
        (
            "backfill",
            serde_json::Value::Null,
            "no signature (backfill)",
        ),
        ("webhook", false.into(), "failed"),
    ] {
        let python = std::env::var("HOOKFERRY_TEST_PYTHON").expect("tests/run names it");
        let output = std::process::Command::new(python)
            .args(["-B", "-c", program, origin])
            .current_dir(place("deploy/examples"))
            .output()
            .expect("python runs");
        said(&output, 0, "");
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a line");
        assert_eq!(line["verified"], verified, "{line}");
        assert_eq!(line["result"], result, "{line}");
    }
}

#[test]
fn a_provider_may_extend_others_in_the_file() {
    let case = github()
        .but("hash = \"sha1\"")
        .but_of("another", "hash = \"sha256\"");
    case.ends(VERIFIED, "verified: ");
    let mut circle = case.clone();
    circle.tables = circle
        .tables
        .replace("extends = \"github\"", "extends = \"another\"");
    circle.ends(UNUSABLE, "another → tested → another");
    let mut alone = case;
    alone.tables = "[provider.another]\nextends = \"github\"\n".to_owned();
    alone.ends(UNUSABLE, "hookferry config providers github");
    let mut command = example("verify.py");
    command.args(["--provider", place(BUILT_IN).to_str().expect("a path"), "-"]);
    said(
        &command.output().expect("python runs"),
        UNUSABLE,
        "name one of ",
    );
}

#[test]
fn a_table_or_a_secret_that_is_wrong_is_named() {
    for (table, words) in [
        (
            "signed = \"{header.a}\"",
            "neither {body} nor {sorted_form}",
        ),
        ("signed = \"{bodies}{body}\"", "{bodies}"),
        ("signed = \"{body}}\"", "a brace without its other one"),
        ("hash = \"md5\"", "signature.hash is none of sha256, sha1"),
        (
            "stray_letter = \"no\"",
            "signature.stray_letter is not true",
        ),
        ("hashes = \"md5\"", "signature.hashes is unknown"),
        ("pair = \"=\"", "signature.tag is missing"),
        ("key = \"base64\"", "a secret is no base64"),
        ("key = \"hex\"", "a secret is no hex"),
        ("header = 1", "signature.header is neither a text"),
        ("key = \"pem\"", "which no HMAC has"),
        ("key_prefix = \"se;cret\"", "a secret is empty"),
        ("scheme = \"ed25519\"", "signature.key is `text`"),
        ("scheme = \"ed25519\"\nkey = \"pem\"", "no public key"),
        ("scheme = ", "is no TOML"),
    ] {
        Case::new(table, "se;cret", "00", "{}").ends(UNUSABLE, words);
    }
    let other_kind = sendgrid().but("scheme = \"ed25519\"");
    other_kind.ends(UNUSABLE, "of another kind than ed25519");
}

#[test]
fn only_public_keys_need_a_library() {
    let modules = tempfile::tempdir().expect("a folder");
    let absent = modules.path().join("cryptography.py");
    std::fs::write(absent, "raise ImportError(\"not there\")\n").expect("writable");
    let folder = tempfile::tempdir().expect("a folder");
    let run = |case: Case| case.run_with(&[], &folder, Some(modules.path()));
    said(&run(github()), VERIFIED, "verified: ");
    said(&run(ed25519()), UNUSABLE, "pip install cryptography");
}
