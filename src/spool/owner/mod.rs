//! The spool's thread: it alone touches the file. It takes whatever waits, commits it together, and
//! only then answers.

mod group;
mod mending;
mod reading;
mod writing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::books::{Books, Entries};
use super::bundle::{Answer, Bundles, Caller};
use super::command::{Appended, Command, Fetch, Milestone, Reply, Settlement, SpoolUnavailable};
use super::damage::{self, Failure};
use super::inspect::{Inspection, Inspector};
use super::presence::Presence;
use super::recent::Recent;
use super::settling::Settling;
use super::sinks;
use super::table;
use super::tally::Tally;
use super::waiting::Waiting;
use super::write::{Plan, Unwritten, Writer, is_over};
use super::{Limits, Settings, SpoolError, State};
use crate::event::SinkIndex;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::seeded::{self, Bug};
use crate::sqlite::Claim;
use group::Group;
use writing::WriteError;

/// How long settlements may wait for a commit to ride in, and how often a broken file is tried again.
const TICK: Duration = Duration::from_secs(1);
/// Where one new file after the other fails, each is kept: not more often than this.
const MAX_PAUSE: Duration = Duration::from_secs(16);
/// More settlements than this are written without an event to ride with.
const MAX_UNWRITTEN: usize = 4096;

/// The owner of the file.
pub(super) struct Owner {
    settings: Settings,
    sinks: Arc<[(SinkIndex, SinkName)]>,
    /// None while the file is broken.
    connection: Option<Connection>,
    claim: Option<Claim>,
    /// What the file's names lead to; none for a spool in memory.
    presence: Option<Presence>,
    failure: Option<Failure>,
    retry_at: Instant,
    /// How long after the next failure; more each time that a new file fails as well.
    pause: Duration,
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
        let sinks: Arc<[_]> = sinks::number(&opened.connection, names)?.into();
        if names
            .iter()
            .any(|name| !sinks.iter().any(|(_, known)| known == name))
        {
            return Err(SpoolError::TooManySinks);
        }
        let (now, limits) = (Instant::now(), settings.limits);
        let mut owner = Self {
            settings,
            books: Books::new(Arc::clone(&metrics), Arc::clone(&sinks)),
            sinks,
            connection: Some(opened.connection),
            claim: opened.claim,
            presence: None,
            failure: None,
            retry_at: now,
            pause: TICK,
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
        owner.limit(limits);
        owner.take_stock()?;
        if let Some(full) = opened.full {
            owner.broken(&full);
        }
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
            match group.admit(command) {
                Some(Command::Settle(sink, settlements)) => self.settle(sink, settlements),
                Some(Command::Limit(limits)) => self.limit(limits),
                _ => {}
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
        for pulse in std::mem::take(&mut group.pulses) {
            // Whoever asked may have run into its own deadline.
            let _ = pulse.send(());
        }
        // The next commit begins with what has been settled, so there will be room then.
        let full =
            is_over(&self.tally, &self.settings, 1, 0) && self.settling.unwritten().is_empty();
        self.state.full.store(full, Ordering::Relaxed);
        group.close
    }

    fn limit(&mut self, limits: Limits) {
        self.settings.limits = limits;
        let (bytes, events) = (limits.max_bytes, limits.max_events);
        self.metrics.spool_max_bytes.set(table::signed(bytes));
        self.metrics.spool_max_events.set(table::signed(events));
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
        let mut bundles = Bundles::default();
        for ((milestone, caller), plan) in group.callers.drain(..).zip(plans) {
            if let Some((caller, answer)) = answer(
                milestone,
                caller,
                plan,
                (&mut entries, &mut self.recent, &mut self.waiting),
                &self.settling,
            ) {
                bundles.put(caller, answer);
            }
        }
        // Whoever is answered finds the event counted.
        entries.close(&self.tally, &self.settling);
        bundles.send();
    }

    /// The commit failed: nothing of it counts, and everybody is told.
    fn failed(&mut self, group: &mut Group, error: &WriteError) {
        match error {
            WriteError::Broken => {}
            WriteError::Gone(gone) => self.fail(Failure::Vanished, gone),
            WriteError::Database(error) => self.broken(error),
        }
        group.routed.clear();
        let mut bundles = Bundles::default();
        for (_, caller) in group.callers.drain(..) {
            bundles.put(caller, Err(SpoolUnavailable::Unwritable));
        }
        bundles.send();
        for (_, reply) in group.burials.drain(..) {
            let _ = reply.send(Err(SpoolUnavailable::Unwritable));
        }
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
        if self.failure == Some(Failure::Vanished) {
            self.retry_at = Instant::now();
            self.mend();
        }
        self.commit(&mut Group::default());
        self.give_up_nameless();
        if let Some(connection) = self.connection.take()
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(%error, "the spool did not close cleanly; the next start recovers it");
        }
    }
}

/// The answer to an append, unless it has to wait for the event's delivery.
fn answer(
    milestone: Milestone,
    caller: Caller,
    plan: Plan,
    (entries, recent, waiting): (&mut Entries<'_>, &mut Recent, &mut Waiting),
    settling: &Settling,
) -> Option<(Caller, Answer)> {
    let (appended, sequence, pending) = match plan {
        Plan::Refused(refusal) => return Some((caller, Err(refusal))),
        Plan::Duplicate { original, pending } => {
            let pending =
                pending && !settling.is_done(original) && !seeded::is(Bug::AnswerDuplicateEarly);
            (Appended::Duplicate, original, pending)
        }
        Plan::Accepted(record) => {
            entries.accepted(&record);
            let sequence = record.position().sequence;
            recent.push(record);
            (Appended::Accepted, sequence, true)
        }
    };
    if pending && milestone == Milestone::Delivered {
        waiting.until_done(sequence, caller.reply, appended);
        return None;
    }
    Some((caller, Ok(appended)))
}
