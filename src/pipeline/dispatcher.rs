//! The dispatcher: one per sink. It reads the spool in order, publishes many events at once but one
//! per ordering key, and reacts to what the sink says by the name of the error: back off, hold back,
//! dead-letter.
//!
//! An event is read (`read_ahead`), waits for the turn of its key (`key_order`), is ready, is published
//! (`in_flight`, within an `in_flight_window`), and then settled, made a dead letter, or held back
//! (`held_back`) until the sink takes events of its address. Memory is bounded in bytes: what is read,
//! ready, in flight and on its way to the dead letters has [`MOST_HELD_BYTES`], what waits for its turn
//! has a bound of its own, and what is held back has no bodies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, RetrySchedule};
use super::dispatcher_metrics::{DispatcherMetrics, DispatcherState, PublishOutcome};
use super::event_ref::{EventRef, KeyHash, KeyHasher, received_ms};
use super::health_probe::{HealthProbe, ProbeResponder};
use super::held_back::HeldBack;
use super::in_flight::{PublishAttempt, PublishesInFlight, bytes};
use super::in_flight_window::InFlightWindow;
use super::key_order::{KeyOrder, Turn};
use super::publish_recording::PublishRecording;
use super::read_ahead::{ReadAhead, SpoolRead};
use crate::event::SinkIndex;
use crate::history::Recorder;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::seeded::{self, Bug};
use crate::sink::{PublishError, RefusalReason, Sink};
use crate::spool::{NewDeadLetter, Settlement, Spool, SpoolRecord, SpoolUnavailable};
use crate::trace::{SpanWork, Tracer};

/// The most bytes of records whose turn it is, those on their way out of the spool included; one that
/// is larger is held alone.
const MOST_HELD_BYTES: usize = 24 * 1024 * 1024;
/// Ended publishes handled in one step.
const STEP_ATTEMPTS: usize = 512;

/// The sink a dispatcher serves.
#[derive(Debug)]
pub struct ServedSink {
    /// Its name.
    pub name: SinkName,
    /// Its number in the spool.
    pub index: SinkIndex,
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// The traces of its events.
    pub tracer: Tracer,
    /// Remembers what happened to them.
    pub recorder: Arc<Recorder>,
}

/// How much a dispatcher publishes at once, and how it backs off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatcherSettings {
    /// The most publishes outstanding.
    pub max_in_flight: usize,
    /// The delays after failures.
    pub schedule: RetrySchedule,
}

/// A dead letter on its way into the file.
type DeadLettering =
    BoxFuture<'static, (Arc<SpoolRecord>, Result<RefusalReason, SpoolUnavailable>)>;

/// The dispatcher of one sink.
pub struct Dispatcher {
    name: SinkName,
    index: SinkIndex,
    spool: Spool,
    settings: DispatcherSettings,
    /// The settings that are wanted, which may change.
    wanted: watch::Receiver<DispatcherSettings>,
    metrics: DispatcherMetrics,
    probe: HealthProbe,
    probe_responder: ProbeResponder,
    tracer: Tracer,
    recording: PublishRecording,
    read_ahead: ReadAhead,
    objects: KeyHasher,
    key_order: KeyOrder<Arc<SpoolRecord>>,
    /// Events whose turn has come, in order.
    ready: VecDeque<Arc<SpoolRecord>>,
    publishing: PublishesInFlight,
    window: InFlightWindow,
    dead_lettering: FuturesUnordered<DeadLettering>,
    held_back: HeldBack,
    /// The events that have the turn of their object and are not held back, with when they were
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
    /// A dispatcher for one sink, with the wanted settings whatever becomes of them.
    #[must_use]
    pub fn new(
        served: ServedSink,
        spool: Spool,
        mut wanted: watch::Receiver<DispatcherSettings>,
        metrics: &Metrics,
    ) -> Self {
        let (probe, probe_responder) = HealthProbe::new();
        let settings = *wanted.borrow_and_update();
        let ServedSink {
            name,
            index,
            sink,
            tracer,
            recorder,
        } = served;
        Self {
            metrics: DispatcherMetrics::of(metrics, &name),
            read_ahead: ReadAhead::of(spool.clone(), index, name.clone(), settings.schedule),
            name,
            index,
            spool,
            settings,
            wanted,
            probe,
            probe_responder,
            tracer,
            recording: PublishRecording::of(recorder, index),
            objects: KeyHasher::default(),
            key_order: KeyOrder::default(),
            ready: VecDeque::new(),
            recoveries: sink.recoveries(),
            publishing: PublishesInFlight::to(sink),
            window: InFlightWindow::of(settings.max_in_flight),
            dead_lettering: FuturesUnordered::new(),
            held_back: HeldBack::new(settings.schedule),
            turns: BTreeMap::new(),
            held_bytes: 0,
            backoff: Backoff::new(settings.schedule),
            paused_at: None,
            paused_until: None,
        }
    }

    /// A health probe of this dispatcher.
    #[must_use]
    pub fn probe(&self) -> HealthProbe {
        self.probe.clone()
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
        while let Some((record, result)) = self.dead_lettering.next().await {
            self.dead_lettered(&record, result)?;
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
            () = self.probe_responder.answer() => {}
            Ok(()) = self.wanted.changed() => self.change_settings(),
            // There is nothing more to wait for.
            Ok(()) = self.recoveries.changed(), if self.paused_until.is_some() => self.paused_until = None,
            attempts = self.publishing.ended(STEP_ATTEMPTS), if !self.publishing.is_empty() => self.ended(attempts),
            Some((record, result)) = self.dead_lettering.next(), if !self.dead_lettering.is_empty() => self.dead_lettered(&record, result)?,
            read = self.read_ahead.next() => self.take_in(read?),
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        Ok(())
    }

    /// Goes on with the wanted settings; a pause that has begun is no longer than the new longest.
    fn change_settings(&mut self) {
        let now = Instant::now();
        self.settings = *self.wanted.borrow_and_update();
        let latest = now + self.settings.schedule.longest;
        self.paused_until = self.paused_until.map(|until| until.min(latest));
        self.window.limit(self.settings.max_in_flight);
        self.backoff.follow(self.settings.schedule);
        self.held_back.follow(self.settings.schedule, now);
        self.read_ahead.follow(self.settings.schedule, now);
    }

    /// When to look again although nothing has happened.
    fn next_wake(&self, now: Instant) -> Instant {
        let takes_held_back = self.may_read() && self.read_ahead.takes() > 0;
        let held_back = self.held_back.next_at().filter(|_| takes_held_back);
        let due = [self.paused_until, held_back, self.read_ahead.next_at(now)];
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
                self.recording.note_begun(record.event().id());
                self.publishing.start(record);
                may_start -= 1;
            }
        }
        self.recording.record_begun();
    }

    /// Whether there is hope for this event; if not, it is held back.
    fn is_admitted(&mut self, record: &SpoolRecord, now: Instant) -> bool {
        if self.held_back.is_empty() || self.held_back.is_tried(record.position().sequence) {
            return true;
        }
        let (address, event) = (self.publishing.address(record), self.objects.refer(record));
        let is_admitted = self.held_back.admits(&address, event, now);
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
        !is_paused && self.ready.len() + self.dead_lettering.len() < self.settings.max_in_flight
    }

    /// Asks the spool for more: for new events, and for held back ones that are to be tried.
    fn read_on(&mut self, now: Instant) {
        if !self.may_read() {
            return;
        }
        for event in self.held_back.let_go(now, self.read_ahead.takes()) {
            self.read_again(event);
        }
        let bytes = MOST_HELD_BYTES.saturating_sub(self.held_bytes);
        self.read_ahead
            .go_on(now, bytes, self.settings.max_in_flight);
    }

    fn read_again(&mut self, event: EventRef) {
        self.turns.insert(event.sequence, event.received_ms);
        self.read_ahead.reread(event);
    }

    /// New events wait for their turns, and those that were read again have theirs. An event that the
    /// spool has let go of meanwhile gives its turn up.
    fn take_in(&mut self, read: SpoolRead) {
        match read {
            SpoolRead::New(records) => records.into_iter().for_each(|record| self.enter(record)),
            SpoolRead::Reread { records, gone } => {
                records.into_iter().for_each(|record| self.hold(record));
                let now = Instant::now();
                for event in gone {
                    self.held_back.out_of_the_way(event.sequence, now);
                    self.pass_on(event.sequence, event.object);
                }
            }
            SpoolRead::Nothing => {}
        }
    }

    fn enter(&mut self, record: Arc<SpoolRecord>) {
        seeded::panic_over(Bug::PanicInDispatcher, record.event().body());
        seeded::hang_over(Bug::HangInDispatcher, record.event().body());
        let (event, bytes) = (self.objects.refer(&record), record.position().bytes);
        if let Some(record) = self.key_order.enter(event, bytes, record) {
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

    /// The event is settled or a dead letter: it is the turn of its object's next one.
    fn done(&mut self, record: &SpoolRecord) {
        self.held_bytes -= bytes(record);
        let object = self.objects.of(record.event());
        self.pass_on(record.position().sequence, object);
    }

    fn pass_on(&mut self, sequence: u64, object: KeyHash) {
        self.turns.remove(&sequence);
        match self.key_order.leave(object) {
            Some(Turn::Held(next)) => self.hold(next),
            Some(Turn::OnDisk(next)) => self.read_again(next),
            None => {}
        }
    }

    /// The event is held back: it keeps the turn of its object, and nothing of it stays in memory.
    fn put_away(&mut self, event: EventRef, record: &SpoolRecord) {
        self.held_bytes -= bytes(record);
        self.turns.remove(&event.sequence);
        self.key_order.hold_back(event.object);
    }

    fn ended(&mut self, attempts: Vec<PublishAttempt>) {
        let now = Instant::now();
        self.recording.ended(&attempts, now);
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
        for PublishAttempt {
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
                Err(PublishError::Unroutable(cause)) => self.hold_back(&record, &cause, now),
                Err(PublishError::Refused { reason, detail }) => {
                    self.dead_letter(record, reason, detail)
                }
            }
        }
        if !settlements.is_empty() {
            self.spool.settle(self.index, &settlements);
        }
    }

    fn delivered(&mut self, record: &SpoolRecord, now: Instant) {
        self.metrics.delivered(record.event());
        if let Some(address) = self.held_back.arrived(record.position().sequence, now) {
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
    fn hold_back(&mut self, record: &SpoolRecord, cause: &str, now: Instant) {
        let (address, event) = (self.publishing.address(record), self.objects.refer(record));
        if self.held_back.came_back(&address, event, now) {
            tracing::warn!(sink = %self.name, address, cause, event_type = record.label(), "the sink has no place for an event; the events of its address are kept, and now and then one of them is tried");
        }
        self.put_away(event, record);
    }

    fn dead_letter(&mut self, record: Arc<SpoolRecord>, reason: RefusalReason, detail: String) {
        tracing::warn!(sink = %self.name, id = %record.event().id(), %reason, detail, "the sink refuses an event; it becomes a dead letter");
        let spool = self.spool.clone();
        let letter = NewDeadLetter {
            record: Arc::clone(&record),
            sink: self.index,
            reason,
            detail,
        };
        self.dead_lettering
            .push(async move { (record, spool.set_aside(letter).await.map(|()| reason)) }.boxed());
    }

    /// A dead letter that could not be written leaves the event where it was: it is tried again.
    fn dead_lettered(
        &mut self,
        record: &SpoolRecord,
        result: Result<RefusalReason, SpoolUnavailable>,
    ) -> Result<(), SpoolUnavailable> {
        let now = Instant::now();
        match result {
            Ok(reason) => {
                self.recording.dead_lettered(record.event().id(), reason);
                let sequence = record.position().sequence;
                if self.held_back.letter_arrived(sequence, now) {
                    tracing::info!(sink = %self.name, "dead letters can be written again");
                }
                self.done(record);
            }
            Err(SpoolUnavailable::Closed) => return Err(SpoolUnavailable::Closed),
            Err(error) => {
                let event = self.objects.refer(record);
                if self.held_back.letter_came_back(event, now) {
                    tracing::warn!(sink = %self.name, %error, "a dead letter cannot be written; its event is kept and tried again");
                }
                self.put_away(event, record);
            }
        }
        Ok(())
    }

    fn count<T>(&self, record: &SpoolRecord, result: &Result<T, PublishError>, started: Instant) {
        let outcome = PublishOutcome::of(result);
        self.metrics.attempted(outcome, started.elapsed());
        self.tracer
            .published(record.event().traceparent(), || SpanWork {
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
        let oldest = at_hand.into_iter().chain(self.held_back.oldest()).min();
        self.metrics.show(DispatcherState {
            in_flight: self.publishing.len(),
            unroutable: self.held_back.len(),
            is_paused: self.paused_at.is_some(),
            oldest_ms: oldest.map(|(_, received_ms)| received_ms),
        });
    }
}
