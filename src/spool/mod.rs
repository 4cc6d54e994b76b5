//! The spool: every accepted event lies here, on the disk, until each of its sinks has confirmed it.
//!
//! # The file
//! One SQLite database in WAL mode with `synchronous=FULL`: a commit returns once the write-ahead
//! log is on the disk. `record` holds the events; `settled` marks rows that some but not all of their
//! sinks have; `ledger` holds the ids already accepted; `dead_letter` what a sink can never take;
//! `tally` the counts of all that, changed in the same transaction; `sink` what the sinks' numbers
//! mean, and `sink_copy` the same again on another page. Every row has a checksum over its columns.
//! The format's version stands in the header twice. This is format 3; in format 2 the records' heads
//! were JSON, and format 1 had checksums in `record` alone.
//!
//! The spool is the file *and* its log: after a crash the last events lie in the log alone.
//!
//! # The invariants
//! - One thread owns the file. Everything that waits for it is committed together.
//! - A reply that says "accepted" is sent after the commit that wrote the record and its id.
//! - A record leaves for a [`Receipt`](crate::sink::Receipt) or a written dead letter, and for nothing else. That deletion
//!   rides in a later commit, with its neighbours, within a second; a crash that loses it only
//!   publishes the event once more.
//! - Sequences rise and are never used twice, not even after the file was emptied or the machine
//!   lost power: they are reserved in blocks, and each start begins a new block.
//! - After a failed commit nothing is accepted until a new commit has worked, and after an I/O error
//!   that commit goes to a new file: the pages of a failed fsync may be gone although a second fsync
//!   would succeed.
//! - New events leave room on the disk for what letting go of events needs, so that a disk which the
//!   spool itself has filled is emptied by delivering.
//! - Nothing is accepted into a file that has lost its name.
//! - Nothing is written to a file before it has been looked at: its first page and its log as bytes,
//!   then, through SQLite, its small tables, and in a small file every page, row and count.
//! - A file that cannot be trusted is set aside with its log, byte for byte as it was found, and what
//!   can be read is carried over: the records whose checksums match, from the log with and without
//!   what lies behind the damage, and from the file without the log. What the counts say is missing
//!   is counted as lost; what is there but not what was written becomes a dead letter.
//! - A former format is carried over in the same way, a newer one and somebody else's file are
//!   refused untouched.

mod books;
mod bundle;
mod command;
mod damage;
mod format;
mod inspect;
mod owner;
mod presence;
mod recent;
mod record;
mod room;
mod salvage;
mod settling;
mod sinks;
mod table;
mod tally;
mod waiting;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use bundle::{Caller, Callers};
use command::{Append, Command, Fetch, Load};
pub use command::{Appended, Burial, Milestone, Settlement, SpoolUnavailable};
pub use inspect::{
    Body, DeadLetter, Inspection, InspectionError, MAX_LISTED, Overview, PendingEvent,
    SinkOverview, describe,
};
pub use record::Record;

use crate::event::SinkIndex;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::route::Routed;
use crate::seeded::{self, Bug};
use crate::sqlite::OpenError;

/// The most bytes of events that may wait for a commit; beyond it the bridge says so instead of
/// growing.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// Where the spool is and what it may hold.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file, or memory alone.
    pub place: Place,
    /// What may change while it is open.
    pub limits: Limits,
}

/// How much a spool holds, and for how long it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most events it holds.
    pub max_events: u64,
    /// The most bytes its events and dead letters may have.
    pub max_bytes: u64,
    /// What happens to an event that was accepted before.
    pub duplicates: Duplicates,
    /// How long after its own time an event's id is remembered.
    pub window: Duration,
}

/// Where a spool lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this file, across restarts.
    File(PathBuf),
    /// In memory: only for `acknowledge = "delivered"`, where the broker is the durable place.
    Memory,
}

/// What happens to an event that was accepted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// It is answered 200 and not published again.
    Suppress,
    /// It is published again, with the same id.
    Forward,
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database refused a statement.
    #[error("the spool's database: {0}")]
    Database(#[from] rusqlite::Error),
    /// Setting a damaged file aside failed.
    #[error("the damaged spool {path} cannot be set aside: {error}")]
    SetAside {
        /// The damaged file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// More sinks than a spool can number.
    #[error("a spool knows at most 32 sinks, counting those it has known before")]
    TooManySinks,
    /// The owner's thread could not be started.
    #[error("the spool's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// The handle of the spool; cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Spool {
    commands: mpsc::Sender<Command>,
    state: Arc<State>,
    sinks: Arc<[(SinkIndex, SinkName)]>,
    callers: Option<Callers>,
}

/// What others may know of the spool without asking its thread.
#[derive(Debug, Default)]
struct State {
    queued_bytes: AtomicUsize,
    writable: AtomicBool,
    full: AtomicBool,
    disk_full: AtomicBool,
    replacing: AtomicBool,
    closed: AtomicBool,
}

/// The end of the spool's thread: resolves when it has stopped, for whatever reason.
pub type Stopped = oneshot::Receiver<()>;

impl Spool {
    /// Opens the spool and starts its thread. The names are the configured sinks; sinks that the
    /// file knows besides keep what waits for them.
    ///
    /// # Errors
    /// When the file is held by another process, was written by a newer version, or cannot be
    /// created. A damaged file is no error: it is set aside, and what can be read is carried over.
    pub fn open(
        settings: Settings,
        sinks: &[SinkName],
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Stopped), SpoolError> {
        let state = Arc::new(State::default());
        let (commands, inbox) = mpsc::channel();
        let owner = owner::Owner::open(settings, sinks, metrics, Arc::clone(&state))?;
        let sinks = owner.sinks();
        let (alive, stopped) = oneshot::channel();
        let thread = move || {
            // Dropped when the thread ends, even by a panic: the program must learn of it.
            let _alive = alive;
            owner.run(&inbox);
        };
        std::thread::Builder::new()
            .name("spool".into())
            .spawn(thread)
            .map_err(SpoolError::Thread)?;
        Ok((
            Self {
                commands,
                state,
                sinks,
                callers: None,
            },
            stopped,
        ))
    }

    /// A handle for the callers of one thread, whose appends are answered together: each thread that
    /// has many should have its own. What is returned with it hands out the answers, and must run on
    /// that thread; without it they are answered all the same, one by one.
    pub fn for_this_thread(&self) -> (Self, impl Future<Output = ()> + 'static) {
        let (callers, hand_out) = Callers::of_a_thread();
        let spool = Self {
            callers: Some(callers),
            ..self.clone()
        };
        (spool, hand_out)
    }

    /// The number of a sink.
    #[must_use]
    pub fn sink(&self, name: &SinkName) -> Option<SinkIndex> {
        self.sinks
            .iter()
            .find(|(_, known)| known == name)
            .map(|(index, _)| *index)
    }

    /// Every sink the spool knows, configured or not.
    #[must_use]
    pub fn sinks(&self) -> &[(SinkIndex, SinkName)] {
        &self.sinks
    }

    /// Whether there is room for another event, as far as one can tell without asking.
    ///
    /// # Errors
    /// When it is full, or its disk is.
    pub fn room(&self) -> Result<(), SpoolUnavailable> {
        if self.state.full.load(Ordering::Relaxed) {
            Err(SpoolUnavailable::Full)
        } else if self.state.disk_full.load(Ordering::Relaxed) {
            Err(SpoolUnavailable::DiskFull)
        } else {
            Ok(())
        }
    }

    /// Whether the spool could take in anything, or tell what it has, without asking it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn usable(&self) -> Result<(), SpoolUnavailable> {
        if self.state.closed.load(Ordering::Relaxed) {
            Err(SpoolUnavailable::Closed)
        } else if !self.state.writable.load(Ordering::Relaxed) {
            Err(SpoolUnavailable::Unwritable)
        } else if self.state.queued_bytes.load(Ordering::Relaxed) > MAX_QUEUED_BYTES {
            Err(SpoolUnavailable::Overloaded)
        } else {
            Ok(())
        }
    }

    /// Makes the event durable and returns once the milestone is reached. The thread goes on with it
    /// even if the caller stops waiting.
    ///
    /// # Errors
    /// When it could not be made durable; it is then not accepted.
    pub async fn append(
        &self,
        routed: Routed,
        milestone: Milestone,
    ) -> Result<Appended, SpoolUnavailable> {
        let bytes = routed.event().body().len();
        if self.state.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES {
            self.state.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(SpoolUnavailable::Overloaded);
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Append(Box::new(Append {
            routed,
            milestone,
            caller: Caller {
                reply,
                among: self.callers.clone(),
            },
        })))?;
        if seeded::is(Bug::AcknowledgeBeforeCommit) {
            return Ok(Appended::Accepted);
        }
        answer.await.map_err(|_| SpoolUnavailable::Closed)?
    }

    /// The next records for `sink` after sequence `after`, at most `limit`; waits until there are some.
    ///
    /// # Errors
    /// When the spool is closed.
    pub async fn fetch(
        &self,
        sink: SinkIndex,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, SpoolUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Fetch(Fetch {
            sink,
            after,
            limit,
            reply,
        }))?;
        answer.await.map_err(|_| SpoolUnavailable::Closed)
    }

    /// The records with these sequences that still wait for `sink`. A damaged one is set aside and
    /// not among them.
    ///
    /// # Errors
    /// When the spool is closed, or cannot be read now.
    pub async fn load(
        &self,
        sink: SinkIndex,
        sequences: Vec<u64>,
    ) -> Result<Vec<Arc<Record>>, SpoolUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Load(Load {
            sink,
            sequences,
            reply,
        }))?;
        answer.await.map_err(|_| SpoolUnavailable::Closed)?
    }

    /// Lets go of events that `sink` has confirmed: the receipts prove it.
    ///
    /// # Errors
    /// When the spool is closed; the events then stay and are published again after the next start.
    pub fn settle(
        &self,
        sink: SinkIndex,
        settlements: Vec<Settlement>,
    ) -> Result<(), SpoolUnavailable> {
        self.send(Command::Settle(sink, settlements))
    }

    /// Sets an event aside as a dead letter, and returns once that is durable.
    ///
    /// # Errors
    /// When it could not be written; the event then still waits.
    pub async fn bury(&self, burial: Burial) -> Result<(), SpoolUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Bury(burial, reply))?;
        answer.await.map_err(|_| SpoolUnavailable::Closed)?
    }

    /// Takes over other limits. What lies in the spool already stays, whatever they are.
    pub fn limit(&self, limits: Limits) {
        // A spool that has ended takes in nothing any more.
        let _ = self.send(Command::Limit(limits));
    }

    /// Looks into the spool, or changes what an operator may change.
    ///
    /// # Errors
    /// When there is no such event, or the database says no.
    pub async fn inspect<T, F>(&self, inspection: F) -> Result<T, InspectionError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Inspection<'_>) -> Result<T, InspectionError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = move |inspection_of: &mut Inspection<'_>| {
            // The caller may have stopped waiting; what was asked for is done all the same.
            let _ = reply.send(inspection(inspection_of));
        };
        self.send(Command::Inspect(Box::new(run)))
            .map_err(|_| InspectionError::Closed)?;
        answer.await.map_err(|_| InspectionError::Closed)?
    }

    /// Returns once the thread has come round and has done what was asked of it before; whoever asks
    /// sets the deadline. While the file's content is carried over into a new one it returns at once:
    /// that takes as long as the file is large, and a start would only begin it anew.
    ///
    /// # Errors
    /// When the spool is closed.
    pub async fn pulse(&self) -> Result<(), SpoolUnavailable> {
        if self.state.replacing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Pulse(reply))?;
        answer.await.map_err(|_| SpoolUnavailable::Closed)
    }

    /// Commits what waits, closes the file and stops the thread.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.send(Command::Close(reply)).is_ok() {
            // An error means that the thread has ended, which is what is wanted.
            let _ = closed.await;
        }
    }

    fn send(&self, command: Command) -> Result<(), SpoolUnavailable> {
        self.commands
            .send(command)
            .map_err(|_| SpoolUnavailable::Closed)
    }
}
