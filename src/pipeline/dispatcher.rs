//! The dispatcher: one per sink. It reads the spool in order, publishes many events at once but one
//! per object, and reacts to what the sink says by the name of the error: pause, park, set aside.
//!
//! An event is read (`reading`), waits for the turn of its object (`gate`), is ready, is published
//! (`publishing`, within a `window`), and then settled, buried as a dead letter, or parked (`parked`)
//! until the sink has a place for it. Memory is bounded in bytes: what is read, ready, published and
//! buried has [`MOST_HELD_BYTES`], the gate has its own, and what is parked has no bodies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, Schedule};
use super::gate::{Gate, Turn};
use super::instruments::{Instruments, Outcome, Standing};
use super::parked::Parked;
use super::publishing::{Attempt, Publishing, bytes};
use super::pulse::{Asked, Pulse};
use super::reading::{Read, Reading};
use super::reference::{Object, Objects, Reference, received_ms};
use super::window::Window;
use crate::event::SinkIndex;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::seeded::{self, Bug};
use crate::sink::{PublishError, RefusalReason, Sink};
use crate::spool::{NewDeadLetter, Settlement, Spool, SpoolRecord, SpoolUnavailable};
use crate::trace::{Tracer, Work};

/// The most bytes of records whose turn it is, those on their way out of the spool included; one that
/// is larger is held alone.
const MOST_HELD_BYTES: usize = 24 * 1024 * 1024;
/// Ended publishes handled in one step.
const STEP_ATTEMPTS: usize = 512;

/// The sink a dispatcher serves.
#[derive(Debug)]
pub struct Served {
    /// Its name.
    pub name: SinkName,
    /// Its number in the spool.
    pub index: SinkIndex,
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// The traces of its events.
    pub tracer: Tracer,
}

/// How hard a dispatcher drives its sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The most publishes outstanding.
    pub max_in_flight: usize,
    /// The delays after failures.
    pub schedule: Schedule,
}

/// A dead letter on its way into the file.
type Burying = BoxFuture<'static, (Arc<SpoolRecord>, Result<(), SpoolUnavailable>)>;

/// The dispatcher of one sink.
pub struct Dispatcher {
    name: SinkName,
    index: SinkIndex,
    spool: Spool,
    pace: Pace,
    /// The pace that is wanted, which may change.
    wanted: watch::Receiver<Pace>,
    instruments: Instruments,
    pulse: Pulse,
    asked: Asked,
    tracer: Tracer,
    reading: Reading,
    objects: Objects,
    gate: Gate<Arc<SpoolRecord>>,
    /// Events whose turn has come, in order.
    ready: VecDeque<Arc<SpoolRecord>>,
    publishing: Publishing,
    window: Window,
    burying: FuturesUnordered<Burying>,
    parked: Parked,
    /// The events that have the turn of their object and are not parked, with when they were
    /// received, in Unix milliseconds.
    turns: BTreeMap<u64, u64>,
    /// The bytes of their records.
    held_bytes: usize,
    backoff: Backoff,
    paused_at: Option<Instant>,
    paused_until: Option<Instant>,
    /// Changes when the sink takes messages again; what changed before the last publish is seen.
    recoveries: watch::Receiver<u64>,
}

impl Dispatcher {
    /// A dispatcher for one sink, at the wanted pace whatever becomes of it.
    #[must_use]
    pub fn new(
        served: Served,
        spool: Spool,
        mut wanted: watch::Receiver<Pace>,
        metrics: &Metrics,
    ) -> Self {
        let (pulse, asked) = Pulse::new();
        let pace = *wanted.borrow_and_update();
        let Served {
            name,
            index,
            sink,
            tracer,
        } = served;
        Self {
            instruments: Instruments::of(metrics, &name),
            reading: Reading::of(spool.clone(), index, name.clone(), pace.schedule),
            name,
            index,
            spool,
            pace,
            wanted,
            pulse,
            asked,
            tracer,
            objects: Objects::default(),
            gate: Gate::default(),
            ready: VecDeque::new(),
            recoveries: sink.recoveries(),
            publishing: Publishing::to(sink),
            window: Window::of(pace.max_in_flight),
            burying: FuturesUnordered::new(),
            parked: Parked::new(pace.schedule),
            turns: BTreeMap::new(),
            held_bytes: 0,
            backoff: Backoff::new(pace.schedule),
            paused_at: None,
            paused_until: None,
        }
    }

    /// Asks this dispatcher whether it turns.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Runs until `stop`, then lets the publishes on their way end. Whoever awaits this sets the
    /// deadline for that; what has not ended by then is published again after the next start.
    ///
    /// # Errors
    /// When the spool has ended.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), SpoolUnavailable> {
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                result = self.step() => result?,
            }
        }
        while !self.publishing.is_empty() {
            let attempts = self.publishing.ended(STEP_ATTEMPTS).await;
            self.ended(attempts);
        }
        while let Some((record, result)) = self.burying.next().await {
            self.buried(&record, result)?;
        }
        Ok(())
    }

    /// Starts what can be started, then waits for one thing to happen. Dropping it between two
    /// events loses nothing: all state is in `self`.
    async fn step(&mut self) -> Result<(), SpoolUnavailable> {
        let now = Instant::now();
        self.resume(now);
        self.publish_ready(now);
        self.read_on(now);
        self.show();
        let wake = self.next_wake(now);
        tokio::select! {
            biased;
            // First, or a dispatcher that is busy without a pause would be taken for one that is stuck.
            () = self.asked.answer() => {}
            Ok(()) = self.wanted.changed() => self.change_pace(),
            // There is nothing more to wait for.
            Ok(()) = self.recoveries.changed(), if self.paused_until.is_some() => self.paused_until = None,
            attempts = self.publishing.ended(STEP_ATTEMPTS), if !self.publishing.is_empty() => self.ended(attempts),
            Some((record, result)) = self.burying.next(), if !self.burying.is_empty() => self.buried(&record, result)?,
            read = self.reading.next() => self.take_in(read?),
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        Ok(())
    }

    /// Goes on at the wanted pace; a pause that has begun is no longer than the new longest.
    fn change_pace(&mut self) {
        let now = Instant::now();
        self.pace = *self.wanted.borrow_and_update();
        let latest = now + self.pace.schedule.longest;
        self.paused_until = self.paused_until.map(|until| until.min(latest));
        self.window.limit(self.pace.max_in_flight);
        self.backoff.follow(self.pace.schedule);
        self.parked.follow(self.pace.schedule, now);
        self.reading.follow(self.pace.schedule, now);
    }

    /// When to look again although nothing has happened.
    fn next_wake(&self, now: Instant) -> Instant {
        let takes_parked = self.may_read() && self.reading.takes() > 0;
        let parked = self.parked.next_at().filter(|_| takes_parked);
        let due = [self.paused_until, parked, self.reading.next_at(now)];
        let next = due.into_iter().flatten().min();
        next.unwrap_or_else(|| now + Duration::from_secs(60))
    }

    /// The pause is over: one publish, all that the window lets through, will show whether the sink
    /// is back.
    fn resume(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
    }

    fn may_start(&self) -> usize {
        if self.paused_until.is_some() {
            return 0;
        }
        self.window.open().saturating_sub(self.publishing.len())
    }

    fn publish_ready(&mut self, now: Instant) {
        let mut may_start = self.may_start();
        while may_start > 0
            && let Some(next) = self.ready.front()
            && self.publishing.has_room_for(next)
            && let Some(record) = self.ready.pop_front()
        {
            if self.is_admitted(&record, now) {
                self.recoveries.mark_unchanged();
                self.publishing.start(record);
                may_start -= 1;
            }
        }
    }

    /// Whether there is hope for this event; if not, it is parked.
    fn is_admitted(&mut self, record: &SpoolRecord, now: Instant) -> bool {
        if self.parked.is_empty() || self.parked.is_tried(record.position().sequence) {
            return true;
        }
        let (address, event) = (self.publishing.address(record), self.objects.refer(record));
        let is_admitted = self.parked.admits(&address, event, now);
        if !is_admitted {
            self.put_away(event, record);
        }
        is_admitted
    }

    /// Whether there is room and hope for more. While the sink is unavailable, what is at hand will
    /// show whether it is back, if something is.
    fn may_read(&self) -> bool {
        let at_hand = !self.ready.is_empty() || !self.publishing.is_empty();
        let is_paused = self.paused_at.is_some() && (self.paused_until.is_some() || at_hand);
        !is_paused && self.ready.len() + self.burying.len() < self.pace.max_in_flight
    }

    /// Asks the spool for more: for new events, and for parked ones that are to be tried.
    fn read_on(&mut self, now: Instant) {
        if !self.may_read() {
            return;
        }
        for event in self.parked.let_go(now, self.reading.takes()) {
            self.read_again(event);
        }
        let bytes = MOST_HELD_BYTES.saturating_sub(self.held_bytes);
        self.reading.go_on(now, bytes, self.pace.max_in_flight);
    }

    fn read_again(&mut self, event: Reference) {
        self.turns.insert(event.sequence, event.received_ms);
        self.reading.again(event);
    }

    /// New events wait for their turns, and those that were read again have theirs. An event that the
    /// spool has let go of meanwhile gives its turn up.
    fn take_in(&mut self, read: Read) {
        match read {
            Read::New(records) => records.into_iter().for_each(|record| self.enter(record)),
            Read::Again { records, gone } => {
                records.into_iter().for_each(|record| self.hold(record));
                let now = Instant::now();
                for event in gone {
                    self.parked.out_of_the_way(event.sequence, now);
                    self.pass_on(event.sequence, event.object);
                }
            }
            Read::Nothing => {}
        }
    }

    fn enter(&mut self, record: Arc<SpoolRecord>) {
        seeded::panic_over(Bug::PanicInDispatcher, record.event().body());
        seeded::hang_over(Bug::HangInDispatcher, record.event().body());
        let (event, bytes) = (self.objects.refer(&record), record.position().bytes);
        if let Some(record) = self.gate.enter(event, bytes, record) {
            self.hold(record);
        }
    }

    /// It is this event's turn.
    fn hold(&mut self, record: Arc<SpoolRecord>) {
        let sequence = record.position().sequence;
        self.turns.insert(sequence, received_ms(record.event()));
        self.held_bytes += bytes(&record);
        self.ready.push_back(record);
    }

    /// The event is settled or buried: it is the turn of its object's next one.
    fn done(&mut self, record: &SpoolRecord) {
        self.held_bytes -= bytes(record);
        let object = self.objects.of(record.event());
        self.pass_on(record.position().sequence, object);
    }

    fn pass_on(&mut self, sequence: u64, object: Object) {
        self.turns.remove(&sequence);
        match self.gate.leave(object) {
            Some(Turn::Held(next)) => self.hold(next),
            Some(Turn::OnDisk(next)) => self.read_again(next),
            None => {}
        }
    }

    /// The event is parked: it keeps the turn of its object, and nothing of it stays in memory.
    fn put_away(&mut self, event: Reference, record: &SpoolRecord) {
        self.held_bytes -= bytes(record);
        self.turns.remove(&event.sequence);
        self.gate.park(event.object);
    }

    fn ended(&mut self, attempts: Vec<Attempt>) {
        let now = Instant::now();
        let outstanding = attempts.len() + self.publishing.len();
        let verdicts = attempts
            .iter()
            .filter(|attempt| attempt.is_verdict())
            .count();
        if verdicts > 0 {
            self.answered();
            self.window.worked(verdicts, outstanding);
        }
        let mut settlements = Vec::with_capacity(verdicts);
        for Attempt {
            record,
            result,
            started,
        } in attempts
        {
            self.count(&record, &result, started);
            match result {
                Ok(receipt) => {
                    self.delivered(&record, now);
                    settlements.push(Settlement { receipt, record });
                }
                Err(PublishError::Unavailable(cause)) => {
                    // Behind the others: should it be for its own sake, the next try is another's.
                    self.ready.push_back(record);
                    self.pause(started, outstanding, &cause);
                }
                Err(PublishError::Unroutable(cause)) => self.park(&record, &cause, now),
                Err(PublishError::Refused { reason, detail }) => self.bury(record, reason, detail),
            }
        }
        if !settlements.is_empty() {
            self.spool.settle(self.index, &settlements);
        }
    }

    fn delivered(&mut self, record: &SpoolRecord, now: Instant) {
        self.instruments.delivered(record.event());
        if let Some(address) = self.parked.arrived(record.position().sequence, now) {
            tracing::info!(sink = %self.name, %address, "the sink has a place again for the events that waited for one");
        }
        self.done(record);
    }

    /// The sink is there and has given its verdict, whatever it is.
    fn answered(&mut self) {
        if self.paused_at.take().is_some() {
            self.paused_until = None;
            self.backoff.worked();
            tracing::info!(sink = %self.name, "the sink takes events again");
        }
    }

    /// The sink is unavailable: everything stops for a while.
    fn pause(&mut self, started: Instant, outstanding: usize, cause: &str) {
        let news = self.paused_at.is_none_or(|paused| started >= paused);
        if !news {
            return;
        }
        if self.paused_at.is_none() {
            tracing::warn!(sink = %self.name, cause, "the sink is unavailable; events wait in the spool");
        }
        let now = Instant::now();
        self.paused_at = Some(now);
        self.paused_until = Some(now + self.backoff.failed());
        self.window.failed(outstanding);
    }

    /// The sink has no place for this event yet: its object and its address wait, the others go on.
    fn park(&mut self, record: &SpoolRecord, cause: &str, now: Instant) {
        let (address, event) = (self.publishing.address(record), self.objects.refer(record));
        if self.parked.came_back(&address, event, now) {
            tracing::warn!(sink = %self.name, address, cause, event_type = record.label(), "the sink has no place for an event; the events of its address are kept, and now and then one of them is tried");
        }
        self.put_away(event, record);
    }

    fn bury(&mut self, record: Arc<SpoolRecord>, reason: RefusalReason, detail: String) {
        tracing::warn!(sink = %self.name, id = %record.event().id(), %reason, detail, "the sink refuses an event; it becomes a dead letter");
        let spool = self.spool.clone();
        let burial = NewDeadLetter {
            record: Arc::clone(&record),
            sink: self.index,
            reason,
            detail,
        };
        self.burying
            .push(async move { (record, spool.set_aside(burial).await) }.boxed());
    }

    /// A dead letter that could not be written leaves the event where it was: it is tried again.
    fn buried(
        &mut self,
        record: &SpoolRecord,
        result: Result<(), SpoolUnavailable>,
    ) -> Result<(), SpoolUnavailable> {
        let now = Instant::now();
        match result {
            Ok(()) => {
                let sequence = record.position().sequence;
                if self.parked.letter_arrived(sequence, now) {
                    tracing::info!(sink = %self.name, "dead letters can be written again");
                }
                self.done(record);
            }
            Err(SpoolUnavailable::Closed) => return Err(SpoolUnavailable::Closed),
            Err(error) => {
                let event = self.objects.refer(record);
                if self.parked.letter_came_back(event, now) {
                    tracing::warn!(sink = %self.name, %error, "a dead letter cannot be written; its event is kept and tried again");
                }
                self.put_away(event, record);
            }
        }
        Ok(())
    }

    fn count<T>(&self, record: &SpoolRecord, result: &Result<T, PublishError>, started: Instant) {
        let outcome = Outcome::of(result);
        self.instruments.attempted(outcome, started.elapsed());
        self.tracer
            .published(record.event().traceparent(), || Work {
                name: format!("publish {}", self.name),
                started,
                attributes: vec![
                    ("messaging.operation.name", "publish".to_owned()),
                    ("messaging.operation.type", "send".to_owned()),
                    ("messaging.message.id", record.event().id().to_string()),
                    ("hookferry.sink", self.name.to_string()),
                    ("hookferry.event_type", record.label().to_owned()),
                ],
                error: result.is_err().then_some(outcome.as_str()),
            });
    }

    fn show(&self) {
        let at_hand = self.turns.first_key_value();
        let at_hand = at_hand.map(|(sequence, received_ms)| (*sequence, *received_ms));
        let oldest = at_hand.into_iter().chain(self.parked.oldest()).min();
        self.instruments.show(Standing {
            in_flight: self.publishing.len(),
            unroutable: self.parked.len(),
            is_paused: self.paused_at.is_some(),
            oldest_ms: oldest.map(|(_, received_ms)| received_ms),
        });
    }
}
