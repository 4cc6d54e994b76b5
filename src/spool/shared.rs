//! What the spool's threads, the dispatchers and the operators share: the state, the newest records,
//! and who waits for what. Whoever has it may read records, and lets go of them for a receipt; only
//! the writer's thread adds any.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::counters::{CounterUpdate, Counters};
use super::dead_letters::DeadLetterFolder;
use super::error::SpoolUnavailable;
use super::index::KnownBody;
use super::jobs::Jobs;
use super::record::SpoolRecord;
use super::settlement::{NewDeadLetter, Settlement};
use super::state::{SpoolState, Unwritten};
use super::waiters::DeliveryWaiters;
use crate::event::SinkIndex;
use crate::metrics::Metrics;
use crate::seeded::{self, Bug};

/// Bytes of the newest records that are kept in memory, so that a sink which keeps up is not read
/// for.
const MAX_RECENT_BYTES: u64 = if cfg!(test) { 16 << 10 } else { 8 << 20 };

/// So many seconds a sender's clock may be ahead of this machine's; events are older than that.
const SENDERS_AHEAD: i64 = 60 * 60;

/// What may be known without the lock.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub queued_bytes: AtomicUsize,
    pub writable: AtomicBool,
    pub full: AtomicBool,
    pub disk_full: AtomicBool,
    pub closed: AtomicBool,
    /// Bytes of the log's files.
    pub file_bytes: AtomicU64,
    /// What it may hold.
    pub max_bytes: AtomicU64,
    pub max_events: AtomicU64,
}

/// What is under the lock.
#[derive(Debug)]
pub(super) struct Inner {
    pub state: SpoolState,
    pub counters: Counters,
    pub waiters: DeliveryWaiters,
    /// The newest records, and such as lie between damage and cannot be found by their place.
    pub recent: RecentRecords,
    pub rescued: BTreeMap<u64, Arc<SpoolRecord>>,
}

/// The newest records.
#[derive(Debug, Default)]
pub(super) struct RecentRecords {
    records: VecDeque<Arc<SpoolRecord>>,
    bytes: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct SharedSpool {
    inner: Mutex<Inner>,
    pub flags: Flags,
    pub dead_letters: DeadLetterFolder,
    pub jobs: Jobs,
    pub metrics: Arc<Metrics>,
    /// Tells a sink's dispatcher that something new waits for it.
    news: Vec<Notify>,
    /// Whether dead letters are written: in memory nothing is left of one.
    pub keeps_dead_letters: bool,
}

impl RecentRecords {
    /// A record was written.
    pub fn push(&mut self, record: Arc<SpoolRecord>) {
        self.bytes += u64::from(record.position().bytes);
        self.records.push_back(record);
        while self.bytes > MAX_RECENT_BYTES && self.records.len() > 1 {
            let oldest = self.records.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| u64::from(oldest.position().bytes));
        }
    }

    /// The record with this sequence, if it is still here.
    pub fn get(&self, sequence: u64) -> Option<&Arc<SpoolRecord>> {
        let of = |record: &Arc<SpoolRecord>| record.position().sequence;
        let at = self.records.binary_search_by_key(&sequence, of).ok()?;
        self.records.get(at)
    }

    /// Lets go of everything older than what waits.
    pub fn trim(&mut self, first_pending: Option<u64>) {
        while let Some(oldest) = self.records.front()
            && first_pending.is_none_or(|first| oldest.position().sequence < first)
        {
            self.bytes -= u64::from(oldest.position().bytes);
            self.records.pop_front();
        }
    }
}

impl SharedSpool {
    pub fn new(
        state: SpoolState,
        dead_letters: DeadLetterFolder,
        metrics: Arc<Metrics>,
        keeps_dead_letters: bool,
    ) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state,
                counters: Counters::new(Arc::clone(&metrics)),
                waiters: DeliveryWaiters::default(),
                recent: RecentRecords::default(),
                rescued: BTreeMap::new(),
            }),
            flags: Flags::default(),
            dead_letters,
            jobs: Jobs::default(),
            metrics,
            news: (0..SinkIndex::MAX).map(|_| Notify::new()).collect(),
            keeps_dead_letters,
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_closed(&self) -> bool {
        self.flags.closed.load(Ordering::Relaxed)
    }

    /// Nothing more is read or written: whoever waits is told.
    pub fn close(&self) {
        self.flags.closed.store(true, Ordering::Relaxed);
        for news in &self.news {
            news.notify_one();
        }
    }

    /// Something new waits for these sinks.
    pub fn notify(&self, sink: SinkIndex) {
        self.news[sink.number()].notify_one();
    }

    /// Returns once something new may wait for a sink.
    pub async fn news(&self, sink: SinkIndex) {
        self.news[sink.number()].notified().await;
    }

    /// A sink has confirmed these: they count as delivered now, and the log is told with the next
    /// batch.
    pub fn settle(&self, sink: SinkIndex, settlements: &[Settlement]) {
        let mut inner = self.lock();
        let mut delivered = Vec::with_capacity(settlements.len());
        for Settlement { receipt, record } in settlements {
            let position = receipt.position();
            if inner.leave(position.sequence, sink, u64::from(position.bytes)) {
                delivered.push(record);
            }
        }
        inner.count(|update| {
            for record in delivered {
                update.delivered(sink, record);
            }
        });
        inner.trim();
    }

    /// An event has been set aside, and its dead letter is durable. Writing a dead letter again, after its
    /// outcome was in doubt, counts once.
    pub fn set_aside(&self, dead_letter: &NewDeadLetter) {
        let position = dead_letter.record.position();
        let mut inner = self.lock();
        inner.waiters.set_aside(position.sequence);
        let has_left = inner.leave(
            position.sequence,
            dead_letter.sink,
            u64::from(position.bytes),
        );
        inner.count(|update| {
            if has_left {
                update.set_aside(dead_letter.sink, dead_letter.reason.as_str());
            }
        });
        inner.trim();
        drop(inner);
        self.show_dead_letters();
    }

    /// Has the dead letters removed whose place a record has taken.
    pub fn remove_requeued(&self) {
        let requeued = self.lock().state.requeued.clone();
        self.jobs.add(|work| work.removals.extend(requeued));
    }

    /// Drops everything that waits for a sink; how many events that were.
    pub fn drop_all(&self, sink: SinkIndex) -> u64 {
        let mut inner = self.lock();
        let count = inner.state.drop_all(sink);
        inner.count(|update| update.discarded(sink, count));
        inner.trim();
        count
    }

    /// The time in seconds since the epoch from which on the id of every accepted event is known;
    /// `i64::MAX` while ids are entered into the index again.
    pub fn remembers_since(&self) -> i64 {
        if self.jobs.lock().rebuild.is_empty() {
            self.lock().state.ids_since
        } else {
            i64::MAX
        }
    }

    /// Shows how many dead letters there are.
    pub fn show_dead_letters(&self) {
        let inner = self.lock();
        for known in &inner.state.sinks {
            let count = self.dead_letters.count(&known.name);
            self.metrics
                .spool_dead_letters
                .with_label_values(&[known.name.as_str()])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// How much of what the spool may hold it does: of its events, or of the bytes of the files in which
    /// some wait, whichever is more.
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn fill_ratio(&self) -> f64 {
        let (events, bytes) = {
            let state = &self.lock().state;
            (state.pending_events(), state.held_bytes())
        };
        let events = events + self.dead_letters.len();
        let bytes = bytes + self.dead_letters.bytes();
        let part = |held: u64, bound: &AtomicU64| {
            let bound = bound.load(Ordering::Relaxed);
            held as f64 / bound.max(1) as f64
        };
        part(events, &self.flags.max_events).max(part(bytes, &self.flags.max_bytes))
    }

    /// Whether an event could be taken in, as far as one can tell without the lock.
    pub fn check_space(&self) -> Result<(), SpoolUnavailable> {
        if self.flags.full.load(Ordering::Relaxed) {
            Err(SpoolUnavailable::Full)
        } else if self.flags.disk_full.load(Ordering::Relaxed) {
            Err(SpoolUnavailable::DiskFull)
        } else {
            Ok(())
        }
    }
}

impl Inner {
    /// Whether what an id is known by makes a duplicate: not a record that was lost, and nothing of the
    /// unproven tail, which begins with this sequence, whatever the index knows of it.
    pub fn is_certain(&self, known: &KnownBody, tail: Option<u64>) -> bool {
        !self.state.is_lost(known.sequence) && tail.is_none_or(|first| known.sequence < first)
    }

    /// The event has left for this sink; whether it had not before.
    pub fn leave(&mut self, sequence: u64, sink: SinkIndex, bytes: u64) -> bool {
        let has_left = self.state.leave(sequence, sink, bytes);
        if has_left && !self.state.is_pending_for_configured(sequence) {
            self.waiters.done(sequence);
            if !self.state.is_pending(sequence) {
                self.rescued.remove(&sequence);
            }
        }
        has_left
    }

    /// Counts what the state has come to, as one change for a scrape.
    pub fn count(&mut self, count: impl FnOnce(&mut CounterUpdate<'_>)) {
        let mut update = self.counters.update(&self.state);
        count(&mut update);
        update.finish();
    }

    /// Ids were lost before their time: of what was accepted until now, none is sure to be known.
    pub fn lost_ids(&mut self) {
        let now = Timestamp::now().as_second();
        self.state.forget_before(now + SENDERS_AHEAD);
    }

    /// Whether an index that is complete through this sequence lacks ids that no segment has.
    pub fn find_lost_ids(&mut self, through: u64) {
        if self.state.has_lost_ids(through) {
            self.lost_ids();
        }
    }

    /// Lets go of records that nothing waits for.
    pub fn trim(&mut self) {
        let first = self.state.first_pending();
        self.recent.trim(first);
    }

    /// Shows a record of which nobody knows whether it was acknowledged, to somebody who only looks.
    pub fn show_tail(&mut self, sequence: u64, payload: &[u8]) {
        if let Ok(record) = SpoolRecord::decode(sequence, payload) {
            let position = record.position();
            self.state.add(
                sequence,
                position.sinks,
                u64::from(position.bytes),
                u64::MAX,
            );
            self.rescued.insert(sequence, Arc::new(record));
        }
    }

    /// What a batch will say has left. The bug is to say it of what nobody has confirmed yet.
    pub fn take_unwritten(&mut self) -> Unwritten {
        if seeded::is(Bug::ProgressBeforeConfirm) {
            let sinks: Vec<SinkIndex> = self.state.sinks.iter().map(|it| it.index).collect();
            for sink in sinks {
                let runs = self.state.pending(sink).runs();
                self.state.unwritten.note(sink, runs);
            }
        }
        std::mem::take(&mut self.state.unwritten)
    }
}
