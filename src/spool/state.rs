//! The spool's state: which sequences wait for which sink, and where they lie. A start makes
//! it from a snapshot and the batches behind it; a running spool changes it as it goes, and writes
//! the changes with the next batch.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::dead_letters::DeadLetterName;
use super::items::{Item, Loss, SegmentItem, Snapshot};
use super::segment::SpoolSegment;
use super::sequence_set::SequenceSet;
use crate::event::{SinkIndex, SinkSet};
use crate::log::format::BLOCK_BYTES;
use crate::log::index::BatchLocation;
use crate::name::SinkName;
use crate::seeded::{self, Bug};

/// Ranges of lost sequences that are remembered one by one; beyond it neighbours are joined, which
/// only lets more events be sent again.
const MAX_LOST_RANGES: usize = 1024;

/// Up to so many sequences are taken out one by one.
const FEW_SEQUENCES: u64 = 4096;

/// A sink that the spool knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownSink {
    pub index: SinkIndex,
    pub name: SinkName,
    pub is_configured: bool,
}

/// A segment that holds acknowledged records.
#[derive(Debug, Clone)]
pub(super) struct SegmentState {
    /// The sequences of its new records, gaps included.
    pub sequences: Range<u64>,
    /// Where its last acknowledged batch ends; grows while it is active.
    pub end: u64,
    /// Records in it that wait for some sink, and their bytes.
    pub live: u64,
    pub live_bytes: u64,
    /// The batch with which it was durable that nothing in it waits.
    pub done_with: Option<u64>,
    pub is_damaged: bool,
    pub file: Arc<SpoolSegment>,
}

impl SegmentState {
    /// A segment with nothing in it.
    pub fn new(file: Arc<SpoolSegment>) -> Self {
        Self {
            sequences: 0..0,
            end: BLOCK_BYTES as u64,
            live: 0,
            live_bytes: 0,
            done_with: None,
            is_damaged: false,
            file,
        }
    }
}

/// Changes that the log does not have yet.
#[derive(Debug, Default, Clone)]
pub(super) struct Unwritten {
    /// Sequences that left, by sink.
    pub progress: BTreeMap<SinkIndex, SequenceSet>,
    pub losses: Vec<Loss>,
    /// See [`SpoolState::ids_since`].
    pub ids_since: Option<i64>,
}

impl Unwritten {
    pub fn is_empty(&self) -> bool {
        self.progress.is_empty() && self.losses.is_empty() && self.ids_since.is_none()
    }

    /// Puts changes back that were not written after all.
    pub fn put_back(&mut self, earlier: Self) {
        for (sink, sequences) in earlier.progress {
            self.note(sink, sequences.runs());
        }
        self.losses.extend(earlier.losses);
        self.ids_since = self.ids_since.max(earlier.ids_since);
    }

    /// What has left for a sink.
    fn left(&mut self, sink: SinkIndex) -> &mut SequenceSet {
        self.progress.entry(sink).or_default()
    }

    /// These have left for a sink.
    pub fn note(&mut self, sink: SinkIndex, runs: Vec<Range<u64>>) {
        let left = self.left(sink);
        runs.into_iter().for_each(|run| left.insert_range(run));
    }

    /// The changes as items of a batch.
    pub fn items(&self) -> Vec<Item> {
        let progress = self.progress.iter();
        let progress = progress.map(|(sink, sequences)| Item::Progress(*sink, sequences.runs()));
        progress
            .chain(self.losses.iter().cloned().map(Item::Loss))
            .chain(self.ids_since.map(Item::IdsSince))
            .collect()
    }
}

/// The state.
#[derive(Debug, Default)]
pub(super) struct SpoolState {
    pub sinks: Vec<KnownSink>,
    pending: Vec<SequenceSet>,
    pub segments: BTreeMap<u64, SegmentState>,
    /// The segments that hold new records, by the first sequence of each.
    by_sequence: BTreeMap<u64, u64>,
    /// Records that were copied forward, and where the copy lies.
    pub moved: BTreeMap<u64, (u64, BatchLocation)>,
    /// Sequences whose records were lost: an id that leads there does not count.
    pub lost: Vec<Range<u64>>,
    /// Everything that was ever lost, by sink, and how many records that were.
    pub lost_totals: BTreeMap<SinkName, u64>,
    pub lost_records: u64,
    /// The latest time at which an event was verified, in seconds since the epoch.
    pub verified: i64,
    /// The ids of events from this time on are all known, in seconds since the epoch: earlier ones
    /// may be forgotten, by the window of then or before their time.
    pub ids_since: i64,
    /// The sequence behind the last one of any segment that was let go of: the ids of what came
    /// before are in the index or forgotten.
    removed_end: u64,
    /// Dead letters that a record has taken the place of, and that are still to be removed.
    pub requeued: Vec<DeadLetterName>,
    pub unwritten: Unwritten,
}

impl SpoolState {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            pending: vec![SequenceSet::default(); SinkIndex::MAX],
            ..Self::default()
        }
    }

    /// The sink's name.
    pub fn name_of(&self, sink: SinkIndex) -> SinkName {
        let known = self.sinks.iter().find(|known| known.index == sink);
        known.map_or_else(|| unknown(sink), |known| known.name.clone())
    }

    /// What waits in a segment, at most so many, oldest first.
    pub fn pending_in(&self, segment: u64, limit: usize) -> Vec<u64> {
        let Some(state) = self.segments.get(&segment) else {
            return Vec::new();
        };
        let own = self.sinks.iter().flat_map(|sink| {
            self.pending(sink.index)
                .within(state.sequences.clone())
                .take(limit)
        });
        let mut all: Vec<u64> = own.chain(self.copies_in(segment)).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|sequence| self.locate(*sequence).is_some_and(|(at, _)| at == segment));
        all.truncate(limit);
        all
    }

    pub fn pending(&self, sink: SinkIndex) -> &SequenceSet {
        &self.pending[sink.number()]
    }

    pub fn pending_events(&self) -> u64 {
        self.segments.values().map(|segment| segment.live).sum()
    }

    /// Bytes of the files in which events wait.
    pub fn held_bytes(&self) -> u64 {
        let segments = self.segments.values().filter(|segment| segment.live > 0);
        segments.map(|segment| segment.file.length()).sum()
    }

    pub fn live_bytes(&self) -> u64 {
        self.segments
            .values()
            .map(|segment| segment.live_bytes)
            .sum()
    }

    /// The sinks that wait for a sequence.
    pub fn waiting_for(&self, sequence: u64) -> SinkSet {
        let waits = |sink: &&KnownSink| self.pending(sink.index).contains(sequence);
        self.sinks
            .iter()
            .filter(waits)
            .map(|sink| sink.index)
            .collect()
    }

    pub fn is_pending(&self, sequence: u64) -> bool {
        !self.waiting_for(sequence).is_empty()
    }

    pub fn is_pending_for_configured(&self, sequence: u64) -> bool {
        let mut configured = self.sinks.iter().filter(|sink| sink.is_configured);
        configured.any(|sink| self.pending(sink.index).contains(sequence))
    }

    /// The lowest sequence that waits for any sink.
    pub fn first_pending(&self) -> Option<u64> {
        let firsts = self
            .sinks
            .iter()
            .map(|sink| self.pending(sink.index).first_from(0));
        firsts.flatten().min()
    }

    pub fn is_lost(&self, sequence: u64) -> bool {
        !seeded::is(Bug::TrustLostIds) && self.lost.iter().any(|range| range.contains(&sequence))
    }

    /// The sequence behind the last one of any segment.
    pub fn end_sequence(&self) -> u64 {
        let segments = self.segments.values();
        segments.map(|it| it.sequences.end).max().unwrap_or(0)
    }

    /// Where a record lies: the segment, and the batch if it is a copy.
    pub fn locate(&self, sequence: u64) -> Option<(u64, Option<BatchLocation>)> {
        if let Some((segment, place)) = self.moved.get(&sequence) {
            return Some((*segment, Some(*place)));
        }
        let (_, number) = self.by_sequence.range(..=sequence).next_back()?;
        let segment = self.segments.get(number)?;
        segment
            .sequences
            .contains(&sequence)
            .then_some((*number, None))
    }

    /// The records of which this segment holds a copy.
    pub fn copies_in(&self, segment: u64) -> impl Iterator<Item = u64> {
        let moved = self.moved.iter();
        moved
            .filter(move |(_, (at, _))| *at == segment)
            .map(|(sequence, _)| *sequence)
    }

    /// Takes a segment in.
    pub fn add_segment(&mut self, number: u64, segment: SegmentState) {
        if !segment.sequences.is_empty() {
            self.by_sequence.insert(segment.sequences.start, number);
        }
        self.segments.insert(number, segment);
    }

    /// Takes a segment out.
    pub fn remove_segment(&mut self, number: u64) -> Option<SegmentState> {
        self.by_sequence.retain(|_, at| *at != number);
        let removed = self.segments.remove(&number)?;
        self.removed_end = self.removed_end.max(removed.sequences.end);
        Some(removed)
    }

    /// Ids of events from before this time may be forgotten from now on.
    pub fn forget_before(&mut self, seconds: i64) {
        if seconds > self.ids_since {
            self.ids_since = seconds;
            self.unwritten.ids_since = Some(seconds);
        }
    }

    /// Whether an index that is complete through this sequence has lost ids that nothing else has.
    pub fn has_lost_ids(&self, through: u64) -> bool {
        self.removed_end > through.saturating_add(1)
    }

    /// A new record is in the log.
    pub fn add(&mut self, sequence: u64, sinks: SinkSet, bytes: u64, segment: u64) {
        let mut is_new = false;
        for sink in sinks.iter() {
            is_new |= self.pending[sink.number()].insert(sequence);
        }
        let number = segment;
        if let Some(segment) = self.segments.get_mut(&number) {
            if segment.sequences.is_empty() || sequence < segment.sequences.start {
                self.by_sequence.retain(|_, at| *at != number);
                segment.sequences.start = sequence;
                self.by_sequence.insert(sequence, number);
            }
            segment.sequences.end = segment.sequences.end.max(sequence + 1);
            if is_new {
                segment.live += 1;
                segment.live_bytes += bytes;
                segment.done_with = None;
            }
        }
    }

    /// An event has left for `sink`; whether it had not before. The log is to be told.
    pub fn leave(&mut self, sequence: u64, sink: SinkIndex, bytes: u64) -> bool {
        if !self.pending[sink.number()].remove(sequence) {
            return false;
        }
        self.unwritten.left(sink).insert(sequence);
        if !self.is_pending(sequence) {
            self.let_go(sequence, bytes);
        }
        true
    }

    /// Nothing waits for the record any more: its segment holds one less.
    fn let_go(&mut self, sequence: u64, bytes: u64) {
        let Some((number, _)) = self.locate(sequence) else {
            return;
        };
        self.moved.remove(&sequence);
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = if segment.live == 0 {
                0
            } else {
                segment.live_bytes.saturating_sub(bytes)
            };
        }
    }

    /// Everything that waits for `sink` is dropped; how many events those were.
    pub fn drop_all(&mut self, sink: SinkIndex) -> u64 {
        let runs = self.pending(sink).runs();
        let count = self.pending(sink).count();
        self.forget_ranges(sink, &runs);
        self.unwritten.note(sink, runs);
        count
    }

    /// Takes ranges out for one sink.
    fn forget_ranges(&mut self, sink: SinkIndex, ranges: &[Range<u64>]) {
        for range in ranges {
            if range.end - range.start > FEW_SEQUENCES {
                self.forget_many(sink, range);
                continue;
            }
            let doomed: Vec<u64> = self.pending(sink).within(range.clone()).collect();
            for sequence in doomed {
                self.pending[sink.number()].remove(sequence);
                self.let_go_unread(sequence);
            }
        }
    }

    /// Lets go of a record, unless it waits. The average of its segment stands for its bytes, because
    /// nobody has read how many it has.
    fn let_go_unread(&mut self, sequence: u64) {
        if self.is_pending(sequence) {
            return;
        }
        let at = self.locate(sequence);
        let segment = at.and_then(|(number, _)| self.segments.get(&number));
        let average = segment.map_or(0, |it| it.live_bytes / it.live.max(1));
        self.let_go(sequence, average);
    }

    /// Takes a long range out and counts anew what is left in the segments.
    fn forget_many(&mut self, sink: SinkIndex, range: &Range<u64>) {
        self.pending[sink.number()].remove_range(range.clone());
        let moved = self.moved.range(range.clone());
        let moved: Vec<u64> = moved.map(|(sequence, _)| *sequence).collect();
        for sequence in moved {
            self.let_go_unread(sequence);
        }
        let pending = &self.pending;
        for (number, segment) in &mut self.segments {
            let sequences = &segment.sequences;
            if range.start >= sequences.end || sequences.start >= range.end {
                continue;
            }
            let away = self.moved.range(sequences.clone()).count() as u64;
            let copies = self.moved.values().filter(|(at, _)| at == number).count() as u64;
            let live = SequenceSet::count_any(pending, sequences) - away + copies;
            let average = segment.live_bytes / segment.live.max(1);
            segment.live_bytes = average * live;
            segment.live = live;
        }
    }

    /// The record was copied into another segment.
    pub fn move_to(&mut self, sequence: u64, bytes: u64, to: (u64, BatchLocation)) {
        if !self.is_pending(sequence) {
            return;
        }
        self.let_go(sequence, bytes);
        if let Some(segment) = self.segments.get_mut(&to.0) {
            segment.live += 1;
            segment.live_bytes += bytes;
            segment.done_with = None;
        }
        self.moved.insert(sequence, to);
    }

    /// Records that cannot be read any more: what waits of them is lost. Returns the loss, if any.
    pub fn lose(&mut self, segment: u64, sequences: &[Range<u64>]) -> Option<Loss> {
        // What lies in a segment that is missing has no place any more.
        let is_here = |sequence: &u64| self.locate(*sequence).is_none_or(|(at, _)| at == segment);
        let (mut all, mut sinks) = (SequenceSet::default(), Vec::new());
        for sink in &self.sinks {
            let pending = self.pending(sink.index);
            let within = sequences.iter().flat_map(|it| pending.within(it.clone()));
            let mut mine = SequenceSet::default();
            for sequence in within.filter(is_here) {
                all.insert(sequence);
                mine.insert(sequence);
            }
            let count = mine.count();
            if count > 0 {
                sinks.push((sink.index, sink.name.clone(), count));
            }
        }
        if sinks.is_empty() {
            return None;
        }
        let loss = Loss {
            segment,
            records: all.count(),
            sequences: all.runs(),
            sinks,
        };
        self.take_loss(&loss);
        self.unwritten.losses.push(loss.clone());
        Some(loss)
    }

    /// A loss that was found now or stands in the log.
    fn take_loss(&mut self, loss: &Loss) {
        for (index, name, count) in &loss.sinks {
            *self.lost_totals.entry(name.clone()).or_default() += count;
            self.forget_ranges(*index, &loss.sequences);
        }
        self.lost_records += loss.records;
        if let Some(segment) = self.segments.get_mut(&loss.segment) {
            segment.is_damaged = true;
        }
        self.lost.extend(loss.sequences.iter().cloned());
        self.lost.sort_by_key(|range| range.start);
        while self.lost.len() > MAX_LOST_RANGES {
            let last = self.lost.remove(1);
            self.lost[0].end = last.end;
        }
    }

    /// What a batch says besides its records.
    pub fn apply(&mut self, item: Item) {
        match item {
            Item::Progress(sink, ranges) => self.forget_ranges(sink, &ranges),
            Item::Loss(loss) => self.take_loss(&loss),
            Item::Requeued(letter) => self.requeued.push(letter),
            Item::Verified(seconds) => self.verified = self.verified.max(seconds),
            Item::IdsSince(seconds) => self.ids_since = self.ids_since.max(seconds),
            Item::Sinks(_) | Item::PreviousSinks(_) | Item::Snapshot(_) => {}
        }
    }

    /// The whole state as it is written; without the segments that `is_left_out`.
    pub fn snapshot(&self, is_left_out: impl Fn(u64, &SegmentState) -> bool) -> Snapshot {
        let (left_out, segments): (Vec<_>, Vec<_>) = self
            .segments
            .iter()
            .partition(|(number, it)| is_left_out(**number, it));
        let ends = left_out.iter().map(|(_, it)| it.sequences.end);
        Snapshot {
            sinks: self
                .sinks
                .iter()
                .map(|sink| {
                    (
                        sink.index,
                        sink.name.clone(),
                        self.pending(sink.index).runs(),
                    )
                })
                .collect(),
            segments: segments
                .into_iter()
                .map(|(number, segment)| SegmentItem {
                    number: *number,
                    sequences: segment.sequences.clone(),
                    end: segment.end,
                    live: segment.live,
                    live_bytes: segment.live_bytes,
                    is_damaged: segment.is_damaged,
                })
                .collect(),
            moved: self
                .moved
                .iter()
                .map(|(sequence, to)| (*sequence, *to))
                .collect(),
            lost: self.lost.clone(),
            lost_totals: self.lost_totals.clone().into_iter().collect(),
            lost_records: self.lost_records,
            verified: self.verified,
            ids_since: self.ids_since,
            removed_end: ends.fold(self.removed_end, u64::max),
            requeued: self.requeued.clone(),
        }
    }

    /// Takes a snapshot's place; `file` gives the segments that are there. Those that are not are
    /// returned: what waits in them is lost.
    pub fn restore(
        &mut self,
        snapshot: Snapshot,
        file: impl Fn(u64) -> Option<Arc<SpoolSegment>>,
    ) -> Vec<SegmentItem> {
        *self = Self::new();
        for (index, name, runs) in snapshot.sinks {
            for run in runs {
                self.pending[index.number()].insert_range(run);
            }
            self.sinks.push(KnownSink {
                index,
                name,
                is_configured: false,
            });
        }
        let mut missing = Vec::new();
        for item in snapshot.segments {
            match file(item.number) {
                Some(file) => self.add_segment(
                    item.number,
                    SegmentState {
                        sequences: item.sequences,
                        end: item.end,
                        live: item.live,
                        live_bytes: item.live_bytes,
                        done_with: None,
                        is_damaged: item.is_damaged,
                        file,
                    },
                ),
                None => missing.push(item),
            }
        }
        self.moved = snapshot.moved.into_iter().collect();
        self.lost = snapshot.lost;
        self.lost_totals = snapshot.lost_totals.into_iter().collect();
        self.lost_records = snapshot.lost_records;
        self.verified = snapshot.verified;
        self.ids_since = snapshot.ids_since;
        self.removed_end = snapshot.removed_end;
        self.requeued = snapshot.requeued;
        missing
    }
}

/// The name of a sink whose own was lost.
fn unknown(index: SinkIndex) -> SinkName {
    SinkName::parse(&format!("unknown-{}", index.number())).expect("letters, a dash and digits")
}
