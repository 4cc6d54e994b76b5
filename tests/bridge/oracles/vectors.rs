//! Signatures that vendors and standards have published, with their secrets.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hookferry::source::{DeliveryHead, ONE_CODEX};

use super::ours::Ours;
use crate::harness::Question;
use crate::harness::sdk::Headers;

/// Those with a vector here.
pub const PROVIDERS: &[&str] = &[
    "github",
    "onecodex",
    "sendgrid",
    "slack",
    "standard_webhooks",
    "standard_webhooks_ed25519",
    "svix",
    "twilio",
];

const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

/// A delivery that is right at the time at which it was signed.
struct Vector {
    provider: &'static str,
    secret: &'static str,
    at: i64,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

impl Vector {
    /// Holds as it is; with a byte changed or in another place, it does not.
    fn holds_at(&self, url: &'static str) {
        let ours = Ours::named(self.provider);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Headers = self.headers.iter().map(owned).collect();
        let verify = |body: &[u8], later: i64| {
            let question = Question::new(self.provider, self.secret, body, self.at + later);
            ours.verify(&Question {
                url,
                ..question.with(&headers)
            })
        };
        let (what, body) = (self.provider, self.body.as_bytes());
        assert_eq!(verify(body, 0), Ok(()), "{what}");
        for place in [0, body.len() / 2, body.len() - 1] {
            let mut changed = body.to_vec();
            changed[place] ^= 1;
            let mismatch = Err("signature_mismatch".to_owned());
            assert_eq!(verify(&changed, 0), mismatch, "{what}: {place}");
        }
        let signs_time = ours.0.signature.timestamp.is_some();
        assert_eq!(verify(body, 301).is_err(), signs_time, "{what}: later");
    }

    fn holds(&self) {
        self.holds_at("https://hooks.example.com/webhooks/source");
    }
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
#[test]
fn the_vector_of_github_holds() {
    Vector {
        provider: "github",
        secret: "It's a Secret to Everybody",
        at: 0,
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        body: "Hello, World!",
    }
    .holds();
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack/>
#[test]
fn the_vector_of_slack_holds() {
    Vector {
        provider: "slack",
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        at: 1_531_420_618,
        headers: &[
            ("x-slack-request-timestamp", "1531420618"),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ],
        body: SLACK_BODY,
    }
    .holds();
}

/// Of the libraries of Standard Webhooks, and of Svix's documentation.
#[test]
fn the_vectors_of_standard_webhooks_hold() {
    Vector {
        provider: "standard_webhooks",
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        at: 1_614_265_330,
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
    }
    .holds();
    Vector {
        provider: "svix",
        secret: "whsec_plJ3nmyCDGBKInavdOK15jsl",
        at: 1_731_705_121,
        headers: &[
            ("svix-id", "msg_loFOjxBNrRLzqYUf"),
            ("svix-timestamp", "1731705121"),
            (
                "svix-signature",
                "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
        ],
        body: r#"{"event_type":"ping","data":{"success":true}}"#,
    }
    .holds();
}

/// The first with a public key, beside a signature of the other scheme.
#[test]
fn the_vector_of_standard_webhooks_with_a_public_key_holds() {
    Vector {
        provider: "standard_webhooks_ed25519",
        secret: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
        at: 1_614_265_330,
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
    }
    .holds();
}

/// <https://www.twilio.com/docs/usage/webhooks/webhooks-security>, and of its library: values that are
/// there twice.
#[test]
fn the_vectors_of_twilio_hold() {
    for (signature, body) in [
        (
            &[("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
            "Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE",
        ),
        (
            &[("x-twilio-signature", "IK+Dwps556ElfBT0I3Rgjkr1wJU=")],
            "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
        ),
    ] {
        Vector {
            provider: "twilio",
            secret: "12345",
            at: 0,
            headers: signature,
            body,
        }
        .holds_at("https://mycompany.com/myapp.php?foo=1&bar=2");
    }
}

/// Of SendGrid's library.
#[test]
fn the_vector_of_sendgrid_holds() {
    Vector {
        provider: "sendgrid",
        secret: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
        at: 1_600_112_502,
        headers: &[
            ("x-twilio-email-event-webhook-timestamp", "1600112502"),
            (
                "x-twilio-email-event-webhook-signature",
                "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
            ),
        ],
        body: concat!(
            r#"[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","#,
            r#""sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","#,
            r#""sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","#,
            r#""smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]"#,
            "\r\n"
        ),
    }
    .holds();
}

/// One Codex documents a header without its secret: it is read, and the letter behind the time's digits
/// is no part of it.
#[test]
fn the_documented_header_of_one_codex_is_read() {
    let tag = "d929ba98ac0e56ff425f9b8ed7c7ab631dc680f9ea80ce2f604cc75580a63b53";
    let header = (
        "x-onecodex-signature".to_owned(),
        format!("t=1492774577c v1={tag}"),
    );
    let read = ONE_CODEX.signature.read(&DeliveryHead::of(vec![header]));
    let read = read.expect("well-formed");
    let time = ("t".to_owned(), "1492774577".to_owned());
    assert!(read.items().contains(&time), "{:?}", read.items());
    assert_eq!(read.signatures(), [hex::decode(tag).expect("hex")]);
}

/// The public key as raw bytes is the one that stands at the end of its DER.
#[test]
fn a_public_key_may_be_raw_or_der() {
    let raw = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    // SubjectPublicKeyInfo of Ed25519: RFC 8410, section 4.
    let mut der = hex::decode("302a300506032b6570032100").expect("hex");
    der.extend(BASE64_STANDARD.decode(raw).expect("base64"));
    let der = BASE64_STANDARD.encode(der);
    let headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        (
            "webhook-signature",
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let ours = Ours::named("standard_webhooks_ed25519");
    for secret in [raw, &der] {
        let body = br#"{"test": 2432232314}"#;
        let question = Question::new("", secret, body, 1_614_265_330).with(&headers);
        assert_eq!(ours.verify(&question), Ok(()), "{secret}");
    }
}
