//! Opening: what the log's last batches add up to. Reading alone; the first thing that is written
//! is the first batch of a fresh segment, by the owner.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::index::Entry;
use super::items::{self, Item, SegmentItem};
use super::letters::Letters;
use super::owner::UnprovenTail;
use super::record::{Prefix, Record};
use super::segments::Segment;
use super::state::{KnownSink, SegmentState, State};
use crate::event::{SinkIndex, SinkSet};
use crate::log::index::BatchPlace;
use crate::log::recover::{RecoverError, Recovered, Scanned};
use crate::log::scan::Batch;
use crate::name::SinkName;
use crate::seeded::{self, Bug};

/// What the log says.
#[derive(Debug)]
pub(super) struct Replayed {
    pub state: State,
    /// Ids of the segments that were read, oldest first.
    pub entries: Vec<(u64, Vec<Entry>)>,
    /// Sound records of damaged batches.
    pub rescued: BTreeMap<u64, Arc<Record>>,
    pub tail: Option<UnprovenTail>,
    /// Segments in which nothing was acknowledged, or that are not needed any more.
    pub dead: Vec<Arc<Segment>>,
    pub torn: u64,
}

/// Why the log cannot be replayed.
#[derive(Debug)]
pub(super) enum ReplayError {
    Log(RecoverError),
    /// The sinks that have numbers.
    TooManySinks(String),
}

impl From<RecoverError> for ReplayError {
    fn from(error: RecoverError) -> Self {
        Self::Log(error)
    }
}

/// The replay while it goes.
struct Replay<'a> {
    state: State,
    names: Option<&'a [SinkName]>,
    files: BTreeMap<u64, Arc<Segment>>,
    entries: Vec<(u64, Vec<Entry>)>,
    rescued: BTreeMap<u64, Arc<Record>>,
    missing: Vec<SegmentItem>,
    /// Sequences of damaged records, and the segment of each.
    damaged: Vec<(u64, Range<u64>)>,
    /// No record below is new.
    next: u64,
    has_snapshot: bool,
}

/// Replays the log.
///
/// # Errors
/// When a file cannot be read, or there are more sinks than a spool can number.
pub(super) fn replay(
    recovered: &mut Recovered,
    names: Option<&[SinkName]>,
    letters: &Letters,
    alignment: usize,
) -> Result<Replayed, ReplayError> {
    let file = |(number, file): (&u64, &crate::log::recover::SegmentFile)| {
        let salt = file.salt.unwrap_or(0);
        let opened = Arc::clone(&file.file);
        (
            *number,
            Arc::new(Segment::new(*number, salt, opened, file.length, alignment)),
        )
    };
    let mut replay = Replay {
        state: State::new(),
        names,
        files: recovered.segments.iter().map(file).collect(),
        entries: Vec::new(),
        rescued: BTreeMap::new(),
        missing: Vec::new(),
        damaged: Vec::new(),
        next: 0,
        has_snapshot: recovered.has_snapshot,
    };
    if !replay.has_snapshot && !recovered.replay.is_empty() {
        tracing::error!(
            "no snapshot of the spool is whole: every record that is left goes to every configured sink"
        );
        replay.number_sinks(letters, None)?;
    }
    let (mut tail, mut torn) = (None, 0);
    recovered.scanned(|scanned| {
        torn += u64::from(scanned.scan.is_torn);
        tail = replay.segment(scanned);
    })?;
    replay.number_sinks(letters, tail.as_ref())?;
    replay.settle_letters(letters, tail.as_mut());
    replay.declare_losses();
    Ok(replay.finish(tail, torn))
}

impl Replay<'_> {
    /// Replays one segment. Returns its last batch, where nobody knows whether it was acknowledged.
    fn segment(&mut self, scanned: &Scanned) -> Option<UnprovenTail> {
        let is_trusted = scanned.end.is_some() || seeded::is(Bug::DeliverUnprovenTail);
        let unproven = scanned.scan.tail().filter(|_| !is_trusted);
        let mut ids = Vec::new();
        for (at, batch) in scanned.scan.batches.iter().enumerate() {
            let is_tail = unproven.is_some_and(|tail| tail.offset == batch.offset);
            let items = batch
                .items
                .clone()
                .map(|range| items::decode(&scanned.bytes[range]));
            let items = items.unwrap_or_default();
            self.restore(&items);
            self.have_segment(scanned.number);
            if !is_tail {
                self.records(scanned, batch, &mut ids);
                self.damaged_records(scanned, at, &items);
                self.note(scanned.number, batch);
            }
            items.into_iter().for_each(|item| self.state.apply(item));
        }
        self.have_segment(scanned.number);
        self.entries.push((scanned.number, ids));
        let end = unproven.map_or(scanned.scan.end, |tail| tail.offset);
        if let Some(segment) = self.state.segments.get_mut(&scanned.number) {
            segment.end = end;
            segment.is_damaged |= scanned.scan.is_damaged;
        }
        let tail = unproven.map(|batch| unproven_tail(scanned, batch));
        tail.filter(|tail| !tail.records.is_empty())
    }

    fn restore(&mut self, items: &[Item]) {
        let snapshots = items.iter().filter_map(|item| match item {
            Item::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        });
        for snapshot in snapshots {
            let files = &self.files;
            let losses = std::mem::take(&mut self.state.unwritten.losses);
            self.missing = self
                .state
                .restore(snapshot.clone(), |number| files.get(&number).cloned());
            self.state.unwritten.losses = losses;
            let next = self
                .state
                .segments
                .values()
                .map(|it| it.sequences.end)
                .max();
            self.next = self.next.max(next.unwrap_or(0));
        }
    }

    fn have_segment(&mut self, number: u64) {
        if !self.state.segments.contains_key(&number)
            && let Some(file) = self.files.get(&number)
        {
            self.state
                .add_segment(number, SegmentState::new(Arc::clone(file)));
        }
    }

    fn records(&mut self, scanned: &Scanned, batch: &Batch, ids: &mut Vec<Entry>) {
        for found in &batch.records {
            let payload = &scanned.bytes[found.payload.clone()];
            let Some(prefix) = Prefix::decode(payload) else {
                continue;
            };
            let first = batch.head.map_or(self.next, |head| head.first_sequence);
            let bytes = payload.len() as u64;
            if found.sequence >= first {
                let sinks = self.owed(prefix.sinks);
                self.state.add(found.sequence, sinks, bytes, scanned.number);
                self.next = self.next.max(found.sequence + 1);
                ids.push(prefix.entry(found.sequence));
            } else if let Some(head) = batch.head {
                let place = BatchPlace {
                    count: 0,
                    ..BatchPlace::of(&head, batch.offset)
                };
                self.state
                    .move_to(found.sequence, bytes, (scanned.number, place));
            }
            if !batch.is_whole
                && let Ok(record) = Record::decode(found.sequence, payload)
            {
                self.rescued.insert(found.sequence, Arc::new(record));
            }
        }
    }

    /// Records that were acknowledged and do not check: for whom they were is said by their batch,
    /// or by the one behind it.
    fn damaged_records(&mut self, scanned: &Scanned, at: usize, items: &[Item]) {
        let batch = &scanned.scan.batches[at];
        if batch.lost.is_empty() {
            return;
        }
        let own = items.iter().find_map(|item| match item {
            Item::Sinks(runs) => Some(runs.clone()),
            _ => None,
        });
        let of_next = || {
            let range = scanned.scan.batches.get(at + 1)?.items.clone()?;
            let items = items::decode(&scanned.bytes[range]);
            items.into_iter().find_map(|item| match item {
                Item::PreviousSinks(runs) => Some(runs),
                _ => None,
            })
        };
        let runs = own.or_else(of_next).unwrap_or_default();
        let first = batch.records.iter().map(|record| record.sequence).min();
        let first_lost = batch.lost.first().map_or(0, |range| range.start);
        let first = batch.head.map_or(
            first.map_or(first_lost, |first| first.min(first_lost)),
            |head| head.first_sequence,
        );
        for range in &batch.lost {
            for sequence in range.clone() {
                let sinks = nth(&runs, sequence - first).unwrap_or_else(|| self.every_sink());
                let sinks = self.owed(sinks);
                self.state.add(sequence, sinks, 0, scanned.number);
            }
            self.next = self.next.max(range.end);
            self.damaged.push((scanned.number, range.clone()));
        }
    }

    fn every_sink(&self) -> SinkSet {
        self.state.sinks.iter().map(|sink| sink.index).collect()
    }

    /// Without a snapshot nobody knows whom the numbers mean.
    fn owed(&self, sinks: SinkSet) -> SinkSet {
        if self.has_snapshot {
            sinks
        } else {
            self.every_sink()
        }
    }

    fn note(&self, number: u64, batch: &Batch) {
        if let Some(head) = batch.head
            && let Some(file) = self.files.get(&number)
        {
            file.note(BatchPlace::of(&head, batch.offset));
        }
    }

    /// Gives every configured sink its number, and those back that nothing is left for.
    fn number_sinks(
        &mut self,
        letters: &Letters,
        tail: Option<&UnprovenTail>,
    ) -> Result<(), ReplayError> {
        let Some(names) = self.names else {
            return Ok(());
        };
        let state = &mut self.state;
        let waits_in_tail = |sink| {
            let mut runs = tail.iter().flat_map(|tail| &tail.sinks);
            runs.any(|(_, sinks)| sinks.contains(sink))
        };
        for sink in &mut state.sinks {
            sink.is_configured = names.contains(&sink.name);
        }
        let waits: Vec<SinkIndex> = state
            .sinks
            .iter()
            .filter(|sink| {
                let is_needed =
                    state.pending(sink.index).count() > 0 || letters.count(&sink.name) > 0;
                sink.is_configured || is_needed || waits_in_tail(sink.index)
            })
            .map(|sink| sink.index)
            .collect();
        state.sinks.retain(|sink| waits.contains(&sink.index));
        for name in names {
            if state.sinks.iter().any(|sink| sink.name == *name) {
                continue;
            }
            let free = (0..SinkIndex::MAX)
                .filter_map(SinkIndex::new)
                .find(|index| state.sinks.iter().all(|sink| sink.index != *index));
            let index = free.ok_or_else(|| {
                let known: Vec<&str> = state.sinks.iter().map(|sink| sink.name.as_str()).collect();
                ReplayError::TooManySinks(known.join(", "))
            })?;
            state.sinks.push(KnownSink {
                index,
                name: name.clone(),
                is_configured: true,
            });
        }
        state.sinks.sort_by_key(|sink| sink.index);
        Ok(())
    }

    /// A dead letter that is there settles its event for its sink, where progress did not get as far.
    /// It may be in the cache alone, so it is written again first; one that cannot be stays, and its
    /// event goes on waiting.
    fn settle_letters(&mut self, letters: &Letters, mut tail: Option<&mut UnprovenTail>) {
        for name in letters.names_after(None, usize::MAX) {
            let sink = self.state.sinks.iter().find(|sink| sink.name == name.sink);
            let Some(index) = sink.map(|sink| sink.index) else {
                continue;
            };
            let in_tail = tail
                .as_mut()
                .filter(|tail| tail.records.iter().any(|(it, _)| *it == name.sequence));
            if in_tail.is_none() && !self.state.pending(index).contains(name.sequence) {
                continue;
            }
            let is_durable = self.names.is_none() || letters.write_again(&name).is_ok();
            match in_tail {
                _ if !is_durable => {}
                Some(tail) => tail.settled.push((name.sequence, index)),
                None => drop(self.state.leave(name.sequence, index, 0)),
            }
        }
    }

    fn declare_losses(&mut self) {
        for missing in std::mem::take(&mut self.missing) {
            let name = crate::log::segment::segment_name(missing.number);
            let range = missing.sequences.clone();
            let copies: Vec<u64> = self.state.copies_in(missing.number).collect();
            let mut lost = crate::log::scan::ranges(copies.into_iter());
            lost.push(range);
            if let Some(loss) = self.state.lose(missing.number, &lost) {
                tracing::error!(
                    segment = name,
                    records = loss.records,
                    "a segment is missing, and with it records that wait"
                );
            }
        }
        for (segment, range) in std::mem::take(&mut self.damaged) {
            if let Some(loss) = self.state.lose(segment, &[range]) {
                loss.log();
            }
        }
    }

    fn finish(self, tail: Option<UnprovenTail>, torn: u64) -> Replayed {
        let is_dead = |(number, _): &(u64, Arc<Segment>)| !self.state.segments.contains_key(number);
        let dead = self
            .files
            .into_iter()
            .filter(is_dead)
            .map(|(_, file)| file)
            .collect();
        let mut rescued = self.rescued;
        rescued.retain(|sequence, _| self.state.is_pending(*sequence));
        Replayed {
            state: self.state,
            entries: self.entries,
            rescued,
            tail,
            dead,
            torn,
        }
    }
}

fn unproven_tail(scanned: &Scanned, batch: &Batch) -> UnprovenTail {
    let first = batch.head.map_or(0, |head| head.first_sequence);
    let new = batch
        .records
        .iter()
        .filter(|record| record.sequence >= first);
    let records: Vec<(u64, Vec<u8>)> = new
        .map(|record| {
            (
                record.sequence,
                scanned.bytes[record.payload.clone()].to_vec(),
            )
        })
        .collect();
    let sinks = records
        .iter()
        .filter_map(|(_, payload)| Prefix::decode(payload));
    UnprovenTail {
        sinks: items::runs_of_sinks(sinks.map(|prefix| prefix.sinks)),
        records,
        settled: Vec::new(),
    }
}

/// The sinks of the record at a place within the runs.
fn nth(runs: &[(u64, SinkSet)], mut place: u64) -> Option<SinkSet> {
    for (count, sinks) in runs {
        if place < *count {
            return Some(*sinks);
        }
        place -= count;
    }
    None
}

/// The ids of a sealed segment that the index does not have.
pub(super) fn ids_of(segment: &Segment, end: u64, sequences: &Range<u64>) -> Vec<Entry> {
    let (bytes, scan) = segment.scan(end, sequences);
    let records = scan.batches.iter().flat_map(|batch| &batch.records);
    records
        .filter(|record| sequences.contains(&record.sequence))
        .filter_map(|record| {
            let prefix = Prefix::decode(&bytes[record.payload.clone()])?;
            Some(prefix.entry(record.sequence))
        })
        .collect()
}
