//! P4: all copies of one event carry the same id, whoever copies it.

use crate::harness::delivery::{event, event_at, now};
use crate::harness::setup::SECRET;
use crate::harness::{Outlet, Post, Setup, amqp_url, kafka_brokers};

const TIME: &str = "2026-03-02T09:15:42.184121-08:00";
const SAME_TIME: &str = "2026-03-02T17:15:42.184121Z";

/// Pinned: a consumer compares ids across versions of the bridge.
#[tokio::test(flavor = "multi_thread")]
async fn the_id_is_of_the_fields_alone() {
    let mut setup = Setup::store();
    setup.source = "onecodex".to_owned();
    let bridge = setup.start().await;
    let body = event_at("sample.uploaded", "7428cca4a3a04a8e", TIME, 0);
    let id = bridge.accepted("onecodex", body).await;
    assert_eq!(id, "019caf8c-6ee8-8fa1-96d2-170867d5071e");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_the_id_of_the_first_delivery() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let id = bridge.accepted(&setup.source, body.as_str()).await;
    // Signed at another time, with another content type.
    let retry = Post::signed_with(&setup.source, body.as_str(), SECRET, now() - 30);
    let answer = bridge.post(&retry.with("x-attempt", "2")).await;
    assert_eq!((answer.id(), answer.outcome().as_str()), (id, "duplicate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_of_the_same_event_have_its_id() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let id = bridge
        .accepted(&setup.source, event_at("sample.uploaded", "a", TIME, 1))
        .await;
    for same in [
        event_at("sample.uploaded", "a", SAME_TIME, 2),
        event_at("sample.uploaded", "a", TIME, 3).replace("  ", ""),
        event_at("sample.uploaded", "a", TIME, 4)
            .replace("sample.uploaded", "s\\u0061mple.uploaded"),
    ] {
        let answer = bridge.post(&Post::signed(&setup.source, same)).await;
        assert_eq!(
            (answer.id(), answer.outcome().as_str()),
            (id.clone(), "accepted")
        );
    }
    let labels = [("body", "different")];
    bridge.counts("events_duplicate_total", &labels, 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_event_has_another_id() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let body = |kind: &str, object: &str, time: &str| event_at(kind, object, time, 0);
    let mut ids = std::collections::HashSet::new();
    for other in [
        body("sample.uploaded", "a", TIME),
        body("sample.uploaded", "b", TIME),
        body("sample.deleted", "a", TIME),
        body("sample.uploaded", "a", "2026-03-02T09:15:42.184122-08:00"),
        body("sample.uploaded", "a", TIME).replace("/api/v1/samples/", "/api/v2/samples/"),
    ] {
        ids.insert(bridge.accepted(&setup.source, other).await);
    }
    assert_eq!(ids.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_every_sink_agree() {
    let setup = Setup::kafka(&kafka_brokers())
        .and_rabbitmq(&amqp_url())
        .and_store();
    let mut other = Setup::store();
    other.source.clone_from(&setup.source);
    let mut queue = Outlet::rabbitmq(&setup).await;
    let (bridge, replica) = (setup.start().await, other.start().await);
    let source = &setup.source;
    let body = event("analysis.succeeded", "495d7e4c16934e12");
    let id = bridge.accepted(source, body.as_str()).await;
    assert_eq!(replica.accepted(source, body.as_str()).await, id);
    let expected = std::slice::from_ref(&id);
    for outlet in [
        &mut Outlet::Store,
        &mut Outlet::kafka(&kafka_brokers()),
        &mut queue,
    ] {
        let seen = outlet.has(&bridge, source, expected).await;
        assert_eq!(seen.len(), 1);
        for name in ["ce_id", "cloudEvents_id"] {
            let header = seen[0].header(name);
            assert!(header.is_empty() || header == id, "{header}");
        }
        assert_eq!(seen[0].key, "495d7e4c16934e12");
    }
    Outlet::Store.has(&replica, source, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_duplicate_keeps_the_id() {
    let setup = Setup::store().top("duplicates = \"forward\"");
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let id = bridge.accepted(&setup.source, body.as_str()).await;
    let again = bridge
        .post(&Post::signed(&setup.source, body.as_str()))
        .await;
    assert_eq!(again.id(), id);
    bridge.drained().await;
    let seen = Outlet::Store.read(&bridge, &setup.source).await;
    assert_eq!(seen.iter().filter(|one| one.id == id).count(), 2);
}
