//! What the store does when its folder or its disk is not as it should be.

use std::fs;

use hookferry::sink::store::StoreError;

use super::*;
use crate::harness::Disk;

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_has_closed() {
    let (_folder, path) = folder();
    let store = open(&path);
    let log = store.log();
    match Store::open(settings(&path)) {
        Err(error @ StoreError::Held { .. }) => {
            assert!(error.to_string().contains("topics is in use"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    close(store).await;
    assert_eq!(
        log.read(TOPIC, 0, 1, Duration::ZERO).await,
        Err(TopicReadError::Closed)
    );
    assert_eq!(log.topics().await, Err(TopicReadError::Closed));
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
    assert_eq!(waiting.await.unwrap(), Err(TopicReadError::Closed));
    store.close(DEADLINE).await;
}

/// The error with which a store does not open, and which has changed nothing in its folder.
fn refused(path: &Path) -> String {
    let files = || {
        let mut names: Vec<_> = fs::read_dir(path).map_or(Vec::new(), |entries| {
            entries.map(|entry| entry.unwrap().file_name()).collect()
        });
        names.sort();
        let read = |name: &std::ffi::OsString| fs::read(path.join(name)).unwrap();
        let contents: Vec<_> = names.iter().map(read).collect();
        (names, contents)
    };
    let before = files();
    let error = Store::open(settings(path)).unwrap_err().to_string();
    assert!(files() == before, "changed by a refused start");
    error
}

#[tokio::test]
async fn an_old_database_file_is_named_and_left_as_it_is() {
    let (_folder, path) = folder();
    fs::write(&path, b"SQLite format 3\0").unwrap();
    let error = refused(&path);
    assert!(
        error.contains("move it away; the store is a folder now"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"SQLite format 3\0");
}

#[tokio::test]
async fn a_folder_of_something_else_is_refused() {
    let (_folder, path) = folder();
    fs::create_dir(&path).unwrap();
    for name in ["notes.txt", "topics.db"] {
        fs::write(path.join(name), "mine").unwrap();
        let error = refused(&path);
        assert!(
            error.contains(name) && error.contains("is no file of this log"),
            "{error}"
        );
        fs::remove_file(path.join(name)).unwrap();
    }
    fs::write(path.join("000000000001.log"), "mine".repeat(4096)).unwrap();
    assert!(Store::open(settings(&path)).is_err());
    assert_eq!(
        fs::read(path.join("000000000001.log")).unwrap(),
        "mine".repeat(4096).as_bytes()
    );
}

/// Where the version and the checksum lie in a segment's header.
const VERSION_AT: usize = 8;
const CHECKSUM_AT: usize = 60;

#[tokio::test]
async fn a_folder_of_a_newer_program_is_refused() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..1).await;
    close(store).await;
    let file = path.join("000000000001.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[VERSION_AT] = 9;
    let checksum = crc32c::crc32c(&bytes[..CHECKSUM_AT]).to_le_bytes();
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum);
    fs::write(&file, bytes).unwrap();
    let error = refused(&path);
    assert!(
        error.contains("version 9") && error.contains("run the newer program"),
        "{error}"
    );
}

#[tokio::test]
async fn of_a_damaged_log_the_sound_messages_are_served() {
    let (_folder, path) = folder();
    let store = open(&path);
    for number in 0..20 {
        let large = message_of(
            delivery("sample.uploaded", &format!("object{number}"), 9000),
            None,
        );
        store.publish(&large).await.unwrap();
    }
    close(store).await;
    let file = path.join("000000000001.log");
    let mut bytes = fs::read(&file).unwrap();
    // In the body of the tenth, each of which has a batch of three blocks to itself.
    let tenth = bytes
        .windows(8)
        .position(|part| part == b"object9\"")
        .unwrap();
    bytes[tenth + 2000] ^= 1;
    fs::write(&file, bytes).unwrap();

    for _ in 0..2 {
        let store = open(&path);
        let found = positions(&all(&store.log(), TOPIC).await);
        let expected: Vec<u64> = (1..=20).filter(|position| *position != 10).collect();
        assert_eq!(found, expected);
        close(store).await;
    }
    let store = open(&path);
    publish(&store, 20..21).await;
    let last = positions(&all(&store.log(), TOPIC).await).pop();
    assert!(last > Some(20), "{last:?}");
    close(store).await;
}

#[tokio::test]
async fn a_log_begun_anew_tells_its_readers() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..3).await;
    close(store).await;
    fs::remove_dir_all(&path).unwrap();
    let store = open(&path);
    publish(&store, 3..4).await;
    let log = store.log();
    assert_eq!(
        log.read(TOPIC, 3, 10, Duration::from_secs(60)).await,
        Err(TopicReadError::Ahead { last: 1 })
    );
    close(store).await;
}

#[tokio::test]
async fn the_folder_is_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..1).await;
    close(store).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn a_missing_folder_is_an_error_with_a_remedy() {
    let (folder, _) = folder();
    let error = Store::open(settings(&folder.path().join("missing/topics"))).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("does not exist; make the folder"),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_disk_confirms_nothing_and_heals_when_there_is_room() {
    let Some(disk) = Disk::tmpfs_where_allowed(4) else {
        return;
    };
    let path = disk.path().join("topics");
    // Segments of 1 MiB.
    let small = StoreSettings {
        max_size_bytes: 16 << 20,
        ..settings(&path)
    };
    let store = Store::open(small).unwrap();
    publish(&store, 0..1).await;
    let filler = disk.fill();
    let mut confirmed = 1;
    let error = loop {
        // What lies there ready to be written to takes some more.
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
    let log = store.log();
    let mut keys: Vec<String> = Vec::new();
    let mut after = 0;
    while keys.len() < confirmed + 2 {
        let entries = log.read(TOPIC, after, 1000, Duration::ZERO).await.unwrap();
        after = entries.last().expect("there are more").position;
        keys.extend(entries.into_iter().map(|entry| entry.key));
    }
    let expected: Vec<String> = (0..confirmed + 2).map(|n| format!("object{n}")).collect();
    assert_eq!(keys, expected);
    close(store).await;
}
