//! A delivery with a right signature that comes late is let in for as long as its event is
//! remembered: whoever plays it back once more gets a duplicate.

use crate::harness::delivery::{event, event_at, now};
use crate::harness::setup::SECRET;
use crate::harness::{Answer, Bridge, Outlet, Post, Setup};

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// A delivery that was signed so many seconds ago.
fn signed(setup: &Setup, body: &str, ago: i64) -> Post {
    Post::signed_with(&setup.source, body, SECRET, now() - ago)
}

fn assert_is(answer: &Answer, outcome: &str) {
    assert_eq!(
        (answer.status, answer.outcome().as_str()),
        (200, outcome),
        "{answer:?}"
    );
}

fn assert_stale(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, "timestamp_stale"),
        "{answer:?}"
    );
}

async fn shows_late(bridge: &Bridge, setup: &Setup, times: f64) {
    let labels = [("source", setup.source.as_str())];
    bridge.shows("deliveries_late_total", &labels, times).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_accepted_once_and_played_back_it_is_a_duplicate_across_a_restart() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (understood, odd) = (event("sample.uploaded", "late"), "no JSON");
    let posts = [(understood.as_str(), "accepted"), (odd, "quarantined")]
        .map(|(body, outcome)| (signed(&setup, body, HOUR), outcome));
    let mut ids = Vec::new();
    for (post, outcome) in &posts {
        let answer = bridge.post(post).await;
        assert_is(&answer, outcome);
        assert_is(&bridge.post(post).await, "duplicate");
        ids.push(answer.id());
    }
    shows_late(&bridge, &setup, 4.0).await;
    // What comes in time is not among them.
    bridge
        .accepted(&setup.source, event("sample.uploaded", "in-time"))
        .await;
    shows_late(&bridge, &setup, 4.0).await;
    let stale = [
        ("source", setup.source.as_str()),
        ("reason", "timestamp_stale"),
    ];
    bridge.shows("deliveries_rejected_total", &stale, 0.0).await;
    bridge.stop().await;
    let bridge = setup.start().await;
    for ((post, _), id) in posts.iter().zip(&ids) {
        let again = bridge.post(post).await;
        assert_is(&again, "duplicate");
        assert_eq!(again.id(), *id);
    }
    let seen = Outlet::Store.has(&bridge, &setup.source, &ids).await;
    for id in &ids {
        assert_eq!(seen.iter().filter(|seen| seen.id == *id).count(), 1);
    }
}

/// Where a copy would not be known, it would be published again: late is too late.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_remembered_it_is_stale() {
    let memory = Setup::store()
        .top("acknowledge = \"delivered\"")
        .in_memory();
    for setup in [
        memory,
        Setup::store().top("duplicates = \"forward\""),
        Setup::store().top("duplicate_window = \"30m\""),
    ] {
        let bridge = setup.start().await;
        let body = event("sample.uploaded", "late");
        assert_stale(&bridge.post(&signed(&setup, &body, HOUR)).await);
        assert_is(&bridge.post(&signed(&setup, &body, 0)).await, "accepted");
        shows_late(&bridge, &setup, 0.0).await;
    }
}

/// An event is remembered by its own time, whenever it was signed.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_event_is_remembered_no_longer_and_so_is_what_has_no_time() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let two_days_ago = jiff::Timestamp::from_second(now() - 2 * DAY).unwrap();
    let old = event_at("sample.uploaded", "old", &two_days_ago.to_string(), 0);
    assert_stale(&bridge.post(&signed(&setup, &old, HOUR)).await);
    assert_is(&bridge.post(&signed(&setup, &old, 0)).await, "accepted");
    // It may have come as early as the tolerance allows, before it was signed.
    assert_stale(&bridge.post(&signed(&setup, "odd", DAY - 200)).await);
    let answer = bridge.post(&signed(&setup, "odd", DAY - 600)).await;
    assert_is(&answer, "quarantined");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_how_late_it_may_be() {
    let setup = Setup::store().top("duplicate_window = \"30m\"");
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "late");
    assert_stale(&bridge.post(&signed(&setup, &body, HOUR)).await);
    let longer = setup.text().replace("\"30m\"", "\"2h\"");
    std::fs::write(setup.path("hookferry.toml"), longer).unwrap();
    bridge.reload(true).await;
    assert_is(&bridge.post(&signed(&setup, &body, HOUR)).await, "accepted");
}
