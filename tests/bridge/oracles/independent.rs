//! Providers without a library and without a published vector: signatures that Python computes, of bytes
//! that are put together here as the vendors' pages say.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::bodies::bodies;
use super::ours::Ours;
use super::rows::NOW;
use crate::harness::{KeyPair, Question};

/// Signs one line after the other, with the standard library and `cryptography`.
const PROGRAM: &str = r#"
import base64, hmac, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
for line in sys.stdin:
    asked = json.loads(line)
    key, message = (base64.b64decode(asked[name]) for name in ("key", "message"))
    if asked["algorithm"] == "ed25519":
        signature = load_pem_private_key(key, None).sign(message)
    else:
        signature = hmac.new(key, message, asked["algorithm"]).digest()
    print(base64.b64encode(signature).decode())
"#;

const URL: &str = "https://hooks.example.com/webhooks/source";
const SECRET: &str = "It's a secret of ours";
const OTHER_SECRET: &str = "It's another secret of ours";
const SECONDS: &str = "1700000000";
const MILLISECONDS: &str = "1700000000000";
const RFC_3339: &str = "2023-11-14T22:13:20Z";

/// How a vendor signs. `<time>`, `<body>` and `<url>` stand for those; `<hex>` and `<base64>` for the
/// signature.
struct Layout {
    provider: &'static str,
    algorithm: &'static str,
    /// The signed time; empty where none is.
    time: &'static str,
    message: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

/// A layout: provider, algorithm, time, signed bytes, headers.
const fn layout(
    (provider, algorithm, time): (&'static str, &'static str, &'static str),
    message: &'static str,
    headers: &'static [(&'static str, &'static str)],
) -> Layout {
    Layout {
        provider,
        algorithm,
        time,
        message,
        headers,
    }
}

const LAYOUTS: &[Layout] = &[
    layout(
        ("calendly", "sha256", SECONDS),
        "<time>.<body>",
        &[("calendly-webhook-signature", "t=<time>,v1=<hex>")],
    ),
    layout(
        ("discord", "ed25519", SECONDS),
        "<time><body>",
        &[
            ("x-signature-timestamp", "<time>"),
            ("x-signature-ed25519", "<hex>"),
        ],
    ),
    // One header for each of its keys: here the receiver has the second.
    layout(
        ("docusign", "sha256", ""),
        "<body>",
        &[
            (
                "x-docusign-signature-1",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
            ("x-docusign-signature-2", "<base64>"),
        ],
    ),
    layout(
        ("dropbox", "sha256", ""),
        "<body>",
        &[("x-dropbox-signature", "<hex>")],
    ),
    layout(
        ("elevenlabs", "sha256", SECONDS),
        "<time>.<body>",
        &[("elevenlabs-signature", "t=<time>,v0=<hex>")],
    ),
    layout(
        ("intercom", "sha1", ""),
        "<body>",
        &[("x-hub-signature", "sha1=<hex>")],
    ),
    layout(
        ("meta", "sha256", ""),
        "<body>",
        &[
            (
                "x-hub-signature",
                "sha1=0000000000000000000000000000000000000000",
            ),
            ("x-hub-signature-256", "sha256=<hex>"),
        ],
    ),
    layout(
        ("notion", "sha256", ""),
        "<body>",
        &[("x-notion-signature", "sha256=<hex>")],
    ),
    layout(
        ("onecodex", "sha256", SECONDS),
        "<time>.<body>",
        &[("x-onecodex-signature", "t=<time>c v1=<hex>")],
    ),
    layout(
        ("retell", "sha256", MILLISECONDS),
        "<body><time>",
        &[("x-retell-signature", "v=<time>,d=<hex>")],
    ),
    layout(
        ("sentry", "sha256", ""),
        "<body>",
        &[("sentry-hook-signature", "<hex>")],
    ),
    layout(
        ("trello", "sha1", ""),
        "<body><url>",
        &[("x-trello-webhook", "<base64>")],
    ),
    layout(
        ("typeform", "sha256", ""),
        "<body>",
        &[("typeform-signature", "sha256=<base64>")],
    ),
    layout(
        ("vercel", "sha1", ""),
        "<body>",
        &[("x-vercel-signature", "<hex>")],
    ),
    layout(
        ("workos", "sha256", MILLISECONDS),
        "<time>.<body>",
        &[("workos-signature", "t=<time>, v1=<hex>")],
    ),
    layout(
        ("x_twitter", "sha256", ""),
        "<body>",
        &[("x-twitter-webhooks-signature", "sha256=<base64>")],
    ),
    layout(
        ("zendesk", "sha256", RFC_3339),
        "<time><body>",
        &[
            ("x-zendesk-webhook-signature-timestamp", "<time>"),
            ("x-zendesk-webhook-signature", "<base64>"),
        ],
    ),
    layout(
        ("zoom", "sha256", SECONDS),
        "v0:<time>:<body>",
        &[
            ("x-zm-request-timestamp", "<time>"),
            ("x-zm-signature", "v0=<hex>"),
        ],
    ),
];

/// Those that are held against it.
pub fn providers() -> Vec<&'static str> {
    LAYOUTS.iter().map(|layout| layout.provider).collect()
}

impl Layout {
    /// The bytes that are signed.
    fn message_of(&self, body: &[u8]) -> Vec<u8> {
        let text = self.message.replace("<time>", self.time);
        let text = text.replace("<url>", URL);
        let (before, after) = text.split_once("<body>").expect("the body is signed");
        [before.as_bytes(), body, after.as_bytes()].concat()
    }

    fn headers_of(&self, signature: &[u8]) -> Vec<(String, String)> {
        let fill = |text: &str| {
            let text = text.replace("<time>", self.time);
            let text = text.replace("<hex>", &hex::encode(signature));
            text.replace("<base64>", &BASE64_STANDARD.encode(signature))
        };
        let header = |(name, text): &(&str, &str)| ((*name).to_owned(), fill(text));
        self.headers.iter().map(header).collect()
    }

    /// What the sender signs with, what its receiver has, and what another receiver has.
    fn keys(&self) -> (String, String, String) {
        if self.algorithm == "ed25519" {
            let [pair, other] = [KeyPair::ed25519(), KeyPair::ed25519()];
            let written = |pair: &KeyPair| hex::encode(pair.raw_public());
            let public = written(&pair);
            return (pair.private_pem, public, written(&other));
        }
        (
            SECRET.to_owned(),
            SECRET.to_owned(),
            OTHER_SECRET.to_owned(),
        )
    }
}

/// The signatures of these messages, each with its algorithm and key.
fn signed(messages: &[(&str, &str, Vec<u8>)]) -> Vec<Vec<u8>> {
    let python = std::env::var("HOOKFERRY_TEST_PYTHON").expect("run tests/run");
    let mut program = Command::new(python)
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut input = program.stdin.take().expect("piped");
    let lines: String = messages
        .iter()
        .map(|(algorithm, key, message)| {
            let (key, message) = (BASE64_STANDARD.encode(key), BASE64_STANDARD.encode(message));
            format!(
                "{}\n",
                json!({"algorithm": algorithm, "key": key, "message": message})
            )
        })
        .collect();
    // On a thread of its own: it answers while it is asked.
    let asking = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = program.wait_with_output().expect("python ends");
    asking.join().expect("no panic").expect("python reads on");
    assert!(output.status.success(), "python failed");
    let text = String::from_utf8(output.stdout).expect("base64");
    let signatures = text.lines().map(|line| BASE64_STANDARD.decode(line));
    signatures.map(|found| found.expect("base64")).collect()
}

#[test]
fn what_python_signs_is_taken_and_nothing_else() {
    let mut bodies = bodies();
    bodies.retain(|body| body.bytes.len() < 100_000);
    for layout in LAYOUTS {
        let (signing, proving, other) = layout.keys();
        let message = |body: &super::bodies::Body| {
            let message = layout.message_of(&body.bytes);
            (layout.algorithm, signing.as_str(), message)
        };
        let messages: Vec<_> = bodies.iter().map(message).collect();
        let signatures = signed(&messages);
        assert_eq!(signatures.len(), 39, "{}", layout.provider);
        let ours = Ours::named(layout.provider);
        for (body, signature) in bodies.iter().zip(&signatures) {
            let headers = layout.headers_of(signature);
            let verify = |secret: &str, bytes: &[u8], at: i64| {
                let question = Question::new(layout.provider, secret, bytes, at);
                ours.verify(&Question {
                    url: URL,
                    ..question.with(&headers)
                })
            };
            let what = format!("{}, {}", layout.provider, body.name);
            let refused = |reason: &str| Err(reason.to_owned());
            assert_eq!(verify(&proving, &body.bytes, NOW), Ok(()), "{what}");
            let mismatch = refused("signature_mismatch");
            assert_eq!(verify(&other, &body.bytes, NOW), mismatch, "{what}");
            let longer = [body.bytes.as_slice(), b"x"].concat();
            assert_eq!(verify(&proving, &longer, NOW), mismatch, "{what}");
            let (late, early) = (NOW + 301, NOW - 301);
            if layout.time.is_empty() {
                assert_eq!(verify(&proving, &body.bytes, late), Ok(()), "{what}");
            } else {
                let stale = refused("timestamp_stale");
                assert_eq!(verify(&proving, &body.bytes, late), stale, "{what}");
                let future = refused("timestamp_future");
                assert_eq!(verify(&proving, &body.bytes, early), future, "{what}");
            }
        }
    }
}
