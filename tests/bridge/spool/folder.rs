//! A spool in a folder of its own, opened and left again and again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hookferry::event::SinkIndex;
use hookferry::log::segment::{kept_name, segment_name};
use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::route::Routed;
use hookferry::sink::store::{Store, StoreError};
use hookferry::sink::{RefusalReason, Sink as _};
use hookferry::spool::{
    Appended, Duplicates, Milestone, NewDeadLetter, Settlement, Spool, SpoolError, SpoolLimits,
    SpoolLocation, SpoolRecord, SpoolSettings, SpoolView,
};
use tempfile::TempDir;

use crate::eventually::eventually_blocking;
use crate::message::{Sender, body};

/// The bytes that a dispatcher asks for at once.
pub const FETCHED: usize = 4 << 20;
/// How long a dispatcher may wait for what is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The folder of a spool, and of a store beside it that confirms events.
pub struct Folder(TempDir);

/// What lies below a folder, by the path in it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

impl Folder {
    /// One on the disk.
    pub fn new() -> Self {
        Self(TempDir::new().expect("writable"))
    }

    /// One in memory where the machine has that, for tests that start thousands of times.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self(TempDir::new_in(memory).expect("writable"))
        } else {
            Self::new()
        }
    }

    /// One in memory with these files in the spool.
    pub fn with(files: &Files) -> Self {
        let folder = Self::in_memory();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("writable");
            fs::write(path, bytes).expect("writable");
        }
        folder
    }

    /// The spool's folder.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("spool")
    }

    /// A folder beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A segment of the spool.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.path().join(segment_name(number))
    }

    /// Where a damaged segment is kept once nothing in it waits.
    pub fn kept(&self, number: u64) -> PathBuf {
        self.path().join(kept_name(number))
    }

    /// Everything in the spool's folder.
    pub fn files(&self) -> Files {
        let mut found = Files::new();
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.path()).expect("below it");
                // The index of ids may just take one of its files away.
                if let Ok(bytes) = fs::read(&path) {
                    found.insert(name.to_owned(), bytes);
                }
            }
        }
        found
    }

    /// The spool as `kill -9` leaves it now, in another folder.
    pub fn killed(&self) -> Self {
        Self::with(&self.files())
    }

    /// Changes the bytes of a segment while nobody has it open, and returns them.
    pub fn change(&self, number: u64, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let path = self.segment(number);
        let mut bytes = fs::read(&path).expect("it is there");
        change(&mut bytes);
        fs::write(path, &bytes).expect("writable");
        bytes
    }

    pub fn settings(&self) -> SpoolSettings {
        settings(SpoolLocation::Folder(self.path()))
    }

    /// Opens the spool for the sink `store`.
    pub fn open(&self) -> Opened {
        self.open_for(&["store"])
    }

    /// Opens it for these sinks.
    pub fn open_for(&self, sinks: &[&str]) -> Opened {
        Opened::at(&self.settings(), sinks).expect("it opens")
    }

    /// What it says when it is not opened.
    pub fn refuses(&self, sinks: &[&str]) -> String {
        let refused = Opened::try_at(&self.settings(), sinks).map(drop);
        refused.expect_err("it is refused").to_string()
    }

    /// Looks at it while nobody has it open.
    pub fn look(&self) -> SpoolView {
        eventually_blocking("nobody holds the spool", || {
            SpoolView::open(&self.path()).expect("there is a spool")
        })
    }

    /// How many records the files say were lost, and how many events for the first sink.
    pub fn lost(&self) -> (u64, u64) {
        let overview = self.look().overview().expect("readable");
        (overview.lost_records, overview.sinks[0].lost)
    }

    /// Appends an event about each of these objects, one batch after the other, and closes the spool.
    /// What is appended by one call lies in segments of its own. Returns the ids.
    pub async fn filled(&self, objects: impl IntoIterator<Item = usize>) -> Vec<String> {
        let opened = self.open();
        let mut ids = Vec::new();
        for object in objects {
            ids.push(opened.append(&format!("o{object}")).await);
        }
        opened.close().await;
        ids
    }
}

/// A spool with space for all that a test puts into it, and segments of 1 MiB.
pub fn settings(location: SpoolLocation) -> SpoolSettings {
    SpoolSettings {
        location,
        limits: SpoolLimits {
            max_events: 100_000,
            max_bytes: 16 << 20,
            duplicates: Duplicates::Suppress,
            window: Duration::from_secs(10 * 365 * 24 * 60 * 60),
        },
    }
}

/// An open spool.
pub struct Opened {
    pub spool: Spool,
    /// The sinks, in the order of the names it was opened for.
    pub sinks: Vec<SinkIndex>,
    pub metrics: Arc<Metrics>,
}

impl Opened {
    /// Opens it once nobody else has it: a program that another test is just starting holds the lock
    /// of a spool that was closed until it has become that program.
    pub fn at(settings: &SpoolSettings, sinks: &[&str]) -> Result<Self, SpoolError> {
        eventually_blocking("the spool is free", || {
            match Self::try_at(settings, sinks) {
                Err(SpoolError::Held { .. }) => None,
                opened => Some(opened),
            }
        })
    }

    /// Opens it, or says why not.
    pub fn try_at(settings: &SpoolSettings, sinks: &[&str]) -> Result<Self, SpoolError> {
        let parse = |name: &&str| SinkName::parse(name).expect("a slug");
        let names: Vec<SinkName> = sinks.iter().map(parse).collect();
        let metrics = Arc::new(Metrics::new().expect("no name twice"));
        let (spool, _stopped) = Spool::open(settings.clone(), &names, Arc::clone(&metrics))?;
        let of_name = |name| spool.sink(name).expect("it was named");
        Ok(Self {
            sinks: names.iter().map(of_name).collect(),
            spool,
            metrics,
        })
    }

    /// The first sink.
    pub fn sink(&self) -> SinkIndex {
        self.sinks[0]
    }

    /// An event for every sink.
    pub fn routed(&self, body: impl Into<Bytes>) -> Routed {
        let sender = Sender::new("onecodex").to(self.sinks.iter().copied());
        sender.routed(body)
    }

    /// Appends an event about the object, which must be new, and returns its id.
    pub async fn append(&self, object: &str) -> String {
        let routed = self.routed(body("sample.uploaded", object));
        let id = routed.event().id().to_string();
        let appended = self.spool.append(routed, Milestone::Spooled).await;
        assert_eq!(appended, Ok(Appended::Accepted), "{object}");
        id
    }

    /// What becomes of an event that is sent, perhaps not for the first time.
    pub async fn sent(&self, body: impl Into<Bytes>) -> Appended {
        let appended = self.spool.append(self.routed(body), Milestone::Spooled);
        appended.await.expect("the spool takes events")
    }

    /// The same for the event about an object.
    pub async fn sent_again(&self, object: usize) -> Appended {
        self.sent(body("sample.uploaded", &format!("o{object}")))
            .await
    }

    /// What waits for the first sink, as its dispatcher reads it: so many, which must be there.
    pub async fn waiting(&self, count: usize) -> Vec<Arc<SpoolRecord>> {
        self.waiting_for(self.sink(), count).await
    }

    /// The same for any sink.
    pub async fn waiting_for(&self, sink: SinkIndex, count: usize) -> Vec<Arc<SpoolRecord>> {
        let mut records: Vec<Arc<SpoolRecord>> = Vec::new();
        while records.len() < count {
            let after = records.last().map_or(0, |last| last.position().sequence);
            let fetch = self.spool.fetch(sink, after, 100, FETCHED);
            let more = tokio::time::timeout(PATIENCE, fetch).await;
            records.extend(more.expect("as many as are to wait").expect("readable"));
        }
        records
    }

    /// A sink confirms these, as the store in this folder does.
    pub async fn deliver(&self, sink: SinkIndex, folder: &Folder, records: Vec<Arc<SpoolRecord>>) {
        let store = store(&folder.beside("topics"));
        let publish = records.into_iter().map(|record| {
            let store = &store;
            async move {
                let receipt = store.publish(&record.message()).await.expect("confirmed");
                Settlement { receipt, record }
            }
        });
        let settlements = join_all(publish).await;
        store.close(PATIENCE).await;
        self.spool.settle(sink, &settlements);
    }

    /// A sink can never take this one.
    pub async fn set_aside(&self, sink: SinkIndex, record: &Arc<SpoolRecord>) {
        let letter = NewDeadLetter {
            record: Arc::clone(record),
            sink,
            reason: RefusalReason::TooLarge,
            detail: "1 > 0".to_owned(),
        };
        self.spool.set_aside(letter).await.expect("it is written");
    }

    /// Waits until what was answered is counted as well: the spool's thread does both at one go, and
    /// lets nobody settle meanwhile.
    pub fn is_counted(&self) {
        self.spool.settle(self.sink(), &[]);
    }

    /// The records that are counted as lost, and the events of the first sink.
    pub fn lost(&self) -> (u64, u64) {
        let lost = &self.metrics.events_lost_total;
        (
            self.metrics.spool_corrupt_records_total.get(),
            lost.with_label_values(&["store"]).get(),
        )
    }

    /// What waits for a sink, as it is shown.
    pub fn shown(&self, sink: &str) -> i64 {
        self.is_counted();
        let waiting = &self.metrics.spool_events;
        waiting.with_label_values(&[sink]).get()
    }

    pub fn unaccounted(&self) -> i64 {
        self.is_counted();
        self.metrics.events_unaccounted.get()
    }

    pub async fn close(&self) {
        self.spool.close().await;
    }
}

/// The ids of records.
pub fn ids(records: &[Arc<SpoolRecord>]) -> Vec<String> {
    let id = |record: &Arc<SpoolRecord>| record.event().id().to_string();
    records.iter().map(id).collect()
}

/// A store, which alone can make a receipt here.
pub fn store(path: &Path) -> Store {
    try_store(path).expect("it opens")
}

/// Opens a store, or says why not.
pub fn try_store(path: &Path) -> Result<Store, StoreError> {
    let text = format!(
        "spool = \"memory\"\nacknowledge = \"delivered\"\n[sink.s]\ntype = \"store\"\nmax_size = \"16MiB\"\npath = {path:?}\n[source.s]\nprovider = \"onecodex\"\nsecrets = [{{ env = \"PATH\" }}]\n[[route]]\nsource = \"s\"\nsinks = [\"s\"]"
    );
    let mut settings = hookferry::config::parse(&text, &|_| None).expect("a configuration");
    let hookferry::config::SinkKind::Store(settings) = settings.sinks.remove(0).kind else {
        panic!("a store")
    };
    // As with a spool: see `Opened::at`.
    eventually_blocking("the store is free", || {
        match Store::open(settings.clone()) {
            Err(StoreError::Held { .. }) => None,
            opened => Some(opened),
        }
    })
}
