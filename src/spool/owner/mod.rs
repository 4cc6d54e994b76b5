//! The spool's thread: it alone touches the file. It takes whatever waits, commits it together, and
//! only then answers.

mod group;
mod reading;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::books::{Books, Entries};
use super::command::{Appended, Command, Fetch, Milestone, Reply, Settlement, SpoolUnavailable};
use super::damage::{self, Failure};
use super::inspect::{Inspection, Inspector};
use super::recent::Recent;
use super::settling::Settling;
use super::table;
use super::tally::Tally;
use super::waiting::Waiting;
use super::write::{Batch, Plan, Unwritten, Writer, is_over};
use super::{Settings, SpoolError, State};
use crate::event::{SinkIndex, SinkSet};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::sqlite::Claim;
use group::Group;

/// How long settlements may wait for a commit to ride in, and how often a broken file is tried again.
const TICK: Duration = Duration::from_secs(1);
/// More settlements than this are written without an event to ride with.
const MAX_UNWRITTEN: usize = 4096;

/// The owner of the file.
pub(super) struct Owner {
    settings: Settings,
    sinks: Arc<[(SinkIndex, SinkName)]>,
    /// None while the file is broken.
    connection: Option<Connection>,
    claim: Option<Claim>,
    failure: Option<Failure>,
    retry_at: Instant,
    ticked_at: Instant,
    tally: Tally,
    next_sequence: u64,
    settling: Settling,
    waiting: Waiting,
    recent: Recent,
    /// How far each sink's dispatcher has read.
    fetched: HashMap<SinkIndex, u64>,
    parked: HashMap<SinkIndex, Fetch>,
    books: Books,
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
        let sinks: Arc<[_]> = table::number_sinks(&opened.connection, names)?.into();
        if names
            .iter()
            .any(|name| !sinks.iter().any(|(_, known)| known == name))
        {
            return Err(SpoolError::TooManySinks);
        }
        metrics
            .spool_max_bytes
            .set(table::signed(settings.max_bytes));
        metrics
            .spool_max_events
            .set(table::signed(settings.max_events));
        let now = Instant::now();
        let mut owner = Self {
            settings,
            books: Books::new(Arc::clone(&metrics), Arc::clone(&sinks)),
            sinks,
            connection: Some(opened.connection),
            claim: opened.claim,
            failure: None,
            retry_at: now,
            ticked_at: now,
            tally: Tally::new(),
            next_sequence: 1,
            settling: Settling::new(),
            waiting: Waiting::default(),
            recent: Recent::above(0),
            fetched: HashMap::new(),
            parked: HashMap::new(),
            metrics,
            state,
        };
        owner.take_stock()?;
        let mut entries = owner.books.open();
        entries.recovered(&owner.tally, &opened.cost);
        entries.close(&owner.tally, &owner.settling);
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
                self.finish();
                // The file is free for another owner before anybody hears of it.
                drop(self);
                // Whoever asked may have run into its own deadline.
                let _ = closed.send(());
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
            if let Some(Command::Settle(sink, settlements)) = group.admit(command) {
                self.settle(sink, settlements);
            }
            next = if group.is_complete() {
                None
            } else {
                inbox.try_recv().ok()
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
        // The next commit begins with what has been settled, so there will be room then.
        let full = is_over(&self.tally, &self.settings, 0) && self.settling.unwritten().is_empty();
        self.state.full.store(full, Ordering::Relaxed);
        group.close
    }

    /// A sink has confirmed these: they count as delivered now, and leave the file with a later commit.
    fn settle(&mut self, sink: SinkIndex, settlements: Vec<Settlement>) {
        let mut entries = self.books.open();
        for Settlement { receipt, record } in settlements {
            let position = receipt.position();
            entries.delivered(sink, &record);
            if self.settling.settle(position, sink).last {
                self.waiting.done(position.sequence);
            }
        }
        entries.close(&self.tally, &self.settling);
    }

    fn commit(&mut self, group: &mut Group) {
        let due = self.ticked_at.elapsed() >= TICK;
        // An inspection must not show what has been settled.
        let settle =
            self.settling.unwritten().len() >= MAX_UNWRITTEN || !group.inspections.is_empty();
        if group.routed.is_empty() && group.burials.is_empty() && !settle && !due {
            return;
        }
        let started = Instant::now();
        match self.write(group, due) {
            Ok((plans, buried)) => {
                self.metrics
                    .spool_commit_duration_seconds
                    .observe(started.elapsed().as_secs_f64());
                self.committed(group, plans, &buried);
            }
            Err(error) => self.failed(group, &error),
        }
        self.state
            .queued_bytes
            .fetch_sub(std::mem::take(&mut group.bytes), Ordering::Relaxed);
    }

    /// Writes what has been settled. Returns whether the file says so now.
    fn flush(&mut self) -> bool {
        match self.write(&mut Group::default(), false) {
            Ok(_) => true,
            Err(error) => {
                self.failed(&mut Group::default(), &error);
                false
            }
        }
    }

    /// One transaction. What it changed in memory is taken over only when it worked.
    fn write(
        &mut self,
        group: &mut Group,
        due: bool,
    ) -> Result<(Vec<Plan>, Vec<Unwritten>), WriteError> {
        let connection = self.connection.as_mut().ok_or(WriteError::Broken)?;
        let burials = group
            .burials
            .iter()
            .map(|(burial, _)| (burial.record.position(), burial.sink));
        let buried = self.settling.foresee_all(burials);
        let batch = Batch {
            settled: self.settling.unwritten(),
            burials: group
                .burials
                .iter()
                .map(|(burial, _)| burial)
                .zip(buried.iter().copied())
                .collect(),
            appends: std::mem::take(&mut group.routed),
            expire: due,
            probe: false,
        };
        let mut writer = Writer::new(&self.settings, &self.tally, self.next_sequence);
        let plans = writer.write(connection, batch)?;
        (self.tally, self.next_sequence) = (writer.tally, writer.next_sequence);
        self.settling.written();
        if due {
            self.ticked_at = Instant::now();
        }
        Ok((plans, buried))
    }

    /// The commit worked: what it wrote counts, and those who waited for it are answered.
    fn committed(&mut self, group: &mut Group, plans: Vec<Plan>, buried: &[Unwritten]) {
        let mut entries = self.books.open();
        for ((burial, reply), unwritten) in group.burials.drain(..).zip(buried) {
            let sequence = unwritten.position.sequence;
            entries.buried(burial.sink, burial.reason.as_str());
            self.settling.mark(unwritten.position, burial.sink);
            self.waiting.buried(sequence);
            if unwritten.last {
                self.waiting.done(sequence);
            }
            // The dispatcher may be gone; the dead letter is written all the same.
            let _ = reply.send(Ok(()));
        }
        for ((milestone, reply), plan) in group.replies.drain(..).zip(plans) {
            if let Some((reply, answer)) = answer(
                milestone,
                reply,
                plan,
                (&mut entries, &mut self.recent, &mut self.waiting),
            ) {
                // A caller that has hung up is not told; the event is kept all the same.
                let _ = reply.send(answer);
            }
        }
        entries.close(&self.tally, &self.settling);
    }

    /// The commit failed: nothing of it counts, and everybody is told.
    fn failed(&mut self, group: &mut Group, error: &WriteError) {
        if let WriteError::Database(error) = error {
            self.broken(error);
        }
        group.routed.clear();
        for (_, reply) in group.replies.drain(..) {
            let _ = reply.send(Err(SpoolUnavailable::Unwritable));
        }
        for (_, reply) in group.burials.drain(..) {
            let _ = reply.send(Err(SpoolUnavailable::Unwritable));
        }
    }

    /// The file cannot be trusted to take another commit as it is.
    fn broken(&mut self, error: &rusqlite::Error) {
        let failure = Failure::of(error);
        if self.failure.is_none() {
            tracing::error!(%error, remedy = failure.remedy(), "the spool cannot be written; deliveries are answered 503");
        }
        self.failure = self.failure.max(Some(failure));
        if failure == Failure::Untrusted {
            self.connection = None;
        }
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
        self.retry_at = Instant::now() + TICK;
        // A file that is only full can still be read, so the dispatchers go on with what is in it.
        if self.connection.is_none() && !self.reopen(failure) {
            return;
        }
        match self.probe() {
            Ok(()) => {
                self.failure = None;
                tracing::warn!("the spool can be written again");
            }
            Err(error) => self.broken(&error),
        }
    }

    fn reopen(&mut self, failure: Failure) -> bool {
        match damage::reopen(&self.settings.place, &mut self.claim, failure) {
            Ok(opened) => {
                self.connection = Some(opened.connection);
                self.claim = opened.claim;
                let mut entries = self.books.open();
                entries.spoilt(&opened.cost);
                entries.close(&self.tally, &self.settling);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the spool still cannot be opened");
                false
            }
        }
    }

    /// A first commit, without any event, and a new count of what is there. What was settled before
    /// the failure is written first, so that the file says who still waits for what.
    fn probe(&mut self) -> rusqlite::Result<()> {
        let connection = self
            .connection
            .as_mut()
            .ok_or(rusqlite::Error::InvalidQuery)?;
        table::restore_sinks(connection, &self.sinks)?;
        let tally = Tally::load(connection)?;
        let batch = Batch {
            settled: self.settling.unwritten(),
            burials: Vec::new(),
            appends: Vec::new(),
            expire: false,
            probe: true,
        };
        Writer::new(&self.settings, &tally, self.next_sequence).write(connection, batch)?;
        self.settling.written();
        self.take_stock()?;
        let mut entries = self.books.open();
        entries.restart(&self.tally);
        entries.close(&self.tally, &self.settling);
        Ok(())
    }

    /// Reads the counts and positions from the file: it is open and sound.
    fn take_stock(&mut self) -> rusqlite::Result<()> {
        let connection = self
            .connection
            .as_ref()
            .ok_or(rusqlite::Error::InvalidQuery)?;
        self.tally = Tally::load(connection)?;
        let free = table::unsigned(self.tally.reserved).max(table::next_free(connection)?);
        self.next_sequence = self.next_sequence.max(free);
        self.recent = Recent::above(self.next_sequence - 1);
        let mut partial: HashMap<u64, SinkSet> = HashMap::new();
        for (sequence, sink) in table::partly_settled(connection)? {
            let all = table::sinks_of(connection, sequence)?.unwrap_or_default();
            let waiting = partial.entry(sequence).or_insert(all);
            *waiting = waiting.without(sink);
        }
        self.settling.restart(partial);
        self.metrics.spool_writable.set(1);
        self.state.writable.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn inspect(&mut self, inspector: Inspector) {
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        let writer = Writer::new(&self.settings, &self.tally, self.next_sequence);
        let mut inspection = Inspection::new(connection, &self.sinks, writer);
        inspector(&mut inspection);
        let (done, tally, next_sequence) = inspection.finish();
        (self.tally, self.next_sequence) = (tally, next_sequence);
        let mut entries = self.books.open();
        for record in done.requeued {
            entries.requeued(&record);
            self.recent.push(record);
        }
        for (sink, count) in done.discarded {
            entries.discarded(sink, count);
        }
        entries.close(&self.tally, &self.settling);
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

type Answer = Result<Appended, SpoolUnavailable>;

/// The answer to an append, unless it has to wait for the event's delivery.
fn answer(
    milestone: Milestone,
    reply: Reply<Answer>,
    plan: Plan,
    (entries, recent, waiting): (&mut Entries<'_>, &mut Recent, &mut Waiting),
) -> Option<(Reply<Answer>, Answer)> {
    let (appended, sequence, pending) = match plan {
        Plan::Full => return Some((reply, Err(SpoolUnavailable::Full))),
        Plan::Duplicate { original, pending } => (Appended::Duplicate, original, pending),
        Plan::Accepted(record) => {
            entries.accepted(&record);
            let sequence = record.position().sequence;
            recent.push(record);
            (Appended::Accepted, sequence, true)
        }
    };
    if pending && milestone == Milestone::Delivered {
        waiting.until_done(sequence, reply, appended);
        return None;
    }
    Some((reply, Ok(appended)))
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
