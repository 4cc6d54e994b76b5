//! The store sink: what it confirms is in its log, unchanged and in order, and can be read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::{App, test};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookferry::admin::topics;
use hookferry::event::{Event, Position, SinkIndex, SinkSet};
use hookferry::name::{EventType, SourceName};
use hookferry::route::{Route, Router, Template, Templates};
use hookferry::sink::store::{Entry, ReadError, Settings, Store, StoreError, TopicLog};
use hookferry::sink::{Message, Needs, PublishError, Severity, Sink};
use hookferry::source::{Inbound, ONE_CODEX, Secret, Source};
use hookferry::sqlite::OpenError;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

const TOPIC: &str = "onecodex.sample.uploaded";
const QUARANTINE: &str = "onecodex.quarantine";
const DEADLINE: Duration = Duration::from_secs(20);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A message as the pipeline makes it, signature and all.
fn message_of(body: impl Into<Bytes>, content_type: Option<&str>) -> Message {
    let body = body.into();
    let secret = || Secret::new("a secret for tests").unwrap();
    let name = SourceName::parse("onecodex").unwrap();
    let source = Source {
        name: name.clone(),
        provider: &ONE_CODEX,
        uri: ONE_CODEX.uri.into(),
        secrets: vec![secret()],
        tolerance: Duration::from_secs(300),
    };
    let now = Timestamp::now();
    let header = ONE_CODEX.scheme.sign(&secret(), &body, now);
    let inbound = Inbound {
        body,
        content_type: content_type.map(str::to_owned),
        traceparent: None,
    };
    let claim = source
        .read_signature([header.as_bytes()].into_iter())
        .unwrap();
    let event = Event::read(claim.verify(inbound, now).unwrap());
    let sinks: SinkSet = [SinkIndex::new(0).unwrap()].into_iter().collect();
    let route = Route {
        source: name.clone(),
        event_types: None,
        sinks,
    };
    let known = ["sample.uploaded", "analysis.failed"].map(|t| EventType::parse(t).unwrap());
    let router = Router::new(vec![route], [(name, known.into_iter().collect())].into());
    let routed = router.route(event);
    let position = Position { sequence: 1, sinks };
    let lane = routed.lane();
    Message::new(position, lane, Arc::new(routed.into_event()))
}

fn delivery(event_type: &str, object_id: &str, padding: usize) -> String {
    format!(
        r#"{{ "api_version": "v1", "event_type":"{event_type}","object_type":"sample", "triggered_at":"2026-03-02T09:15:42.184121-08:00","object":{{"$uri":"/api/v1/samples/{object_id}", "note":"é {}"}}}}"#,
        "x".repeat(padding)
    )
}

fn message(number: usize) -> Message {
    message_of(
        delivery("sample.uploaded", &format!("object{number}"), 0),
        None,
    )
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        topics: Templates {
            typed: template("{source}.{event_type}"),
            other: template("{source}.other"),
            quarantine: template("{source}.quarantine"),
        },
        retention: Duration::from_secs(7 * 24 * 60 * 60),
        max_size_bytes: 1 << 30,
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("topics.db");
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

async fn all(log: &TopicLog, topic: &str) -> Vec<Entry> {
    log.read(topic, 0, 1000, Duration::ZERO).await.unwrap()
}

fn positions(entries: &[Entry]) -> Vec<u64> {
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
    assert_eq!(receipt.position().sequence, 1);

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
async fn a_second_owner_is_refused_until_the_first_has_closed() {
    let (_folder, path) = folder();
    let store = open(&path);
    let log = store.log();
    match Store::open(settings(&path)) {
        Err(StoreError::Open(error @ OpenError::Held { .. })) => {
            assert!(error.to_string().contains("topics.db is in use"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    close(store).await;
    assert_eq!(
        log.read(TOPIC, 0, 1, Duration::ZERO).await,
        Err(ReadError::Closed)
    );
    assert_eq!(log.topics().await, Err(ReadError::Closed));
    close(open(&path)).await;
}

#[tokio::test]
async fn a_closed_store_confirms_nothing_and_wakes_who_waits() {
    let (_folder, path) = folder();
    let store = open(&path);
    let log = store.log();
    let waiting = tokio::spawn(async move { log.read(TOPIC, 0, 1, Duration::from_secs(60)).await });
    assert!(store.health().connected);
    store.close(DEADLINE).await;
    assert!(matches!(
        store.publish(&message(1)).await,
        Err(PublishError::Unavailable(_))
    ));
    assert!(!store.health().connected);
    assert_eq!(waiting.await.unwrap(), Err(ReadError::Closed));
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
        Err(ReadError::UnknownTopic)
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
        Err(ReadError::Ahead { last: 10 })
    );
    assert_eq!(
        log.read(TOPIC, u64::MAX, 4, Duration::ZERO).await,
        Err(ReadError::Ahead { last: 10 })
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

#[tokio::test]
async fn a_file_of_no_use_is_moved_aside_and_a_new_log_begins() {
    for content in [
        b"no database at all, but long enough for a page".repeat(100),
        Vec::new(),
    ] {
        let (folder, path) = folder();
        std::fs::write(&path, &content).unwrap();
        let store = open(&path);
        publish(&store, 0..1).await;
        assert_eq!(positions(&all(&store.log(), TOPIC).await), [1]);
        close(store).await;
        let aside = moved_aside(folder.path());
        assert_eq!(aside.len(), 1, "{aside:?}");
        assert_eq!(std::fs::read(&aside[0]).unwrap(), content);
    }
}

fn moved_aside(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("topics.db.damaged-"))
        .collect()
}

#[tokio::test]
async fn a_log_that_spoils_while_it_runs_is_replaced_and_readers_are_told() {
    let (folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..3).await;
    let log = store.log();
    // Someone takes the place of the next entry.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(
            "INSERT INTO entries SELECT max(place) + 1, max(stored_at), 'id', 'key', '{}', x'' FROM entries",
        )
        .unwrap();
    let error = store.publish(&message(3)).await.unwrap_err();
    assert!(matches!(error, PublishError::Unavailable(_)), "{error:?}");
    assert!(!store.health().connected);

    publish(&store, 3..4).await;
    assert!(store.health().connected);
    assert_eq!(store.health().reconnects, 1);
    assert_eq!(
        log.read(TOPIC, 3, 10, Duration::from_secs(60)).await,
        Err(ReadError::Ahead { last: 1 })
    );
    let entries = all(&log, TOPIC).await;
    assert_eq!(
        (positions(&entries), entries[0].key.as_str()),
        (vec![1], "object3")
    );
    assert!(!moved_aside(folder.path()).is_empty());
    close(store).await;
}

#[tokio::test]
async fn a_check_names_the_file_and_its_size() {
    let (_folder, path) = folder();
    let store = open(&path);
    let findings = store.check(&Needs::default()).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Good);
    let found = &findings[0].found;
    assert!(found.contains("topics.db is writable"), "{found}");
    assert!(found.contains("KiB of 1.0 GiB"), "{found}");
    store.close(DEADLINE).await;
    let findings = store.check(&Needs::default()).await;
    assert_eq!(findings[0].severity, Severity::Error);
    assert!(!findings[0].remedy.is_empty());
}

#[tokio::test]
async fn a_missing_folder_is_an_error_with_a_remedy() {
    let (folder, _) = folder();
    let error = Store::open(settings(&folder.path().join("missing/topics.db"))).unwrap_err();
    assert!(
        error.to_string().contains("the folder must exist"),
        "{error}"
    );
}

/// A small file system of its own, gone with the test.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                println!("skipped, for no tmpfs can be mounted here: {other:?}");
                None
            }
        }
    }

    /// Takes every free byte, also those that were given back since the last time.
    fn fill(&self) -> PathBuf {
        let filler = self.0.path().join("filler");
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&filler)
            .unwrap();
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_confirms_nothing_and_heals_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.0.path().join("topics.db");
    let store = open(&path);
    publish(&store, 0..1).await;
    let filler = disk.fill();
    let mut confirmed = 1;
    let error = loop {
        // What SQLite has reserved already may take a few more.
        match store.publish(&message(confirmed)).await {
            Ok(_) => confirmed += 1,
            Err(error) => break error,
        }
        assert!(confirmed < 10_000, "a full disk takes everything");
    };
    assert!(matches!(error, PublishError::Unavailable(_)), "{error:?}");
    assert!(!store.health().connected);
    disk.fill();
    let findings = store.check(&Needs::default()).await;
    assert_eq!(findings[0].severity, Severity::Error, "{findings:?}");
    assert!(store.publish(&message(confirmed)).await.is_err());

    std::fs::remove_file(filler).unwrap();
    publish(&store, confirmed..confirmed + 2).await;
    assert!(store.health().connected);
    let entries = all(&store.log(), TOPIC).await;
    let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    let expected: Vec<String> = (0..confirmed + 2).map(|n| format!("object{n}")).collect();
    assert_eq!(keys, expected);
    close(store).await;
}

/// Asks the admin routes, as a client would.
async fn get(log: &TopicLog, uri: &str, accept: Option<&str>) -> (StatusCode, String, Bytes) {
    let app = test::init_service(App::new().configure(topics::routes(log.clone()))).await;
    let mut request = test::TestRequest::get().uri(uri);
    if let Some(accept) = accept {
        request = request.insert_header(("accept", accept));
    }
    let response: ServiceResponse = test::call_service(&app, request.to_request()).await;
    let header = |name| {
        let value = response.headers().get(name).unwrap();
        value.to_str().unwrap().to_owned()
    };
    assert_eq!(header("cache-control"), "no-store");
    let (status, content_type) = (response.status(), header("content-type"));
    let body = response.into_body().try_into_bytes().ok().unwrap();
    (status, content_type, body)
}

async fn json(log: &TopicLog, uri: &str) -> Value {
    let (status, content_type, body) = get(log, uri, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(content_type, "application/json");
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn the_list_of_topics_is_json() {
    let (_folder, path) = folder();
    let store = open(&path);
    assert_eq!(json(&store.log(), "/topics").await, serde_json::json!([]));
    publish(&store, 0..3).await;
    assert_eq!(
        json(&store.log(), "/topics").await,
        serde_json::json!([{"name": TOPIC, "first_position": 1, "last_position": 3, "events": 3}])
    );
    close(store).await;
}

#[tokio::test]
async fn events_are_lines_with_the_unchanged_body() {
    let (_folder, path) = folder();
    let store = open(&path);
    let binary = Bytes::from_static(&[0xff, 0x0a, 0x00]);
    let texts = ["", "line\none\u{2028}\"é", "null"];
    for body in texts {
        store.publish(&message_of(body, None)).await.unwrap();
    }
    store
        .publish(&message_of(binary.clone(), None))
        .await
        .unwrap();
    let uri = format!("/topics/{QUARANTINE}/events");
    let (status, content_type, body) = get(&store.log(), &uri, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(content_type, "application/x-ndjson");
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text
        .split_terminator('\n')
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    for (index, expected) in texts.iter().enumerate() {
        assert_eq!(lines[index]["position"], index + 1);
        assert_eq!(lines[index]["body"], *expected);
        assert_eq!(lines[index].get("body_base64"), None);
    }
    assert_eq!(lines[3]["body_base64"], STANDARD.encode(binary));
    assert_eq!(lines[3].get("body"), None);
    assert_eq!(lines[0]["id"], lines[0]["headers"]["ce_id"]);
    assert_eq!(lines[0]["key"], lines[0]["id"]);

    let (_, _, body) = get(&store.log(), &format!("{uri}?after=2&limit=1"), None).await;
    let line: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(line["position"], 3);
    close(store).await;
}

#[tokio::test]
async fn events_are_a_cloudevents_batch_for_who_asks() {
    let (_folder, path) = folder();
    let store = Store::open(Settings {
        topics: Templates {
            typed: template("all"),
            other: template("all"),
            quarantine: template("all"),
        },
        ..settings(&path)
    })
    .unwrap();
    let body = delivery("sample.uploaded", "object0", 0);
    let bodies = [&body, &body, "{\"deep\":[", "{}"];
    for (body, content_type) in bodies.iter().zip([None, Some("text/plain"), None, None]) {
        let message = message_of((*body).to_owned(), content_type);
        store.publish(&message).await.unwrap();
    }
    let accept = Some("application/cloudevents-batch+json");
    let (status, content_type, batch) = get(&store.log(), "/topics/all/events", accept).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(Some(content_type.as_str()), accept);
    let text = std::str::from_utf8(&batch).unwrap();
    assert!(
        text.contains(&format!("\"data\":{body}}}")),
        "not embedded as received: {text}"
    );
    let events: Vec<Value> = serde_json::from_slice(&batch).unwrap();
    assert_eq!(events.len(), 4);
    let first = &events[0];
    for (name, expected) in [
        ("specversion", "1.0"),
        ("type", "sample.uploaded"),
        ("subject", "object0"),
        ("source", ONE_CODEX.uri),
        ("datacontenttype", "application/json"),
        ("hookferryorigin", "webhook"),
        ("hookferryposition", "1"),
        ("partitionkey", "object0"),
    ] {
        assert_eq!(first[name], expected, "{name}");
    }
    assert_eq!(first["data"]["object"]["$uri"], "/api/v1/samples/object0");
    for event in &events {
        for name in event
            .as_object()
            .unwrap()
            .keys()
            .filter(|n| *n != "data_base64")
        {
            let allowed = name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            assert!(allowed, "{name}");
        }
    }
    for (event, body) in events.iter().zip(bodies).skip(1) {
        assert_eq!(event.get("data"), None);
        assert_eq!(event["data_base64"], STANDARD.encode(body));
    }
    let (_, _, nothing) = get(&store.log(), "/topics/all/events?after=4", accept).await;
    assert_eq!(&nothing[..], b"[]");
    close(store).await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem_with_a_reason() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..2).await;
    let log = store.log();
    let uri = |query: &str| format!("/topics/{TOPIC}/events?{query}");
    for (uri, accept, status, reason, detail) in [
        (
            "/topics/missing/events".into(),
            None,
            404,
            "unknown_topic",
            "with `wait`",
        ),
        (
            uri("after=x"),
            None,
            400,
            "invalid_parameter",
            "`after` must be a whole number",
        ),
        (
            uri("limit=0"),
            None,
            400,
            "invalid_parameter",
            "from 1 to 1000",
        ),
        (
            uri("wait=61"),
            None,
            400,
            "invalid_parameter",
            "from 0 to 60",
        ),
        (
            uri("wiat=1"),
            None,
            400,
            "invalid_parameter",
            "`after`, `limit` and `wait`",
        ),
        (
            uri(""),
            Some("text/html"),
            406,
            "not_acceptable",
            "application/x-ndjson",
        ),
        (uri("after=3"), None, 409, "position_ahead", "from 0 again"),
    ] {
        let (found, content_type, body) = get(&log, &uri, accept).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(found, status, "{uri}");
        assert_eq!(content_type, "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["reason"], reason);
        assert!(
            problem["detail"].as_str().unwrap().contains(detail),
            "{problem}"
        );
        assert!(!problem["title"].as_str().unwrap().is_empty());
    }
    close(store).await;
    for uri in ["/topics".into(), uri("")] {
        let (status, content_type, _) = get(&log, &uri, None).await;
        assert_eq!(
            (status.as_u16(), content_type.as_str()),
            (503, "application/problem+json")
        );
    }
}

#[tokio::test]
async fn a_consumer_may_wait_for_a_topic_that_is_not_there_yet() {
    let (_folder, path) = folder();
    let store = open(&path);
    let log = store.log();
    let uri = format!("/topics/{TOPIC}/events?wait=30");
    let (answer, ()) = tokio::join!(get(&log, &uri, None), publish(&store, 0..1));
    assert_eq!(answer.0, StatusCode::OK);
    assert_eq!(answer.2.iter().filter(|byte| **byte == b'\n').count(), 1);
    let (status, _, body) = get(&log, "/topics/missing/events?wait=1", None).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    close(store).await;
}
