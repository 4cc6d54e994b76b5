//! The queue of one address whose events came back unroutable: those that wait for it, and the rule
//! for when the next of them is tried.
//!
//! After each pause one event, a probe, finds out; the pauses grow while probes come back. What
//! arrives earns credit for others to be tried at once, and what comes back uses it up. So where
//! nothing arrives nothing but probes is published, and where most arrives everything is tried once
//! and only what came back waits for probes. All times are arguments.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use super::backoff::{Backoff, RetrySchedule};
use super::event_ref::{EventRef, KeyHash};

/// How many may be tried for each that arrives. Where fewer than one in so many does, the
/// tries would cost more than they bring.
const CREDIT_EACH: usize = 8;

/// The most credit: so many come back when an address that was well is blocked.
const MOST_CREDIT: usize = 1024;

/// The most probes after one pause where others arrive meanwhile, and the address therefore stands
/// for several, each with its own fate; where none does it is one.
const MOST_PROBES: usize = 64;

/// Why an event is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryReason {
    /// Others have arrived.
    Credit,
    /// To find out whether it arrives; whether it came back before.
    Probe {
        /// It came back before.
        again: bool,
    },
}

/// What is kept of an event that waits; its sequence is the key.
#[derive(Debug, Clone, Copy)]
struct HeldEvent {
    object: KeyHash,
    received_ms: u64,
}

/// Events by their sequences, oldest first.
type HeldEvents = BTreeMap<u64, HeldEvent>;

/// An address from which events came back.
#[derive(Debug)]
pub(super) struct AddressQueue {
    /// Events that have not been tried.
    untried: HeldEvents,
    /// Events that came back.
    tried: HeldEvents,
    /// The last of those that was tried again; the next is the one behind it, round and round.
    cursor: u64,
    /// So many of those may be tried on credit, because one of them has arrived.
    retries: usize,
    /// How many events may be on their way because others have arrived.
    credit: usize,
    /// How many are, without a verdict.
    on_credit: usize,
    /// Probes without a verdict.
    probes: usize,
    /// Whether the next probe is one that came back before: in turns, for either kind may be the one
    /// that arrives.
    probe_again: bool,
    probe_at: Instant,
    backoff: Backoff,
    /// What [`AddressQueue::next_at`] said last, noted by whoever keeps the queues.
    pub noted: Option<Instant>,
}

impl AddressQueue {
    /// A blocked one, whose first probe is due after the first pause.
    pub fn new(schedule: RetrySchedule, now: Instant) -> Self {
        let mut backoff = Backoff::new(schedule);
        Self {
            untried: HeldEvents::new(),
            tried: HeldEvents::new(),
            cursor: 0,
            retries: 0,
            credit: 0,
            on_credit: 0,
            probes: 0,
            probe_again: false,
            probe_at: now + backoff.failed(),
            backoff,
            noted: None,
        }
    }

    /// Follows another schedule; a pause that has begun is no longer than the new longest.
    pub fn follow(&mut self, schedule: RetrySchedule, now: Instant) {
        self.backoff.follow(schedule);
        self.probe_at = self.probe_at.min(now + schedule.longest);
    }

    /// Whether a new event may go at once; if so, on credit.
    pub fn admit(&mut self) -> bool {
        let admitted = self.untried.is_empty() && self.on_credit < self.credit;
        self.on_credit += usize::from(admitted);
        admitted
    }

    /// Keeps an event that has not been tried.
    pub fn keep(&mut self, event: EventRef) {
        self.untried.insert(event.sequence, HeldEvent::of(event));
    }

    /// An event came back. `reason` is why it was let go, if this queue did that.
    pub fn came_back(&mut self, event: EventRef, reason: Option<RetryReason>, now: Instant) {
        self.tried.insert(event.sequence, HeldEvent::of(event));
        self.ended(reason);
        if let Some(RetryReason::Probe { .. }) = reason {
            if self.probes == 0 {
                self.probe_at = now + self.backoff.failed();
            }
        } else if self.credit > 0 {
            self.credit -= 1;
            if self.credit == 0 {
                // Blocked as a whole from now on, which says nothing of how long it will be.
                self.retries = 0;
                self.backoff.worked();
                self.probe_at = now + self.backoff.failed();
            }
        }
    }

    /// An event that this queue let go has arrived.
    pub fn arrived(&mut self, reason: RetryReason, now: Instant) {
        self.ended(Some(reason));
        self.credit = (self.credit + CREDIT_EACH).min(MOST_CREDIT);
        if let RetryReason::Probe { again } = reason {
            self.backoff.worked();
            self.probe_at = now;
            if again {
                self.retries = self.tried.len();
            }
        }
    }

    /// An event that this queue let go is out of the way, for no reason of the address.
    pub fn ended(&mut self, reason: Option<RetryReason>) {
        let count = match reason {
            Some(RetryReason::Credit) => &mut self.on_credit,
            Some(RetryReason::Probe { .. }) => &mut self.probes,
            None => return,
        };
        // None may be left: a queue that is blocked anew knows nothing of what it let go before.
        *count = count.saturating_sub(1);
    }

    /// When something may be let go, if that does not depend on what is on its way.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.has_on_credit() {
            return Some(now);
        }
        (self.probes == 0 && self.has_to_probe()).then_some(self.probe_at)
    }

    /// Lets go what may be by now, at most so many, with why.
    pub fn let_go(&mut self, now: Instant, most: usize) -> Vec<(EventRef, RetryReason)> {
        let mut gone = Vec::new();
        if self.probes == 0 && self.probe_at <= now {
            let probes = if self.credit > 0 { MOST_PROBES } else { 1 };
            while gone.len() < probes.min(most)
                && let Some(probe) = self.next_probe()
            {
                self.probes += 1;
                gone.push(probe);
            }
        }
        while gone.len() < most
            && let Some(event) = self.next_on_credit()
        {
            self.on_credit += 1;
            gone.push((event, RetryReason::Credit));
        }
        gone
    }

    /// Nothing waits here, and nothing is known against the address any more. To be asked once an
    /// event has arrived or is out of the way: what is on its way on credit may still come back.
    pub fn is_over(&self) -> bool {
        let is_open = self.credit > 0 && self.probes == 0;
        let is_forgotten = self.on_credit + self.probes == 0;
        self.untried.is_empty() && self.tried.is_empty() && (is_open || is_forgotten)
    }

    /// The sequence of the oldest event here, and when that was received, in Unix milliseconds.
    pub fn oldest(&self) -> Option<(u64, u64)> {
        let first = |events: &HeldEvents| {
            let (sequence, kept) = events.first_key_value()?;
            Some((*sequence, kept.received_ms))
        };
        let firsts = [first(&self.untried), first(&self.tried)];
        firsts.into_iter().flatten().min()
    }

    fn has_on_credit(&self) -> bool {
        let waits = !self.untried.is_empty() || (self.retries > 0 && !self.tried.is_empty());
        waits && self.on_credit < self.credit
    }

    /// Where there is credit, what has not been tried needs no probe.
    fn has_to_probe(&self) -> bool {
        !self.tried.is_empty() || (self.credit == 0 && !self.untried.is_empty())
    }

    fn next_on_credit(&mut self) -> Option<EventRef> {
        if !self.has_on_credit() {
            return None;
        }
        if let Some((sequence, kept)) = self.untried.pop_first() {
            return Some(kept.refer(sequence));
        }
        self.retries -= 1;
        self.next_tried()
    }

    fn next_probe(&mut self) -> Option<(EventRef, RetryReason)> {
        let probe_new = self.credit == 0 && (self.tried.is_empty() || !self.probe_again);
        if probe_new && let Some((sequence, kept)) = self.untried.pop_first() {
            self.probe_again = true;
            return Some((kept.refer(sequence), RetryReason::Probe { again: false }));
        }
        self.probe_again = false;
        let event = self.next_tried()?;
        Some((event, RetryReason::Probe { again: true }))
    }

    fn next_tried(&mut self) -> Option<EventRef> {
        let behind = (Bound::Excluded(self.cursor), Bound::Unbounded);
        let mut next = self.tried.range(behind).chain(self.tried.iter());
        let sequence = *next.next()?.0;
        self.cursor = sequence;
        let kept = self.tried.remove(&sequence)?;
        Some(kept.refer(sequence))
    }
}

impl HeldEvent {
    fn of(event: EventRef) -> Self {
        Self {
            object: event.object,
            received_ms: event.received_ms,
        }
    }

    fn refer(self, sequence: u64) -> EventRef {
        EventRef {
            sequence,
            object: self.object,
            received_ms: self.received_ms,
        }
    }
}
