//! Recovery of the spool's state from the log's last batches. It only reads; the first thing that is
//! written is the first batch of a fresh segment, by the writer thread.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::dead_letters::DeadLetterFolder;
use super::error::SpoolError;
use super::index::IdEntry;
use super::items::{self, Item, SegmentItem, Snapshot};
use super::record::RecordPrefix;
use super::segment::SpoolSegment;
use super::shared::SharedSpool;
use super::state::{KnownSink, SegmentState, SpoolState};
use super::unproven_tail::UnprovenTail;
use crate::event::{SinkIndex, SinkSet};
use crate::log::index::BatchLocation;
use crate::log::recover::{Recovered, ScannedSegment};
use crate::log::scan::{Batch, ranges};
use crate::log::segment::segment_name;
use crate::name::SinkName;
use crate::seeded::{self, Bug};

/// What the log says.
#[derive(Debug)]
pub(super) struct RecoveredState {
    pub state: SpoolState,
    /// Ids of the segments that were read, oldest first.
    pub entries: Vec<(u64, Vec<IdEntry>)>,
    pub tail: Option<UnprovenTail>,
    /// Segments in which nothing was acknowledged, or that are not needed any more, and whether they
    /// are to be kept all the same.
    pub dead: Vec<(Arc<SpoolSegment>, bool)>,
    pub torn: u64,
}

/// The replay while it goes.
struct Replay<'a> {
    state: SpoolState,
    /// The configured sinks; none where somebody only looks.
    names: Option<&'a [SinkName]>,
    files: BTreeMap<u64, Arc<SpoolSegment>>,
    entries: Vec<(u64, Vec<IdEntry>)>,
    missing: Vec<SegmentItem>,
    /// Sequences of damaged records, and the segment of each.
    damaged: Vec<(u64, Range<u64>)>,
    has_snapshot: bool,
}

/// Replays the log.
///
/// # Errors
/// When there are more sinks than a spool can number.
pub(super) fn recover(
    recovered: &mut Recovered,
    names: Option<&[SinkName]>,
    dead_letters: &DeadLetterFolder,
) -> Result<RecoveredState, SpoolError> {
    let segments = recovered
        .segments
        .iter()
        .map(|(number, it)| (*number, Arc::new(SpoolSegment::new(it.clone()))));
    let mut replay = Replay {
        state: SpoolState::new(),
        names,
        files: segments.collect(),
        entries: Vec::new(),
        missing: Vec::new(),
        damaged: Vec::new(),
        has_snapshot: recovered.has_snapshot,
    };
    if !replay.has_snapshot && !recovered.replay.is_empty() {
        tracing::error!(
            "no snapshot of the spool is whole: every record that is left goes to every configured sink"
        );
        replay.number_sinks(dead_letters, None)?;
    }
    let (mut tail, mut torn) = (None, 0);
    recovered.scanned(|scanned| {
        torn += u64::from(scanned.scan.torn.is_some());
        tail = replay.segment(scanned);
    });
    replay.number_sinks(dead_letters, tail.as_ref())?;
    replay.settle_dead_letters(dead_letters, tail.as_mut());
    replay.declare_losses();
    Ok(replay.finish(tail, torn, &recovered.unreadable))
}

impl Replay<'_> {
    /// Replays one segment. Returns the new records of its last batch, where nobody knows whether it
    /// was acknowledged; what else that batch says is true all the same.
    fn segment(&mut self, scanned: &ScannedSegment) -> Option<UnprovenTail> {
        let (number, scan) = (scanned.number, &scanned.scan);
        let tail = scan
            .tail()
            .filter(|_| !seeded::is(Bug::DeliverUnprovenTail));
        let proven = scan.batches.len() - usize::from(tail.is_some());
        let mut ids = Vec::new();
        let mut batches = scan.batches.iter().map(|batch| {
            let items = batch.items.clone().map(|at| &scanned.bytes[at]);
            items::decode(items.unwrap_or_default())
        });
        let mut items = batches.next().unwrap_or_default();
        self.have_segment(number);
        for (at, batch) in scan.batches.iter().enumerate() {
            let next = batches.next().unwrap_or_default();
            let sinks = runs_of(&items, &next);
            for item in std::mem::replace(&mut items, next) {
                match item {
                    Item::Snapshot(snapshot) => self.restore(snapshot, number),
                    item => self.state.apply(item),
                }
            }
            if at < proven {
                self.records(scanned, batch, &mut ids);
                self.damaged_records(number, batch, &sinks);
            }
        }
        self.entries.push((number, ids));
        let end = tail.map_or(scan.end, |tail| tail.offset);
        if let Some(segment) = self.state.segments.get_mut(&number) {
            segment.end = end;
            segment.is_damaged |= scan.is_damaged;
            segment.file.note_scan(&scan.batches[..proven], end);
        }
        tail.and_then(|batch| unproven_tail(&scanned.bytes, batch))
    }

    /// The state is that of a snapshot, which does not know the segment it stands in.
    fn restore(&mut self, snapshot: Snapshot, number: u64) {
        let files = &self.files;
        let file = |number| files.get(&number).cloned();
        self.missing = self.state.restore(snapshot, file);
        self.have_segment(number);
    }

    fn have_segment(&mut self, number: u64) {
        if !self.state.segments.contains_key(&number)
            && let Some(file) = self.files.get(&number)
        {
            self.state
                .add_segment(number, SegmentState::new(Arc::clone(file)));
        }
    }

    fn records(&mut self, scanned: &ScannedSegment, batch: &Batch, ids: &mut Vec<IdEntry>) {
        // Where the head is lost, what is not behind everything before is no new record.
        let first = batch.head.map(|head| head.first_sequence);
        let first = first.unwrap_or_else(|| self.state.end_sequence());
        for found in &batch.records {
            let payload = &scanned.bytes[found.payload.clone()];
            let Some(prefix) = RecordPrefix::decode(payload) else {
                continue;
            };
            let bytes = payload.len() as u64;
            if found.sequence >= first {
                let sinks = self.owed(prefix.sinks);
                self.state.add(found.sequence, sinks, bytes, scanned.number);
                ids.push(prefix.entry(found.sequence));
            } else if let Some(head) = batch.head {
                let place = BatchLocation {
                    count: 0,
                    ..BatchLocation::of(&head, batch.offset)
                };
                self.state
                    .move_to(found.sequence, bytes, (scanned.number, place));
            }
        }
    }

    /// Records that were acknowledged and do not check, and for whom the batch's records were.
    fn damaged_records(&mut self, segment: u64, batch: &Batch, runs: &[(u64, SinkSet)]) {
        let head = batch.head.map(|head| head.first_sequence);
        let lost = batch.lost.first().map(|range| range.start);
        let sound = batch.records.iter().map(|record| record.sequence);
        let first = head.or(sound.chain(lost).min()).unwrap_or(0);
        for range in &batch.lost {
            for sequence in range.clone() {
                let sinks = nth(runs, sequence - first).unwrap_or_else(|| self.every_sink());
                let sinks = self.owed(sinks);
                self.state.add(sequence, sinks, 0, segment);
            }
            self.damaged.push((segment, range.clone()));
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

    /// Gives every configured sink its number, and those back that nothing is left for.
    fn number_sinks(
        &mut self,
        dead_letters: &DeadLetterFolder,
        tail: Option<&UnprovenTail>,
    ) -> Result<(), SpoolError> {
        let Some(names) = self.names else {
            return Ok(());
        };
        let mut sinks = std::mem::take(&mut self.state.sinks);
        sinks.retain_mut(|sink| {
            sink.is_configured = names.contains(&sink.name);
            let mut of_tail = tail.iter().flat_map(|tail| &tail.sinks);
            sink.is_configured
                || self.state.pending(sink.index).count() > 0
                || dead_letters.count(&sink.name) > 0
                || of_tail.any(|(_, sinks)| sinks.contains(sink.index))
        });
        for name in names {
            if sinks.iter().any(|sink| sink.name == *name) {
                continue;
            }
            let is_free = |index: &SinkIndex| sinks.iter().all(|sink| sink.index != *index);
            let index = SinkSet::from_bits(u32::MAX).iter().find(is_free);
            let index = index.ok_or_else(|| {
                let known: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
                SpoolError::TooManySinks {
                    known: known.join(", "),
                }
            })?;
            sinks.push(KnownSink {
                index,
                name: name.clone(),
                is_configured: true,
            });
        }
        sinks.sort_by_key(|sink| sink.index);
        self.state.sinks = sinks;
        Ok(())
    }

    /// A dead letter that is there settles its event for its sink, where progress did not get as far.
    /// It may be in the cache alone, so it is written again first; one that cannot be stays, and its
    /// event goes on waiting.
    fn settle_dead_letters(
        &mut self,
        dead_letters: &DeadLetterFolder,
        mut tail: Option<&mut UnprovenTail>,
    ) {
        for name in dead_letters.names_after(None, usize::MAX) {
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
            let is_durable = self.names.is_none() || dead_letters.write_again(&name).is_ok();
            match in_tail {
                _ if !is_durable => {}
                Some(tail) => tail.settled.push((name.sequence, index)),
                None => _ = self.state.leave(name.sequence, index, 0),
            }
        }
    }

    fn declare_losses(&mut self) {
        for missing in std::mem::take(&mut self.missing) {
            let mut lost = ranges(self.state.copies_in(missing.number));
            lost.push(missing.sequences);
            if let Some(loss) = self.state.lose(missing.number, &lost) {
                tracing::error!(
                    segment = segment_name(missing.number),
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

    fn finish(self, tail: Option<UnprovenTail>, torn: u64, kept: &BTreeSet<u64>) -> RecoveredState {
        let state = self.state;
        let dead = self.files.into_iter();
        let dead = dead.filter(|(number, _)| !state.segments.contains_key(number));
        let dead = dead.map(|(number, file)| (file, kept.contains(&number)));
        RecoveredState {
            dead: dead.collect(),
            state,
            entries: self.entries,
            tail,
            torn,
        }
    }
}

/// The new records of a batch that is to be written anew; none where it has none.
fn unproven_tail(bytes: &[u8], batch: &Batch) -> Option<UnprovenTail> {
    let first = batch.head.map_or(0, |head| head.first_sequence);
    let new = batch.records.iter().filter(|it| it.sequence >= first);
    let records: Vec<(u64, Vec<u8>)> = new
        .map(|it| (it.sequence, bytes[it.payload.clone()].to_vec()))
        .collect();
    let prefixes = records
        .iter()
        .filter_map(|(_, it)| RecordPrefix::decode(it));
    let sinks = items::runs_of_sinks(prefixes.map(|prefix| prefix.sinks));
    (!records.is_empty()).then(|| UnprovenTail {
        sinks,
        records,
        settled: Vec::new(),
    })
}

/// For whom the new records of a batch with these items were: it says so itself, and so does the one
/// behind it.
fn runs_of(own: &[Item], next: &[Item]) -> Vec<(u64, SinkSet)> {
    let own = own.iter().find_map(|item| match item {
        Item::Sinks(runs) => Some(runs),
        _ => None,
    });
    let of_next = || {
        next.iter().find_map(|item| match item {
            Item::PreviousSinks(runs) => Some(runs),
            _ => None,
        })
    };
    own.or_else(of_next).cloned().unwrap_or_default()
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

impl SharedSpool {
    /// The ids of a segment's records, and the sequence that they reach to; none where it is gone.
    pub fn ids_of(&self, segment: u64) -> Option<(Vec<IdEntry>, u64)> {
        let (file, end, sequences) = {
            let inner = self.lock();
            let found = inner.state.segments.get(&segment)?;
            (Arc::clone(&found.file), found.end, found.sequences.clone())
        };
        let (bytes, scan) = file.scan(end, &sequences);
        let records = scan.batches.iter().flat_map(|batch| &batch.records);
        let entries = records
            .filter(|record| sequences.contains(&record.sequence))
            .filter_map(|record| {
                let prefix = RecordPrefix::decode(&bytes[record.payload.clone()])?;
                Some(prefix.entry(record.sequence))
            });
        Some((entries.collect(), sequences.end.saturating_sub(1)))
    }
}
