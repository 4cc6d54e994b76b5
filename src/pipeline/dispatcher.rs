//! The dispatcher: one per sink. It reads the spool in order, publishes many events at once but one
//! per object, and reacts to what the sink says by the name of the error: pause, hold back, set aside.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, Schedule};
use super::gate::{Gate, Turn};
use super::instruments::{Instruments, Outcome, Standing};
use super::publishing::{Attempt, Publishing};
use super::pulse::{Asked, Pulse};
use super::window::Window;
use crate::event::{OrderingKey, SinkIndex};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::seeded::{self, Bug};
use crate::sink::{PublishError, RefusalReason, Sink};
use crate::spool::{Burial, Record, Settlement, Spool, SpoolUnavailable};
use crate::trace::{Tracer, Work};

/// Events held back at once because the sink has no place for them; beyond it nothing more is read.
const MAX_UNROUTABLE: usize = 100_000;
/// Events that wait behind others of their object; as above.
const MAX_WAITING: usize = 1_000_000;
/// Ended publishes handled in one step.
const STEP_ATTEMPTS: usize = 512;
/// Held-back events tried again in one step.
const STEP_RETRIES: usize = 256;

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

type Fetching = BoxFuture<'static, Result<Vec<Arc<Record>>, SpoolUnavailable>>;

/// Events to be read again, and what the spool found of them.
type Loading = BoxFuture<
    'static,
    (
        Vec<(u64, OrderingKey)>,
        Result<Vec<Arc<Record>>, SpoolUnavailable>,
    ),
>;

/// A dead letter on its way into the file.
type Burying = BoxFuture<'static, (Arc<Record>, Result<(), SpoolUnavailable>)>;

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
    publishing: Publishing,
    window: Window,
    gate: Gate,
    /// Events whose turn has come, in order.
    ready: VecDeque<Arc<Record>>,
    /// The spool has been read up to here.
    read_through: u64,
    fetching: Option<Fetching>,
    loading: FuturesUnordered<Loading>,
    burying: FuturesUnordered<Burying>,
    /// Everything read and not yet settled, with the time it was received, for the oldest of them.
    held: BTreeMap<u64, Timestamp>,
    /// Held back: when to try again, and how often that has failed.
    unroutable: BTreeMap<(Instant, u64), (OrderingKey, u32)>,
    /// How often the events that are on their way again were held back before.
    setbacks: BTreeMap<u64, u32>,
    backoff: Backoff,
    paused_at: Option<Instant>,
    paused_until: Option<Instant>,
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
        Self {
            instruments: Instruments::of(metrics, &served.name),
            name: served.name,
            index: served.index,
            spool,
            pace,
            wanted,
            pulse,
            asked,
            tracer: served.tracer,
            publishing: Publishing::to(served.sink),
            window: Window::of(pace.max_in_flight),
            gate: Gate::default(),
            ready: VecDeque::new(),
            read_through: 0,
            fetching: None,
            loading: FuturesUnordered::new(),
            burying: FuturesUnordered::new(),
            held: BTreeMap::new(),
            unroutable: BTreeMap::new(),
            setbacks: BTreeMap::new(),
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
            self.ended(attempts)?;
        }
        while let Some((_, result)) = self.burying.next().await {
            result?;
        }
        Ok(())
    }

    /// Starts what can be started, then waits for one thing to happen. Dropping it between two
    /// events loses nothing: all state is in `self`.
    async fn step(&mut self) -> Result<(), SpoolUnavailable> {
        let now = Instant::now();
        self.resume(now);
        self.retry_unroutable(now);
        self.publish_ready();
        self.read_on();
        self.show();
        let wake = self.next_wake();
        tokio::select! {
            biased;
            // First, or a dispatcher that is busy without a pause would be taken for one that is stuck.
            () = self.asked.answer() => {}
            Ok(()) = self.wanted.changed() => self.change_pace(),
            attempts = self.publishing.ended(STEP_ATTEMPTS), if !self.publishing.is_empty() => self.ended(attempts)?,
            Some((record, result)) = self.burying.next(), if !self.burying.is_empty() => self.buried(&record, result)?,
            Some((asked, found)) = self.loading.next(), if !self.loading.is_empty() => self.loaded(asked, found)?,
            records = wait(&mut self.fetching), if self.fetching.is_some() => self.fetched(records?),
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        Ok(())
    }

    /// Goes on at the wanted pace; a pause that has begun is no longer than the new longest.
    fn change_pace(&mut self) {
        self.pace = *self.wanted.borrow_and_update();
        let latest = Instant::now() + self.pace.schedule.longest;
        self.paused_until = self.paused_until.map(|until| until.min(latest));
        self.window.limit(self.pace.max_in_flight);
        self.backoff.follow(self.pace.schedule);
    }

    /// When to look again although nothing has happened.
    fn next_wake(&self) -> Instant {
        let next_retry = || self.unroutable.first_key_value().map(|((due, _), _)| *due);
        // While the sink is unavailable nothing else is due.
        let due = if self.paused_at.is_some() {
            self.paused_until
        } else {
            next_retry()
        };
        due.unwrap_or_else(|| Instant::now() + Duration::from_secs(60))
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

    fn publish_ready(&mut self) {
        for _ in 0..self.may_start() {
            let Some(record) = self.ready.pop_front() else {
                break;
            };
            self.publishing.start(record);
        }
    }

    /// Asks the spool for more, while there is room and hope for it.
    fn read_on(&mut self) {
        let room = self.ready.len() < self.pace.max_in_flight
            && self.unroutable.len() < MAX_UNROUTABLE
            && self.gate.waiting() < MAX_WAITING;
        if self.fetching.is_none() && room && self.paused_at.is_none() {
            let (spool, index, after, limit) = (
                self.spool.clone(),
                self.index,
                self.read_through,
                self.pace.max_in_flight,
            );
            self.fetching = Some(async move { spool.fetch(index, after, limit).await }.boxed());
        }
    }

    fn fetched(&mut self, records: Vec<Arc<Record>>) {
        self.fetching = None;
        for record in records {
            seeded::stumble(Bug::PanicInDispatcher, record.event().body());
            seeded::stick(Bug::StickInDispatcher, record.event().body());
            let sequence = record.position().sequence;
            self.read_through = self.read_through.max(sequence);
            self.held.insert(sequence, record.event().received_at());
            self.ready.extend(self.gate.enter(record));
        }
    }

    fn load(&mut self, asked: Vec<(u64, OrderingKey)>) {
        let (spool, index) = (self.spool.clone(), self.index);
        let sequences = asked.iter().map(|(sequence, _)| *sequence).collect();
        self.loading
            .push(async move { (asked, spool.load(index, sequences).await) }.boxed());
    }

    /// What was read again takes its turn. An event the spool has set aside meanwhile, because its
    /// record is damaged, gives its turn up; while the spool cannot be read, all keep theirs.
    fn loaded(
        &mut self,
        asked: Vec<(u64, OrderingKey)>,
        found: Result<Vec<Arc<Record>>, SpoolUnavailable>,
    ) -> Result<(), SpoolUnavailable> {
        let records = match found {
            Ok(records) => records,
            Err(SpoolUnavailable::Closed) => return Err(SpoolUnavailable::Closed),
            Err(_) => {
                for (sequence, key) in asked {
                    self.set_back(sequence, key);
                }
                return Ok(());
            }
        };
        let there: HashSet<u64> = records
            .iter()
            .map(|record| record.position().sequence)
            .collect();
        self.ready.extend(records);
        for (sequence, key) in asked {
            if !there.contains(&sequence) {
                self.setbacks.remove(&sequence);
                self.done(sequence, &key);
            }
        }
        Ok(())
    }

    fn retry_unroutable(&mut self, now: Instant) {
        if self.paused_at.is_some() {
            return;
        }
        let mut due = Vec::new();
        while due.len() < STEP_RETRIES
            && let Some(entry) = self.unroutable.first_entry()
            && entry.key().0 <= now
        {
            let ((_, sequence), (key, setbacks)) = entry.remove_entry();
            self.setbacks.insert(sequence, setbacks);
            due.push((sequence, key));
        }
        if !due.is_empty() {
            self.load(due);
        }
    }

    fn ended(&mut self, attempts: Vec<Attempt>) -> Result<(), SpoolUnavailable> {
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
                    self.delivered(&record);
                    settlements.push(Settlement { receipt, record });
                }
                Err(PublishError::Unavailable(cause)) => {
                    self.ready.push_front(record);
                    self.pause(started, outstanding, &cause);
                }
                Err(PublishError::Unroutable(cause)) => self.hold_back(&record, &cause),
                Err(PublishError::Refused { reason, detail }) => self.bury(record, reason, detail),
            }
        }
        if settlements.is_empty() {
            Ok(())
        } else {
            self.spool.settle(self.index, settlements)
        }
    }

    fn delivered(&mut self, record: &Arc<Record>) {
        let sequence = record.position().sequence;
        self.instruments.delivered(record.event());
        if self.setbacks.remove(&sequence).is_some()
            && self.setbacks.is_empty()
            && self.unroutable.is_empty()
        {
            tracing::info!(sink = %self.name, "the sink has a place for every event again");
        }
        self.done(sequence, &record.event().ordering_key());
    }

    /// The sink is there and has given its verdict, whatever it is.
    fn answered(&mut self) {
        if self.paused_at.take().is_some() {
            self.paused_until = None;
            self.backoff.worked();
            tracing::info!(sink = %self.name, "the sink takes events again");
        }
    }

    /// The object's next event may go.
    fn done(&mut self, sequence: u64, key: &OrderingKey) {
        self.held.remove(&sequence);
        match self.gate.leave(key) {
            Some(Turn::Held(next)) => self.ready.push_back(next),
            Some(Turn::OnDisk(sequence)) => self.load(vec![(sequence, key.clone())]),
            None => {}
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

    /// The sink has no place for this event yet: its object waits, the others go on.
    fn hold_back(&mut self, record: &Record, cause: &str) {
        if self.unroutable.is_empty() && self.setbacks.is_empty() {
            tracing::warn!(sink = %self.name, cause, event_type = record.label(), "the sink has no place for an event; it is kept and tried again");
        }
        self.set_back(record.position().sequence, record.event().ordering_key());
    }

    fn set_back(&mut self, sequence: u64, key: OrderingKey) {
        let setbacks = self.setbacks.remove(&sequence).unwrap_or(0) + 1;
        let due = Instant::now() + self.pace.schedule.delay(setbacks, rand::random());
        self.unroutable.insert((due, sequence), (key, setbacks));
    }

    fn bury(&mut self, record: Arc<Record>, reason: RefusalReason, detail: String) {
        tracing::warn!(sink = %self.name, id = %record.event().id(), %reason, detail, "the sink refuses an event; it becomes a dead letter");
        let spool = self.spool.clone();
        let burial = Burial {
            record: Arc::clone(&record),
            sink: self.index,
            reason,
            detail,
        };
        self.burying
            .push(async move { (record, spool.bury(burial).await) }.boxed());
    }

    /// A dead letter that could not be written leaves the event where it was: it is tried again.
    fn buried(
        &mut self,
        record: &Record,
        result: Result<(), SpoolUnavailable>,
    ) -> Result<(), SpoolUnavailable> {
        match result {
            Ok(()) => {
                let sequence = record.position().sequence;
                self.setbacks.remove(&sequence);
                self.done(sequence, &record.event().ordering_key());
            }
            Err(SpoolUnavailable::Closed) => return Err(SpoolUnavailable::Closed),
            Err(error) => self.hold_back(record, &error.to_string()),
        }
        Ok(())
    }

    fn count<T>(&self, record: &Record, result: &Result<T, PublishError>, started: Instant) {
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
        self.instruments.show(Standing {
            in_flight: self.publishing.len(),
            unroutable: self.unroutable.len() + self.setbacks.len(),
            is_paused: self.paused_at.is_some(),
            oldest: self.held.first_key_value().map(|(_, received)| *received),
        });
    }
}

async fn wait(fetching: &mut Option<Fetching>) -> Result<Vec<Arc<Record>>, SpoolUnavailable> {
    match fetching {
        Some(fetching) => fetching.await,
        None => std::future::pending().await,
    }
}
