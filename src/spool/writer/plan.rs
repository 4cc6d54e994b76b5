//! The plan of one group of events: which are new, duplicates or refused is decided before anything
//! is written, and answered once it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::{
    Append, Appended, BatchLocation, DeadLetterName, IdEntry, Inner, Milestone, Placed,
    ReplyBatches, SinkSet, SpoolRecord, SpoolUnavailable, SpoolWriter, items,
};
use crate::event::EventId;
use crate::seeded::{self, Bug};
use crate::spool::accepted_ids::KnownIds;
use crate::spool::command::RecentIds;
use crate::spool::index::KnownBody;
use crate::spool::record::ANY_BODY;
use crate::spool::settings::Duplicates;

/// The most events of one batch: a larger one would only make the first of them wait longer.
pub(super) const GROUP_EVENTS: usize = 512;
/// The most bytes of one batch with several events, and the part of a segment that it may fill.
const GROUP_BYTES: usize = 4 << 20;
const PART_OF_SEGMENT: u64 = 4;

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AppendPlan {
    /// It is written with this sequence.
    New { sequence: u64, is_different: bool },
    /// It was accepted before, with this sequence.
    Duplicate { original: u64 },
    /// It is not taken.
    Refused(SpoolUnavailable),
}

/// A group with its plans.
#[derive(Debug, Default)]
pub(super) struct PlannedBatch(Vec<(Append, AppendPlan)>);

impl PlannedBatch {
    fn new_ones(&self) -> impl Iterator<Item = &Append> {
        let is_new = |(_, plan): &&(Append, AppendPlan)| matches!(plan, AppendPlan::New { .. });
        self.0.iter().filter(is_new).map(|(append, _)| append)
    }

    /// The lowest sequence of the new events.
    fn first_new(&self) -> Option<u64> {
        self.0.iter().find_map(|(_, plan)| match plan {
            AppendPlan::New { sequence, .. } => Some(*sequence),
            _ => None,
        })
    }

    /// Where a dead letter is requeued a second time, the first record takes its place.
    fn requeue_of(&self, append: &Append) -> Option<AppendPlan> {
        let letter = append.requeued.as_ref()?;
        self.0.iter().find_map(|(earlier, plan)| match plan {
            AppendPlan::New { sequence, .. } if earlier.requeued.as_ref() == Some(letter) => {
                Some(AppendPlan::Duplicate {
                    original: *sequence,
                })
            }
            _ => None,
        })
    }

    /// Whether nothing of it is to be written.
    pub fn is_empty(&self) -> bool {
        self.new_ones().next().is_none()
    }

    /// The bytes of the records' payloads.
    pub fn payload_bytes(&self) -> Vec<usize> {
        self.new_ones()
            .map(|append| append.prepared.bytes())
            .collect()
    }

    /// The payloads in their two parts.
    pub fn payloads(&self) -> Vec<[&[u8]; 2]> {
        self.0
            .iter()
            .filter(|(_, plan)| matches!(plan, AppendPlan::New { .. }))
            .map(|(append, _)| {
                [
                    &append.prepared.head[..],
                    &append.prepared.event().body()[..],
                ]
            })
            .collect()
    }

    /// The sinks of the new records.
    pub fn sinks(&self) -> Vec<(u64, SinkSet)> {
        items::runs_of_sinks(self.new_ones().map(|append| append.prepared.prefix.sinks))
    }

    /// The dead letters whose place new records take.
    pub fn requeued(&self) -> Vec<DeadLetterName> {
        self.new_ones()
            .filter_map(|append| append.requeued.clone())
            .collect()
    }

    /// When the newest of the new events was verified.
    pub fn latest_received_at(&self) -> Option<Timestamp> {
        self.new_ones()
            .map(|append| append.prepared.event().received_at())
            .max()
    }
}

impl SpoolWriter {
    /// Decides about the next events of the queue, as many as one batch takes.
    pub(super) fn plan(&mut self, refusal: Option<SpoolUnavailable>) -> PlannedBatch {
        let shared = Arc::clone(&self.shared);
        let inner = shared.lock();
        let mut planned = PlannedBatch::default();
        let mut known_here = KnownIds::default();
        let (mut events, mut bytes) = (inner.state.pending_events() + shared.dead_letters.len(), 0);
        let mut sequence = self.log.next_sequence();
        let most = usize::try_from(self.disk_space.segment_bytes() / PART_OF_SEGMENT)
            .unwrap_or(GROUP_BYTES)
            .min(GROUP_BYTES);
        while planned.0.len() < GROUP_EVENTS
            && let Some(append) = self.queue.pop_front()
        {
            let size = append.prepared.bytes();
            if bytes > 0 && bytes + size > most {
                self.queue.push_front(append);
                break;
            }
            seeded::panic_over(Bug::PanicInSpool, append.prepared.event().body());
            let verdict = planned
                .requeue_of(&append)
                .unwrap_or_else(|| self.verdict(&inner, &append, &known_here));
            let plan = match (verdict, refusal) {
                (AppendPlan::New { .. }, Some(cause)) => AppendPlan::Refused(cause),
                (AppendPlan::New { .. }, None) if events >= self.settings.limits.max_events => {
                    AppendPlan::Refused(SpoolUnavailable::Full)
                }
                (AppendPlan::New { is_different, .. }, None) => AppendPlan::New {
                    sequence,
                    is_different,
                },
                (plan, _) => plan,
            };
            if let AppendPlan::New { .. } = plan {
                // One that is requeued owes a single sink: a delivery is no duplicate of it.
                if append.requeued.is_none() {
                    let digest = append.prepared.prefix.digest;
                    known_here.insert(append.prepared.prefix.id, KnownBody { digest, sequence });
                }
                sequence += 1;
                events += 1;
                bytes += size;
            }
            planned.0.push((append, plan));
        }
        planned
    }

    /// An event is a duplicate of a record with its id and its body that was not lost. Of one that is
    /// backfilled the provider's record may write the body otherwise than the delivery had it: it is a
    /// duplicate of any record with its id, and any event with its id is one of it.
    fn verdict(&self, inner: &Inner, append: &Append, here: &KnownIds) -> AppendPlan {
        let (id, digest) = (append.prepared.prefix.id, append.prepared.prefix.digest);
        let new = |is_different| AppendPlan::New {
            sequence: 0,
            is_different,
        };
        if let Some(letter) = &append.requeued {
            // What the unproven tail says of a dead letter may be in the cache alone.
            let is_done = self.tail.is_none() && inner.state.requeued.contains(letter);
            return if is_done {
                AppendPlan::Duplicate { original: 0 }
            } else {
                new(false)
            };
        }
        if seeded::again(Bug::KeepIdOfFailedCommit, id.as_bytes()) {
            return self.duplicate_of(0);
        }
        let mut is_different = false;
        for known in here.of(id).chain(self.certain_bodies(inner, id)) {
            if digest == ANY_BODY {
                // Whoever asks for all that the provider has must not publish all of it again.
                let original = known.sequence;
                return AppendPlan::Duplicate { original };
            }
            if known.digest == digest || known.digest == ANY_BODY {
                return self.duplicate_of(known.sequence);
            }
            is_different = true;
        }
        new(is_different)
    }

    /// The bodies that an id is known with, by records that were not lost.
    fn certain_bodies<'a>(
        &'a self,
        inner: &'a Inner,
        id: EventId,
    ) -> impl Iterator<Item = KnownBody> + 'a {
        let tail = self.tail_begins();
        self.ids
            .find(id)
            .filter(move |known| inner.is_certain(known, tail))
    }

    /// The first sequence of the unproven tail.
    fn tail_begins(&self) -> Option<u64> {
        let tail = self.tail.as_ref().and_then(|tail| tail.records.first());
        tail.map(|(first, _)| *first)
    }

    /// What is known of these ids without asking the index.
    pub(super) fn find_recent(&self, ids: &[EventId]) -> RecentIds {
        RecentIds {
            bodies: ids.iter().map(|id| self.ids.find_recent(*id)).collect(),
            tail: self.tail_begins(),
        }
    }

    fn duplicate_of(&self, original: u64) -> AppendPlan {
        match self.settings.limits.duplicates {
            Duplicates::Suppress => AppendPlan::Duplicate { original },
            Duplicates::Forward => AppendPlan::New {
                sequence: 0,
                is_different: false,
            },
        }
    }

    /// Puts a group back that has to wait.
    pub(super) fn put_back(&mut self, planned: PlannedBatch) {
        for (append, _) in planned.0.into_iter().rev() {
            self.queue.push_front(append);
        }
    }

    /// A group was not written: what was to be new is refused, and so are the copies of it in the
    /// same group. Duplicates of earlier events are what they are.
    pub(super) fn refuse(&mut self, mut planned: PlannedBatch, cause: SpoolUnavailable) {
        let first = planned.first_new();
        for (_, plan) in &mut planned.0 {
            let is_refused = match plan {
                AppendPlan::New { .. } => true,
                AppendPlan::Duplicate { original } => first.is_some_and(|first| *original >= first),
                AppendPlan::Refused(_) => false,
            };
            if is_refused {
                *plan = if seeded::is(Bug::AcknowledgeBeforeCommit) {
                    AppendPlan::Duplicate { original: 0 }
                } else {
                    AppendPlan::Refused(cause)
                };
            }
        }
        self.answer(planned, None);
    }

    /// Refuses everything new that waits.
    pub(super) fn refuse_all(&mut self, cause: SpoolUnavailable) {
        while !self.queue.is_empty() {
            let planned = self.plan(Some(cause));
            self.answer(planned, None);
        }
    }

    /// The group's new records are durable, or there are none: everybody is answered.
    pub(super) fn answer(&mut self, planned: PlannedBatch, placed: Option<Placed>) {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        let mut replies = ReplyBatches::default();
        let mut written = Vec::new();
        let mut bytes = 0;
        for (append, plan) in planned.0 {
            bytes += append.prepared.event().body().len();
            let (milestone, caller, requeued) = (append.milestone, append.caller, append.requeued);
            let (appended, sequence) = match plan {
                AppendPlan::Refused(cause) => {
                    replies.put(caller, Err(cause));
                    continue;
                }
                AppendPlan::Duplicate { original } => (Appended::Duplicate, original),
                AppendPlan::New {
                    sequence,
                    is_different,
                } => {
                    let entry = append.prepared.prefix.entry(sequence);
                    let entry = requeued.is_none().then_some(entry);
                    let record = Arc::new(append.prepared.into_record(sequence));
                    if let Some(placed) = placed {
                        self.add(&mut inner, placed, &record, entry);
                    }
                    written.push((record, requeued.is_some()));
                    inner.state.requeued.extend(requeued);
                    let appended = if is_different {
                        Appended::Different
                    } else {
                        Appended::Accepted
                    };
                    (appended, sequence)
                }
            };
            let is_early = appended == Appended::Duplicate && seeded::is(Bug::AnswerDuplicateEarly);
            let waits = milestone == Milestone::Delivered && !is_early;
            if waits && inner.state.is_pending_for_configured(sequence) {
                inner.waiters.add(sequence, caller.reply, appended);
            } else {
                replies.put(caller, Ok(appended));
            }
        }
        inner.count(|update| {
            for (record, is_requeued) in &written {
                if *is_requeued {
                    update.requeued(record);
                } else {
                    update.accepted(record);
                }
            }
        });
        self.announce(inner, written.into_iter().map(|(record, _)| record), placed);
        shared
            .flags
            .queued_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
        replies.send();
    }

    /// A record is durable: the state and the ids have it.
    pub(super) fn add(
        &mut self,
        inner: &mut Inner,
        placed: Placed,
        record: &SpoolRecord,
        entry: Option<IdEntry>,
    ) {
        let position = record.position();
        let bytes = u64::from(position.bytes);
        inner
            .state
            .add(position.sequence, position.sinks, bytes, placed.segment);
        if let Some(entry) = entry {
            let forgotten = self.ids.add(placed.segment, entry);
            self.forgot_early(forgotten, inner);
        }
    }

    /// New records can be read: those who wait for them are told.
    pub(super) fn announce(
        &self,
        mut inner: std::sync::MutexGuard<'_, Inner>,
        records: impl Iterator<Item = Arc<SpoolRecord>>,
        placed: Option<Placed>,
    ) {
        let mut sinks = SinkSet::default();
        let mut count = 0;
        for record in records {
            sinks = SinkSet::from_bits(sinks.bits() | record.position().sinks.bits());
            count += 1;
            inner.recent.push(record);
        }
        if let Some(placed) = placed
            && let Some(segment) = inner.state.segments.get(&placed.segment)
        {
            segment.file.note(BatchLocation {
                first_sequence: placed.first_sequence,
                count,
                offset: placed.offset,
                length: placed.length,
            });
        }
        drop(inner);
        for sink in sinks.iter() {
            self.shared.notify(sink);
        }
    }
}

#[cfg(test)]
impl SpoolWriter {
    /// Whether there is evidence that everything written was acknowledged.
    pub(in crate::spool) fn is_proven(&self) -> bool {
        self.queue.is_empty() && self.tail.is_none() && !self.is_unproven
    }

    /// Whether no records that a start has found are still to be written.
    pub(in crate::spool) fn has_no_tail(&self) -> bool {
        self.tail.is_none()
    }

    /// Whether the next batch is to be a snapshot although the segment has space.
    pub(in crate::spool) fn wants_snapshot(&self) -> bool {
        self.is_snapshot_wanted()
    }
}
