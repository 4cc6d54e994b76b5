//! Retention: what is too old or too much goes, oldest first, and its positions with it.

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
    eventually("the first five are gone", || async {
        positions(&all(&store.log(), TOPIC).await) == [6, 7, 8, 9]
    })
    .await;

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

/// Bytes of all files of a store.
fn files(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).unwrap();
    // One that gets another name meanwhile is not found under its old one.
    let lengths = files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len()));
    lengths.sum()
}

#[tokio::test]
async fn beyond_its_size_the_log_forgets_the_oldest_and_reuses_their_files() {
    let (_folder, path) = folder();
    let max_size_bytes = 16 << 20;
    let store = Store::open(StoreSettings {
        max_size_bytes,
        ..settings(&path)
    })
    .unwrap();
    let log = store.log();
    for number in 0..600 {
        let event_type = ["sample.uploaded", "analysis.failed"][number % 2];
        let large = message_of(delivery(event_type, "large", 50_000), None);
        store.publish(&large).await.unwrap();
        // While it makes space, one more segment than it keeps.
        assert!(files(&path) <= max_size_bytes + (1 << 20));
    }
    eventually("what is kept fits", || async {
        files(&path) <= max_size_bytes
    })
    .await;
    let topics = log.topics().await.unwrap();
    let kept: u64 = topics.iter().map(|topic| topic.events).sum();
    // Not much less either: of 16 segments with 19 each, one is being filled and one is a spare.
    assert!((14 * 19..16 * 19).contains(&kept), "{kept}");
    for topic in topics {
        let expected: Vec<u64> = (topic.first_position..=300).collect();
        assert_eq!(topic.events, expected.len() as u64);
        let mut found = Vec::new();
        while let Some(after) = [topic.first_position - 1].iter().chain(found.last()).last()
            && *after < topic.last_position
        {
            let entries = log
                .read(&topic.name, *after, 1000, Duration::ZERO)
                .await
                .unwrap();
            found.extend(positions(&entries));
        }
        assert_eq!(found, expected);
    }
    close(store).await;
}

#[tokio::test]
async fn a_smaller_bound_is_reached_without_new_events() {
    let (_folder, path) = folder();
    let store = open(&path);
    for number in 0..20 {
        let large = message_of(
            delivery("sample.uploaded", &number.to_string(), 4 << 20),
            None,
        );
        store.publish(&large).await.unwrap();
    }
    store.close(DEADLINE).await;
    assert!(files(&path) > 80 << 20);
    let store = Store::open(StoreSettings {
        max_size_bytes: 40 << 20,
        ..settings(&path)
    })
    .unwrap();
    let log = store.log();
    eventually("few are left", || async { files(&path) <= 40 << 20 }).await;
    let topic = &log.topics().await.unwrap()[0];
    assert_eq!(topic.last_position, 20);
    assert!((3..=9).contains(&topic.events), "{}", topic.events);
    close(store).await;
}

#[tokio::test]
async fn a_message_larger_than_a_segment_is_kept_as_it_is() {
    let (_folder, path) = folder();
    let store = open(&path);
    let body = delivery("sample.uploaded", "huge", 40 << 20);
    store
        .publish(&message_of(body.clone(), None))
        .await
        .unwrap();
    publish(&store, 0..1).await;
    let log = store.log();
    let huge = log.read(TOPIC, 0, 10, Duration::ZERO).await.unwrap();
    assert_eq!(positions(&huge), [1]);
    assert!(huge[0].body == body.as_bytes());
    assert_eq!(
        positions(&log.read(TOPIC, 1, 10, Duration::ZERO).await.unwrap()),
        [2]
    );
    close(store).await;
}
