//! P3: the message is byte for byte what was received, and its signature still verifies.

use crate::harness::delivery::{event, verifies};
use crate::harness::setup::SECRET;
use crate::harness::{Bridge, Connection, Outlet, Post, Setup, amqp_url, kafka_brokers};

/// Bodies that a parser would not give back as they are.
fn bodies() -> Vec<Vec<u8>> {
    let body = || event("sample.uploaded", "7428cca4a3a04a8e");
    let mut large = body().into_bytes();
    // The largest round number that a Kafka with its own defaults takes.
    large.resize(1_000_000, b'\n');
    vec![
        body().into_bytes(),
        body().replace(',', " ,\r\n\t").into_bytes(),
        body().replace("note", "n\\u006fte\\/").into_bytes(),
        body()
            .replace(
                "\"number\":0",
                "\"number\":1.50e+02,\"big\":123456789012345678901234567890",
            )
            .into_bytes(),
        body()
            .replace("ü", "\u{1F9EC}\u{202E}\u{FFFD}")
            .into_bytes(),
        large,
    ]
}

async fn delivered(bridge: &Bridge, setup: &Setup, outlet: &mut Outlet) {
    let bodies = bodies();
    let mut ids = Vec::new();
    for body in &bodies {
        ids.push(bridge.accepted(&setup.source, body.as_slice()).await);
    }
    let seen = outlet.has(bridge, &setup.source, &ids).await;
    for (id, body) in ids.iter().zip(&bodies) {
        let one = seen
            .iter()
            .find(|one| one.id == *id)
            .expect("has was asked");
        assert!(
            one.body == *body,
            "{} bytes came, {} were sent",
            one.body.len(),
            body.len()
        );
        assert!(verifies(
            SECRET,
            one.header("hookferry-signature"),
            &one.body
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_has_the_bytes() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    delivered(&bridge, &setup, &mut Outlet::Store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_has_the_bytes() {
    let setup = Setup::kafka(&kafka_brokers());
    let bridge = setup.start().await;
    delivered(&bridge, &setup, &mut Outlet::kafka(&kafka_brokers())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_has_the_bytes() {
    let setup = Setup::rabbitmq(&amqp_url());
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    delivered(&bridge, &setup, &mut outlet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_do_not_depend_on_how_they_were_framed() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for size in [1, 7, 100_000] {
        let body = event("sample.uploaded", "a");
        let post = Post::signed(&setup.source, body.as_str());
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        // One byte a packet, as far as the network lets us.
        for piece in post.chunked(size).chunks(size.max(64)) {
            connection.send(piece).await.unwrap();
        }
        let id = connection.answer().await.unwrap().expect("an answer").id();
        let one = Outlet::Store.has_one(&bridge, &setup.source, &id).await;
        assert_eq!(one.body, body.as_bytes());
    }
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_say_what_came_and_where_from() {
    let setup = Setup::kafka(&kafka_brokers())
        .and_rabbitmq(&amqp_url())
        .and_store();
    let mut queue = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let body = crate::harness::delivery::event_at(
        "analysis.failed",
        "495d7e4c16934e12",
        "2026-03-02T09:31:07.029311-08:00",
        0,
    );
    let mut post = Post::signed(&setup.source, body).with("traceparent", TRACE);
    post.headers[0].1 = "application/json; charset=utf-8".to_owned();
    let signature = post.headers[1].1.clone();
    let mut kafka = Outlet::kafka(&kafka_brokers());
    for (outlet, prefix) in [
        (&mut Outlet::Store, "ce_"),
        (&mut kafka, "ce_"),
        (&mut queue, "cloudEvents_"),
    ] {
        let seen = outlet.gets(&bridge, &setup.source, &post).await;
        let attribute = |name: &str| seen.header(&format!("{prefix}{name}"));
        assert_eq!(attribute("specversion"), "1.0");
        assert_eq!(attribute("id"), seen.id);
        assert_eq!(attribute("source"), "https://app.onecodex.com");
        assert_eq!(attribute("type"), "analysis.failed");
        assert_eq!(attribute("subject"), "495d7e4c16934e12");
        assert_eq!(attribute("time"), "2026-03-02T17:31:07.029311Z");
        assert_eq!(seen.header("hookferry-origin"), "webhook");
        assert_eq!(seen.header("hookferry-signature"), signature);
        assert!(
            seen.header("hookferry-received-at")
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
        assert!(
            seen.header("traceparent").starts_with(&TRACE[..35]),
            "the trace goes on"
        );
        if prefix == "ce_" {
            assert_eq!(
                seen.header("content-type"),
                "application/json; charset=utf-8"
            );
        }
    }
}

/// Whoever reads the messages could send the delivery again with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_keep_its_signature_to_itself() {
    let setup = Setup::kafka(&kafka_brokers())
        .and_rabbitmq(&amqp_url())
        .and_store()
        .source_keys("forward_signature = false");
    let mut queue = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let post = Post::signed(&setup.source, body.as_str());
    let mut kafka = Outlet::kafka(&kafka_brokers());
    for outlet in [&mut Outlet::Store, &mut kafka, &mut queue] {
        let seen = outlet.gets(&bridge, &setup.source, &post).await;
        assert_eq!(seen.body, body.as_bytes());
        assert_eq!(seen.header("hookferry-origin"), "webhook");
        assert!(!seen.headers.contains_key("hookferry-signature"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_starts_here_where_none_came() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for trace in [
        "",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "garbage",
    ] {
        let post =
            Post::signed(&setup.source, event("sample.uploaded", "a")).with("traceparent", trace);
        let seen = Outlet::Store.gets(&bridge, &setup.source, &post).await;
        let started = seen.header("traceparent");
        assert_eq!(
            (started.len(), started.split('-').count()),
            (55, 4),
            "{started}"
        );
        assert_ne!(started, trace);
    }
}
