//! What the spool answers to a delivery that comes again, on a real folder and across its index.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::command::WriterCommand;
use super::outcome::AppendResult;
use super::record::PreparedRecord;
use super::simulation::events::{self, event_of};
use super::*;
use crate::event::{Event, SinkSet};
use crate::log::segment::segment_name;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::route::Lane;

/// Two bodies of one event.
const A: (usize, usize) = (0, 0);
const B: (usize, usize) = (0, 1);

const DAY: u64 = 86_400;
const LIMITS: SpoolLimits = SpoolLimits {
    max_events: 1_000,
    max_bytes: 64 << 20,
    duplicates: Duplicates::Suppress,
    window: Duration::from_secs(DAY),
};

fn open(location: SpoolLocation) -> Spool {
    let limits = LIMITS;
    let metrics = Arc::new(Metrics::new().expect("no name twice"));
    let sinks = [SinkName::parse("store").expect("a slug")];
    let opened = Spool::open(SpoolSettings { location, limits }, &sinks, metrics);
    opened.expect("it opens").0
}

/// What a copy of is let in for how long must not be forgotten earlier; and what was forgotten once
/// stays unknown, whatever the window is later and whoever opens the folder.
#[test]
fn ids_are_forgotten_by_the_window_that_holds_now() {
    let folder = TempDir::new().expect("a folder");
    let settings = SpoolSettings {
        location: SpoolLocation::Folder(folder.path().join("spool")),
        limits: LIMITS,
    };
    let metrics = || Arc::new(Metrics::new().expect("no name twice"));
    let (commands, inbox) = mpsc::channel();
    let open = || folder::open(&settings, &[], metrics(), commands.clone()).expect("it opens");
    let (mut writer, mut maintenance, lock) = open();
    while maintenance.step() {}
    writer.take_waiting(&inbox);
    let verified = 100 * DAY;
    writer.shared.lock().state.verified = i64::try_from(verified).expect("small");
    let began = Instant::now();
    for (minutes, window, forgotten) in [(2, 2, 98), (4, 60, 40), (6, 1, 99), (8, 2, 98)] {
        let window = Duration::from_secs(window * DAY);
        writer.take(WriterCommand::Limit(SpoolLimits { window, ..LIMITS }));
        writer.step(began + Duration::from_secs(minutes * 60));
        let before = writer.shared.jobs.lock().expire.take();
        assert_eq!(before, Some(forgotten * 86_400));
    }
    assert_eq!(writer.shared.remembers_since(), 99 * 86_400);
    drop((writer, maintenance, lock));
    let (writer, ..) = open();
    assert_eq!(writer.shared.remembers_since(), 99 * 86_400);
}

/// Ids that only the index had are gone with it, and the spool says so.
#[tokio::test]
async fn an_index_that_is_gone_takes_along_what_was_known() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("spool");
    let spool = open(SpoolLocation::Folder(path.clone()));
    // So many segments that those in which nothing waits are let go of.
    for number in 0..60 {
        let event = event_of((number, 0));
        let read = serde_json::to_value(&*event).and_then(serde_json::from_value::<Event>);
        let large = read
            .expect("an event")
            .with_body(vec![b'x'; 400_000].into());
        send(&spool, Arc::new(large)).await;
        let (sink, _) = spool.sinks()[0];
        spool.drop_pending(sink).await.expect("it is open");
    }
    let first = path.join(segment_name(1));
    eventually("the first segment is let go of", || !first.exists());
    assert_eq!(spool.remembers_since(), 0);
    spool.close().await;
    let spool = open(SpoolLocation::Folder(path.clone()));
    assert_eq!(spool.remembers_since(), 0);
    spool.close().await;
    drop(spool);
    std::fs::remove_file(path.join("ids.db")).expect("removed");
    let before = jiff::Timestamp::now().as_second();
    let spool = open(SpoolLocation::Folder(path));
    assert!(spool.remembers_since() > before);
    spool.close().await;
}

fn enqueue(spool: &Spool, event: Arc<Event>) -> oneshot::Receiver<AppendResult> {
    let sinks: SinkSet = spool.sinks().iter().map(|(sink, _)| *sink).collect();
    let prepared = PreparedRecord::of(event, Lane::Typed, sinks);
    let answer = spool.enqueue(prepared, Milestone::Spooled, None);
    answer.expect("it is open")
}

async fn send(spool: &Spool, event: Arc<Event>) -> Appended {
    let answer = enqueue(spool, event).await;
    answer.expect("an answer").expect("room")
}

async fn send_all(spool: &Spool, keys: &[(usize, usize)]) -> Vec<Appended> {
    let mut answers = Vec::new();
    for key in keys {
        answers.push(send(spool, event_of(*key)).await);
    }
    answers
}

/// The event as if somebody had asked the provider for it.
fn backfilled(key: (usize, usize)) -> Arc<Event> {
    Arc::new(events::backfilled(&event_of(key)))
}

/// Asks until the answer is yes.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let so = (0..1_000).any(|_| {
        let so = is_so();
        if !so {
            std::thread::sleep(Duration::from_millis(10));
        }
        so
    });
    assert!(so, "not in time: {what}");
}

/// Waits until the index has the ids of everything that was written before.
fn is_indexed(folder: &Path, through: u64) {
    eventually("the index has all ids", || {
        // It may be another file each time, or none.
        let opened =
            Connection::open_with_flags(folder.join("ids.db"), OpenFlags::SQLITE_OPEN_READ_WRITE);
        let found = opened.and_then(|index| {
            index.query_row("SELECT through FROM state", [], |row| row.get::<_, u64>(0))
        });
        found.is_ok_and(|found| found >= through)
    });
}

#[tokio::test]
async fn a_delivery_is_a_duplicate_of_any_body_that_its_id_came_with() {
    use Appended::{Accepted, Different, Duplicate};
    let folder = TempDir::new().expect("a folder");
    let place = || SpoolLocation::Folder(folder.path().join("spool"));
    let spool = open(place());
    let answers = send_all(&spool, &[A, B, A, B]).await;
    assert_eq!(answers, [Accepted, Different, Duplicate, Duplicate]);
    spool.close().await;

    // From the log, and then from the index.
    let spool = open(place());
    assert_eq!(send_all(&spool, &[A, B, A]).await, [Duplicate; 3]);
    is_indexed(&folder.path().join("spool"), 2);
    assert_eq!(send_all(&spool, &[A, B, A]).await, [Duplicate; 3]);
    // One body in the index alone, the other in memory.
    assert_eq!(send_all(&spool, &[(1, 1)]).await, [Accepted]);
    spool.close().await;
    let spool = open(place());
    is_indexed(&folder.path().join("spool"), 3);
    let answers = send_all(&spool, &[(1, 0), (1, 1), (1, 0)]).await;
    assert_eq!(answers, [Different, Duplicate, Duplicate]);
    spool.close().await;
}

#[tokio::test]
async fn an_index_that_is_damaged_while_the_spool_runs_is_made_anew_from_its_segments() {
    use Appended::{Accepted, Different, Duplicate};
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("spool");
    let spool = open(SpoolLocation::Folder(path.clone()));
    let answers = send_all(&spool, &[A, B]).await;
    assert_eq!(answers, [Accepted, Different]);
    spool.close().await;
    let spool = open(SpoolLocation::Folder(path.clone()));
    is_indexed(&path, 2);

    let index = path.join("ids.db");
    let junk = vec![0xa5; std::fs::read(&index).expect("a file").len()];
    std::fs::write(&index, junk).expect("overwritten");
    assert_eq!(send_all(&spool, &[A]).await, [Accepted]);
    is_indexed(&path, 2);
    assert_eq!(send_all(&spool, &[B, A]).await, [Duplicate; 2]);
    spool.close().await;
}

#[tokio::test]
async fn the_bodies_of_one_group_are_told_apart() {
    for place in [None, Some(TempDir::new().expect("a folder"))] {
        let folder = place.as_ref().map(|it| it.path().join("spool"));
        let spool = open(folder.map_or(SpoolLocation::Memory, SpoolLocation::Folder));
        let answers = [A, B, A, B].map(|key| enqueue(&spool, event_of(key)));
        let mut outcomes = Vec::new();
        for answer in answers {
            outcomes.push(answer.await.expect("an answer").expect("room"));
        }
        use Appended::{Accepted, Different, Duplicate};
        assert_eq!(outcomes, [Accepted, Different, Duplicate, Duplicate]);
        spool.close().await;
    }
}

#[tokio::test]
async fn backfilled_events_compare_ids_alone() {
    use Appended::{Accepted, Duplicate};
    let folder = TempDir::new().expect("a folder");
    let place = SpoolLocation::Folder(folder.path().join("spool"));
    let spool = open(place.clone());
    assert_eq!(send(&spool, backfilled(A)).await, Accepted);
    assert_eq!(send(&spool, backfilled(B)).await, Duplicate);
    assert_eq!(send_all(&spool, &[B, A]).await, [Duplicate; 2]);
    spool.close().await;
    drop(spool);
    let spool = open(place);
    assert_eq!(send_all(&spool, &[B, A]).await, [Duplicate; 2]);
    assert_eq!(send(&spool, backfilled(B)).await, Duplicate);
    spool.close().await;
}

#[tokio::test]
async fn where_copies_are_forwarded_backfilled_ones_are_not() {
    use Appended::{Accepted, Duplicate};
    let spool = open(SpoolLocation::Memory);
    spool.limit(SpoolLimits {
        duplicates: Duplicates::Forward,
        ..LIMITS
    });
    assert_eq!(send_all(&spool, &[A, A]).await, [Accepted; 2]);
    assert_eq!(send(&spool, backfilled(A)).await, Duplicate);
    let id = event_of(A).deduplication_id();
    assert_eq!(spool.known(vec![id]).await, Ok(vec![true]));
    spool.close().await;
}
