//! P8: an authentic delivery is never dropped, however odd. It is answered 200, and it lies on the
//! quarantine topic with its bytes and the reason.

use crate::harness::delivery::{event, event_at, verifies};
use crate::harness::outlet::store_topic;
use crate::harness::setup::SECRET;
use crate::harness::{Answer, Bridge, Outlet, Post, Seen, Setup, amqp_url, kafka_brokers};

/// What it is, its bytes, and the reason it is set aside for.
type Odd = (&'static str, Vec<u8>, &'static str);

/// Every odd body.
fn odd_bodies() -> Vec<Odd> {
    let good = event("sample.uploaded", "7428cca4a3a04a8e");
    let mut odd = not_json(&good);
    odd.extend(not_an_event(&good));
    odd.extend(out_of_bounds());
    odd
}

/// The good body with one thing changed.
fn with(good: &str, from: &str, to: &str) -> Vec<u8> {
    let changed = good.replacen(from, to, 1);
    assert_ne!(changed, good, "{from} is in the body");
    changed.into_bytes()
}

fn with_member(good: &str, member: &str) -> Vec<u8> {
    with(
        good,
        "\"number\":0",
        &format!("\"number\":0,\"more\":{member}"),
    )
}

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn event_with_time(time: &str) -> Vec<u8> {
    event_at("sample.uploaded", "a", time, 0).into_bytes()
}

/// What is no JSON that every parser reads alike.
fn not_json(good: &str) -> Vec<Odd> {
    vec![
        ("empty", Vec::new(), "empty_body"),
        ("white space", text(" \r\n"), "invalid_json"),
        ("no JSON", text("hello"), "invalid_json"),
        (
            "half of JSON",
            text(&good[..good.len() / 2]),
            "invalid_json",
        ),
        (
            "two documents",
            text(&format!("{good}{good}")),
            "invalid_json",
        ),
        (
            "nested 10^5 deep",
            "[".repeat(100_000).into_bytes(),
            "invalid_json",
        ),
        (
            "nested deep within",
            with_member(
                good,
                &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            ),
            "invalid_json",
        ),
        (
            "a key twice",
            with(
                good,
                "\"object_type\"",
                "\"event_type\":\"analysis.failed\",\"object_type\"",
            ),
            "invalid_json",
        ),
        (
            "a key twice within",
            with_member(good, "{\"a\":1,\"\\u0061\":2}"),
            "invalid_json",
        ),
        (
            "10^5 digits",
            with_member(good, &"9".repeat(100_000)),
            "invalid_json",
        ),
        ("1e400", with_member(good, "1e400"), "invalid_json"),
        ("NUL", with_member(good, "\"\0\""), "invalid_json"),
        (
            "a lone surrogate",
            with_member(good, "\"\\ud800\""),
            "invalid_json",
        ),
        (
            "a byte order mark",
            text(&format!("\u{feff}{good}")),
            "invalid_json",
        ),
        (
            "UTF-16",
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "not_utf8",
        ),
        (
            "invalid UTF-8",
            [good.as_bytes(), b"\xff"].concat(),
            "not_utf8",
        ),
    ]
}

/// JSON without a field that identifies an event.
fn not_an_event(good: &str) -> Vec<Odd> {
    vec![
        ("null", text("null"), "invalid_fields"),
        ("a number", text("1"), "invalid_fields"),
        ("a string", text("\"x\""), "invalid_fields"),
        ("an array", text("[]"), "invalid_fields"),
        (
            "an array of an event",
            text(&format!("[{good}]")),
            "invalid_fields",
        ),
        ("an empty object", text("{}"), "invalid_fields"),
        (
            "no event type",
            with(good, "event_type", "event_typo"),
            "invalid_fields",
        ),
        (
            "no time",
            with(good, "triggered_at", "triggered"),
            "invalid_fields",
        ),
        (
            "no object",
            with(good, "\"object\"", "\"objects\""),
            "invalid_fields",
        ),
        ("no URI", with(good, "$uri", "uri"), "invalid_fields"),
        (
            "an event type that is an object",
            with(good, "\"sample.uploaded\"", "{}"),
            "invalid_fields",
        ),
        (
            "an empty event type",
            with(good, "sample.uploaded", ""),
            "invalid_fields",
        ),
        (
            "an event type that is null",
            with(good, "\"sample.uploaded\"", "null"),
            "invalid_fields",
        ),
    ]
}

/// Events with a time outside of what ids can hold.
fn out_of_bounds() -> Vec<Odd> {
    vec![
        ("yesterday", event_with_time("yesterday"), "invalid_time"),
        (
            "no zone",
            event_with_time("2026-03-02T09:31:07"),
            "invalid_time",
        ),
        (
            "before 1970",
            event_with_time("1969-12-31T23:59:59Z"),
            "invalid_time",
        ),
        (
            "the year 99999",
            event_with_time("99999-01-01T00:00:00Z"),
            "invalid_time",
        ),
    ]
}

async fn quarantined(bridge: &Bridge, source: &str, body: &[u8]) -> Answer {
    let answer = bridge.post(&Post::signed(source, body)).await;
    assert_eq!(
        (answer.status, answer.outcome().as_str()),
        (200, "quarantined"),
        "{answer:?}"
    );
    answer
}

fn assert_set_aside(seen: &Seen, what: &str, body: &[u8], reason: &str) {
    assert_eq!(
        seen.header("hookferry-reason"),
        reason,
        "{what}: {}",
        seen.header("hookferry-detail")
    );
    assert_eq!(seen.body, body, "{what}: the very bytes");
    assert!(
        verifies(SECRET, seen.header("hookferry-signature"), body),
        "{what}"
    );
    assert!(!seen.header("hookferry-detail").is_empty(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn authentic_deliveries_that_nobody_understands_are_kept_with_the_reason() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let bodies = odd_bodies();
    let mut ids = Vec::new();
    for (what, body, _) in &bodies {
        let answer = bridge
            .post(&Post::signed(&setup.source, body.as_slice()))
            .await;
        assert_eq!(
            (answer.status, answer.outcome().as_str()),
            (200, "quarantined"),
            "{what}: {answer:?}"
        );
        ids.push(answer.id());
    }
    Outlet::Store.has(&bridge, &setup.source, &ids).await;
    let topic = store_topic(&bridge, &format!("{}.quarantine", setup.source)).await;
    assert_eq!(
        topic.len(),
        bodies.len(),
        "each once, and all on the quarantine topic"
    );
    for ((what, body, reason), id) in bodies.iter().zip(&ids) {
        let seen = topic
            .iter()
            .find(|seen| seen.id == *id)
            .expect("has was asked");
        assert_set_aside(seen, what, body, reason);
    }
    let metrics = bridge.metrics().await;
    for (_, _, reason) in &bodies {
        let expected = bodies
            .iter()
            .filter(|(_, _, other)| other == reason)
            .count();
        let counted = metrics.sum("events_quarantined_total", &[("reason", reason)]);
        #[allow(clippy::cast_precision_loss, reason = "a handful")]
        let expected = expected as f64;
        assert!(
            (counted - expected).abs() < f64::EPSILON,
            "{reason}: {counted} of {expected}"
        );
    }
    metrics.assert_balanced("store");
    bridge.shows("panics_total", &[], 0.0).await;
}

/// Nothing of them becomes a part of a topic, and order and key stay.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_fit_no_topic_are_hashed_and_never_refused() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let good = event("sample.uploaded", "7428cca4a3a04a8e");
    let types = [
        "../uploaded",
        "sample.#",
        "sample\\nuploaded",
        "δείγμα",
        &"a".repeat(101),
    ];
    let objects = ["", "a.b", "a b", "{7428}", &"a".repeat(65)];
    let other = types.map(|to| with(&good, "sample.uploaded", to));
    let typed = objects.map(|to| with(&good, "7428cca4a3a04a8e", to));
    for (bodies, topic, header) in [
        (other, "other", "ce_type"),
        (typed, "sample.uploaded", "ce_subject"),
    ] {
        let mut ids = Vec::new();
        for body in bodies {
            ids.push(bridge.accepted(&setup.source, body).await);
        }
        let seen = Outlet::Store.has(&bridge, &setup.source, &ids).await;
        for seen in seen.iter().filter(|seen| ids.contains(&seen.id)) {
            assert_eq!(seen.address, format!("{}.{topic}", setup.source));
            let name = seen.header(header);
            assert!(name.starts_with("h-") && name.len() == 18, "{name}");
            assert!(header == "ce_type" || seen.key == name, "{}", seen.key);
        }
    }
    let metrics = bridge.metrics().await;
    assert!(metrics.sum("events_quarantined_total", &[]).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_delivery_that_is_repeated_is_a_duplicate() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let first = quarantined(&bridge, &setup.source, b"odd").await.id();
    let again = bridge.post(&Post::signed(&setup.source, "odd")).await;
    assert_eq!((again.outcome().as_str(), again.id()), ("duplicate", first));
    let other = quarantined(&bridge, &setup.source, b"odd ").await.id();
    assert_ne!(other, again.id());
}

/// A body of no bytes is a value of length zero: a null would delete on a compacted topic.
#[tokio::test(flavor = "multi_thread")]
async fn odd_deliveries_reach_kafka_as_they_are() {
    let setup = Setup::kafka(&kafka_brokers());
    let bridge = setup.start().await;
    reach(
        &setup,
        &bridge,
        Outlet::kafka(&kafka_brokers()),
        &format!("{}.quarantine", setup.source),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_deliveries_reach_rabbitmq_as_they_are() {
    let setup = Setup::rabbitmq(&amqp_url());
    let outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    reach(&setup, &bridge, outlet, "quarantine.").await;
}

async fn reach(setup: &Setup, bridge: &Bridge, mut outlet: Outlet, address: &str) {
    let bodies = odd_bodies();
    let chosen = [
        "empty",
        "NUL",
        "invalid UTF-8",
        "an array",
        "an empty event type",
        "no zone",
    ];
    let mut ids = Vec::new();
    for what in chosen {
        let (_, body, _) = bodies
            .iter()
            .find(|(name, _, _)| *name == what)
            .expect("in the list");
        ids.push(quarantined(bridge, &setup.source, body).await.id());
    }
    let seen = outlet.has(bridge, &setup.source, &ids).await;
    for (what, id) in chosen.iter().zip(&ids) {
        let (_, body, reason) = bodies
            .iter()
            .find(|(name, _, _)| name == what)
            .expect("in the list");
        let seen = seen
            .iter()
            .find(|seen| seen.id == *id)
            .expect("has was asked");
        assert!(seen.address.starts_with(address), "{}", seen.address);
        assert_set_aside(seen, what, body, reason);
    }
}
