//! A small spool whose content is known exactly, and what must be true of it after any damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hookferry::event::SinkIndex;
use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::sink::store::Store;
use hookferry::sink::{RefusalReason, Sink};
use hookferry::spool::{
    Appended, Burial, DeadLetter, Duplicates, Limits, Milestone, Place, Record, Settings,
    Settlement, Spool,
};
use tempfile::TempDir;

use crate::message::{Sender, body};

const SINKS: [&str; 2] = ["one", "two"];
/// An event goes to a sink of each, so that what one of them has settled has to be remembered.
const EVENTS: usize = 12;

/// How the spool was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Closed: everything is in the file, and there is no log.
    Closed,
    /// As `kill -9` leaves it: nearly everything is in the write-ahead log.
    Killed,
}

/// The files of a spool, and what lies in them.
#[derive(Debug, Clone)]
pub struct Original {
    /// The file, then its log.
    pub files: [Vec<u8>; 2],
    /// The body of every event that was accepted, by its id.
    bodies: BTreeMap<String, Vec<u8>>,
    /// The ids that wait, by sink.
    waiting: [BTreeSet<String>; 2],
    /// The bodies of the dead letters.
    dead: Vec<Vec<u8>>,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    /// Accepted events that neither wait nor are dead letters, by sink, and are not counted as lost.
    pub unaccounted: [u64; 2],
    /// Dead letters that are gone and not counted.
    pub silently_missing_letters: u64,
    /// Records counted as lost or damaged.
    pub corrupt: u64,
    /// Ids that are no longer known.
    pub forgotten: u64,
    /// Those of them that are not counted as forgotten.
    pub silently_forgotten: u64,
    /// Whether the old files were kept aside.
    pub kept_aside: bool,
}

struct Opened {
    spool: Spool,
    sinks: [SinkIndex; 2],
    metrics: Arc<Metrics>,
}

/// A folder in memory where the machine has one: it is made and removed thousands of times.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory).expect("writable")
    } else {
        TempDir::new().expect("writable")
    }
}

impl Original {
    pub async fn make(left: Left) -> Self {
        let folder = folder();
        let path = folder.path().join("spool.db");
        let opened = Opened::at(&path).unwrap();
        let mut bodies = BTreeMap::new();
        // Together, so that few commits hold everything.
        let appends = (0..EVENTS).map(|number| {
            let routed = opened.routed(text(number));
            bodies.insert(routed.event().id().to_string(), text(number).into_bytes());
            opened.spool.append(routed, Milestone::Spooled)
        });
        let appended = futures_util::future::join_all(appends).await;
        assert!(
            appended
                .iter()
                .all(|answer| *answer == Ok(Appended::Accepted))
        );
        let ids: BTreeSet<String> = bodies.keys().cloned().collect();
        let mut waiting = [ids.clone(), ids];
        let records = opened.drain(0).await;
        let dead = opened.settle_some(&folder, &records, &mut waiting).await;
        if left == Left::Closed {
            opened.spool.close().await;
        }
        let file = |suffix: &str| fs::read(beside(&path, suffix)).unwrap_or_default();
        Self {
            files: [file(""), file("-wal")],
            bodies,
            waiting,
            dead,
        }
    }

    /// Opens a spool with these files and holds what it has against what it should have.
    pub async fn outcome(&self, files: [&[u8]; 2]) -> Outcome {
        let folder = folder();
        let path = folder.path().join("spool.db");
        put(&path, files);
        let opened = Opened::at(&path).expect("a damaged spool opens");
        let mut missing = [0, 0];
        for (sink, missing) in missing.iter_mut().enumerate() {
            let delivered = self.delivered(&opened, sink).await;
            *missing = self.waiting[sink].difference(&delivered).count() as u64;
        }
        let letters = opened
            .spool
            .inspect(|spool| spool.dead_letters(0, 1000, true))
            .await
            .unwrap();
        let forgotten = opened.forgotten(self.bodies.values()).await;
        let counted = opened.metrics.spool_forgotten_ids_total.get();
        let kept_aside = kept_as_it_was(&folder, files);
        let corrupt = opened.metrics.spool_corrupt_records_total.get();
        let is_kept = |body: &Vec<u8>| letters.iter().any(|letter| holds(letter, body));
        let missing_letters = self.dead.iter().filter(|body| !is_kept(body)).count() as u64;
        let unaccounted =
            [0, 1].map(|sink| missing[sink].saturating_sub(opened.answered_for(sink)));
        opened.assert_balanced();
        opened.spool.close().await;
        Outcome {
            unaccounted,
            silently_missing_letters: missing_letters.saturating_sub(corrupt),
            corrupt,
            forgotten,
            silently_forgotten: forgotten.saturating_sub(counted),
            kept_aside,
        }
    }

    /// The ids that a sink is given; each with the bytes that were accepted.
    async fn delivered(&self, opened: &Opened, sink: usize) -> BTreeSet<String> {
        let records = opened.drain(sink).await;
        let id = |record: &Arc<Record>| {
            let id = record.event().id().to_string();
            let body = self.bodies.get(&id).expect("an id that was accepted");
            assert_eq!(record.event().body().as_ref(), body, "{id}");
            id
        };
        records.iter().map(id).collect()
    }
}

impl Outcome {
    /// Whether nothing vanished without being counted.
    pub fn is_honest(&self) -> bool {
        self.unaccounted == [0, 0]
            && self.silently_missing_letters == 0
            && self.silently_forgotten == 0
    }

    /// Whether nothing was lost, damaged or forgotten.
    pub fn is_whole(&self) -> bool {
        self.is_honest() && self.corrupt == 0 && self.forgotten == 0
    }
}

impl Opened {
    fn at(path: &Path) -> Result<Self, hookferry::spool::SpoolError> {
        let names = SINKS.map(|name| SinkName::parse(name).unwrap());
        let metrics = Arc::new(Metrics::new().unwrap());
        let settings = Settings {
            place: Place::File(path.to_owned()),
            limits: Limits {
                max_events: 1000,
                max_bytes: 1 << 30,
                duplicates: Duplicates::Suppress,
                window: Duration::from_secs(10 * 365 * 24 * 60 * 60),
            },
        };
        let (spool, _stopped) = Spool::open(settings, &names, Arc::clone(&metrics))?;
        let sinks = names
            .each_ref()
            .map(|name| spool.sink(name).expect("named"));
        Ok(Self {
            spool,
            sinks,
            metrics,
        })
    }

    fn routed(&self, body: String) -> hookferry::route::Routed {
        Sender::new("onecodex").to(self.sinks).routed(body)
    }

    /// Everything that a sink's dispatcher is given before it has to wait.
    async fn drain(&self, sink: usize) -> Vec<Arc<Record>> {
        let mut records: Vec<Arc<Record>> = Vec::new();
        loop {
            let after = records.last().map_or(0, |last| last.position().sequence);
            let mut fetch = pin!(self.spool.fetch(self.sinks[sink], after, 100));
            // What is asked later is answered later: by then the fetch has been looked at.
            let later = async {
                self.looked_at().await;
                self.looked_at().await;
            };
            let more = tokio::select! {
                biased;
                more = &mut fetch => Some(more),
                () = later => fetch.now_or_never(),
            };
            match more {
                Some(more) => records.extend(more.unwrap()),
                None => return records,
            }
        }
    }

    async fn looked_at(&self) {
        self.spool.inspect(|spool| spool.overview()).await.unwrap();
    }

    /// One event leaves the spool, two are settled for one of their sinks, one is set aside.
    async fn settle_some(
        &self,
        folder: &TempDir,
        records: &[Arc<Record>],
        waiting: &mut [BTreeSet<String>; 2],
    ) -> Vec<Vec<u8>> {
        let store = store(folder);
        for (number, sink) in [(0, 0), (0, 1), (1, 0), (2, 1)] {
            let record = Arc::clone(&records[number]);
            let receipt = store.publish(&record.message()).await.unwrap();
            waiting[sink].remove(&record.event().id().to_string());
            let settlement = Settlement { receipt, record };
            self.spool
                .settle(self.sinks[sink], vec![settlement])
                .unwrap();
        }
        store.close(Duration::from_secs(5)).await;
        let record = Arc::clone(&records[3]);
        waiting[1].remove(&record.event().id().to_string());
        let body = record.event().body().to_vec();
        let burial = Burial {
            record,
            sink: self.sinks[1],
            reason: RefusalReason::TooLarge,
            detail: "the broker takes less".to_owned(),
        };
        self.spool.bury(burial).await.unwrap();
        self.looked_at().await;
        vec![body]
    }

    /// How many of the events are taken for new ones.
    async fn forgotten(&self, bodies: impl Iterator<Item = &Vec<u8>>) -> u64 {
        let again = bodies.map(|body| {
            let text = String::from_utf8(body.clone()).unwrap();
            self.spool.append(self.routed(text), Milestone::Spooled)
        });
        let again = futures_util::future::join_all(again).await;
        assert!(
            again.iter().all(Result::is_ok),
            "the spool takes events again"
        );
        let new = again
            .iter()
            .filter(|answer| **answer == Ok(Appended::Accepted));
        let new = new.count() as u64;
        let another = self.routed(body("sample.uploaded", "another"));
        let appended = self.spool.append(another, Milestone::Spooled).await;
        assert_eq!(appended, Ok(Appended::Accepted));
        new
    }

    /// The events of a sink that are counted as lost or are dead letters since; where its name was
    /// lost as well, under its number.
    fn answered_for(&self, sink: usize) -> u64 {
        self.gone(SINKS[sink]) + self.gone(&format!("unknown-{sink}"))
    }

    fn gone(&self, name: &str) -> u64 {
        let lost = self.metrics.events_lost_total.with_label_values(&[name]);
        let buried = &self.metrics.events_dead_lettered_total;
        lost.get() + buried.with_label_values(&[name, "damaged"]).get()
    }

    fn assert_balanced(&self) {
        let _held = self.metrics.update();
        assert_eq!(self.metrics.events_unaccounted.get(), 0);
        for name in SINKS {
            let of = |metric: &prometheus::IntCounterVec| metric.with_label_values(&[name]).get();
            let came =
                of(&self.metrics.events_spooled_total) + of(&self.metrics.events_recovered_total);
            let waits = self.metrics.spool_events.with_label_values(&[name]).get();
            assert_eq!(
                came,
                self.gone(name) + u64::try_from(waits).unwrap(),
                "{name}"
            );
        }
    }
}

/// The body of an event: one is too large for a page, one cannot be understood.
fn text(number: usize) -> String {
    match number {
        5 => "no event at all".to_owned(),
        4 => {
            let padding = "x".repeat(6000);
            body("sample.uploaded", &format!("o{number}")).replace("gr\\u00fcn", &padding)
        }
        _ => body("sample.uploaded", &format!("o{number}")),
    }
}

fn holds(letter: &DeadLetter, body: &[u8]) -> bool {
    letter.body == Some(hookferry::spool::Body::of(body))
}

/// Writes the files of a spool; an empty log is none.
pub fn put(path: &Path, [main, log]: [&[u8]; 2]) {
    fs::write(path, main).unwrap();
    if !log.is_empty() {
        fs::write(beside(path, "-wal"), log).unwrap();
    }
}

pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a file was kept aside; asserts that it has every byte it had, that its log lies beside it
/// as it was, and that nothing else is left over.
fn kept_as_it_was(folder: &TempDir, [main, log]: [&[u8]; 2]) -> bool {
    let names = fs::read_dir(folder.path()).unwrap();
    let names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut kept = false;
    for name in names {
        let path = folder.path().join(&name);
        if name.starts_with("spool.db.damaged-") {
            kept = true;
            let expected = if name.ends_with("-wal") { log } else { main };
            assert!(fs::read(path).unwrap() == expected, "{name} was changed");
        } else {
            let known = ["spool.db", "spool.db-wal", "spool.db.lock"];
            assert!(known.contains(&name.as_str()), "{name} was left over");
        }
    }
    kept
}

/// A store, which alone can make a receipt here.
fn store(folder: &TempDir) -> Store {
    let text = format!(
        "spool = \"memory\"\nacknowledge = \"delivered\"\n[sink.s]\ntype = \"store\"\npath = {:?}\n[source.s]\nprovider = \"onecodex\"\nsecrets = [{{ env = \"PATH\" }}]\n[[route]]\nsource = \"s\"\nsinks = [\"s\"]",
        folder.path().join("topics")
    );
    let mut settings = hookferry::config::parse(&text, &|_| None).unwrap();
    let hookferry::config::SinkKind::Store(store) = settings.sinks.remove(0).kind else {
        panic!("a store")
    };
    Store::open(store).unwrap()
}
