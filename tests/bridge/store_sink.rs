//! The store sink: what it confirms is in its log, unchanged and in order, and can be read.

mod faults;
mod http;
mod limits;
mod messages;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookferry::route::Template;
use hookferry::sink::store::{Store, StoreSettings, StoredMessage, TopicLog, TopicReadError};
use hookferry::sink::{Needs, PublishError, Severity, Sink};
use tempfile::TempDir;

use messages::{delivery, message, message_of};

const TOPIC: &str = "onecodex.sample.uploaded";
const QUARANTINE: &str = "onecodex.quarantine";
const DEADLINE: Duration = Duration::from_secs(20);

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn settings(path: &Path) -> StoreSettings {
    StoreSettings {
        path: path.to_owned(),
        topic: template("{source}.{event_type}"),
        retention: Duration::from_secs(7 * 24 * 60 * 60),
        max_size_bytes: 1 << 30,
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("topics");
    (folder, path)
}

fn open(path: &Path) -> Store {
    Store::open(settings(path)).unwrap()
}

async fn close(store: Store) {
    store.close(DEADLINE).await;
}

async fn publish(store: &Store, numbers: std::ops::Range<usize>) {
    for number in numbers {
        store.publish(&message(number)).await.unwrap();
    }
}

async fn all(log: &TopicLog, topic: &str) -> Vec<StoredMessage> {
    log.read(topic, 0, 1000, Duration::ZERO).await.unwrap()
}

fn positions(entries: &[StoredMessage]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position).collect()
}

async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_receipt_means_that_the_very_bytes_can_be_read() {
    let (_folder, path) = folder();
    let store = open(&path);
    let body = delivery("sample.uploaded", "7428cca4a3a04a8e", 10);
    let message = message_of(body.clone(), Some("application/json; charset=utf-8"));
    let receipt = store.publish(&message).await.unwrap();
    assert_eq!(receipt.position(), message.position());

    let entries = all(&store.log(), TOPIC).await;
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(entry.position, 1);
    assert_eq!(entry.body, body.as_bytes());
    assert_eq!(entry.id, message.id().to_string());
    assert_eq!(entry.key, "7428cca4a3a04a8e");
    let header = |name: &str| entry.headers.get(name).map(String::as_str);
    assert_eq!(
        header("content-type"),
        Some("application/json; charset=utf-8")
    );
    for (name, value) in message.cloud_event() {
        assert_eq!(header(&format!("ce_{name}")), Some(&*value));
    }
    for (name, value) in message.extensions() {
        assert_eq!(header(name), Some(&*value));
    }
    let count = 1 + message.cloud_event().len() + message.extensions().len();
    assert_eq!(entry.headers.len(), count);
    close(store).await;
}

/// A reader goes on behind what it was given while the next entries are being committed: it must
/// never hear that it is ahead of the log.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_on_at_once_is_never_ahead() {
    const ENTRIES: usize = 300;
    let (_folder, path) = folder();
    let store = Arc::new(open(&path));
    let log = store.log();
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move { publish(&store, 0..ENTRIES).await }
    });
    let mut after = 0;
    while after < ENTRIES as u64 {
        let entries = log.read(TOPIC, after, 1000, DEADLINE).await.unwrap();
        after = entries.last().expect("more will come").position;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn bodies_that_are_no_text_or_nothing_at_all_are_kept_as_they_are() {
    let (_folder, path) = folder();
    let store = open(&path);
    let bodies: [&[u8]; 4] = [
        b"",
        &[0xff, 0x00, 0xfe],
        b"{\"a\":\x00}",
        "\u{feff}{}".as_bytes(),
    ];
    for body in bodies {
        let message = message_of(Bytes::from_static(body), None);
        store.publish(&message).await.unwrap();
    }
    let entries = all(&store.log(), QUARANTINE).await;
    let found: Vec<&[u8]> = entries.iter().map(|entry| &entry.body[..]).collect();
    assert_eq!(found, bodies);
    let reasons: Vec<_> = entries
        .iter()
        .map(|entry| entry.headers["hookferry-reason"].as_str())
        .collect();
    assert_eq!(
        reasons,
        ["empty_body", "not_utf8", "invalid_json", "invalid_json"]
    );
    close(store).await;
}

#[tokio::test]
async fn topics_are_named_by_the_templates() {
    let (_folder, path) = folder();
    let store = open(&path);
    for event_type in ["sample.uploaded", "analysis.failed", "job.started"] {
        let message = message_of(delivery(event_type, "a", 0), None);
        store.publish(&message).await.unwrap();
    }
    store.publish(&message_of("[]", None)).await.unwrap();
    let topics = store.log().topics().await.unwrap();
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "onecodex.analysis.failed",
            "onecodex.other",
            "onecodex.quarantine",
            "onecodex.sample.uploaded"
        ]
    );
    for topic in topics {
        let found = (topic.first_position, topic.last_position, topic.events);
        assert_eq!(found, (1, 1, 1), "{}", topic.name);
    }
    close(store).await;
}

#[tokio::test]
async fn positions_go_on_where_they_stopped_after_a_restart() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..3).await;
    close(store).await;
    let store = open(&path);
    publish(&store, 3..5).await;
    let entries = all(&store.log(), TOPIC).await;
    assert_eq!(positions(&entries), [1, 2, 3, 4, 5]);
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(
        keys,
        ["object0", "object1", "object2", "object3", "object4"]
    );
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_publishes_at_once_are_all_there_without_a_gap() {
    let (_folder, path) = folder();
    let store = Arc::new(open(&path));
    let publishes: Vec<_> = (0..2000)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.publish(&message(number)).await.map(drop) })
        })
        .collect();
    for publish in publishes {
        publish.await.unwrap().unwrap();
    }
    let log = store.log();
    let mut keys = std::collections::BTreeSet::new();
    let mut next = 1;
    while next <= 2000 {
        for entry in log
            .read(TOPIC, next - 1, 700, Duration::ZERO)
            .await
            .unwrap()
        {
            assert_eq!(entry.position, next);
            keys.insert(entry.key);
            next += 1;
        }
    }
    assert_eq!(keys.len(), 2000);
    store.close(DEADLINE).await;
}

#[tokio::test]
async fn a_long_poll_wakes_on_the_commit() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..1).await;
    for (topic, after) in [(TOPIC, 1), (QUARANTINE, 0)] {
        let log = store.log();
        let started = Instant::now();
        let read = async { log.read(topic, after, 10, Duration::from_secs(60)).await };
        let write = async {
            // Other topics' commits must not end the wait.
            let other = message_of(delivery("analysis.failed", "a", 0), None);
            store.publish(&other).await.unwrap();
            let wanted = if topic == TOPIC {
                message(1)
            } else {
                message_of("", None)
            };
            store.publish(&wanted).await.unwrap();
        };
        let (entries, ()) = tokio::join!(read, write);
        assert_eq!(positions(&entries.unwrap()), [after + 1]);
        assert!(started.elapsed() < DEADLINE);
    }
    close(store).await;
}

#[tokio::test]
async fn a_long_poll_without_an_event_ends_empty_in_time() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..1).await;
    let log = store.log();
    let wait = Duration::from_millis(150);
    for (topic, after) in [(TOPIC, 1), (QUARANTINE, 0)] {
        let started = Instant::now();
        assert_eq!(log.read(topic, after, 10, wait).await, Ok(Vec::new()));
        assert!(started.elapsed() >= wait);
    }
    assert_eq!(
        log.read(QUARANTINE, 0, 10, Duration::ZERO).await,
        Err(TopicReadError::UnknownTopic)
    );
    close(store).await;
}

#[tokio::test]
async fn pages_follow_each_other_and_are_bounded() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..10).await;
    let log = store.log();
    for (after, limit, expected) in [
        (0, 4, &[1, 2, 3, 4][..]),
        (4, 4, &[5, 6, 7, 8]),
        (8, 4, &[9, 10]),
        (10, 4, &[]),
        (9, 0, &[10]),
    ] {
        let entries = log.read(TOPIC, after, limit, Duration::ZERO).await.unwrap();
        assert_eq!(positions(&entries), expected, "after {after}");
    }
    assert_eq!(
        log.read(TOPIC, 11, 4, Duration::ZERO).await,
        Err(TopicReadError::Ahead { last: 10 })
    );
    assert_eq!(
        log.read(TOPIC, u64::MAX, 4, Duration::ZERO).await,
        Err(TopicReadError::Ahead { last: 10 })
    );
    // A reader that has seen a topic which is not there must not wait for ever.
    assert_eq!(
        log.read(QUARANTINE, 1, 4, Duration::from_secs(60)).await,
        Err(TopicReadError::Ahead { last: 0 })
    );
    close(store).await;
}

#[tokio::test]
async fn an_answer_is_bounded_in_bytes_but_never_empty_for_it() {
    let (_folder, path) = folder();
    let store = open(&path);
    for _ in 0..4 {
        let large = message_of(delivery("sample.uploaded", "large", 9 << 20), None);
        store.publish(&large).await.unwrap();
    }
    let log = store.log();
    let first = all(&log, TOPIC).await;
    assert_eq!(positions(&first), [1, 2]);
    let rest = log.read(TOPIC, 2, 1000, Duration::ZERO).await.unwrap();
    assert_eq!(positions(&rest), [3, 4]);
    close(store).await;
}

#[tokio::test]
async fn a_check_names_the_folder_and_its_size() {
    let (_folder, path) = folder();
    let store = open(&path);
    let findings = store.check(&Needs::default()).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Good);
    let found = &findings[0].found;
    assert!(found.contains("topics is writable"), "{found}");
    assert!(found.contains("KiB of 1.0 GiB"), "{found}");
    store.close(DEADLINE).await;
    let findings = store.check(&Needs::default()).await;
    assert_eq!(findings[0].severity, Severity::Error);
    assert!(!findings[0].remedy.is_empty());
}
