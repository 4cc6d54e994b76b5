//! Sectors that were acknowledged and do not check any more, on real files. What is lost is counted
//! exactly and for good, everything else is delivered, and sending the event again publishes it.

use std::fs;

use hookferry::spool::{Appended, InspectionError};

use super::folder::{Folder, Opened, ids};
use super::layout;
use crate::eventually::eventually;

/// Changes a bit of the nth record in a segment, and returns the segment's bytes.
fn spoil_record(folder: &Folder, segment: u64, nth: usize) -> Vec<u8> {
    folder.change(segment, |bytes| {
        let record = layout::records(bytes).swap_remove(nth);
        bytes[record.bytes.end - 1] ^= 0x10;
    })
}

/// All but one of them.
fn without(ids: &[String], nth: usize) -> Vec<String> {
    let mut left = ids.to_vec();
    left.remove(nth);
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_counted_exactly_and_neither_a_start_nor_a_look_swallows_the_count() {
    for nth in 0..3 {
        let folder = Folder::new();
        let appended = folder.filled(0..3).await;
        let damaged = spoil_record(&folder, 1, nth);
        let before = folder.files();
        assert_eq!(folder.lost(), (1, 1));
        assert!(folder.files() == before, "a look changes nothing");
        for _ in 0..3 {
            let opened = folder.open();
            // Killed before anything could be written about it.
            let killed = folder.killed();
            assert_eq!(ids(&opened.waiting(2).await), without(&appended, nth));
            assert_eq!((opened.lost(), opened.unaccounted()), ((1, 1), 0));
            opened.close().await;
            assert_eq!(folder.lost(), (1, 1));
            assert_eq!(killed.lost(), (1, 1));
            let opened = killed.open();
            assert_eq!((opened.lost(), opened.unaccounted()), ((1, 1), 0));
            opened.close().await;
        }
        assert!(
            fs::read(folder.segment(1)).unwrap() == damaged,
            "it is kept"
        );
        sending_again_publishes(&folder, nth, 3).await;
    }
}

/// The event that was lost is new when it is sent again, once, and the others are duplicates.
async fn sending_again_publishes(folder: &Folder, lost: usize, events: usize) {
    let counted = folder.lost();
    let opened = folder.open();
    for object in 0..events {
        let expected = if object == lost {
            Appended::Accepted
        } else {
            Appended::Duplicate
        };
        assert_eq!(opened.sent_again(object).await, expected, "o{object}");
    }
    assert_eq!(opened.sent_again(lost).await, Appended::Duplicate);
    assert_eq!(opened.waiting(events).await.len(), events);
    opened.close().await;
    let opened = folder.open();
    assert_eq!(opened.sent_again(lost).await, Appended::Duplicate);
    assert_eq!(opened.shown("store"), i64::try_from(events).unwrap());
    assert_eq!((opened.lost(), opened.unaccounted()), (counted, 0));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_length_hides_no_neighbour() {
    for length in [0, 1, 7, u32::MAX] {
        let folder = Folder::new();
        let opened = folder.open();
        // Together, so that they lie in one batch or two.
        let appends = ["o0", "o1", "o2", "o3", "o4"].map(|object| opened.append(object));
        let appended = futures_util::future::join_all(appends).await;
        opened.close().await;
        folder.change(1, |bytes| {
            let record = layout::records(bytes).swap_remove(2);
            let at = record.bytes.start + 8;
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        });
        let opened = folder.open();
        assert_eq!(ids(&opened.waiting(4).await), without(&appended, 2));
        assert_eq!((opened.lost(), opened.unaccounted()), ((1, 1), 0));
        opened.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_no_record_is_damaged() {
    let folder = Folder::new();
    let appended = folder.filled(0..3).await;
    let files = folder.files();
    let segment = fs::read(folder.segment(1)).unwrap();
    let mut places = vec![0, 8, 20, 40, layout::HEADER_BYTES - 1];
    for batch in layout::batches(&segment) {
        places.extend([batch.head.start, batch.head.start + 40, batch.head.end - 30]);
        places.extend([batch.items.start, batch.items.end - 1]);
    }
    for place in places {
        let folder = Folder::with(&files);
        folder.change(1, |bytes| bytes[place] ^= 0x10);
        let opened = folder.open();
        opened.append("new").await;
        let records = opened.waiting(4).await;
        assert_eq!(ids(&records)[..3], appended, "byte {place}");
        assert_eq!(opened.lost(), (0, 0), "byte {place}");
        for object in 0..3 {
            let again = opened.sent_again(object).await;
            assert_eq!(again, Appended::Duplicate, "byte {place}");
        }
        opened.close().await;
        assert_eq!(folder.lost(), (0, 0), "byte {place}");
        let opened = folder.open();
        assert_eq!(opened.shown("store"), 4, "byte {place}");
        assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
        opened.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_was_overwritten_costs_nothing_where_its_batches_are_there() {
    for overwrite in [
        |header: &mut [u8]| header.fill(0),
        |header: &mut [u8]| header.fill(0xa5),
        |header: &mut [u8]| header[16..].fill(0),
    ] {
        let folder = Folder::new();
        let appended = folder.filled(0..3).await;
        let later = folder.filled(3..6).await;
        for segment in [1, 2] {
            folder.change(segment, |bytes| overwrite(&mut bytes[..4096]));
        }
        let opened = folder.open();
        assert_eq!(ids(&opened.waiting(6).await), [appended, later].concat());
        assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
        opened.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_snapshot_is_damaged_the_one_before_serves_and_no_count_is_lost_or_doubled() {
    let folder = Folder::new();
    let first = folder.filled(0..3).await;
    spoil_record(&folder, 1, 1);
    let second = folder.filled(3..6).await;
    assert_eq!(folder.lost(), (1, 1));
    folder.change(2, |bytes| {
        let snapshot = layout::batches(bytes).swap_remove(0);
        bytes[snapshot.items.start + 1] ^= 0xff;
    });
    assert_eq!(folder.lost(), (1, 1));
    let expected = [without(&first, 1), second].concat();
    for _ in 0..2 {
        let opened = folder.open();
        assert_eq!(ids(&opened.waiting(5).await), expected);
        assert_eq!((opened.lost(), opened.unaccounted()), ((1, 1), 0));
        opened.close().await;
    }
    sending_again_publishes(&folder, 1, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_of_an_earlier_segment_is_counted_when_it_is_read_and_then_for_good() {
    let folder = Folder::new();
    let mut appended = Vec::new();
    for session in [0..3, 3..6, 6..9] {
        appended.extend(folder.filled(session).await);
    }
    let damaged = spoil_record(&folder, 1, 1);
    let view = folder.look();
    assert_eq!(view.pending(0, 100, true).unwrap().len(), 8);
    assert_eq!(view.overview().unwrap().lost_records, 1);
    drop(view);
    let opened = folder.open();
    assert_eq!(ids(&opened.waiting(8).await), without(&appended, 1));
    assert_eq!((opened.lost(), opened.unaccounted()), ((1, 1), 0));
    opened.close().await;
    assert_eq!(folder.lost(), (1, 1));
    assert!(
        fs::read(folder.segment(1)).unwrap() == damaged,
        "it is kept"
    );
    let opened = folder.open();
    assert_eq!((opened.lost(), opened.shown("store")), ((1, 1), 8));
    opened.close().await;
    sending_again_publishes(&folder, 1, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_head_of_an_earlier_segment_costs_no_record() {
    for nth in 0..3 {
        let folder = Folder::new();
        let mut appended = folder.filled(0..3).await;
        appended.extend(folder.filled(3..6).await);
        folder.change(1, |bytes| {
            let batch = layout::batches(bytes).swap_remove(nth);
            bytes[batch.head.start + 12] ^= 1;
        });
        let opened = folder.open();
        assert_eq!(ids(&opened.waiting(6).await), appended);
        assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
        opened.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_segment_that_was_cut_off_is_lost_from_there_on_and_counted() {
    let whole = Folder::new();
    let mut appended = whole.filled(0..4).await;
    appended.extend(whole.filled(4..6).await);
    let files = whole.files();
    let segment = fs::read(whole.segment(1)).unwrap();
    let records = layout::records(&segment);
    // Within the second record, between the second and the third, within the last one, and before
    // all of them.
    for (cut, left) in [
        (records[1].bytes.end - 1, 1),
        (records[1].bytes.end, 2),
        (records[3].bytes.start + 40, 3),
        (100, 0),
        (0, 0),
    ] {
        let folder = Folder::with(&files);
        folder.change(1, |bytes| bytes.truncate(cut));
        let lost = 4 - left as u64;
        let expected = [&appended[..left], &appended[4..]].concat();
        for _ in 0..2 {
            let opened = folder.open();
            assert_eq!(
                ids(&opened.waiting(left + 2).await),
                expected,
                "cut at {cut}"
            );
            assert_eq!(opened.lost(), (lost, lost), "cut at {cut}");
            assert_eq!(opened.unaccounted(), 0, "cut at {cut}");
            opened.close().await;
            assert_eq!(folder.lost(), (lost, lost), "cut at {cut}");
        }
        let opened = folder.open();
        assert_eq!(opened.sent_again(3).await, Appended::Accepted);
        assert_eq!(opened.sent_again(5).await, Appended::Duplicate);
        opened.close().await;
    }
}

/// A spool with six events in two segments, of which the first event has been delivered.
async fn with_one_delivered() -> (Folder, Vec<String>) {
    let folder = Folder::new();
    let mut appended = folder.filled(0..3).await;
    appended.extend(folder.filled(3..6).await);
    let opened = folder.open();
    let mut records = opened.waiting(1).await;
    records.truncate(1);
    opened.deliver(opened.sink(), &folder, records).await;
    opened.close().await;
    (folder, appended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_missing_is_lost_exactly_as_far_as_no_progress_covers_it() {
    let (folder, appended) = with_one_delivered().await;
    fs::remove_file(folder.segment(1)).unwrap();
    assert_eq!(folder.lost(), (2, 2));
    for _ in 0..2 {
        let opened = folder.open();
        assert_eq!((opened.lost(), opened.shown("store")), ((2, 2), 3));
        assert_eq!(ids(&opened.waiting(3).await), appended[3..]);
        assert_eq!(opened.unaccounted(), 0);
        opened.close().await;
        assert_eq!(folder.lost(), (2, 2));
    }
    let opened = folder.open();
    assert_eq!(opened.sent_again(1).await, Appended::Accepted);
    assert_eq!(opened.sent_again(2).await, Appended::Accepted);
    assert_eq!(opened.sent_again(4).await, Appended::Duplicate);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_missing_and_was_done_with_is_no_loss() {
    let (folder, appended) = with_one_delivered().await;
    let opened = folder.open();
    let mut records = opened.waiting(2).await;
    records.truncate(2);
    opened.deliver(opened.sink(), &folder, records).await;
    opened.close().await;
    fs::remove_file(folder.segment(1)).unwrap();
    let opened = folder.open();
    assert_eq!(ids(&opened.waiting(3).await), appended[3..]);
    assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
    opened.close().await;
}

/// Whether the segment is recycled is decided once others have taken its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_is_kept_as_it_is_when_its_like_are_used_again() {
    let folder = Folder::new();
    folder.filled(0..3).await;
    let damaged = spoil_record(&folder, 1, 1);
    let opened = folder.open();
    let records = opened.waiting(2).await;
    opened.deliver(opened.sink(), &folder, records).await;
    let mut number = 0;
    eventually("the damaged segment has got its other name", async || {
        number += 1;
        large_event_comes_and_goes(&opened, &folder, number).await;
        folder.kept(1).exists().then_some(())
    })
    .await;
    assert!(fs::read(folder.kept(1)).unwrap() == damaged);
    assert!(!folder.segment(1).exists());
    assert_eq!((opened.lost(), opened.unaccounted()), ((1, 1), 0));
    opened.close().await;
    // It stays, and it counts once.
    let opened = folder.open();
    assert!(fs::read(folder.kept(1)).unwrap() == damaged);
    assert_eq!((opened.lost(), opened.unaccounted()), ((1, 1), 0));
    opened.close().await;
}

/// An event that fills a good part of a segment is appended and delivered.
async fn large_event_comes_and_goes(opened: &Opened, folder: &Folder, number: usize) {
    let object = format!("large{number}");
    let body = crate::message::body("sample.uploaded", &object);
    let body = body.replace("gr\\u00fcn", &"x".repeat(200_000));
    assert_eq!(opened.sent(body).await, Appended::Accepted);
    let records = opened.waiting(1).await;
    opened.deliver(opened.sink(), folder, records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_does_not_check_says_so_and_can_be_dropped() {
    let folder = Folder::new();
    let opened = folder.open();
    opened.append("o0").await;
    opened.append("o1").await;
    let records = opened.waiting(2).await;
    opened.set_aside(opened.sink(), &records[0]).await;
    opened.close().await;
    let letter = fs::read_dir(folder.path().join("letters")).unwrap().next();
    let letter = letter.unwrap().unwrap().path();
    let whole = fs::read(&letter).unwrap();
    let (half, mut changed) = (whole[..whole.len() / 2].to_vec(), whole.clone());
    changed[whole.len() - 1] ^= 1;
    for bytes in [changed, half, Vec::new()] {
        fs::write(&letter, bytes).unwrap();
        let opened = folder.open();
        let view = opened.spool.view();
        let listed = view.dead_letters(None, 10, true).unwrap().swap_remove(0);
        assert_eq!(listed.reason, "damaged");
        assert!(listed.event.is_none() && listed.body.is_none());
        assert_eq!(view.dead_letter(&listed.name).unwrap(), listed);
        let refused = opened.spool.requeue(listed.name).await.unwrap_err();
        assert!(matches!(refused, InspectionError::Impossible(_)));
        assert!(refused.to_string().contains("drop it"), "{refused}");
        // Its event has left for this sink, and does not come back as it is.
        assert_eq!(ids(&opened.waiting(1).await), ids(&records[1..]));
        assert_eq!((opened.shown("store"), opened.unaccounted()), (1, 0));
        opened.close().await;
    }
    let opened = folder.open();
    let letters = opened.spool.view().dead_letters(None, 10, false).unwrap();
    let name = letters[0].name.clone();
    opened.spool.drop_dead_letter(name).await.unwrap();
    assert!(!letter.exists());
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_letter_is_damaged_before_its_progress_was_written_goes_on_waiting() {
    let folder = Folder::new();
    let opened = folder.open();
    opened.append("o0").await;
    let records = opened.waiting(1).await;
    opened.set_aside(opened.sink(), &records[0]).await;
    opened.close().await;
    folder.change(1, |bytes| layout::forget_evidence(bytes));
    let letter = fs::read_dir(folder.path().join("letters")).unwrap().next();
    fs::write(letter.unwrap().unwrap().path(), "no letter").unwrap();
    let opened = folder.open();
    assert_eq!(ids(&opened.waiting(1).await), ids(&records));
    assert_eq!((opened.lost(), opened.unaccounted()), ((0, 0), 0));
    opened.close().await;
}

/// The log is gone and begins again; what its dead letters say is not said of the new events.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_outlives_its_log_settles_no_new_event() {
    let folder = Folder::new();
    let opened = folder.open();
    opened.append("o0").await;
    let records = opened.waiting(1).await;
    opened.set_aside(opened.sink(), &records[0]).await;
    opened.close().await;
    fs::remove_file(folder.segment(1)).unwrap();
    let appended = folder.filled(1..3).await;
    let opened = folder.open();
    assert_eq!(opened.shown("store"), 2);
    assert_eq!(ids(&opened.waiting(2).await), appended);
    opened.close().await;
}
