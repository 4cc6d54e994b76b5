//! What the store does when its file or its disk is not as it should be.

use hookferry::sink::store::StoreError;
use hookferry::sqlite::OpenError;

use super::*;
use crate::harness::Disk;

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
async fn a_missing_folder_is_an_error_with_a_remedy() {
    let (folder, _) = folder();
    let error = Store::open(settings(&folder.path().join("missing/topics.db"))).unwrap_err();
    assert!(
        error.to_string().contains("the folder must exist"),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_disk_confirms_nothing_and_heals_when_there_is_room() {
    let Some(disk) = Disk::tmpfs_where_allowed(4) else {
        return;
    };
    let path = disk.path().join("topics.db");
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
