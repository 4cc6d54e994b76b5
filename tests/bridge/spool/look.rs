//! Looking at the spool of a stopped bridge: it tells what the bridge would, and changes nothing.

use hookferry::spool::{DeadLetter, PendingEvent, SpoolOverview, SpoolView};

use super::folder::{Folder, Opened};
use super::layout;

/// Everything that a view tells.
#[derive(Debug, PartialEq)]
struct Told {
    overview: SpoolOverview,
    pending: Vec<PendingEvent>,
    letters: Vec<DeadLetter>,
}

impl Told {
    fn by(view: &SpoolView) -> Self {
        let pending = view.pending(0, 100, true).unwrap();
        for event in &pending {
            assert_eq!(view.pending_one(event.sequence).unwrap(), *event);
        }
        let letters = view.dead_letters(None, 100, true).unwrap();
        for letter in &letters {
            assert_eq!(view.dead_letter(&letter.name).unwrap(), *letter);
        }
        // Without bodies it is the same but for them.
        let heads = view.pending(0, 100, false).unwrap();
        assert!(heads.iter().all(|event| event.body.is_none()));
        assert_eq!(heads.len(), pending.len());
        let mut overview = view.overview().unwrap();
        // The bounds are not in the files, and a running spool makes files ahead.
        (overview.max_bytes, overview.max_events) = (None, None);
        overview.file_bytes = 0;
        Self {
            overview,
            pending,
            letters,
        }
    }
}

/// A spool with events in two segments, a delivered one and two dead letters.
async fn used() -> (Folder, Opened) {
    let folder = Folder::new();
    folder.filled(0..5).await;
    let opened = folder.open();
    opened.append("o5").await;
    let records = opened.waiting(6).await;
    opened
        .deliver(opened.sink(), &folder, records[..1].to_vec())
        .await;
    for record in &records[1..3] {
        opened.set_aside(opened.sink(), record).await;
    }
    (folder, opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_spool_reads_as_it_did_before_and_not_a_byte_is_changed() {
    let (folder, opened) = used().await;
    let told = Told::by(&opened.spool.view());
    assert_eq!((told.pending.len(), told.letters.len()), (3, 2));
    assert_eq!(told.overview.sinks[0].pending, 3);
    assert_eq!(told.overview.sinks[0].dead_letters, 2);
    opened.close().await;
    let before = folder.files();
    for _ in 0..2 {
        assert_eq!(Told::by(&folder.look()), told);
        assert!(folder.files() == before);
    }
    // Nor does it keep anybody from starting.
    let view = folder.look();
    let opened = folder.open();
    assert_eq!(Told::by(&opened.spool.view()), told);
    drop(view);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_of_a_killed_bridge_is_shown_with_its_last_batch_and_stays_as_it_is() {
    let folder = Folder::new();
    let appended = folder.filled(0..3).await;
    folder.change(1, |bytes| layout::forget_evidence(bytes));
    let before = folder.files();
    let view = folder.look();
    let shown = view.pending(0, 100, true).unwrap();
    let id = |event: &PendingEvent| event.event.id().to_string();
    assert_eq!(shown.iter().map(id).collect::<Vec<_>>(), appended);
    assert_eq!(view.overview().unwrap().sinks[0].pending, 3);
    assert_eq!(view.overview().unwrap().lost_records, 0);
    drop(view);
    assert!(folder.files() == before);
    let opened = folder.open();
    assert_eq!(opened.waiting(3).await.len(), 3);
    assert_eq!((opened.shown("store"), opened.unaccounted()), (3, 0));
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_stopped() {
    let (folder, opened) = used().await;
    opened.close().await;
    let view = folder.look();
    let all = view.pending(0, 100, false).unwrap();
    let mut found = Vec::new();
    loop {
        let after = found.last().map_or(0, |last: &PendingEvent| last.sequence);
        let more = view.pending(after, 2, false).unwrap();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    assert_eq!(found, all);
    let letters = view.dead_letters(None, 100, false).unwrap();
    let second = view.dead_letters(Some(&letters[0].name), 100, false);
    assert_eq!(second.unwrap(), letters[1..]);
    assert!(view.pending_one(4711).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_where_there_is_no_spool_makes_none() {
    let folder = Folder::new();
    assert!(SpoolView::open(&folder.path()).is_err());
    assert!(!folder.path().exists());
}
