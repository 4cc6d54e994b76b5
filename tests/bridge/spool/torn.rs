//! The end of the log after a failure: what was not answered may be there, in part or not at all. It
//! is dropped without alarm, or delivered, and never counted as lost.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use hookferry::spool::Appended;

use super::folder::{Files, Folder, Opened, ids};
use super::layout::{self, Batch};
use crate::message::body;

const SECTOR: usize = 512;
const EVENTS: usize = 8;

/// A spool that was left with a last batch nobody knows to be acknowledged, and that batch.
async fn left_without_evidence() -> (Files, Batch) {
    let folder = Folder::in_memory();
    let opened = folder.open();
    opened.append("o0").await;
    // Together, so that the last batch holds several.
    let objects: Vec<String> = (1..EVENTS).map(|number| format!("o{number}")).collect();
    join_all(objects.iter().map(|object| opened.append(object))).await;
    opened.close().await;
    let bytes = folder.change(1, |bytes| layout::forget_evidence(bytes));
    let last = layout::batches(&bytes).pop().expect("there are batches");
    assert!(!last.records.is_empty());
    (folder.files(), last)
}

/// The providers send everything again, and everything is published, once; nothing was lost.
async fn heals_without_alarm(folder: &Folder, what: &str) {
    let opened = folder.open();
    for object in 0..EVENTS {
        let again = opened.sent_again(object).await;
        let is_known = matches!(again, Appended::Accepted | Appended::Duplicate);
        assert!(is_known, "{what}: {again:?}");
    }
    let mut found = ids(&opened.waiting(EVENTS).await);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), EVENTS, "{what}");
    assert_eq!(opened.shown("store"), 8, "{what}");
    assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0), "{what}");
    assert!(opened.metrics.spool_torn_batches_total.get() <= 1, "{what}");
    assert_eq!(opened.metrics.spool_forgotten_ids_total.get(), 0, "{what}");
    opened.close().await;
    assert_eq!(folder.lost(), (0, 0), "{what}");
    let kept = folder.files().into_keys().filter(|path| {
        let extension = path.extension();
        extension.is_some_and(|extension| extension == "damaged")
    });
    assert_eq!(kept.count(), 0, "{what}: nothing is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_batch_costs_nothing_whichever_of_its_sectors_are_missing() {
    let (files, last) = left_without_evidence().await;
    let sectors = (last.end - last.head.start).div_ceil(SECTOR);
    let mut states: Vec<Vec<bool>> = Vec::new();
    for sector in 0..sectors {
        // This one is missing; all from it on; all up to it.
        states.push((0..sectors).map(|at| at == sector).collect());
        states.push((0..sectors).map(|at| at >= sector).collect());
        states.push((0..sectors).map(|at| at <= sector).collect());
    }
    states.extend((0..40).map(|_| (0..sectors).map(|_| rand::random()).collect()));
    for missing in states {
        let folder = Folder::with(&files);
        folder.change(1, |bytes| {
            for (sector, _) in missing.iter().enumerate().filter(|(_, is)| **is) {
                let from = last.head.start + sector * SECTOR;
                bytes[from..from + SECTOR].fill(0);
            }
        });
        heals_without_alarm(&folder, &format!("{missing:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_is_read_the_same_at_every_start() {
    let (files, last) = left_without_evidence().await;
    let folder = Folder::with(&files);
    let middle = (last.head.start + last.end) / 2;
    folder.change(1, |bytes| bytes[middle..last.end].fill(0));
    for _ in 0..3 {
        let opened = folder.open();
        // Killed, perhaps before anything was written.
        let killed = folder.killed();
        opened.close().await;
        heals_without_alarm(&killed, "killed while it was recovered").await;
    }
    heals_without_alarm(&folder, "started again and again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_behind_the_last_batch_is_no_damage() {
    let folder = Folder::in_memory();
    let opened = folder.open();
    for object in 0..EVENTS {
        opened.append(&format!("o{object}")).await;
    }
    opened.close().await;
    let files = folder.files();
    let segment = fs::read(folder.segment(1)).unwrap();
    let batches = layout::batches(&segment);
    let end = batches.last().expect("there are").end;
    let behind = end.next_multiple_of(4096);
    let earlier = segment[batches[0].head.start..batches[0].end].to_vec();
    let garbage: Vec<u8> = (0..20_000).map(|_| rand::random()).collect();
    for (what, bytes) in [
        ("garbage", garbage.as_slice()),
        ("an earlier batch", &earlier),
        ("the head of an earlier batch", &earlier[..128]),
    ] {
        let folder = Folder::with(&files);
        folder.change(1, |segment| {
            segment[behind..behind + bytes.len()].copy_from_slice(bytes);
        });
        heals_without_alarm(&folder, what).await;
    }
    for length in [end, behind, behind + 100] {
        let folder = Folder::with(&files);
        folder.change(1, |segment| segment.truncate(length));
        heals_without_alarm(&folder, &format!("cut at {length}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_has_passed_is_no_damage_at_a_restart() {
    let folder = Folder::in_memory();
    let mut short = folder.settings();
    // The events are of a time that is long past.
    short.limits.window = Duration::from_millis(1);
    let mut expected = Vec::new();
    for session in 0..4 {
        let opened = Opened::at(&short, &["store"]).expect("it opens");
        assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
        assert_eq!(opened.metrics.spool_torn_batches_total.get(), 0);
        for number in 0..10 {
            let object = format!("o{session}-{number}");
            expected.push(opened.append(&object).await);
        }
        let records = opened.waiting(expected.len()).await;
        assert_eq!(ids(&records), expected);
        // Half of what waits goes, and what stays is known as long as it does.
        let (gone, kept) = records.split_at(records.len() / 2);
        opened.deliver(opened.sink(), &folder, gone.to_vec()).await;
        expected = ids(kept);
        for record in kept {
            let body = record.event().body().clone();
            assert_eq!(opened.sent(body).await, Appended::Duplicate);
        }
        opened.close().await;
        assert_eq!(folder.lost(), (0, 0));
    }
    let opened = Opened::at(&short, &["store"]).expect("it opens");
    assert_eq!(ids(&opened.waiting(expected.len()).await), expected);
    let again = opened.sent(body("sample.uploaded", "o3-9")).await;
    assert_eq!(again, Appended::Duplicate);
    opened.close().await;
}
