//! A delivery and what is fetched of the same event are one event.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, stream};

use super::{RecoverySetup, assert_backfilled, assert_delivered, missed};
use crate::eventually::eventually;
use crate::harness::Post;
use crate::harness::events_api::Row;

const EVENTS: usize = 80;
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_what_was_recovered_is_a_duplicate_whatever_its_bytes() {
    let recovery = RecoverySetup::store().await;
    let body = missed("a", 60, 0);
    recovery.api.adds(Row::object(&body));
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, 1).await;
    assert_backfilled(&seen[0]);
    for same in [
        body.trim_end().to_owned(),
        body.clone(),
        body.replace("  ", ""),
        body.replace("sample.uploaded", "s\\u0061mple.uploaded"),
    ] {
        let answer = bridge.post(&Post::signed(recovery.source(), same)).await;
        assert_eq!((answer.status, &*answer.outcome()), (200, "duplicate"));
        assert_eq!(answer.id(), seen[0].id);
    }
    recovery.published(&bridge, 1).await;
    // Still, after a restart.
    bridge.stop().await;
    let bridge = recovery.start().await;
    let answer = bridge.post(&Post::signed(recovery.source(), body)).await;
    assert_eq!((answer.status, &*answer.outcome()), (200, "duplicate"));
    recovery.published(&bridge, 1).await;
}

/// Half of the deliveries have other bytes than the record. Where the first copy of the two is depends
/// on the moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_and_its_backfill_at_once_are_published_once() {
    let recovery = RecoverySetup::store().await;
    let bridge = recovery.start().await;
    let object = |number: usize| format!("object{number}");
    let bodies: Vec<String> = (0..EVENTS)
        .map(|number| missed(&object(number), 600, number))
        .collect();
    let asked = Arc::new(AtomicBool::new(false));
    let page = Arc::clone(&asked);
    recovery.api.before_page(move |_, rows| {
        if !rows.is_empty() {
            page.store(true, Ordering::Relaxed);
        }
    });
    let rows = bodies.iter().enumerate().map(|(number, body)| {
        let body = if number % 2 == 0 {
            body.replace("  ", "")
        } else {
            body.clone()
        };
        Row::text(&body)
    });
    recovery.api.adds_all(rows);
    eventually("the record is asked for", async || {
        asked.load(Ordering::Relaxed).then_some(())
    })
    .await;
    let posts = bodies.iter().map(|body| {
        let post = Post::signed(recovery.source(), body.as_str());
        let bridge = &bridge;
        async move { bridge.post(&post).await }
    });
    // From the other end than the run.
    let posts: Vec<_> = posts.rev().collect();
    let answers: Vec<_> = stream::iter(posts)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut delivered = HashSet::new();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        if answer.outcome() == "accepted" {
            delivered.insert(answer.id());
        }
    }
    recovery.looks_again(&bridge).await;
    let seen = recovery.published(&bridge, EVENTS).await;
    let ids: HashSet<&str> = seen.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids.len(), EVENTS, "each once");
    for one in &seen {
        if delivered.contains(&one.id) {
            assert_delivered(one);
        } else {
            assert_backfilled(one);
        }
    }
    let recovered = recovery.found(&bridge, "recovered").await;
    #[allow(clippy::cast_precision_loss, reason = "a few")]
    let fetched = (EVENTS - delivered.len()) as f64;
    assert!((recovered - fetched).abs() < 0.5, "{recovered} {fetched}");
    bridge.metrics().await.assert_balanced("store");
}
