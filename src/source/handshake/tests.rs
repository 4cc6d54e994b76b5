//! What is answered to which handshake, and what is not.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::name::SourceName;
use crate::source::{
    DeliveryHead, Encoding, Inbound, Provider, ProviderTable, Secret, SecretForm, built_in,
    provider,
};
use crate::trace::TraceContext;

const SECRET: &str = "a secret of the tests";

fn source_of(provider: Arc<Provider>) -> Source {
    let form = &provider.signature.secret;
    let secret = Secret::read(SECRET.as_bytes(), form, None).expect("a secret");
    let name = SourceName::parse("lab").expect("a slug");
    Source::new(name, provider, vec![secret])
}

fn source(name: &str) -> Source {
    source_of(built_in(name).expect(name))
}

fn with_verify(name: &str, token: &str) -> Source {
    let form = SecretForm {
        scheme: Scheme::Token,
        ..SecretForm::default()
    };
    Source {
        verify: Some(Secret::read(token.as_bytes(), &form, None).expect("a token")),
        ..source(name)
    }
}

/// A provider with this handshake, whose other tables are of no account.
fn with_handshake(handshake: &str) -> Source {
    let text = format!(
        "[signature]\nheader = \"x-tag\"\n[event]\nid = \"{{/id}}\"\ntype = \"{{/type}}\"\n[[handshake]]\n{handshake}"
    );
    let table: ProviderTable = toml::from_str(&text).expect("a table");
    source_of(Arc::new(provider("own", &table).expect("a provider")))
}

fn get(query: &str) -> DeliveryHead {
    DeliveryHead {
        query: Some(query.to_owned()),
        method: Some("GET".to_owned()),
        ..DeliveryHead::default()
    }
}

fn text(text: &str) -> Option<Result<HandshakeReply, HandshakeRefused>> {
    Some(Ok(HandshakeReply::Text(text.to_owned())))
}

fn json(text: &str) -> Option<Result<HandshakeReply, HandshakeRefused>> {
    Some(Ok(HandshakeReply::Json(text.to_owned())))
}

/// What a signed delivery with this body is answered as a handshake.
fn signed(source: &Source, body: &str) -> Option<Result<HandshakeReply, HandshakeRefused>> {
    let now = Timestamp::from_second(1_800_000_000).expect("in range");
    let secret = &source.secrets[0];
    let head = source.provider.signed_head(secret, body.as_bytes(), now);
    let inbound = Inbound {
        body: Bytes::copy_from_slice(body.as_bytes()),
        content_type: None,
        trace: TraceContext::start(false),
    };
    let claim = source.read_signature(&head).expect("well-formed");
    let verified = claim.verify(inbound, now, || 0).expect("signed");
    source.signed_handshake(&verified)
}

#[test]
fn x_gets_the_hmac_of_a_token_and_of_nothing_else() {
    let source = source("x_twitter");
    let ask = |token: &str| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("crc_token", token)
            .finish();
        source.unsigned_handshake(&get(&query))
    };
    // printf %s MjFieXRlc29mcmFuZG9tbm9pc2U= | openssl dgst -sha256 -hmac "a secret of the tests" -binary | base64
    let expected = r#"{"response_token":"sha256=il1c9Tvi+7V9VXt7mDypmmT7ag7ptZ+vDTfhP1m94wc="}"#;
    assert_eq!(ask("MjFieXRlc29mcmFuZG9tbm9pc2U="), json(expected));
    assert!(matches!(ask(&"a".repeat(128)), Some(Ok(_))));
    for forged in [
        r#"{"for_user_id":"1"}"#,
        "[]",
        "type=push",
        "a b",
        "a.b",
        "\u{e9}",
        "==",
        "a".repeat(129).as_str(),
    ] {
        assert_eq!(ask(forged), Some(Err(HandshakeRefused)), "{forged}");
    }
    // Without a value it is none.
    assert_eq!(ask(""), None);
    assert_eq!(
        source.unsigned_handshake(&get("crc_token=a&crc_token=b")),
        None
    );
}

/// Its HMAC comes back to whoever asks, so that a delivery of the same bytes could be anybody's.
#[test]
fn a_token_that_strangers_get_signed_is_no_delivery() {
    let x = source("x_twitter");
    let is_proven = |source: &Source, header: &str, prefix: &str, body: &'static str| {
        let mac = source.secrets[0].sign(&[body.as_bytes()]);
        let mac = match source.provider.signature.encoding {
            Encoding::Hex => hex::encode(mac),
            Encoding::Base64 => encoding::STANDARD.encode(mac),
        };
        let headers = vec![(header.to_owned(), format!("{prefix}{mac}"))];
        let head = DeliveryHead::of(headers);
        let claim = source.read_signature(&head).expect("well-formed");
        let inbound = Inbound {
            body: Bytes::from_static(body.as_bytes()),
            content_type: None,
            trace: TraceContext::start(false),
        };
        claim.prove(inbound).is_ok()
    };
    let of_x = |body| is_proven(&x, "x-twitter-webhooks-signature", "sha256=", body);
    for token in ["MjFieXRlc29mcmFuZG9tbm9pc2U=", "12345", "true", "a"] {
        assert!(!of_x(token), "{token}");
    }
    for delivery in [r#"{"for_user_id":"1"}"#, "[]", "", "a b"] {
        assert!(of_x(delivery), "{delivery}");
    }
    // No handshake of GitHub signs anything.
    let github = source("github");
    assert!(is_proven(
        &github,
        "x-hub-signature-256",
        "sha256=",
        "12345"
    ));
}

#[test]
fn meta_is_answered_with_the_right_token_only() {
    let query = |token: &str| {
        get(&format!(
            "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}"
        ))
    };
    let meta = with_verify("meta", "meatyhamhock");
    assert_eq!(
        meta.unsigned_handshake(&query("meatyhamhock")),
        text("1158201444")
    );
    for wrong in ["meatyhamhocks", "meatyhamhoc", "", "x"] {
        assert_eq!(meta.unsigned_handshake(&query(wrong)), None, "{wrong}");
    }
    // All conditions must hold, and the challenge must be there.
    let other_mode = get("hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=meatyhamhock");
    assert_eq!(meta.unsigned_handshake(&other_mode), None);
    let without = get("hub.mode=subscribe&hub.verify_token=meatyhamhock");
    assert_eq!(
        meta.unsigned_handshake(&without),
        Some(Err(HandshakeRefused))
    );
    // Without a configured token it never holds.
    for token in ["meatyhamhock", ""] {
        assert_eq!(source("meta").unsigned_handshake(&query(token)), None);
    }
}

#[test]
fn okta_gets_its_header_back_once() {
    let okta = source("okta");
    let name = "x-okta-verification-challenge";
    let asked = |values: &[&str]| {
        let header = |value: &&str| (name.to_owned(), (*value).to_owned());
        let head = DeliveryHead {
            method: Some("GET".to_owned()),
            ..DeliveryHead::of(values.iter().map(header).collect())
        };
        okta.unsigned_handshake(&head)
    };
    assert_eq!(asked(&["a\"b"]), json(r#"{"verification":"a\"b"}"#));
    assert_eq!(asked(&[]), None);
    assert_eq!(asked(&["a", "b"]), None, "which one would be a guess");
}

#[test]
fn what_is_sent_back_is_short_and_printable() {
    let dropbox = source("dropbox");
    let ask = |challenge: &str| dropbox.unsigned_handshake(&get(&format!("challenge={challenge}")));
    let longest = "c".repeat(MAX_FILLED_BYTES);
    assert_eq!(ask(&longest), text(&longest));
    for refused in [
        format!("{longest}c").as_str(),
        "a%0Ab",
        "%7F",
        "%C3%A9",
        "%FF",
    ] {
        assert_eq!(ask(refused), Some(Err(HandshakeRefused)), "{refused}");
    }
    assert_eq!(ask("%3Cscript%3E"), text("<script>"));
    // All values of an answer together.
    let twice = with_handshake(
        "method = \"GET\"\nwhen = {}\nanswer = { a = \"{query.q}\", b = \"{query.q}\" }",
    );
    let ask = |length| twice.unsigned_handshake(&get(&format!("q={}", "c".repeat(length))));
    assert!(matches!(ask(512), Some(Ok(_))));
    assert_eq!(ask(513), Some(Err(HandshakeRefused)));
}

#[test]
fn each_method_has_its_own_handshakes() {
    let trello = source("trello");
    for (method, expected) in [
        ("HEAD", Some(Ok(HandshakeReply::Empty))),
        ("GET", None),
        ("POST", None),
    ] {
        let head = DeliveryHead {
            method: Some(method.to_owned()),
            ..DeliveryHead::default()
        };
        assert_eq!(trello.unsigned_handshake(&head), expected, "{method}");
        assert_eq!(
            trello.has_unsigned_handshake(method),
            expected.is_some(),
            "{method}"
        );
    }
    // A signed one is never answered without its signature.
    assert!(!source("slack").has_unsigned_handshake("POST"));
}

#[test]
fn a_secret_in_the_url_is_asked_for_by_handshakes_too() {
    let graph = source("ms_graph");
    let ask = |secret: Option<&str>| {
        graph.unsigned_handshake(&DeliveryHead {
            query: Some("validationToken=Validation%3A+a+b".to_owned()),
            path_secret: secret.map(str::to_owned),
            ..DeliveryHead::default()
        })
    };
    assert_eq!(ask(Some(SECRET)), text("Validation: a b"));
    assert_eq!(ask(Some("another")), None);
    assert_eq!(ask(None), None);
}

#[test]
fn a_signed_handshake_is_told_from_a_delivery_by_its_body() {
    let slack = source("slack");
    let body = r#"{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}"#;
    assert_eq!(signed(&slack, body), text("3eZbrw1aB"));
    for delivery in [
        r#"{"type":"event_callback","challenge":"3eZbrw1aB"}"#,
        r#"{"type":"url_verification","type":"url_verification","challenge":"x"}"#,
        "payload=%7B%7D",
        "",
    ] {
        assert_eq!(signed(&slack, delivery), None, "{delivery}");
    }
    for refused in [
        r#"{"type":"url_verification"}"#,
        r#"{"type":"url_verification","challenge":"\n"}"#,
    ] {
        assert_eq!(signed(&slack, refused), Some(Err(HandshakeRefused)));
    }
    assert_eq!(
        signed(&source("github"), "{}"),
        None,
        "a provider without handshakes"
    );
}

/// From a sender that has the secret, an HMAC may be of any text.
#[test]
fn zoom_gets_the_hmac_of_its_token() {
    let zoom = source("zoom");
    let ask = |token: &str| {
        signed(
            &zoom,
            &format!(
                r#"{{"event":"endpoint.url_validation","payload":{{"plainToken":"{token}"}}}}"#
            ),
        )
    };
    // printf %s qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac "a secret of the tests"
    let expected = r#"{"encryptedToken":"5077cbe1cb2263b9970aa2fd4368247463a507b71f63ba50d944008b5556c706","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}"#;
    assert_eq!(ask("qgg8vlvZRS6UYooatFL8Aw"), json(expected));
    assert!(matches!(ask("a b.c"), Some(Ok(_))));
    assert_eq!(ask(""), Some(Err(HandshakeRefused)));
}

#[test]
fn constants_of_an_answer_are_what_they_are() {
    let own = with_handshake("when = { \"{/type}\" = \"1\" }\nanswer = { type = 1, ok = true }");
    assert_eq!(
        signed(&own, r#"{"type":1}"#),
        json(r#"{"ok":true,"type":1}"#)
    );
}
