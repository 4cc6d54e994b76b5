//! The spool as its own callers see it: what outlives a restart, a crash and a damaged disk, and what
//! is refused.

mod damage;
pub mod folder;
mod foreign;
pub mod layout;
mod look;
mod sinks;
mod torn;

use std::pin::pin;

use futures_util::FutureExt as _;
use hookferry::spool::{Appended, Milestone, SpoolLocation, SpoolUnavailable};

use crate::eventually::eventually;
use crate::message::body;
use folder::{FETCHED, Folder, Opened, ids, settings};

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_a_restart_in_order_and_byte_for_byte() {
    let folder = Folder::new();
    let appended = folder.filled(0..250).await;
    let opened = folder.open();
    let records = opened.waiting(250).await;
    assert_eq!(ids(&records), appended);
    assert_eq!(
        records[7].event().body(),
        body("sample.uploaded", "o7").as_bytes()
    );
    let recovered = &opened.metrics.events_recovered_total;
    assert_eq!(recovered.with_label_values(&["store"]).get(), 250);
    assert_eq!(opened.unaccounted(), 0);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_a_kill_in_order_and_is_counted_once() {
    let folder = Folder::new();
    let before = folder.open();
    let mut appended = Vec::new();
    for number in 0..20 {
        appended.push(before.append(&format!("o{number}")).await);
    }
    let killed = folder.killed();
    before.close().await;
    let opened = killed.open();
    appended.push(opened.append("new").await);
    assert_eq!(ids(&opened.waiting(21).await), appended);
    assert_eq!((opened.shown("store"), opened.lost()), (21, (0, 0)));
    assert_eq!(opened.unaccounted(), 0);
    assert_eq!(opened.sent_again(19).await, Appended::Duplicate);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_known_across_a_restart_and_sequences_are_never_used_twice() {
    let folder = Folder::new();
    folder.filled(0..1).await;
    let opened = folder.open();
    let first = opened.waiting(1).await.remove(0);
    let highest = first.position().sequence;
    opened.deliver(opened.sink(), &folder, vec![first]).await;
    opened.close().await;

    let opened = folder.open();
    assert_eq!(opened.shown("store"), 0);
    assert_eq!(opened.sent_again(0).await, Appended::Duplicate);
    opened.append("new").await;
    assert!(opened.waiting(1).await[0].position().sequence > highest);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_known_without_their_index_and_whatever_lies_in_its_place() {
    let folder = Folder::new();
    folder.filled(0..3).await;
    folder.filled(3..6).await;
    let index = folder.path().join("ids.db");
    for spoil in [
        |path| std::fs::remove_file(path),
        |path| std::fs::write(path, "listen = \"0.0.0.0:8080\"\n".repeat(400)),
    ] {
        spoil(&index).expect("writable");
        let opened = folder.open();
        for object in 0..6 {
            assert_eq!(opened.sent_again(object).await, Appended::Duplicate);
        }
        assert_eq!(opened.lost(), (0, 0));
        opened.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_new_events_but_still_knows_old_ones() {
    let folder = Folder::new();
    let mut small = folder.settings();
    small.limits.max_events = 2;
    let opened = Opened::at(&small, &["store"]).expect("it opens");
    opened.append("a").await;
    opened.append("b").await;
    let send = |object| {
        let routed = opened.routed(body("sample.uploaded", object));
        opened.spool.append(routed, Milestone::Spooled)
    };
    assert_eq!(send("c").await, Err(SpoolUnavailable::Full));
    assert_eq!(send("a").await, Ok(Appended::Duplicate));
    let first = opened.waiting(1).await;
    opened.deliver(opened.sink(), &folder, first).await;
    eventually("it has space again", async || {
        (send("c").await == Ok(Appended::Accepted)).then_some(())
    })
    .await;
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_delivery_is_answered_by_the_receipt_and_so_is_a_duplicate() {
    let folder = Folder::new();
    let opened = Opened::at(&settings(SpoolLocation::Memory), &["store"]).expect("it opens");
    let send = || {
        let routed = opened.routed(body("sample.uploaded", "a"));
        opened.spool.append(routed, Milestone::Delivered)
    };
    let (mut first, mut second) = (pin!(send()), pin!(send()));
    assert_eq!((&mut first).now_or_never(), None);
    let record = opened.waiting(1).await.remove(0);
    assert_eq!((&mut second).now_or_never(), None);
    // The spool has come to the duplicate once it has answered a later event.
    opened.append("b").await;
    assert_eq!((&mut first).now_or_never(), None);
    assert_eq!((&mut second).now_or_never(), None);
    opened.deliver(opened.sink(), &folder, vec![record]).await;
    assert_eq!(first.await, Ok(Appended::Accepted));
    assert_eq!(second.await, Ok(Appended::Duplicate));
    opened.close().await;
}

/// The body of an event about `a`, whose id does not depend on this note.
fn noted(note: &str) -> String {
    body("sample.uploaded", "a").replace("gr\\u00fcn", note)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_comes_back_with_other_bytes_is_published_with_them() {
    let folder = Folder::new();
    let opened = folder.open();
    assert_eq!(opened.sent(noted("first")).await, Appended::Accepted);
    assert_eq!(opened.sent(noted("second")).await, Appended::Different);
    assert_eq!(opened.sent(noted("second")).await, Appended::Duplicate);
    let records = opened.waiting(2).await;
    let bodies: Vec<&[u8]> = records.iter().map(|it| &it.event().body()[..]).collect();
    assert_eq!(
        bodies,
        [noted("first").as_bytes(), noted("second").as_bytes()]
    );
    assert_eq!(records[0].event().id(), records[1].event().id());
    opened.close().await;

    let opened = folder.open();
    assert_eq!(opened.sent(noted("second")).await, Appended::Duplicate);
    assert_eq!(opened.sent(noted("third")).await, Appended::Different);
    assert_eq!((opened.shown("store"), opened.unaccounted()), (3, 0));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_kept_and_can_be_requeued() {
    let folder = Folder::new();
    let opened = folder.open();
    opened.append("a").await;
    let record = opened.waiting(1).await.remove(0);
    opened.set_aside(opened.sink(), &record).await;
    opened.close().await;

    let opened = folder.open();
    let letters = opened.spool.view().dead_letters(None, 10, true).unwrap();
    assert_eq!(
        (letters.len(), letters[0].reason.as_str()),
        (1, "too_large")
    );
    assert_eq!(opened.shown("store"), 0);
    opened.spool.requeue(letters[0].name.clone()).await.unwrap();
    let again = opened.waiting(1).await.remove(0);
    assert_eq!(
        (again.event().id(), again.event().body()),
        (record.event().id(), record.event().body())
    );
    let kept = opened.metrics.spool_dead_letters.clone();
    eventually("the letter has gone", async || {
        (kept.with_label_values(&["store"]).get() == 0).then_some(())
    })
    .await;
    assert_eq!(opened.unaccounted(), 0);
    opened.close().await;

    let opened = folder.open();
    assert_eq!(opened.waiting(1).await.len(), 1);
    assert_eq!(
        opened.spool.view().dead_letters(None, 10, false).unwrap(),
        []
    );
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_dropped_is_gone_for_good() {
    let folder = Folder::new();
    let opened = folder.open();
    opened.append("a").await;
    let record = opened.waiting(1).await.remove(0);
    opened.set_aside(opened.sink(), &record).await;
    let letters = opened.spool.view().dead_letters(None, 10, false).unwrap();
    let name = letters[0].name.clone();
    opened.spool.drop_dead_letter(name.clone()).await.unwrap();
    let again = opened.spool.drop_dead_letter(name).await.unwrap_err();
    assert!(again.to_string().contains("there is no"), "{again}");
    opened.close().await;

    let opened = folder.open();
    let view = opened.spool.view();
    assert_eq!(view.dead_letters(None, 10, false).unwrap(), []);
    assert_eq!(view.pending(0, 10, false).unwrap(), []);
    let again = opened.sent(body("sample.uploaded", "a")).await;
    assert_eq!((again, opened.unaccounted()), (Appended::Duplicate, 0));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_event_counts_for_its_body_and_little_more() {
    let folder = Folder::new();
    let opened = folder.open();
    let body = body("sample.uploaded", "o");
    opened.append("o").await;
    opened.is_counted();
    // What the manual's table of sizes (docs/src/spool.md) reckons with.
    let bytes = opened.metrics.spool_bytes.get();
    let beside = bytes - i64::try_from(body.len()).unwrap();
    assert!((1..=335).contains(&beside), "{beside}");
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_in_memory_keeps_nothing_of_a_refused_event_and_takes_it_anew() {
    let opened = Opened::at(&settings(SpoolLocation::Memory), &["store"]).expect("it opens");
    for _ in 0..3 {
        opened.append("a").await;
        let fetched = opened.spool.fetch(opened.sink(), 0, 10, FETCHED).await;
        let record = fetched.unwrap().pop().unwrap();
        opened.set_aside(opened.sink(), &record).await;
    }
    let letters = opened.spool.view().dead_letters(None, 10, false).unwrap();
    assert_eq!(letters, []);
    assert_eq!((opened.shown("store"), opened.unaccounted()), (0, 0));
    assert_eq!(opened.metrics.spool_bytes.get(), 0);
    opened.close().await;
}
