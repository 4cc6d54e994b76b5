//! Read-ahead of the spool for one sink: new events in order, and known ones that must be read again,
//! both in slices of bounded bytes. What cannot be read now is tried again after a pause; nothing is
//! read past it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::backoff::{Backoff, RetrySchedule};
use super::event_ref::EventRef;
use super::reread_queue::RereadQueue;
use crate::event::SinkIndex;
use crate::name::SinkName;
use crate::spool::{LoadedRecords, Spool, SpoolRecord, SpoolUnavailable};

/// The bytes of records that are asked for at once; a record that is larger comes alone.
pub(super) const SLICE_BYTES: usize = 8 * 1024 * 1024;

/// While new events come few at a time, they are asked for this often at most: each question, publish
/// and receipt for one event alone costs as much as for many. After a pause longer than this the next
/// event is read at once.
const GATHERING: Duration = Duration::from_millis(5);
/// So many events at once are not few.
const MANY: usize = 16;

/// What was read.
#[derive(Debug)]
pub(super) enum SpoolRead {
    /// The next events, in order.
    New(Vec<Arc<SpoolRecord>>),
    /// Events that were known.
    Reread {
        /// Their records.
        records: Vec<Arc<SpoolRecord>>,
        /// Those that wait for the sink no more.
        gone: Vec<EventRef>,
    },
    /// Nothing, for now.
    Nothing,
}

type Fetching = BoxFuture<'static, Result<Vec<Arc<SpoolRecord>>, SpoolUnavailable>>;

/// What was asked for, and the answer to come.
struct Loading {
    asked: Vec<EventRef>,
    /// Whether it could not be read before.
    is_retry: bool,
    answer: BoxFuture<'static, Result<LoadedRecords, SpoolUnavailable>>,
}

/// What ended.
enum Answered {
    Fetch(Result<Vec<Arc<SpoolRecord>>, SpoolUnavailable>),
    Load(Result<LoadedRecords, SpoolUnavailable>),
}

/// Reads the spool for one sink.
pub(super) struct ReadAhead {
    name: SinkName,
    sink: SinkIndex,
    spool: Spool,
    /// New events have been read up to here.
    through: u64,
    fetching: Option<Fetching>,
    /// So many events were asked for.
    asked: usize,
    /// When new events are asked for again, at the earliest.
    fetch_at: Instant,
    fetch_retry: Retry,
    reread: RereadQueue,
    loading: Option<Loading>,
    load_retry: Retry,
    /// Whose turn it is where there is room for one slice only.
    load_next: bool,
}

impl ReadAhead {
    /// From the beginning, with these pauses after failures.
    pub fn of(spool: Spool, sink: SinkIndex, name: SinkName, schedule: RetrySchedule) -> Self {
        Self {
            name,
            sink,
            spool,
            through: 0,
            fetching: None,
            asked: 0,
            fetch_at: Instant::now(),
            fetch_retry: Retry::new(schedule),
            reread: RereadQueue::default(),
            loading: None,
            load_retry: Retry::new(schedule),
            load_next: true,
        }
    }

    /// Follows another schedule; a pause that has begun is no longer than the new longest.
    pub fn follow(&mut self, schedule: RetrySchedule, now: Instant) {
        self.fetch_retry.follow(schedule, now);
        self.load_retry.follow(schedule, now);
    }

    /// An event is to be read again.
    pub fn reread(&mut self, event: EventRef) {
        self.reread.push(event);
    }

    /// How many more events may be named to be read again without need.
    pub fn takes(&self) -> usize {
        self.reread.takes()
    }

    /// Asks the spool for what there is room for: slices within `bytes`, each of `events` at most.
    pub fn go_on(&mut self, now: Instant, mut bytes: usize, events: usize) {
        let asked = usize::from(self.fetching.is_some()) + usize::from(self.loading.is_some());
        bytes = bytes.saturating_sub(asked * SLICE_BYTES);
        while bytes >= SLICE_BYTES {
            bytes -= SLICE_BYTES;
            let retry = self.load_retry.is_due(now);
            let may_load = self.loading.is_none() && self.reread.has_next(retry);
            let may_fetch = self.fetching.is_none() && self.fetch_retry.is_due(now);
            match (may_load, may_fetch) {
                (true, true) if self.load_next => self.load(retry),
                (true, false) => self.load(retry),
                (_, true) => self.fetch(events),
                (false, false) => return,
            }
        }
    }

    /// When a pause is over that has not been yet.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        let retries = [&self.fetch_retry, &self.load_retry];
        let ends = retries.into_iter().filter_map(|retry| retry.at);
        ends.filter(|at| *at > now).min()
    }

    /// Waits for what was asked for. Dropping it loses nothing.
    ///
    /// # Errors
    /// When the spool is closed.
    pub async fn next(&mut self) -> Result<SpoolRead, SpoolUnavailable> {
        let ended = tokio::select! {
            biased;
            loaded = answer(self.loading.as_mut().map(|loading| &mut loading.answer)) => Answered::Load(loaded),
            fetched = answer(self.fetching.as_mut()) => Answered::Fetch(fetched),
        };
        let was_well = self.is_well();
        let read = match ended {
            Answered::Fetch(fetched) => self.fetched(fetched),
            Answered::Load(loaded) => self.loaded(loaded),
        };
        match read {
            Ok(read) => {
                if !was_well && self.is_well() {
                    tracing::info!(sink = %self.name, "the spool can be read again");
                }
                Ok(read)
            }
            Err(SpoolUnavailable::Closed) => Err(SpoolUnavailable::Closed),
            Err(error) => {
                if was_well && !self.is_well() {
                    tracing::error!(sink = %self.name, %error, "waiting events cannot be read; they stay, and it is tried again");
                }
                Ok(SpoolRead::Nothing)
            }
        }
    }

    fn is_well(&self) -> bool {
        self.fetch_retry.at.is_none() && !self.reread.has_unreadable()
    }

    fn fetch(&mut self, events: usize) {
        self.load_next = true;
        self.asked = events;
        let (spool, sink, after) = (self.spool.clone(), self.sink, self.through);
        let fetch_at = self.fetch_at.into();
        let fetching = async move {
            tokio::time::sleep_until(fetch_at).await;
            spool.fetch(sink, after, events, SLICE_BYTES).await
        };
        self.fetching = Some(fetching.boxed());
    }

    fn fetched(
        &mut self,
        fetched: Result<Vec<Arc<SpoolRecord>>, SpoolUnavailable>,
    ) -> Result<SpoolRead, SpoolUnavailable> {
        self.fetching = None;
        match fetched {
            Ok(records) => {
                self.fetch_retry.worked();
                if records.len() < MANY.min(self.asked) {
                    self.fetch_at = Instant::now() + GATHERING;
                }
                let sequences = records.iter().map(|record| record.position().sequence);
                self.through = sequences.fold(self.through, u64::max);
                Ok(SpoolRead::New(records))
            }
            Err(error) => {
                self.fetch_retry.failed(Instant::now());
                Err(error)
            }
        }
    }

    fn load(&mut self, retry: bool) {
        self.load_next = false;
        let is_retry = retry && self.reread.has_unreadable();
        let asked = self.reread.ask(is_retry);
        let sequences = asked.iter().map(|event| event.sequence).collect();
        let (spool, sink) = (self.spool.clone(), self.sink);
        let answer = async move { spool.load(sink, sequences, SLICE_BYTES).await }.boxed();
        self.loading = Some(Loading {
            asked,
            is_retry,
            answer,
        });
    }

    fn loaded(
        &mut self,
        loaded: Result<LoadedRecords, SpoolUnavailable>,
    ) -> Result<SpoolRead, SpoolUnavailable> {
        let Some(Loading {
            asked, is_retry, ..
        }) = self.loading.take()
        else {
            return Ok(SpoolRead::Nothing);
        };
        match loaded {
            // An answer without anything would be asked for again for ever.
            Ok(LoadedRecords { records, gone }) if !(records.is_empty() && gone.is_empty()) => {
                let sequences = records.iter().map(|record| record.position().sequence);
                let read: Vec<u64> = sequences.collect();
                let gone = self.reread.answered(asked, &read, &gone);
                if is_retry {
                    self.load_retry.worked();
                    self.reread.retry_unreadable();
                }
                Ok(SpoolRead::Reread { records, gone })
            }
            Ok(_) => Err(self.load_failed(asked, SpoolUnavailable::Unreadable)),
            Err(error) => Err(self.load_failed(asked, error)),
        }
    }

    fn load_failed(&mut self, asked: Vec<EventRef>, error: SpoolUnavailable) -> SpoolUnavailable {
        if self.reread.failed(asked) {
            self.load_retry.failed(Instant::now());
        }
        error
    }
}

/// The answer to a question that was asked, and never one to a question that was not.
async fn answer<T>(asked: Option<&mut BoxFuture<'static, T>>) -> T {
    match asked {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

/// The pause after a failure.
#[derive(Debug)]
struct Retry {
    backoff: Backoff,
    /// When to try again, from a failure until it works.
    at: Option<Instant>,
}

impl Retry {
    fn new(schedule: RetrySchedule) -> Self {
        Self {
            backoff: Backoff::new(schedule),
            at: None,
        }
    }

    fn follow(&mut self, schedule: RetrySchedule, now: Instant) {
        self.backoff.follow(schedule);
        self.at = self.at.map(|at| at.min(now + schedule.longest));
    }

    fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| at <= now)
    }

    fn failed(&mut self, now: Instant) {
        self.at = Some(now + self.backoff.failed());
    }

    fn worked(&mut self) {
        self.at = None;
        self.backoff.worked();
    }
}
