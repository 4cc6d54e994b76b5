//! The items of a batch, which it has besides its records: progress, losses, and snapshots of the
//! whole state. Each item is its kind and its fields; numbers are coded as in [`crate::log::codec`].

use std::ops::Range;

use super::dead_letters::DeadLetterName;
use crate::event::{SinkIndex, SinkSet};
use crate::log::codec::{Decoder, put, put_bytes, put_ranges};
use crate::log::index::BatchLocation;
use crate::name::SinkName;

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// These sequences do not wait for this sink any more.
    Progress(SinkIndex, Vec<Range<u64>>),
    /// Records were lost.
    Loss(Loss),
    /// The batch's first record has taken the place of this dead letter.
    Requeued(DeadLetterName),
    /// An event was verified at this time, in seconds since the epoch.
    Verified(i64),
    /// The sinks of the batch's own new records: so many in a row have the same.
    Sinks(Vec<(u64, SinkSet)>),
    /// Those of the batch before: they say for whom its records were, should they be damaged.
    PreviousSinks(Vec<(u64, SinkSet)>),
    /// The whole state before this batch.
    Snapshot(Snapshot),
    /// Ids of events from before this time, in seconds since the epoch, may be forgotten.
    IdsSince(i64),
}

/// Records that were acknowledged, waited, and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// The segment they were in, which is kept.
    pub segment: u64,
    /// How many.
    pub records: u64,
    /// Which.
    pub sequences: Vec<Range<u64>>,
    /// For whom they waited, and how many for each.
    pub sinks: Vec<(SinkIndex, SinkName, u64)>,
}

impl Loss {
    /// Says so in the log.
    pub fn log(&self) {
        tracing::error!(
            segment = self.segment,
            records = self.records,
            "records that were accepted are damaged and lost; the segment is kept. Sending their events again publishes them"
        );
    }
}

/// The whole state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub sinks: Vec<(SinkIndex, SinkName, Vec<Range<u64>>)>,
    pub segments: Vec<SegmentItem>,
    pub moved: Vec<(u64, (u64, BatchLocation))>,
    pub lost: Vec<Range<u64>>,
    pub lost_totals: Vec<(SinkName, u64)>,
    pub lost_records: u64,
    pub verified: i64,
    pub ids_since: i64,
    pub removed_end: u64,
    pub requeued: Vec<DeadLetterName>,
}

/// A segment in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentItem {
    pub number: u64,
    pub sequences: Range<u64>,
    pub end: u64,
    pub live: u64,
    pub live_bytes: u64,
    pub is_damaged: bool,
}

const PROGRESS: u64 = 1;
const LOSS: u64 = 2;
const REQUEUED: u64 = 3;
const VERIFIED: u64 = 4;
const SINKS: u64 = 5;
const PREVIOUS_SINKS: u64 = 6;
const SNAPSHOT: u64 = 7;
const IDS_SINCE: u64 = 8;

/// Appends an item.
pub(super) fn encode(item: &Item, to: &mut Vec<u8>) {
    match item {
        Item::Progress(sink, ranges) => {
            put(to, PROGRESS);
            put(to, sink.number() as u64);
            put_ranges(to, ranges);
        }
        Item::Loss(loss) => {
            put(to, LOSS);
            encode_loss(loss, to);
        }
        Item::Requeued(letter) => {
            put(to, REQUEUED);
            encode_dead_letter(letter, to);
        }
        Item::Verified(seconds) => {
            put(to, VERIFIED);
            put(to, seconds.cast_unsigned());
        }
        Item::Sinks(runs) => {
            put(to, SINKS);
            encode_sinks(runs, to);
        }
        Item::PreviousSinks(runs) => {
            put(to, PREVIOUS_SINKS);
            encode_sinks(runs, to);
        }
        Item::Snapshot(snapshot) => {
            put(to, SNAPSHOT);
            encode_snapshot(snapshot, to);
        }
        Item::IdsSince(seconds) => {
            put(to, IDS_SINCE);
            put(to, seconds.cast_unsigned());
        }
    }
}

/// Reads all items of a batch. One that this program does not know ends the reading.
pub(super) fn decode(bytes: &[u8]) -> Vec<Item> {
    let mut decoder = Decoder(bytes);
    let mut items = Vec::new();
    while !decoder.is_empty()
        && let Some(item) = decode_item(&mut decoder)
    {
        items.push(item);
    }
    items
}

fn decode_item(decoder: &mut Decoder<'_>) -> Option<Item> {
    Some(match decoder.number()? {
        PROGRESS => Item::Progress(sink(decoder)?, decoder.ranges()?),
        LOSS => Item::Loss(decode_loss(decoder)?),
        REQUEUED => Item::Requeued(letter(decoder)?),
        VERIFIED => Item::Verified(decoder.number()?.cast_signed()),
        SINKS => Item::Sinks(decoder.list(run_of_sinks)?),
        PREVIOUS_SINKS => Item::PreviousSinks(decoder.list(run_of_sinks)?),
        SNAPSHOT => Item::Snapshot(decode_snapshot(decoder)?),
        IDS_SINCE => Item::IdsSince(decoder.number()?.cast_signed()),
        _ => return None,
    })
}

fn sink(decoder: &mut Decoder<'_>) -> Option<SinkIndex> {
    SinkIndex::new(decoder.small()?)
}

fn name(decoder: &mut Decoder<'_>) -> Option<SinkName> {
    SinkName::parse(decoder.text()?).ok()
}

fn letter(decoder: &mut Decoder<'_>) -> Option<DeadLetterName> {
    Some(DeadLetterName {
        sequence: decoder.number()?,
        sink: name(decoder)?,
    })
}

fn run_of_sinks(decoder: &mut Decoder<'_>) -> Option<(u64, SinkSet)> {
    Some((decoder.number()?, SinkSet::from_bits(decoder.small()?)))
}

fn encode_dead_letter(letter: &DeadLetterName, to: &mut Vec<u8>) {
    put(to, letter.sequence);
    put_bytes(to, letter.sink.as_str().as_bytes());
}

fn encode_sinks(runs: &[(u64, SinkSet)], to: &mut Vec<u8>) {
    put(to, runs.len() as u64);
    for (count, sinks) in runs {
        put(to, *count);
        put(to, u64::from(sinks.bits()));
    }
}

fn encode_loss(loss: &Loss, to: &mut Vec<u8>) {
    put(to, loss.segment);
    put(to, loss.records);
    put_ranges(to, &loss.sequences);
    put(to, loss.sinks.len() as u64);
    for (index, name, count) in &loss.sinks {
        put(to, index.number() as u64);
        put_bytes(to, name.as_str().as_bytes());
        put(to, *count);
    }
}

fn decode_loss(decoder: &mut Decoder<'_>) -> Option<Loss> {
    Some(Loss {
        segment: decoder.number()?,
        records: decoder.number()?,
        sequences: decoder.ranges()?,
        sinks: decoder.list(|it| Some((sink(it)?, name(it)?, it.number()?)))?,
    })
}

fn encode_snapshot(snapshot: &Snapshot, to: &mut Vec<u8>) {
    put(to, snapshot.sinks.len() as u64);
    for (index, name, runs) in &snapshot.sinks {
        put(to, index.number() as u64);
        put_bytes(to, name.as_str().as_bytes());
        put_ranges(to, runs);
    }
    put(to, snapshot.segments.len() as u64);
    for segment in &snapshot.segments {
        put(to, segment.number);
        put(to, segment.sequences.start);
        put(to, segment.sequences.end - segment.sequences.start);
        put(to, segment.end);
        put(to, segment.live);
        put(to, segment.live_bytes);
        put(to, u64::from(segment.is_damaged));
    }
    put(to, snapshot.moved.len() as u64);
    for (sequence, (segment, place)) in &snapshot.moved {
        put(to, *sequence);
        put(to, *segment);
        put(to, place.offset);
        put(to, u64::from(place.length));
    }
    put_ranges(to, &snapshot.lost);
    put(to, snapshot.lost_totals.len() as u64);
    for (name, count) in &snapshot.lost_totals {
        put_bytes(to, name.as_str().as_bytes());
        put(to, *count);
    }
    put(to, snapshot.lost_records);
    put(to, snapshot.verified.cast_unsigned());
    put(to, snapshot.ids_since.cast_unsigned());
    put(to, snapshot.removed_end);
    put(to, snapshot.requeued.len() as u64);
    for letter in &snapshot.requeued {
        encode_dead_letter(letter, to);
    }
}

fn decode_snapshot(decoder: &mut Decoder<'_>) -> Option<Snapshot> {
    Some(Snapshot {
        sinks: decoder.list(|it| Some((sink(it)?, name(it)?, it.ranges()?)))?,
        segments: decoder.list(decode_segment)?,
        moved: decoder.list(|it| {
            let (sequence, segment) = (it.number()?, it.number()?);
            let place = BatchLocation {
                first_sequence: sequence,
                count: 0,
                offset: it.number()?,
                length: it.small()?,
            };
            Some((sequence, (segment, place)))
        })?,
        lost: decoder.ranges()?,
        lost_totals: decoder.list(|it| Some((name(it)?, it.number()?)))?,
        lost_records: decoder.number()?,
        verified: decoder.number()?.cast_signed(),
        ids_since: decoder.number()?.cast_signed(),
        removed_end: decoder.number()?,
        requeued: decoder.list(letter)?,
    })
}

fn decode_segment(decoder: &mut Decoder<'_>) -> Option<SegmentItem> {
    let (number, first, count) = (decoder.number()?, decoder.number()?, decoder.number()?);
    Some(SegmentItem {
        number,
        sequences: first..first.checked_add(count)?,
        end: decoder.number()?,
        live: decoder.number()?,
        live_bytes: decoder.number()?,
        is_damaged: decoder.number()? != 0,
    })
}

/// The sinks of records in a row, as runs.
pub(super) fn runs_of_sinks(sinks: impl Iterator<Item = SinkSet>) -> Vec<(u64, SinkSet)> {
    let mut runs: Vec<(u64, SinkSet)> = Vec::new();
    for set in sinks {
        match runs.last_mut() {
            Some((count, last)) if *last == set => *count += 1,
            _ => runs.push((1, set)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        let index = |number| SinkIndex::new(number).expect("in range");
        let kafka = SinkName::parse("kafka").expect("a slug");
        let letter = DeadLetterName {
            sequence: 8,
            sink: kafka.clone(),
        };
        let place = BatchLocation {
            first_sequence: 9,
            count: 0,
            offset: 4096,
            length: 500,
        };
        let segment = SegmentItem {
            number: 3,
            sequences: 5..900,
            end: 8192,
            live: 4,
            live_bytes: 4000,
            is_damaged: true,
        };
        let sets = vec![
            (3, SinkSet::from_bits(1)),
            (1, SinkSet::from_bits(u32::MAX)),
        ];
        vec![
            Item::Progress(index(31), vec![1..2, 5..900]),
            Item::Loss(Loss {
                segment: 3,
                records: 2,
                sequences: vec![7..9, 11..12],
                sinks: vec![(index(0), kafka.clone(), 2)],
            }),
            Item::Requeued(letter.clone()),
            Item::Verified(-1),
            Item::Sinks(sets.clone()),
            Item::PreviousSinks(sets),
            Item::IdsSince(1_699_913_600),
            Item::Snapshot(Snapshot {
                sinks: vec![(index(0), kafka.clone(), vec![5..6, 8..100])],
                segments: vec![segment],
                moved: vec![(9, (4, place))],
                lost: vec![7..9, 11..12],
                lost_totals: vec![(kafka, 2)],
                lost_records: 2,
                verified: 1_700_000_000,
                ids_since: 1_699_900_000,
                removed_end: 5,
                requeued: vec![letter],
            }),
        ]
    }

    #[test]
    fn every_item_comes_back() {
        let mut bytes = Vec::new();
        items().iter().for_each(|item| encode(item, &mut bytes));
        assert_eq!(decode(&bytes), items());
    }

    #[test]
    fn what_is_cut_off_or_unknown_ends_the_reading() {
        for item in items() {
            let mut bytes = Vec::new();
            encode(&item, &mut bytes);
            for length in 0..bytes.len() {
                assert_eq!(decode(&bytes[..length]), [], "{item:?}");
            }
        }
        assert_eq!(decode(&[99, 1, 1]), []);
    }

    #[test]
    fn equal_neighbours_are_one_run() {
        let [a, b] = [1, 2].map(SinkSet::from_bits);
        let runs = runs_of_sinks([a, a, b, a].into_iter());
        assert_eq!(runs, [(2, a), (1, b), (1, a)]);
        assert_eq!(runs_of_sinks(std::iter::empty()), []);
    }
}
