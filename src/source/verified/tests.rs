//! What is proven, and what is not.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::name::SourceName;
use crate::source::{DeliveryHead, FieldTemplate, ONE_CODEX, Provider, Secret, built_in};
use crate::trace::TraceContext;

const NOW: i64 = 1_800_000_000;
/// More than an hour ago, which is what `remembering` asks for.
const KNOWN_SINCE: i64 = NOW - 4000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("in range")
}

fn source(secrets: &[&str]) -> Source {
    of("onecodex", secrets)
}

fn of(provider: &str, secrets: &[&str]) -> Source {
    let provider = built_in(provider).expect("built in");
    let secret = |text: &&str| Secret::read(text.as_bytes(), &provider.signature.secret, None);
    let secrets = secrets
        .iter()
        .map(|text| secret(text).expect("a secret"))
        .collect();
    let name = SourceName::parse("a").expect("a slug");
    Source::new(name, Arc::clone(&provider), secrets)
}

/// The same with ids that are remembered for an hour, and a body that begins with its own time.
fn remembering(secrets: &[&str]) -> Source {
    let own_time = |_: &Source, _: &HeadValues, inbound: &Inbound| {
        let seconds = std::str::from_utf8(&inbound.body)
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Timestamp::from_second(seconds).ok()
    };
    let window = Duration::from_secs(3600);
    Source {
        deduplication: Some(DeduplicationWindow { window, own_time }),
        ..source(secrets)
    }
}

fn verify(source: &Source, header: &str, body: &'static [u8]) -> Result<Verified, Rejection> {
    verify_head(source, &[("x-onecodex-signature", header)], body)
}

fn verify_head(
    source: &Source,
    headers: &[(&str, &str)],
    body: &'static [u8],
) -> Result<Verified, Rejection> {
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let head = DeliveryHead::of(headers.iter().map(header).collect());
    source
        .read_signature(&head)?
        .verify(inbound(body), at(NOW), || KNOWN_SINCE)
}

fn inbound(body: &'static [u8]) -> Inbound {
    Inbound {
        body: Bytes::from_static(body),
        content_type: None,
        trace: TraceContext::start(false),
    }
}

fn signed(secret: &str, body: &[u8], seconds: i64) -> String {
    ONE_CODEX
        .signature
        .sign(&Secret::new(secret).expect("not empty"), body, at(seconds))
}

#[test]
fn a_right_signature_is_verified_with_its_bytes_and_header() {
    let header = signed("one", b"{}", NOW);
    let verified = verify(&source(&["one"]), &header, b"{}").expect("right");
    assert_eq!(verified.delivery().body().as_ref(), b"{}");
    assert_eq!(
        AuthenticDelivery::from(verified).into_parts().1.signature,
        Some(header.clone())
    );
    let kept = Source {
        forward_signature: false,
        ..source(&["one"])
    };
    let verified = verify(&kept, &header, b"{}").expect("right");
    assert_eq!(
        AuthenticDelivery::from(verified).into_parts().1,
        ForwardedHeaders::default()
    );
}

#[test]
fn a_changed_byte_another_secret_or_another_time_is_a_mismatch() {
    let source = source(&["one"]);
    let header = signed("one", b"{}", NOW);
    assert_eq!(
        verify(&source, &header, b"{ }").err(),
        Some(Rejection::SignatureMismatch)
    );
    assert_eq!(
        verify(&source, &signed("two", b"{}", NOW), b"{}").err(),
        Some(Rejection::SignatureMismatch)
    );
    let later = header.replace(&NOW.to_string(), &(NOW + 1).to_string());
    assert_eq!(
        verify(&source, &later, b"{}").err(),
        Some(Rejection::SignatureMismatch)
    );
}

#[test]
fn any_of_several_secrets_and_signatures_will_do() {
    let source = source(&["old", "new"]);
    assert_eq!(
        verify(&source, &signed("old", b"{}", NOW), b"{}").map(|v| v.secret()),
        Ok(0)
    );
    assert_eq!(
        verify(&source, &signed("new", b"{}", NOW), b"{}").map(|v| v.secret()),
        Ok(1)
    );
    let both = format!(
        "{} v1={}",
        signed("other", b"{}", NOW),
        &signed("new", b"{}", NOW)[16..]
    );
    assert!(
        verify(&source, &both.replace("v1=v1=", "v1="), b"{}").is_ok(),
        "{both}"
    );
}

#[test]
fn the_tolerance_holds_on_both_sides_to_the_second() {
    let source = source(&["one"]);
    for (seconds, expected) in [
        (NOW - 300, None),
        (NOW + 300, None),
        (NOW - 301, Some(Rejection::TimestampStale)),
        (NOW + 301, Some(Rejection::TimestampFuture)),
        (0, Some(Rejection::TimestampStale)),
        (253_402_300_000, Some(Rejection::TimestampFuture)),
    ] {
        assert_eq!(
            verify(
                &source,
                &signed("one", b"{}", seconds.min(253_402_200_000)),
                b"{}"
            )
            .err(),
            expected,
            "{seconds}"
        );
    }
}

#[test]
fn a_late_one_is_let_in_as_long_as_its_event_is_remembered() {
    let source = remembering(&["one"]);
    let late = |body: &'static [u8], age: i64| {
        let header = signed("one", body, NOW - age);
        verify(&source, &header, body).map(|verified| verified.is_late())
    };
    // Its own time is 1000 s ago.
    let event = b"1799999000";
    for (age, expected) in [
        (300, Ok(false)),
        (301, Ok(true)),
        (3600, Ok(true)),
        (3601, Err(Rejection::TimestampStale)),
        (NOW, Err(Rejection::TimestampStale)),
        (-301, Err(Rejection::TimestampFuture)),
    ] {
        assert_eq!(late(event, age), expected, "signed {age} s ago");
    }
    // 3600 s ago, and a second more: the id of the second is forgotten, whenever it was signed.
    assert_eq!(late(b"1799996400", 301), Ok(true));
    assert_eq!(late(b"1799996399", 301), Err(Rejection::TimestampStale));
    assert_eq!(late(b"1799996399", 300), Ok(false));
    // Remembered from when it came, 300 s before its signature at the earliest.
    assert_eq!(late(b"{}", 3300), Ok(true));
    assert_eq!(late(b"{}", 3301), Err(Rejection::TimestampStale));
}

#[test]
fn a_late_one_from_before_what_is_known_is_stale() {
    let mut source = remembering(&["one"]);
    source.deduplication.as_mut().expect("given").window = Duration::from_secs(1 << 20);
    let late = |body: &'static [u8], age: i64| {
        let header = signed("one", body, NOW - age);
        verify(&source, &header, body).map(|verified| verified.is_late())
    };
    assert_eq!(late(b"{}", 3700), Ok(true));
    assert_eq!(late(b"{}", 3701), Err(Rejection::TimestampStale));
    assert_eq!(late(b"1799996000", 3700), Ok(true));
    assert_eq!(late(b"1799995999", 3700), Err(Rejection::TimestampStale));
    assert_eq!(late(b"1799995999", 300), Ok(false));
}

#[test]
fn a_wrong_signature_is_one_however_late_it_is() {
    let source = remembering(&["one"]);
    for age in [301, 3600, 4000] {
        assert_eq!(
            verify(&source, &signed("two", b"{}", NOW - age), b"{}").err(),
            Some(Rejection::SignatureMismatch)
        );
    }
}

#[test]
fn stale_and_wrong_is_told_apart_from_stale_but_valid() {
    let source = source(&["one"]);
    assert_eq!(
        verify(&source, &signed("two", b"{}", NOW - 4000), b"{}").err(),
        Some(Rejection::SignatureMismatch)
    );
    assert_eq!(
        verify(&source, &signed("one", b"{}", NOW - 4000), b"{}").err(),
        Some(Rejection::TimestampStale)
    );
}

#[test]
fn the_signed_headers_are_there_and_travel() {
    let source = of("standard_webhooks", &["whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]);
    let signed = |id: &str, time: &str| {
        let message = format!("{id}.{time}.{{}}");
        let mac = source.secrets[0].sign(&[message.as_bytes()]);
        format!("v1,{}", source.provider.signature.encode(&mac))
    };
    let now = NOW.to_string();
    let right = signed("msg_1", &now);
    let head = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", now.as_str()),
        ("webhook-signature", right.as_str()),
    ];
    let forwarded = AuthenticDelivery::from(verify_head(&source, &head, b"{}").expect("right"))
        .into_parts()
        .1;
    assert_eq!(forwarded.signature.as_deref(), Some(right.as_str()));
    let names: Vec<&str> = forwarded
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["webhook-id", "webhook-timestamp"]);
    for missing in 0..2 {
        let mut head = head.to_vec();
        head.remove(missing);
        let refused = verify_head(&source, &head, b"{}").err();
        assert_eq!(refused, Some(Rejection::SignedHeaderMissing));
    }
    let twice = [&head[..], &head[..1]].concat();
    assert_eq!(
        verify_head(&source, &twice, b"{}").err(),
        Some(Rejection::SignatureRepeated)
    );
}

#[test]
fn a_border_of_the_signed_bytes_cannot_be_moved() {
    let source = of("standard_webhooks", &["whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]);
    let now = NOW.to_string();
    let mac = source.secrets[0].sign(&[b"a.b.", now.as_bytes(), b".{}"]);
    let signature = format!("v1,{}", source.provider.signature.encode(&mac));
    let head = [
        ("webhook-id", "a.b"),
        ("webhook-timestamp", now.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    let refused = verify_head(&source, &head, b"{}").err();
    assert_eq!(refused, Some(Rejection::SignatureMalformed));
}

#[test]
fn a_signed_url_is_the_configured_one_with_the_request_s_query() {
    let mut source = of("square", &["0123456789abcdef"]);
    source.url = Some("https://bridge.example/webhooks/a".to_owned());
    let judge = |url: &str, query: Option<&str>| {
        let mac = source.secrets[0].sign(&[url.as_bytes(), b"{}"]);
        let signature = source.provider.signature.encode(&mac);
        let name = source.provider.signature.headers[0].clone();
        let head = DeliveryHead {
            query: query.map(str::to_owned),
            ..DeliveryHead::of(vec![(name, signature)])
        };
        let claim = source.read_signature(&head)?;
        claim.verify(inbound(b"{}"), at(NOW), || KNOWN_SINCE)
    };
    let url = "https://bridge.example/webhooks/a";
    let with_query = "https://bridge.example/webhooks/a?b=c%20d";
    assert_eq!(
        judge(url, None).map(|v| AuthenticDelivery::from(v).into_parts().1.url),
        Ok(Some(url.to_owned()))
    );
    let forwarded =
        judge(with_query, Some("b=c%20d")).map(|v| AuthenticDelivery::from(v).into_parts().1.url);
    assert_eq!(forwarded, Ok(Some(with_query.to_owned())));
    assert_eq!(
        judge(url, Some("b=c%20d")).err(),
        Some(Rejection::SignatureMismatch)
    );
    for json in ["b={", "b=[", "b=\"", "b=c d"] {
        let refused = judge(&format!("{url}?{json}"), Some(json)).err();
        assert_eq!(refused, Some(Rejection::SignatureMalformed), "{json}");
    }
}

#[test]
fn a_time_in_the_body_is_judged_after_the_signature() {
    let source = of("linear", &["0123456789abcdef"]);
    let judge = |body: &'static [u8]| {
        let mac = source.secrets[0].sign(&[body]);
        let signature = source.provider.signature.encode(&mac);
        verify_head(&source, &[("linear-signature", &signature)], body).map(drop)
    };
    assert_eq!(judge(br#"{"webhookTimestamp":1800000000123}"#), Ok(()));
    assert_eq!(
        judge(br#"{"webhookTimestamp":1700000000123}"#),
        Err(Rejection::TimestampStale)
    );
    for without in [&b"{}"[..], b"", br#"{"webhookTimestamp":"today"}"#] {
        assert_eq!(
            judge(without),
            Err(Rejection::TimestampMalformed),
            "{without:?}"
        );
    }
}

#[test]
fn what_is_copied_is_named_and_a_token_never_travels() {
    let mut source = of("gitlab_token", &["0123456789abcdef"]);
    source.headers = vec!["x-gitlab-event".to_owned(), "x-none".to_owned()];
    let head = [
        ("x-gitlab-token", "0123456789abcdef"),
        ("x-gitlab-event", "Push Hook"),
        ("x-other", "1"),
    ];
    let forwarded = AuthenticDelivery::from(verify_head(&source, &head, b"{}").expect("right"))
        .into_parts()
        .1;
    let expected = ForwardedHeaders {
        headers: vec![("x-gitlab-event".to_owned(), "Push Hook".to_owned())],
        ..ForwardedHeaders::default()
    };
    assert_eq!(forwarded, expected);
    let wrong = verify_head(&source, &[("x-gitlab-token", "0123456789abcdeF")], b"{}");
    assert_eq!(wrong.err(), Some(Rejection::SignatureMismatch));
}

#[test]
fn a_secret_of_the_url_is_compared() {
    let source = of("docker_hub", &["0123456789abcdef"]);
    let judge = |secret: Option<&str>| {
        let head = DeliveryHead {
            path_secret: secret.map(str::to_owned),
            ..DeliveryHead::default()
        };
        let claim = source.read_signature(&head)?;
        claim
            .verify(inbound(b"{}"), at(NOW), || KNOWN_SINCE)
            .map(drop)
    };
    assert_eq!(judge(Some("0123456789abcdef")), Ok(()));
    assert_eq!(
        judge(Some("0123456789abcde")),
        Err(Rejection::SignatureMismatch)
    );
    assert_eq!(judge(None), Err(Rejection::SignatureMissing));
}

/// Verifies a form of Twilio's.
fn verify_form(
    source: &Source,
    signature: &str,
    body: &'static [u8],
) -> Result<Verified, Rejection> {
    let head = DeliveryHead::of(vec![("x-twilio-signature".into(), signature.into())]);
    let inbound = Inbound {
        content_type: Some("application/x-www-form-urlencoded".to_owned()),
        ..inbound(body)
    };
    let claim = source.read_signature(&head)?;
    claim.verify(inbound, at(NOW), || KNOWN_SINCE)
}

#[test]
fn a_form_in_another_writing_is_the_same_delivery() {
    let mut source = of("twilio", &["0123456789abcdef"]);
    source.url = Some("https://bridge.example/webhooks/a".to_owned());
    let mac = source.secrets[0].sign(&[b"https://bridge.example/webhooks/a", b"From1To2"]);
    let signature = source.provider.signature.encode(&mac);
    let known_by = |body| {
        let verified = verify_form(&source, &signature, body);
        verified.map(|it| it.delivery().replay_bytes().into_owned())
    };
    let first = known_by(b"From=1&To=2").expect("right");
    for same in [
        &b"To=2&From=1"[..],
        b"%46rom=1&To=2&",
        b"From1=&To=2",
        b"From=1&From=1&To=2",
    ] {
        assert_eq!(known_by(same).as_ref(), Ok(&first));
    }
    assert_eq!(known_by(b"From=1&To=3"), Err(Rejection::SignatureMismatch));
    let head = DeliveryHead::of(vec![("x-twilio-signature".into(), signature.clone())]);
    let json = Inbound {
        content_type: Some("application/json".to_owned()),
        ..inbound(b"From=1&To=2")
    };
    let claim = source.read_signature(&head).expect("well-formed");
    let refused = claim.verify(json, at(NOW), || KNOWN_SINCE).err();
    assert_eq!(refused, Some(Rejection::SignatureMismatch));
}

#[test]
fn an_event_is_known_by_the_signature_that_was_made_and_by_no_other() {
    let source = of("retell", &["0123456789abcdef"]);
    let now = (NOW * 1000).to_string();
    let mac = hex::encode(source.secrets[0].sign(&[b"{}", now.as_bytes()]));
    let item = |header: String| {
        let verified = verify_head(&source, &[("x-retell-signature", &header)], b"{}");
        let verified = verified.expect("right");
        let item = verified
            .delivery()
            .head()
            .value(&Variable::Item("d".to_owned()));
        item.map(Cow::into_owned)
    };
    let junk = "00".repeat(32);
    for header in [
        format!("v={now},d={mac}"),
        format!("v={now},d={}", mac.to_uppercase()),
        format!("v={now},d={junk},d={mac}"),
        format!("d={mac},v={now},d={junk}"),
    ] {
        assert_eq!(item(header), Some(mac.clone()));
    }
}

#[test]
fn the_values_of_a_head_say_where_they_end() {
    let judge = |signed: &str, id: &str| {
        let mut source = source(&["one"]);
        let mut provider = Provider::clone(&source.provider);
        provider.signature.signed = FieldTemplate::parse(signed).expect("a template");
        provider.signature.timestamp = None;
        provider.of_head = vec![Variable::Header("x-id".to_owned())];
        source.provider = Arc::new(provider);
        let header = format!("v1={}", "00".repeat(32));
        let head = [("x-onecodex-signature", header.as_str()), ("x-id", id)];
        verify_head(&source, &head, b"{}").err()
    };
    let (passes, refused) = (
        Some(Rejection::SignatureMismatch),
        Some(Rejection::SignatureMalformed),
    );
    for (signed, id, expected) in [
        ("{header.x-id}.{body}", "a-1", passes),
        ("{header.x-id}.{body}", "a.1", refused),
        ("{body}.{header.x-id}", "a-1", passes),
        ("{body}.{header.x-id}", "a.1", refused),
        (".{header.x-id}:{body}", "a.1", passes),
        ("{header.x-id}{body}", "a.1", passes),
        ("{header.x-id}{body}", "a{", refused),
        ("{header.x-id}{body}", "a\"", refused),
        ("{body}{header.x-id}", "}a", refused),
        ("{body}", "}a", passes),
    ] {
        assert_eq!(judge(signed, id), expected, "{signed} {id}");
    }
}
