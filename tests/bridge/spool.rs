//! The spool as its own callers see it: what outlives a restart, a crash and a damaged disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookferry::event::SinkIndex;
use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::sink::store::Store;
use hookferry::sink::{RefusalReason, Sink};
use hookferry::spool::{
    Appended, Burial, Duplicates, Limits, Milestone, Place, Record, Settings, Settlement, Spool,
    SpoolError, SpoolUnavailable,
};
use hookferry::sqlite::OpenError;
use tempfile::TempDir;

use crate::eventually::eventually_blocking;
use crate::message::{Sender, body};

struct Opened {
    spool: Spool,
    sink: SinkIndex,
    metrics: Arc<Metrics>,
}

fn settings(place: Place) -> Settings {
    Settings {
        place,
        limits: Limits {
            max_events: 1000,
            max_bytes: 1 << 30,
            duplicates: Duplicates::Suppress,
            window: Duration::from_secs(10 * 365 * 24 * 60 * 60),
        },
    }
}

fn open(settings: &Settings) -> Opened {
    let name = SinkName::parse("store").unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    // A program that another test is just starting holds the lock of a spool that was closed until
    // it has become that program.
    let free = || {
        let names = std::slice::from_ref(&name);
        match Spool::open(settings.clone(), names, Arc::clone(&metrics)) {
            Err(SpoolError::Open(OpenError::Held { .. })) => None,
            opened => Some(opened.unwrap()),
        }
    };
    let (spool, _stopped) = eventually_blocking("the spool is free", free);
    let sink = spool.sink(&name).unwrap();
    Opened {
        spool,
        sink,
        metrics,
    }
}

fn file(folder: &TempDir) -> Place {
    Place::File(folder.path().join("spool.db"))
}

/// A spool file with `count` events in it, and nobody who has it open.
async fn filled(folder: &TempDir, count: usize) -> Vec<String> {
    let opened = open(&settings(file(folder)));
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(append(&opened.spool, &format!("o{number}")).await);
    }
    opened.spool.close().await;
    ids
}

async fn append(spool: &Spool, object: &str) -> String {
    let routed = Sender::new("onecodex").routed(body("sample.uploaded", object));
    let id = routed.event().id().to_string();
    assert_eq!(
        spool.append(routed, Milestone::Spooled).await,
        Ok(Appended::Accepted)
    );
    id
}

/// Everything that waits, as a dispatcher would read it.
async fn waiting(opened: &Opened, count: usize) -> Vec<Arc<Record>> {
    let mut records: Vec<Arc<Record>> = Vec::new();
    while records.len() < count {
        let after = records
            .last()
            .map_or(0, |record| record.position().sequence);
        let fetch = opened.spool.fetch(opened.sink, after, 100);
        let more = tokio::time::timeout(Duration::from_secs(10), fetch).await;
        records.extend(more.expect("as many as were appended").unwrap());
    }
    records
}

fn ids(records: &[Arc<Record>]) -> Vec<String> {
    records
        .iter()
        .map(|record| record.event().id().to_string())
        .collect()
}

async fn deliver(opened: &Opened, folder: &TempDir, record: Arc<Record>) {
    let text = format!(
        "[sink.s]\ntype = \"store\"\npath = \"{}\"",
        folder.path().join("topics").display()
    );
    let sink = store(&text);
    let receipt = sink.publish(&record.message()).await.unwrap();
    sink.close(Duration::from_secs(5)).await;
    opened
        .spool
        .settle(opened.sink, vec![Settlement { receipt, record }])
        .unwrap();
}

/// A store, which alone can make a receipt here.
fn store(sink: &str) -> Store {
    let text = format!(
        "spool = \"memory\"\nacknowledge = \"delivered\"\n{sink}\n[source.s]\nprovider = \"onecodex\"\nsecrets = [{{ env = \"PATH\" }}]\n[[route]]\nsource = \"s\"\nsinks = [\"s\"]"
    );
    let mut settings = hookferry::config::parse(&text, &|_| None).unwrap();
    let hookferry::config::SinkKind::Store(store) = settings.sinks.remove(0).kind else {
        panic!("a store")
    };
    Store::open(store).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_a_restart_in_order_and_byte_for_byte() {
    let folder = TempDir::new().unwrap();
    let appended = filled(&folder, 250).await;
    let opened = open(&settings(file(&folder)));
    let records = waiting(&opened, 250).await;
    assert_eq!(ids(&records), appended);
    assert_eq!(
        records[7].event().body(),
        body("sample.uploaded", "o7").as_bytes()
    );
    assert_eq!(
        opened
            .metrics
            .events_recovered_total
            .with_label_values(&["store"])
            .get(),
        250
    );
    assert_eq!(opened.metrics.events_unaccounted.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_known_across_a_restart_and_sequences_are_never_used_twice() {
    let folder = TempDir::new().unwrap();
    filled(&folder, 1).await;
    let opened = open(&settings(file(&folder)));
    let first = waiting(&opened, 1).await.remove(0);
    let highest = first.position().sequence;
    deliver(&opened, &folder, first).await;
    opened.spool.close().await;

    let opened = open(&settings(file(&folder)));
    assert_eq!(
        opened
            .metrics
            .spool_events
            .with_label_values(&["store"])
            .get(),
        0
    );
    let again = Sender::new("onecodex").routed(body("sample.uploaded", "o0"));
    assert_eq!(
        opened.spool.append(again, Milestone::Spooled).await,
        Ok(Appended::Duplicate)
    );
    append(&opened.spool, "new").await;
    assert!(waiting(&opened, 1).await[0].position().sequence > highest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_new_events_but_still_knows_old_ones() {
    let folder = TempDir::new().unwrap();
    let mut small = settings(file(&folder));
    small.limits.max_events = 2;
    let opened = open(&small);
    append(&opened.spool, "a").await;
    append(&opened.spool, "b").await;
    let routed = |object| Sender::new("onecodex").routed(body("sample.uploaded", object));
    assert_eq!(
        opened.spool.append(routed("c"), Milestone::Spooled).await,
        Err(SpoolUnavailable::Full)
    );
    assert_eq!(
        opened.spool.append(routed("a"), Milestone::Spooled).await,
        Ok(Appended::Duplicate)
    );
    let first = waiting(&opened, 1).await.remove(0);
    deliver(&opened, &folder, first).await;
    crate::eventually::eventually("room again", async || {
        (opened.spool.append(routed("c"), Milestone::Spooled).await == Ok(Appended::Accepted))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_delivery_is_answered_by_the_receipt_and_so_is_a_duplicate() {
    let folder = TempDir::new().unwrap();
    let opened = open(&settings(Place::Memory));
    let routed = || Sender::new("onecodex").routed(body("sample.uploaded", "a"));
    let wait = |routed| {
        let spool = opened.spool.clone();
        tokio::spawn(async move { spool.append(routed, Milestone::Delivered).await })
    };
    let first = wait(routed());
    let record = waiting(&opened, 1).await.remove(0);
    let second = wait(routed());
    // The duplicate has reached the spool once a later command has been answered.
    opened
        .spool
        .inspect(|spool| spool.overview())
        .await
        .unwrap();
    assert!(!first.is_finished() && !second.is_finished());
    deliver(&opened, &folder, record).await;
    assert_eq!(first.await.unwrap(), Ok(Appended::Accepted));
    assert_eq!(second.await.unwrap(), Ok(Appended::Duplicate));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_kept_and_can_be_requeued() {
    let folder = TempDir::new().unwrap();
    let opened = open(&settings(file(&folder)));
    append(&opened.spool, "a").await;
    let record = waiting(&opened, 1).await.remove(0);
    let burial = Burial {
        record: Arc::clone(&record),
        sink: opened.sink,
        reason: RefusalReason::TooLarge,
        detail: "1 > 0".into(),
    };
    opened.spool.bury(burial).await.unwrap();
    opened.spool.close().await;

    let opened = open(&settings(file(&folder)));
    let letters = opened
        .spool
        .inspect(|spool| spool.dead_letters(0, 10, true))
        .await
        .unwrap();
    assert_eq!(
        (letters.len(), letters[0].reason.as_str()),
        (1, "too_large")
    );
    assert_eq!(
        opened
            .metrics
            .spool_events
            .with_label_values(&["store"])
            .get(),
        0
    );
    let number = letters[0].number;
    opened
        .spool
        .inspect(move |spool| spool.requeue(number))
        .await
        .unwrap();
    let again = waiting(&opened, 1).await.remove(0);
    assert_eq!(
        (again.event().id(), again.event().body()),
        (record.event().id(), record.event().body())
    );
    assert_eq!(
        opened
            .metrics
            .spool_dead_letters
            .with_label_values(&["store"])
            .get(),
        0
    );
    assert_eq!(opened.metrics.events_unaccounted.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_is_set_aside_with_its_bytes_and_the_others_are_delivered() {
    let folder = TempDir::new().unwrap();
    let appended = filled(&folder, 3).await;
    let Place::File(path) = file(&folder) else {
        panic!("a file")
    };
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute(
            "UPDATE record SET body = x'00' WHERE seq = (SELECT min(seq) + 1 FROM record)",
            [],
        )
        .unwrap();
    drop(connection);

    let opened = open(&settings(file(&folder)));
    assert_eq!(
        ids(&waiting(&opened, 2).await),
        [appended[0].clone(), appended[2].clone()]
    );
    let letters = opened
        .spool
        .inspect(|spool| spool.dead_letters(0, 10, true))
        .await
        .unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "damaged"));
    assert_eq!(opened.metrics.spool_corrupt_records_total.get(), 1);
    assert_eq!(opened.metrics.events_unaccounted.get(), 0);
    let number = letters[0].number;
    assert!(
        opened
            .spool
            .inspect(move |spool| spool.requeue(number))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_event_counts_for_its_body_and_little_more() {
    let folder = TempDir::new().unwrap();
    let opened = open(&settings(file(&folder)));
    let body = body("sample.uploaded", "o");
    let beside = |bytes: i64| bytes - i64::try_from(body.len()).unwrap();
    append(&opened.spool, "o").await;
    // What the README's table of sizes reckons with.
    let beside = beside(opened.metrics.spool_bytes.get());
    assert!((1..=307).contains(&beside), "{beside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_lost_who_it_is_for_is_delivered_all_the_same() {
    for wrong in ["2", "4294967295", "0"] {
        let folder = TempDir::new().unwrap();
        let opened = open(&settings(file(&folder)));
        let mut appended = Vec::new();
        for number in 0..3 {
            appended.push(append(&opened.spool, &format!("o{number}")).await);
        }
        let Place::File(path) = file(&folder) else {
            panic!("a file")
        };
        opened.spool.close().await;
        let sql = format!(
            "UPDATE record SET sinks = {wrong} WHERE seq = (SELECT min(seq) + 1 FROM record)"
        );
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(connection.execute(&sql, []).unwrap(), 1);
        drop(connection);
        let opened = open(&settings(file(&folder)));
        assert_eq!(ids(&waiting(&opened, 3).await), appended, "{wrong}");
        assert_eq!(opened.metrics.spool_corrupt_records_total.get(), 1);
        assert_eq!(opened.metrics.events_unaccounted.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_kept_aside_and_what_can_be_read_is_carried_over() {
    let folder = TempDir::new().unwrap();
    let appended = filled(&folder, 400).await;
    let Place::File(path) = file(&folder) else {
        panic!("a file")
    };
    spoil_a_leaf_of_records(&path);

    let opened = open(&settings(file(&folder)));
    let pending = opened
        .metrics
        .spool_events
        .with_label_values(&["store"])
        .get();
    let lost = opened.metrics.spool_corrupt_records_total.get();
    assert!(lost > 0 && pending > 0, "lost {lost}, pending {pending}");
    assert_eq!(u64::try_from(pending).unwrap() + lost, 400);
    let records = waiting(&opened, usize::try_from(pending).unwrap()).await;
    assert!(ids(&records).iter().all(|id| appended.contains(id)));
    let aside = std::fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    assert!(
        aside
            .into_iter()
            .any(|name| name.starts_with("spool.db.damaged-"))
    );
    append(&opened.spool, "new").await;
}

/// Changes that leave every page well-formed, so that only their meaning is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn counts_and_names_that_make_no_sense_cost_no_event() {
    for change in [
        "UPDATE tally SET value = 40 WHERE name = 'reserved'",
        "DELETE FROM tally",
        "UPDATE tally SET value = 1 << 40 WHERE name = 'bytes'",
        "UPDATE tally SET value = 'x'",
        "INSERT INTO settled (seq, sink, crc) VALUES (999999999, 0, 0)",
        "INSERT INTO settled (seq, sink, crc) SELECT max(seq), -3, 0 FROM record",
        "INSERT INTO settled (seq, sink, crc) SELECT max(seq), 0, 0 FROM record",
        "INSERT INTO sink (number, name, crc) VALUES (77, 'far', 0)",
        "INSERT INTO sink (number, name, crc) VALUES (5, CAST(x'ff' AS TEXT), 0)",
        "UPDATE sink SET name = 'stare'",
        "DELETE FROM sink_copy",
        "UPDATE ledger SET seq = seq + 1",
    ] {
        let folder = TempDir::new().unwrap();
        let appended = filled(&folder, 20).await;
        change_by_hand(&folder, change);
        let opened = open(&settings(file(&folder)));
        assert_eq!(ids(&waiting(&opened, 20).await), appended, "{change}");
        append(&opened.spool, "new").await;
        assert_eq!(opened.metrics.events_unaccounted.get(), 0, "{change}");
    }
}

fn change_by_hand(folder: &TempDir, statement: &str) {
    let Place::File(path) = file(folder) else {
        panic!("a file")
    };
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute(statement, [])
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_both_its_sinks_refuse_leaves_the_spool() {
    let folder = TempDir::new().unwrap();
    let names = ["one", "two"].map(|name| SinkName::parse(name).unwrap());
    let metrics = Arc::new(Metrics::new().unwrap());
    let (spool, _stopped) =
        Spool::open(settings(file(&folder)), &names, Arc::clone(&metrics)).unwrap();
    let [one, two] = names.each_ref().map(|name| spool.sink(name).unwrap());
    let routed = Sender::new("onecodex")
        .to([one, two])
        .routed(body("sample.uploaded", "a"));
    spool.append(routed, Milestone::Spooled).await.unwrap();
    let record = spool.fetch(one, 0, 10).await.unwrap().remove(0);
    let bury = |sink| {
        let burial = Burial {
            record: Arc::clone(&record),
            sink,
            reason: RefusalReason::TooLarge,
            detail: String::new(),
        };
        spool.bury(burial)
    };
    let (first, second) = tokio::join!(bury(one), bury(two));
    assert_eq!((first, second), (Ok(()), Ok(())));
    let waiting = spool
        .inspect(|spool| spool.pending(0, 10, false))
        .await
        .unwrap();
    assert!(waiting.is_empty(), "{waiting:?}");
    assert_eq!(metrics.events_unaccounted.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_in_memory_keeps_nothing_of_a_refused_event_and_takes_it_anew() {
    let opened = open(&settings(Place::Memory));
    for _ in 0..3 {
        append(&opened.spool, "a").await;
        let record = opened
            .spool
            .fetch(opened.sink, 0, 10)
            .await
            .unwrap()
            .pop()
            .unwrap();
        let burial = Burial {
            record,
            sink: opened.sink,
            reason: RefusalReason::TooLarge,
            detail: String::new(),
        };
        opened.spool.bury(burial).await.unwrap();
    }
    let letters = opened
        .spool
        .inspect(|spool| spool.dead_letters(0, 10, false))
        .await
        .unwrap();
    assert!(letters.is_empty(), "{letters:?}");
    assert_eq!(opened.metrics.spool_bytes.get(), 0);
}

/// Overwrites one page in the middle that holds records, and nothing else.
fn spoil_a_leaf_of_records(path: &Path) {
    const PAGE: usize = 4096;
    let mut bytes = std::fs::read(path).unwrap();
    let needle = b"/api/v1/samples/o200\"";
    let at = bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap();
    let start = at / PAGE * PAGE;
    bytes[start..start + PAGE].fill(0xA5);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_owner_and_a_newer_file_are_refused_with_a_remedy() {
    let folder = TempDir::new().unwrap();
    let names = [SinkName::parse("store").unwrap()];
    let refused = |folder: &TempDir| {
        let metrics = Arc::new(Metrics::new().unwrap());
        Spool::open(settings(file(folder)), &names, metrics)
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let opened = open(&settings(file(&folder)));
    assert!(refused(&folder).contains("in use by another process"));
    opened.spool.close().await;
    let Place::File(path) = file(&folder) else {
        panic!("a file")
    };
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 0x0009_0009)
        .unwrap();
    assert!(
        refused(&folder).contains("run the newer program"),
        "{}",
        refused(&folder)
    );
}
