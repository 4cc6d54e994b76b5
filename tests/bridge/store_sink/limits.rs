//! Retention: what is too old or too much goes, oldest first, and its positions with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[tokio::test]
async fn old_entries_go_and_their_positions_never_come_back() {
    static NOW_MS: AtomicI64 = AtomicI64::new(1_800_000_000_000);
    fn clock() -> Timestamp {
        Timestamp::from_millisecond(NOW_MS.load(Ordering::SeqCst)).unwrap()
    }
    let (_folder, path) = folder();
    let store = Store::open_with_clock(settings(&path), clock).unwrap();
    publish(&store, 0..5).await;
    NOW_MS.fetch_add(4 * DAY_MS, Ordering::SeqCst);
    publish(&store, 5..8).await;
    NOW_MS.fetch_add(4 * DAY_MS, Ordering::SeqCst);
    publish(&store, 8..9).await;
    assert_eq!(positions(&all(&store.log(), TOPIC).await), [6, 7, 8, 9]);

    NOW_MS.fetch_add(8 * DAY_MS, Ordering::SeqCst);
    let log = store.log();
    eventually("the idle store is empty", || async {
        log.topics().await.unwrap()[0].events == 0
    })
    .await;
    let topic = &log.topics().await.unwrap()[0];
    assert_eq!((topic.first_position, topic.last_position), (10, 9));
    assert_eq!(log.read(TOPIC, 0, 10, Duration::ZERO).await, Ok(vec![]));
    close(store).await;

    let store = Store::open_with_clock(settings(&path), clock).unwrap();
    publish(&store, 9..10).await;
    assert_eq!(positions(&all(&store.log(), TOPIC).await), [10]);
    close(store).await;
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_make_holes() {
    static NOW_MS: AtomicI64 = AtomicI64::new(1_800_000_000_000);
    fn clock() -> Timestamp {
        Timestamp::from_millisecond(NOW_MS.load(Ordering::SeqCst)).unwrap()
    }
    let (_folder, path) = folder();
    let store = Store::open_with_clock(settings(&path), clock).unwrap();
    publish(&store, 0..2).await;
    NOW_MS.fetch_sub(2 * DAY_MS, Ordering::SeqCst);
    publish(&store, 2..4).await;
    close(store).await;
    let store = Store::open_with_clock(settings(&path), clock).unwrap();
    publish(&store, 4..5).await;
    // Late enough for what the clock said of the last three, not for the first two.
    NOW_MS.fetch_add(8 * DAY_MS, Ordering::SeqCst);
    publish(&store, 5..6).await;
    assert_eq!(
        positions(&all(&store.log(), TOPIC).await),
        [1, 2, 3, 4, 5, 6]
    );
    close(store).await;
}

#[tokio::test]
async fn beyond_its_size_the_log_forgets_the_oldest_and_reuses_their_room() {
    let (_folder, path) = folder();
    let max_size_bytes = 1 << 20;
    let store = Store::open(Settings {
        max_size_bytes,
        ..settings(&path)
    })
    .unwrap();
    let log = store.log();
    for number in 0..200 {
        let event_type = ["sample.uploaded", "analysis.failed"][number % 2];
        let large = message_of(delivery(event_type, "large", 50_000), None);
        store.publish(&large).await.unwrap();
    }
    let kept = || async {
        let topics = log.topics().await.unwrap();
        topics.iter().map(|topic| topic.events).sum::<u64>()
    };
    eventually("what is kept fits", || async {
        kept().await * 50_000 <= max_size_bytes
    })
    .await;
    // Not much less either: 20 of these fit, and their pages are not quite full.
    assert!(kept().await >= 16, "{}", kept().await);
    for topic in log.topics().await.unwrap() {
        let entries = all(&log, &topic.name).await;
        let expected: Vec<u64> = (topic.first_position..=100).collect();
        assert_eq!(positions(&entries), expected);
    }
    close(store).await;
    let file = std::fs::metadata(&path).unwrap().len();
    assert!(file < 3 * max_size_bytes, "the file has {file} bytes");
}

#[tokio::test]
async fn a_smaller_bound_is_reached_step_by_step_without_new_events() {
    let (_folder, path) = folder();
    let store = Arc::new(open(&path));
    let publishes: Vec<_> = (0..3000)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.publish(&message(number)).await.map(drop) })
        })
        .collect();
    for publish in publishes {
        publish.await.unwrap().unwrap();
    }
    store.close(DEADLINE).await;
    let store = Store::open(Settings {
        max_size_bytes: 100_000,
        ..settings(&path)
    })
    .unwrap();
    let log = store.log();
    eventually("few are left", || async {
        log.topics().await.unwrap()[0].events < 200
    })
    .await;
    assert_eq!(log.topics().await.unwrap()[0].last_position, 3000);
    close(store).await;
}
