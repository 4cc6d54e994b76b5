//! What a delivery's fields become.

use bytes::Bytes;

use super::*;
use crate::source::{
    DeliveryHead, Inbound, Provider, Secret, SigningKey, Source, Verified, built_in,
};
use crate::trace::TraceContext;

/// Where it goes, for the providers that sign that.
const URL: &str = "https://bridge.example/webhooks/a";

/// A delivery of this provider's, proven.
fn verified(
    provider: &str,
    headers: &[(&str, &str)],
    (content_type, body): (&str, impl Into<Bytes>),
) -> Verified {
    let provider = built_in(provider).expect("built in");
    let secret = Secret::new("0123456789abcdef").expect("not empty");
    let name = SourceName::parse("a").expect("a slug");
    let source = Source {
        url: Some(URL.to_owned()),
        ..Source::new(name, provider.clone(), vec![secret.clone()])
    };
    let body = body.into();
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let head = DeliveryHead::of(headers.iter().map(header).collect());
    let now = Timestamp::now();
    let head = DeliveryHead::of(provider.sign(&SigningKey::Hmac(secret), head, (URL, &body), now));
    let inbound = Inbound {
        body,
        content_type: Some(content_type.to_owned()),
        trace: TraceContext::start(false),
    };
    let claim = source.read_signature(&head).expect("well-formed");
    claim
        .verify(inbound, now, || i64::MIN)
        .expect("signed just now")
}

fn of(provider: &str, headers: &[(&str, &str)], body: &str) -> ParsedDelivery {
    read_verified(&verified(
        provider,
        headers,
        ("application/json", body.to_owned()),
    ))
}

fn read_verified(verified: &Verified) -> ParsedDelivery {
    let provider: &Provider = verified.delivery().provider();
    read(
        verified.delivery().source(),
        provider,
        verified.delivery().head(),
        verified.delivery().inbound(),
    )
}

fn one_codex(body: impl Into<Bytes>) -> ParsedDelivery {
    read_verified(&verified("onecodex", &[], ("application/json", body)))
}

fn body(event_type: &str, uri: &str, triggered_at: &str) -> String {
    format!(
        r#"{{"api_version":"v1","event_type":"{event_type}","object_type":"analysis","triggered_at":"{triggered_at}","object":{{"$uri":"{uri}","success":null,"error_msg":null}}}}"#
    )
}

fn understood(parsed: ParsedDelivery) -> Understood {
    match parsed.content {
        Content::Understood(understood) => understood,
        Content::Quarantined(quarantine) => panic!("quarantined: {quarantine:?}"),
    }
}

fn quarantined(parsed: ParsedDelivery) -> Quarantine {
    match parsed.content {
        Content::Quarantined(quarantine) => quarantine,
        Content::Understood(understood) => panic!("understood: {understood:?}"),
    }
}

const TIME: &str = "2026-03-02T09:31:07.029311-08:00";

#[test]
fn the_object_id_is_the_last_segment_whatever_the_middle_one() {
    for middle in [
        "samples",
        "analyses",
        "functional_profiles",
        "panels",
        "a/b",
    ] {
        let uri = format!("/api/v1/{middle}/eec4ac90d9104d1e");
        let understood = understood(one_codex(body("analysis.succeeded", &uri, TIME)));
        let object = understood.object_id.expect("named");
        assert_eq!(object.as_str(), "eec4ac90d9104d1e");
        let time = "2026-03-02T17:31:07.029311Z".parse().expect("RFC 3339");
        assert_eq!(understood.triggered_at, Some(time));
    }
}

#[test]
fn what_the_sender_says_of_itself_is_kept_in_part() {
    let long = "\u{e9}x".repeat(100_000);
    let whole = body("analysis.succeeded", "/api/v1/analyses/1", TIME)
        .replace("\"analysis\"", &format!("\"{long}\""));
    let attributes = one_codex(whole).attributes;
    let expected = [
        ("apiversion".to_owned(), "v1".to_owned()),
        ("objecttype".to_owned(), "x".repeat(MAX_ATTRIBUTE_BYTES)),
    ];
    assert_eq!(attributes, expected);
    let without = body("a", "/x/1", TIME).replace("\"api_version\"", "\"version\"");
    assert_eq!(one_codex(without).attributes.len(), 1);
}

#[test]
fn what_cannot_be_read_has_a_reason_and_no_identity() {
    let missing = body("a", "/x/1", TIME).replace("triggered_at", "triggered");
    for (bytes, expected) in [
        (&b""[..], QuarantineReason::EmptyBody),
        (b"\xff\xfe", QuarantineReason::NotUtf8),
        (b"{\"a\":\"\xc3\x28\"}", QuarantineReason::NotUtf8),
        (b"hello", QuarantineReason::InvalidJson),
        (
            b"{\"event_type\":\"a\",\"x\":1e400}",
            QuarantineReason::InvalidJson,
        ),
        (
            b"{\"object\":{\"$uri\":1,\"x\":\"\\ud800\"}}",
            QuarantineReason::InvalidJson,
        ),
        (b"null", QuarantineReason::InvalidFields),
        (b"[]", QuarantineReason::InvalidFields),
        (b"{}", QuarantineReason::InvalidFields),
        (missing.as_bytes(), QuarantineReason::InvalidFields),
        (
            body("a", "/x/1", "yesterday").as_bytes(),
            QuarantineReason::InvalidTime,
        ),
        (
            body("a", "/x/1", "2026-03-02T09:31:07").as_bytes(),
            QuarantineReason::InvalidTime,
        ),
        (
            body("a", "/x/1", "1969-12-31T23:59:59Z").as_bytes(),
            QuarantineReason::InvalidTime,
        ),
    ] {
        let parsed = one_codex(bytes.to_vec());
        assert!(parsed.id.is_none());
        let reason = quarantined(parsed).reason;
        assert_eq!(reason, expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn the_detail_names_what_is_missing() {
    let whole = body("a", "/x/1", TIME);
    for (from, to, name) in [
        (
            r#""event_type":"a""#,
            r#""event_type":{}"#,
            "type: {/event_type}",
        ),
        (
            r#""triggered_at":"#,
            r#""triggered":"#,
            "time: {/triggered_at}",
        ),
        (
            r#""$uri":"/x/1""#,
            r#""$uri":null"#,
            "object: {/object/$uri}",
        ),
        (r#""$uri":"/x/1""#, r#""$uri":"""#, "object: {/object/$uri}"),
    ] {
        let quarantine = quarantined(one_codex(whole.replace(from, to)));
        assert_eq!(quarantine.reason, QuarantineReason::InvalidFields);
        assert!(quarantine.detail.contains(name), "{quarantine:?}");
    }
    let long = quarantined(one_codex(body("a", "/x/1", &"\\u0007é".repeat(500))));
    let is_printable = long.detail.bytes().all(|b| matches!(b, b' '..=b'~'));
    assert!(long.detail.len() <= 200 && is_printable, "{long:?}");
}

#[test]
fn names_map_by_one_rule() {
    let event_type = |text: &str| event_type_name(text).to_string();
    for (text, expected) in [
        ("sample.uploaded", "sample.uploaded"),
        ("orders/create", "orders.create"),
        ("repo:push", "repo.push"),
        ("Push Hook", "Push.Hook"),
    ] {
        assert_eq!(event_type(text), expected);
    }
    for text in [
        "sample/../uploaded",
        "",
        "a*b",
        "/deploy",
        &"x".repeat(101),
        "\u{e9}",
    ] {
        let name = event_type(text);
        assert!(
            name.starts_with("h-") && name.len() == 18,
            "{text:?}: {name}"
        );
    }
    let object = |text: &str| object_id(text).to_string();
    assert_eq!(
        object("gid://shopify/Order/820982911946154500"),
        "820982911946154500"
    );
    assert_eq!(object("{a}"), object("{a}"));
    for text in ["{a0f1}", "a.b", "a b", "/api/v1/samples/", &"x".repeat(65)] {
        let name = object(text);
        assert!(
            name.starts_with("h-") && name.len() == 18,
            "{text:?}: {name}"
        );
    }
    assert_ne!(object("a/b.c"), object("x/b.c"));
}

#[test]
fn a_number_is_its_digits() {
    let body = r#"{"id":"evt_1","type":"charge.succeeded","created":1700000000,"data":{"object":{"id":820982911946154508}}}"#;
    let understood = understood(of_stripe(body));
    assert_eq!(
        understood.object_id.expect("named").as_str(),
        "820982911946154508"
    );
    let time = Timestamp::from_second(1_700_000_000).expect("in range");
    assert_eq!(understood.triggered_at, Some(time));
}

fn of_stripe(body: &str) -> ParsedDelivery {
    of("stripe", &[], body)
}

#[test]
fn a_sender_s_own_id_makes_the_id_whatever_else_changes() {
    let body = |id: &str, of: &str| {
        format!(
            r#"{{"id":"{id}","type":"{of}","created":1700000000,"data":{{"object":{{"id":"ch_1"}}}}}}"#
        )
    };
    let id = |id: &str, of: &str| of_stripe(&body(id, of)).id.expect("read");
    assert_eq!(
        id("evt_1", "charge.succeeded"),
        id("evt_1", "charge.failed")
    );
    assert_ne!(
        id("evt_1", "charge.succeeded"),
        id("evt_2", "charge.succeeded")
    );
    assert!(id("evt_1", "a").is_timed());
    // Without a time it is one all the same.
    let without = body("evt_1", "a").replace("\"created\"", "\"made\"");
    let parsed = of_stripe(&without);
    assert!(!parsed.id.expect("read").is_timed());
    assert_eq!(understood(parsed).triggered_at, None);
    let none = of_stripe(&body("", "a"));
    assert!(quarantined(none).detail.contains("no id: {/id}"));
}

#[test]
fn what_no_signature_covers_is_marked() {
    let headers = [("x-github-event", "push"), ("x-github-delivery", "1")];
    let parsed = of("github", &headers, r#"{"repository":{"id":42}}"#);
    assert_eq!(parsed.unsigned.to_string(), "id,type");
    let understood = understood(parsed);
    assert_eq!(understood.event_type.as_str(), "push");
    assert_eq!(understood.object_id.expect("named").as_str(), "42");
    assert!(of_stripe(r#"{"id":"1","type":"a"}"#).unsigned.is_empty());
}

#[test]
fn without_an_object_the_event_stands_alone() {
    let headers = [("x-github-event", "ping"), ("x-github-delivery", "1")];
    assert_eq!(understood(of("github", &headers, "{}")).object_id, None);
}

#[test]
fn a_form_holds_json_or_is_read_as_its_fields() {
    let form = "application/x-www-form-urlencoded";
    let headers = [("x-github-event", "push"), ("x-github-delivery", "1")];
    let body = "payload=%7B%22repository%22%3A%7B%22id%22%3A42%7D%7D";
    let parsed = read_verified(&verified("github", &headers, (form, body)));
    assert_eq!(understood(parsed).object_id.expect("named").as_str(), "42");
    let command = "command=%2Fdeploy&channel_id=C1&trigger_id=13345224609.738474920";
    let parsed = read_verified(&verified("slack", &[], (form, command)));
    assert!(parsed.unsigned.is_empty());
    assert_eq!(understood(parsed).event_type.as_str(), "command");
}

#[test]
fn several_events_in_one_delivery_are_counted() {
    let batch = r#"[{"eventId":1,"subscriptionType":"contact.creation","objectId":7,"occurredAt":1700000000000,"subscriptionId":1},{},{}]"#;
    let parsed = of("hubspot", &[], batch);
    assert_eq!(parsed.events, Some(3));
    assert_eq!(understood(parsed).event_type.as_str(), "contact.creation");
    assert_eq!(one_codex(body("a", "/x/1", TIME)).events, None);
}

/// The content type is not signed: it must not make another event of the same bytes.
#[test]
fn json_that_is_called_a_form_is_json() {
    let headers = [("x-github-event", "push"), ("x-github-delivery", "1")];
    let body = r#"{"repository":{"id":42}}"#;
    let form = ("application/x-www-form-urlencoded", body);
    let parsed = read_verified(&verified("github", &headers, form));
    assert_eq!(understood(parsed).object_id.expect("named").as_str(), "42");
}
