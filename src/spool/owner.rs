//! The spool's thread: it alone touches the file. It takes whatever waits, commits it together, and
//! only then answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;

use super::command::{
    Append, Appended, Burial, Command, Fetch, Load, Milestone, Reply, Settlement, SpoolUnavailable,
};
use super::damage::{self, Failure};
use super::inspect::{Inspection, Inspector};
use super::recent::Recent;
use super::record::{Record, Row};
use super::table::{self, DeadRow};
use super::tally::Tally;
use super::write::{Batch, Plan, Unwritten, Writer, is_over};
use super::{Settings, SpoolError, State};
use crate::event::{SinkIndex, SinkSet};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::sink::RefusalReason;
use crate::sqlite::Claim;

/// The most events of one commit: a larger group would only make the first of them wait longer.
const GROUP_EVENTS: usize = 512;
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How much one fetch from the disk brings into memory.
const FETCH_BYTES: usize = 4 * 1024 * 1024;
/// How long settlements may wait for a commit to ride in, and how often a broken file is tried again.
const TICK: Duration = Duration::from_secs(1);
/// More settlements than this are written without an event to ride with.
const MAX_UNWRITTEN: usize = 4096;

type Answer = Result<Appended, SpoolUnavailable>;

/// What arrived and shall be committed together.
#[derive(Default)]
struct Group {
    routed: Vec<crate::route::Routed>,
    replies: Vec<(Milestone, Reply<Answer>)>,
    bytes: usize,
    burials: Vec<(Burial, Reply<Result<(), SpoolUnavailable>>)>,
    fetches: Vec<Fetch>,
    loads: Vec<Load>,
    inspections: Vec<Inspector>,
    close: Option<Reply<()>>,
}

impl Group {
    fn is_complete(&self) -> bool {
        self.routed.len() >= GROUP_EVENTS || self.bytes >= GROUP_BYTES || self.close.is_some()
    }
}

/// Those who wait for an event's delivery.
#[derive(Default)]
struct Waiting {
    replies: Vec<(Reply<Answer>, Appended)>,
    buried: bool,
}

/// The owner of the file.
pub(super) struct Owner {
    settings: Settings,
    sinks: Arc<[(SinkIndex, SinkName)]>,
    connection: Option<Connection>,
    claim: Option<Claim>,
    failure: Option<Failure>,
    retry_at: Instant,
    tally: Tally,
    next_sequence: u64,
    /// What each event accepted from now on must add up to: see [`Metrics::events_unaccounted`].
    expected_pending: i64,
    recent: Recent,
    fetched: HashMap<SinkIndex, u64>,
    parked: HashMap<SinkIndex, Fetch>,
    waiting: HashMap<u64, Waiting>,
    partial: HashMap<u64, SinkSet>,
    unwritten: Vec<Unwritten>,
    ticked_at: Instant,
    metrics: Arc<Metrics>,
    state: Arc<State>,
}

impl Owner {
    /// Opens the file and counts what lies in it.
    pub fn open(
        settings: Settings,
        names: &[SinkName],
        metrics: Arc<Metrics>,
        state: Arc<State>,
    ) -> Result<Self, SpoolError> {
        let opened = damage::open(&settings.place)?;
        let sinks = table::number_sinks(&opened.connection, names)?;
        if names
            .iter()
            .any(|name| !sinks.iter().any(|(_, known)| known == name))
        {
            return Err(SpoolError::TooManySinks);
        }
        metrics.spool_corrupt_records_total.inc_by(opened.lost);
        metrics
            .spool_max_bytes
            .set(table::signed(settings.max_bytes));
        metrics
            .spool_max_events
            .set(table::signed(settings.max_events));
        let mut owner = Self {
            settings,
            sinks: sinks.into(),
            connection: Some(opened.connection),
            claim: opened.claim,
            failure: None,
            retry_at: Instant::now(),
            tally: Tally::new(),
            next_sequence: 1,
            expected_pending: 0,
            recent: Recent::above(0),
            fetched: HashMap::new(),
            parked: HashMap::new(),
            waiting: HashMap::new(),
            partial: HashMap::new(),
            unwritten: Vec::new(),
            ticked_at: Instant::now(),
            metrics,
            state,
        };
        owner.take_stock()?;
        owner.recovered();
        Ok(owner)
    }

    pub fn sinks(&self) -> Arc<[(SinkIndex, SinkName)]> {
        Arc::clone(&self.sinks)
    }

    /// Runs until it is told to close or every handle is gone.
    pub fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            let first = match inbox.recv_timeout(TICK) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Some(closed) = self.step(first, inbox) {
                self.close(closed);
                return;
            }
        }
        self.finish();
    }

    /// One group: take what waits, commit it, answer. Returns the wish to close.
    fn step(&mut self, first: Option<Command>, inbox: &Receiver<Command>) -> Option<Reply<()>> {
        let mut group = Group::default();
        let mut next = first;
        while let Some(command) = next {
            self.admit(command, &mut group);
            if group.is_complete() {
                break;
            }
            next = match inbox.try_recv() {
                Ok(command) => Some(command),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
            };
        }
        self.mend();
        self.commit(&mut group);
        for inspector in std::mem::take(&mut group.inspections) {
            self.inspect(inspector);
        }
        for load in std::mem::take(&mut group.loads) {
            self.load(load);
        }
        self.serve(std::mem::take(&mut group.fetches));
        group.close
    }

    /// Sorts a command into the group; settlements count at once.
    fn admit(&mut self, command: Command, group: &mut Group) {
        match command {
            Command::Append(Append {
                routed,
                milestone,
                reply,
            }) => {
                group.bytes += routed.event().body().len();
                group.routed.push(routed);
                group.replies.push((milestone, reply));
            }
            Command::Settle(sink, settlements) => self.settle(sink, settlements),
            Command::Bury(burial, reply) => group.burials.push((burial, reply)),
            Command::Fetch(fetch) => group.fetches.push(fetch),
            Command::Load(load) => group.loads.push(load),
            Command::Inspect(inspector) => group.inspections.push(inspector),
            Command::Close(reply) => group.close = Some(reply),
        }
    }

    /// A sink has confirmed these: they count as delivered now, and leave the file with a later commit.
    fn settle(&mut self, sink: SinkIndex, settlements: Vec<Settlement>) {
        let metrics = Arc::clone(&self.metrics);
        let _books = metrics.books();
        let name = self.name_of(sink);
        for Settlement { receipt, record } in settlements {
            let unwritten = self.mark(
                receipt.position().sequence,
                receipt.position().sinks,
                sink,
                &record,
            );
            self.unwritten.push(unwritten);
            self.expected_pending -= 1;
            metrics
                .events_delivered_total
                .with_label_values(&[name.as_str(), record.label()])
                .inc();
            if unwritten.last {
                self.reached(record.position().sequence);
            }
        }
        self.show_counts();
    }

    /// Takes `sink` off the sinks that wait for the record.
    fn mark(
        &mut self,
        sequence: u64,
        sinks: SinkSet,
        sink: SinkIndex,
        record: &Record,
    ) -> Unwritten {
        let left = self
            .partial
            .get(&sequence)
            .copied()
            .unwrap_or(sinks)
            .without(sink);
        if left.is_empty() {
            self.partial.remove(&sequence);
        } else {
            self.partial.insert(sequence, left);
        }
        Unwritten {
            position: record.position(),
            sink,
            last: left.is_empty(),
        }
    }

    /// Every sink is done with the event: answers those who wait for that.
    fn reached(&mut self, sequence: u64) {
        let Some(waiting) = self.waiting.remove(&sequence) else {
            return;
        };
        for (reply, appended) in waiting.replies {
            let outcome = if waiting.buried {
                Appended::DeadLettered
            } else {
                appended
            };
            // A caller that is gone has been answered 503 or has hung up.
            let _ = reply.send(Ok(outcome));
        }
    }

    fn commit(&mut self, group: &mut Group) {
        let due = self.ticked_at.elapsed() >= TICK;
        let lazily = due && !self.unwritten.is_empty() || self.unwritten.len() >= MAX_UNWRITTEN;
        if group.routed.is_empty() && group.burials.is_empty() && !lazily && !due {
            return;
        }
        let started = Instant::now();
        let burials: Vec<Unwritten> = group
            .burials
            .iter()
            .map(|(burial, _)| self.burial_mark(burial))
            .collect();
        match self.write(group, &burials, due) {
            Ok(plans) => self.committed(group, plans, &burials, started),
            Err(error) => self.failed(group, &error),
        }
    }

    /// What burying would settle; it counts only after the commit.
    fn burial_mark(&self, burial: &Burial) -> Unwritten {
        let position = burial.record.position();
        let left = self
            .partial
            .get(&position.sequence)
            .copied()
            .unwrap_or(position.sinks)
            .without(burial.sink);
        Unwritten {
            position,
            sink: burial.sink,
            last: left.is_empty(),
        }
    }

    fn write(
        &mut self,
        group: &mut Group,
        burials: &[Unwritten],
        expire: bool,
    ) -> Result<Vec<Plan>, WriteError> {
        let connection = self.connection.as_mut().ok_or(WriteError::Broken)?;
        let mut writer = Writer {
            settings: &self.settings,
            tally: self.tally.clone(),
            next_sequence: self.next_sequence,
            now: Timestamp::now(),
        };
        let batch = Batch {
            settled: &self.unwritten,
            burials: group
                .burials
                .iter()
                .map(|(burial, _)| burial)
                .zip(burials.iter().copied())
                .collect(),
            appends: std::mem::take(&mut group.routed),
            expire,
        };
        let plans = writer.write(connection, batch)?;
        (self.tally, self.next_sequence) = (writer.tally, writer.next_sequence);
        self.unwritten.clear();
        if expire {
            self.ticked_at = Instant::now();
        }
        Ok(plans)
    }

    /// The commit worked: what it wrote counts, and those who waited for it are answered.
    fn committed(
        &mut self,
        group: &mut Group,
        plans: Vec<Plan>,
        burials: &[Unwritten],
        started: Instant,
    ) {
        self.metrics
            .spool_commit_duration_seconds
            .observe(started.elapsed().as_secs_f64());
        let metrics = Arc::clone(&self.metrics);
        let _books = metrics.books();
        for ((burial, reply), unwritten) in group.burials.drain(..).zip(burials) {
            self.buried(&burial, *unwritten);
            // The dispatcher may be gone; the dead letter is written all the same.
            let _ = reply.send(Ok(()));
        }
        for ((milestone, reply), plan) in group.replies.drain(..).zip(plans) {
            self.answer(milestone, reply, plan);
        }
        self.release(std::mem::take(&mut group.bytes));
        self.show_counts();
    }

    fn buried(&mut self, burial: &Burial, unwritten: Unwritten) {
        let position = unwritten.position;
        self.mark(
            position.sequence,
            position.sinks,
            burial.sink,
            &burial.record,
        );
        self.expected_pending -= 1;
        let name = self.name_of(burial.sink);
        self.metrics
            .events_dead_lettered_total
            .with_label_values(&[name.as_str(), burial.reason.as_str()])
            .inc();
        if let Some(waiting) = self.waiting.get_mut(&position.sequence) {
            waiting.buried = true;
        }
        if unwritten.last {
            self.reached(position.sequence);
        }
    }

    fn answer(&mut self, milestone: Milestone, reply: Reply<Answer>, plan: Plan) {
        let answer = match plan {
            Plan::Full => Err(SpoolUnavailable::Full),
            Plan::Duplicate { original, pending }
                if pending && milestone == Milestone::Delivered =>
            {
                return self
                    .waiting
                    .entry(original)
                    .or_default()
                    .replies
                    .push((reply, Appended::Duplicate));
            }
            Plan::Duplicate { .. } => Ok(Appended::Duplicate),
            Plan::Accepted(record) => {
                self.accepted(&record);
                let sequence = record.position().sequence;
                self.recent.push(record);
                if milestone == Milestone::Delivered {
                    return self
                        .waiting
                        .entry(sequence)
                        .or_default()
                        .replies
                        .push((reply, Appended::Accepted));
                }
                Ok(Appended::Accepted)
            }
        };
        // A caller that has hung up is not told; the event is kept all the same.
        let _ = reply.send(answer);
    }

    /// Counted with the commit that made it durable, so that the numbers of one scrape add up.
    fn accepted(&mut self, record: &Record) {
        let source = record.event().source().as_str();
        self.metrics
            .events_accepted_total
            .with_label_values(&[source, record.label()])
            .inc();
        if let crate::event::Content::Quarantined(quarantine) = record.event().content() {
            self.metrics
                .events_quarantined_total
                .with_label_values(&[quarantine.reason.as_str()])
                .inc();
        }
        for sink in record.position().sinks.iter() {
            self.expected_pending += 1;
            self.metrics
                .events_spooled_total
                .with_label_values(&[self.name_of(sink).as_str()])
                .inc();
        }
    }

    /// The commit failed: nothing of it counts, and everybody is told.
    fn failed(&mut self, group: &mut Group, error: &WriteError) {
        if let WriteError::Database(error) = error {
            self.broken(error);
        }
        for (_, reply) in group.replies.drain(..) {
            let _ = reply.send(Err(SpoolUnavailable::Unwritable));
        }
        for (_, reply) in group.burials.drain(..) {
            let _ = reply.send(Err(SpoolUnavailable::Unwritable));
        }
        group.routed.clear();
        self.release(std::mem::take(&mut group.bytes));
    }

    fn release(&self, bytes: usize) {
        self.state.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The file cannot be trusted to take another commit as it is.
    fn broken(&mut self, error: &rusqlite::Error) {
        let failure = Failure::of(error);
        if self.failure.is_none() {
            tracing::error!(%error, remedy = failure.remedy(), "the spool cannot be written; deliveries are answered 503");
        }
        self.failure = Some(self.failure.map_or(failure, |earlier| earlier.max(failure)));
        self.connection = None;
        self.retry_at = Instant::now() + TICK;
        self.metrics.spool_writable.set(0);
        self.state.writable.store(false, Ordering::Relaxed);
    }

    /// Tries a broken file again: reopened after a full disk, replaced after an I/O error.
    fn mend(&mut self) {
        let Some(failure) = self.failure else { return };
        if Instant::now() < self.retry_at {
            return;
        }
        match damage::reopen(&self.settings.place, self.claim.take(), failure) {
            Ok(opened) => {
                self.connection = Some(opened.connection);
                self.claim = opened.claim;
                self.metrics.spool_corrupt_records_total.inc_by(opened.lost);
                match self.probe() {
                    Ok(()) => {
                        self.failure = None;
                        tracing::warn!(
                            lost_records = opened.lost,
                            "the spool can be written again"
                        );
                    }
                    Err(error) => self.broken(&error),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the spool still cannot be opened");
                self.retry_at = Instant::now() + TICK;
            }
        }
    }

    /// A first commit, without any event, and a new count of what is there.
    fn probe(&mut self) -> rusqlite::Result<()> {
        self.take_stock()?;
        let connection = self
            .connection
            .as_mut()
            .ok_or(rusqlite::Error::InvalidQuery)?;
        let mut writer = Writer {
            settings: &self.settings,
            tally: self.tally.clone(),
            next_sequence: self.next_sequence,
            now: Timestamp::now(),
        };
        writer.tally.reserved += 1;
        let batch = Batch {
            settled: &self.unwritten,
            burials: Vec::new(),
            appends: Vec::new(),
            expire: false,
        };
        writer.write(connection, batch)?;
        self.tally = writer.tally;
        self.unwritten.clear();
        let metrics = Arc::clone(&self.metrics);
        let _books = metrics.books();
        self.expected_pending = self.tally.pending.iter().sum();
        self.show_counts();
        Ok(())
    }

    /// Reads the counts and positions from the file.
    fn take_stock(&mut self) -> rusqlite::Result<()> {
        let connection = self
            .connection
            .as_ref()
            .ok_or(rusqlite::Error::InvalidQuery)?;
        self.tally = Tally::load(connection)?;
        self.next_sequence = table::unsigned(self.tally.reserved).max(self.next_sequence);
        self.recent = Recent::above(self.next_sequence.saturating_sub(1));
        self.partial.clear();
        for (sequence, sink) in table::partly_settled(connection)? {
            let all = table::sinks_of(connection, sequence)?.unwrap_or_default();
            let left = self.partial.entry(sequence).or_insert(all);
            *left = left.without(sink);
        }
        self.metrics.spool_writable.set(1);
        self.state.writable.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What the file held when it was opened counts as recovered.
    fn recovered(&mut self) {
        let metrics = Arc::clone(&self.metrics);
        let _books = metrics.books();
        for (index, name) in self.sinks.iter() {
            let pending = self.tally.pending[index.number()];
            self.expected_pending += pending;
            metrics
                .events_recovered_total
                .with_label_values(&[name.as_str()])
                .inc_by(table::unsigned(pending));
        }
        self.show_counts();
    }

    /// Shows the numbers that must add up; the caller holds the books.
    fn show_counts(&self) {
        let mut pending = self.tally.pending.clone();
        for unwritten in &self.unwritten {
            pending[unwritten.sink.number()] -= 1;
        }
        for (index, name) in self.sinks.iter() {
            let label = &[name.as_str()];
            self.metrics
                .spool_events
                .with_label_values(label)
                .set(pending[index.number()]);
            self.metrics
                .spool_dead_letters
                .with_label_values(label)
                .set(self.tally.dead[index.number()]);
        }
        self.metrics.spool_bytes.set(self.tally.bytes);
        self.metrics
            .events_unaccounted
            .set(self.expected_pending - pending.iter().sum::<i64>());
        self.state
            .full
            .store(is_over(&self.tally, &self.settings, 0), Ordering::Relaxed);
    }

    /// Answers the fetches that can be, and parks the others until a commit brings something.
    fn serve(&mut self, fetches: Vec<Fetch>) {
        let parked = std::mem::take(&mut self.parked);
        for mut fetch in parked.into_values().chain(fetches) {
            match self.next_records(&fetch) {
                Some(records) if !records.is_empty() => {
                    self.fetched.insert(fetch.sink, fetch.after);
                    // A dispatcher that is gone reads them again after the next start.
                    let _ = fetch.reply.send(records);
                }
                Some(_) => {
                    // Nothing up to here is for this sink: the next look begins behind it.
                    fetch.after = fetch.after.max(self.next_sequence - 1);
                    self.park(fetch);
                }
                None => self.park(fetch),
            }
        }
        if let Some(taken) = self.fetched.values().min() {
            self.recent.forget_through(*taken);
        }
    }

    fn park(&mut self, fetch: Fetch) {
        self.fetched.insert(fetch.sink, fetch.after);
        self.parked.insert(fetch.sink, fetch);
    }

    /// The next records for the sink; an empty list where none waits, nothing where nobody can tell.
    fn next_records(&mut self, fetch: &Fetch) -> Option<Vec<Arc<Record>>> {
        if let Some(records) = self.recent.after(fetch.after, fetch.sink, fetch.limit) {
            return Some(records);
        }
        let mut after = fetch.after;
        loop {
            let connection = self.connection.as_ref()?;
            let rows =
                match table::read_after(connection, fetch.sink, after, fetch.limit, FETCH_BYTES) {
                    Ok(rows) => rows,
                    Err(error) => {
                        self.broken(&error);
                        return None;
                    }
                };
            let Some(last) = rows.last() else {
                return Some(Vec::new());
            };
            after = last.sequence;
            let records = self.decode(rows, fetch.sink);
            if !records.is_empty() {
                return Some(records);
            }
        }
    }

    /// The records of these rows; a damaged one is counted, set aside and passed over.
    fn decode(&mut self, rows: Vec<Row>, sink: SinkIndex) -> Vec<Arc<Record>> {
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            match Record::decode(row.clone()) {
                Ok(record) => records.push(Arc::new(record)),
                Err(damage) => self.set_aside(row, sink, &damage.to_string()),
            }
        }
        records
    }

    fn load(&mut self, load: Load) {
        let read = |connection: &Connection| {
            let rows = load
                .sequences
                .iter()
                .map(|sequence| table::read_one(connection, *sequence));
            rows.filter_map(Result::transpose)
                .collect::<Result<Vec<Row>, _>>()
        };
        let answer = match self.connection.as_ref().map(read) {
            None => Err(SpoolUnavailable::Unwritable),
            Some(Ok(rows)) => Ok(self.decode(rows, load.sink)),
            Some(Err(error)) => {
                self.broken(&error);
                Err(SpoolUnavailable::Unwritable)
            }
        };
        // As for a fetch.
        let _ = load.reply.send(answer);
    }

    /// Keeps a damaged record as a dead letter, bytes and all.
    fn set_aside(&mut self, row: Row, sink: SinkIndex, detail: &str) {
        tracing::error!(
            sequence = row.sequence,
            detail,
            "a record in the spool is damaged; it is kept as a dead letter"
        );
        let position = row.position();
        let left = self
            .partial
            .get(&position.sequence)
            .copied()
            .unwrap_or(position.sinks)
            .without(sink);
        let unwritten = Unwritten {
            position,
            sink,
            last: left.is_empty(),
        };
        let dead = DeadRow {
            number: 0,
            sink,
            reason: RefusalReason::Damaged.as_str().to_owned(),
            detail: detail.to_owned(),
            buried_at: Timestamp::now(),
            row,
        };
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        match damage::keep(connection, &dead, unwritten, &mut self.tally) {
            Ok(()) => self.count_damaged(unwritten, left),
            Err(error) => self.broken(&error),
        }
    }

    fn count_damaged(&mut self, unwritten: Unwritten, left: SinkSet) {
        let metrics = Arc::clone(&self.metrics);
        let _books = metrics.books();
        if left.is_empty() {
            self.partial.remove(&unwritten.position.sequence);
        } else {
            self.partial.insert(unwritten.position.sequence, left);
        }
        self.expected_pending -= 1;
        let name = self.name_of(unwritten.sink);
        metrics.spool_corrupt_records_total.inc();
        metrics
            .events_dead_lettered_total
            .with_label_values(&[name.as_str(), RefusalReason::Damaged.as_str()])
            .inc();
        self.show_counts();
    }

    fn inspect(&mut self, inspector: Inspector) {
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        let writer = Writer {
            settings: &self.settings,
            tally: self.tally.clone(),
            next_sequence: self.next_sequence,
            now: Timestamp::now(),
        };
        let mut inspection = Inspection::new(connection, &self.sinks, writer);
        inspector(&mut inspection);
        let (done, tally, next_sequence) = inspection.finish();
        (self.tally, self.next_sequence) = (tally, next_sequence);
        let metrics = Arc::clone(&self.metrics);
        let _books = metrics.books();
        for record in done.requeued {
            for sink in record.position().sinks.iter() {
                self.expected_pending += 1;
                metrics
                    .events_requeued_total
                    .with_label_values(&[self.name_of(sink).as_str()])
                    .inc();
            }
            self.recent.push(record);
        }
        for (sink, count) in done.discarded {
            self.expected_pending -= table::signed(count);
            metrics
                .events_discarded_total
                .with_label_values(&[self.name_of(sink).as_str()])
                .inc_by(count);
        }
        self.show_counts();
    }

    fn name_of(&self, sink: SinkIndex) -> SinkName {
        let found = self.sinks.iter().find(|(index, _)| *index == sink);
        found
            .map(|(_, name)| name.clone())
            .expect("every sink of a record was numbered when the spool was opened")
    }

    fn close(mut self, closed: Reply<()>) {
        self.finish();
        // Whoever asked may have run into its own deadline.
        let _ = closed.send(());
    }

    /// Writes the last settlements and closes the file.
    fn finish(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        self.ticked_at = Instant::now().checked_sub(TICK).unwrap_or(self.ticked_at);
        self.commit(&mut Group::default());
        if let Some(connection) = self.connection.take()
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(%error, "the spool did not close cleanly; the next start recovers it");
        }
    }
}

/// Why a group was not written.
#[derive(Debug)]
enum WriteError {
    /// The file is known to be broken.
    Broken,
    /// The database said no.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
