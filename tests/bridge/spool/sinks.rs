//! Several sinks on one spool: those that are away, those that are not configured any more, and those
//! that are new.

use std::fs;
use std::io::Write as _;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use hookferry::name::SinkName;
use hookferry::spool::{Appended, Milestone, SpoolLocation};

use super::folder::{Folder, Opened, ids, settings};
use crate::eventually::eventually;
use crate::harness::Disk;
use crate::message::body;

fn name(text: &str) -> SinkName {
    SinkName::parse(text).expect("a slug")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_away_keeps_what_it_is_owed_while_the_other_goes_on() {
    const EVENTS: usize = 1500;
    let folder = Folder::new();
    let names = ["store", "away"];
    let opened = folder.open_for(&names);
    let mut appended = Vec::new();
    for round in 0..3 {
        let objects: Vec<String> = (0..EVENTS / 3).map(|n| format!("o{round}-{n}")).collect();
        let appends = objects.iter().map(|object| opened.append(object));
        appended.extend(futures_util::future::join_all(appends).await);
        let records = opened.waiting(EVENTS / 3).await;
        opened.deliver(opened.sinks[0], &folder, records).await;
    }
    opened.close().await;

    let opened = folder.open_for(&names);
    assert_eq!((opened.shown("store"), opened.shown("away")), (0, 1500));
    let records = opened.waiting_for(opened.sinks[1], EVENTS).await;
    assert_eq!(ids(&records), appended);
    opened.deliver(opened.sinks[1], &folder, records).await;
    assert_eq!((opened.shown("away"), opened.unaccounted()), (0, 0));
    assert_eq!(opened.metrics.spool_bytes.get(), 0);
    opened.close().await;

    let opened = folder.open_for(&names);
    assert_eq!((opened.shown("store"), opened.shown("away")), (0, 0));
    assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_event_that_a_sink_without_configuration_still_owes_is_answered() {
    let folder = Folder::new();
    let opened = folder.open_for(&["store", "gone"]);
    opened.append("o0").await;
    opened.append("o1").await;
    let first = opened.waiting(1).await.remove(0);
    opened.deliver(opened.sinks[0], &folder, vec![first]).await;
    opened.close().await;

    let opened = folder.open_for(&["store"]);
    let again = |object| {
        let routed = opened.routed(body("sample.uploaded", object));
        opened.spool.append(routed, Milestone::Delivered)
    };
    // The first has been delivered wherever it still can be.
    assert_eq!(again("o0").await, Ok(Appended::Duplicate));
    // The second waits for the store, and for nobody else.
    let mut second = std::pin::pin!(again("o1"));
    assert_eq!((&mut second).now_or_never(), None);
    let records = opened.waiting(1).await;
    opened.deliver(opened.sink(), &folder, records).await;
    assert_eq!(second.await, Ok(Appended::Duplicate));
    // What it owes is shown, and kept.
    let overview = opened.spool.view().overview().unwrap();
    let gone = overview.sinks.iter().find(|sink| sink.sink == name("gone"));
    assert_eq!(gone.map(|sink| sink.pending), Some(2));
    opened.close().await;
    let opened = folder.open_for(&["store", "gone"]);
    assert_eq!((opened.shown("store"), opened.shown("gone")), (0, 2));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_sink_is_given_back_once_nothing_is_left_for_it() {
    let folder = Folder::new();
    let opened = folder.open_for(&["store", "old"]);
    let old = opened.sinks[1];
    opened.append("o0").await;
    opened.append("o1").await;
    let record = opened.waiting_for(old, 1).await.remove(0);
    opened.set_aside(old, &record).await;
    opened.close().await;

    // It is owed an event and has a dead letter, so nobody else is given its number.
    let opened = folder.open_for(&["store", "new"]);
    assert_eq!(opened.spool.sink(&name("old")), Some(old));
    assert_ne!(opened.sinks[1], old);
    assert_eq!((opened.shown("new"), opened.shown("old")), (0, 1));
    assert_eq!(opened.spool.drop_pending(old).await.unwrap(), 1);
    opened.close().await;

    // The dead letter alone keeps it as well.
    let opened = folder.open_for(&["store", "new"]);
    assert_eq!(opened.spool.sink(&name("old")), Some(old));
    let letters = opened.spool.view().dead_letters(None, 10, false).unwrap();
    let letter = letters[0].name.clone();
    opened.spool.drop_dead_letter(letter).await.unwrap();
    opened.close().await;

    let opened = folder.open_for(&["store", "new", "newest"]);
    assert_eq!(opened.spool.sink(&name("old")), None);
    assert_eq!(opened.sinks[2], old, "its number is free");
    assert_eq!((opened.shown("newest"), opened.shown("store")), (0, 2));
    let id = opened.append("o2").await;
    assert_eq!(ids(&opened.waiting_for(opened.sinks[2], 1).await), [id]);
    assert_eq!(opened.unaccounted(), 0);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thirty_third_sink_is_refused_with_a_remedy_until_a_number_is_free() {
    let folder = Folder::new();
    let texts: Vec<String> = (0..33).map(|number| format!("sink-{number}")).collect();
    let names: Vec<&str> = texts.iter().map(String::as_str).collect();
    let said = folder.refuses(&names);
    assert!(said.contains("at most 32 sinks"), "{said}");
    let opened = folder.open_for(&names[..32]);
    opened.append("o0").await;
    opened.close().await;
    let before = folder.files();

    let said = folder.refuses(&names[1..]);
    for word in [
        "at most 32 sinks",
        "sink-0",
        "fewer new sinks",
        "hookferry spool drop",
    ] {
        assert!(said.contains(word), "it says {word:?}: {said}");
    }
    assert!(
        folder.files() == before,
        "what is refused is left as it was"
    );
    let opened = folder.open_for(&names[1..32]);
    let first = opened.spool.sink(&name("sink-0")).expect("it is known");
    assert_eq!(opened.spool.drop_pending(first).await.unwrap(), 1);
    opened.close().await;
    let opened = folder.open_for(&names[1..]);
    assert_eq!(opened.sinks[31], first);
    assert_eq!((opened.shown("sink-31"), opened.shown("sink-32")), (1, 0));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_both_its_sinks_refuse_leaves_the_spool() {
    let folder = Folder::new();
    let opened = folder.open_for(&["store", "other"]);
    opened.append("a").await;
    let record = opened.waiting(1).await.remove(0);
    tokio::join!(
        opened.set_aside(opened.sinks[0], &record),
        opened.set_aside(opened.sinks[1], &record)
    );
    let view = opened.spool.view();
    assert_eq!(view.pending(0, 10, false).unwrap(), []);
    assert_eq!(view.dead_letters(None, 10, false).unwrap().len(), 2);
    assert_eq!(opened.unaccounted(), 0);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_outcome_was_in_doubt_is_written_once_and_counted_once() {
    let folder = Folder::new();
    let opened = folder.open_for(&["store", "other"]);
    opened.append("o0").await;
    opened.append("o1").await;
    let record = opened.waiting(2).await.remove(0);
    for _ in 0..3 {
        opened.set_aside(opened.sinks[0], &record).await;
    }
    let set_aside = &opened.metrics.events_dead_lettered_total;
    let counted = set_aside.with_label_values(&["store", "too_large"]).get();
    assert_eq!((counted, opened.unaccounted()), (1, 0));
    assert_eq!((opened.shown("store"), opened.shown("other")), (1, 2));
    // Killed with the letter written, whether its progress was or not.
    let killed = folder.killed();
    opened.close().await;
    for folder in [&killed, &folder] {
        let opened = folder.open_for(&["store", "other"]);
        let id = opened.append("new").await;
        assert_eq!(ids(&opened.waiting(2).await)[1], id);
        let letters = opened.spool.view().dead_letters(None, 10, false).unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!((opened.shown("store"), opened.shown("other")), (2, 3));
        assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
        opened.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_waiting_events_are_dropped_while_others_come() {
    const BEFORE: usize = 3000;
    const MEANWHILE: usize = 2000;
    let folder = Folder::new();
    let opened = folder.open_for(&["store", "away"]);
    let away = opened.sinks[1];
    let append = |number: usize| {
        let opened = &opened;
        async move { opened.append(&format!("o{number}")).await }
    };
    stream::iter(0..BEFORE)
        .map(append)
        .buffered(512)
        .for_each(async |_| ())
        .await;
    let coming = stream::iter(BEFORE..BEFORE + MEANWHILE).map(append);
    let coming = coming.buffered(64).for_each(async |_| ());
    let ((), dropped) = tokio::join!(coming, opened.spool.drop_pending(away));
    let dropped = usize::try_from(dropped.unwrap()).unwrap();
    assert!(
        (BEFORE..=BEFORE + MEANWHILE).contains(&dropped),
        "{dropped}"
    );
    let left = BEFORE + MEANWHILE - dropped;
    assert_eq!(opened.shown("store"), 5000);
    assert_eq!(usize::try_from(opened.shown("away")).unwrap(), left);
    assert_eq!(opened.unaccounted(), 0);
    let discarded = &opened.metrics.events_discarded_total;
    let discarded = discarded.with_label_values(&["away"]).get();
    assert_eq!(usize::try_from(discarded).unwrap(), dropped);
    opened.close().await;
    // It is as durable as any progress.
    let opened = folder.open_for(&["store", "away"]);
    assert_eq!(opened.waiting(5000).await.len(), 5000);
    assert_eq!(usize::try_from(opened.shown("away")).unwrap(), left);
    assert_eq!(opened.spool.drop_pending(away).await.unwrap(), left as u64);
    assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_delivers_what_waits_though_a_sink_is_new() {
    let Some(disk) = Disk::tmpfs_where_allowed(12) else {
        return;
    };
    let folder = Folder::new();
    let settings = settings(SpoolLocation::Folder(disk.path().join("spool")));
    let opened = Opened::at(&settings, &["store"]).expect("it opens");
    let appended = vec![opened.append("o0").await, opened.append("o1").await];
    opened.close().await;
    let filler = disk.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    drop(file);

    let opened = Opened::at(&settings, &["store", "new"]).expect("it opens");
    let records = opened.waiting(2).await;
    assert_eq!(ids(&records), appended);
    opened.deliver(opened.sink(), &folder, records).await;
    assert_eq!((opened.shown("store"), opened.unaccounted()), (0, 0));
    fs::remove_file(filler).unwrap();
    eventually("it takes events again", async || {
        let routed = opened.routed(body("sample.uploaded", "o2"));
        let appended = opened.spool.append(routed, Milestone::Spooled).await;
        appended.is_ok().then_some(())
    })
    .await;
    assert_eq!((opened.shown("store"), opened.shown("new")), (1, 1));
    opened.close().await;
    let opened = Opened::at(&settings, &["store", "new"]).expect("it opens");
    assert_eq!((opened.shown("store"), opened.shown("new")), (1, 1));
    opened.close().await;
}
