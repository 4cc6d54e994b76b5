//! What a start finds in the folder. The newest segment is read whole. Its first batch says which
//! segment before it holds something, and what; so does the first batch of that one, and so on. Only
//! where such a batch is damaged is the segment before it read whole as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::catalog::Catalog;
use super::row::Place;
use super::segment::{Segment, Spot};
use super::snapshot::{Snapshot, Summary};
use crate::log::disk::{Disk, read_exact_at};
use crate::log::format::{BLOCK_BYTES, HEAD_BYTES, Head, Kind, RECORD_HEAD_BYTES, SegmentEnd};
use crate::log::lock::LOCK_NAME;
use crate::log::recover::{RecoverError, Recovered, SegmentFile, read_all};
use crate::log::scan::{Batch, Scan};
use crate::log::writer::alignment;

/// The store as it was found.
#[derive(Debug)]
pub(super) struct Recovery {
    pub recovered: Recovered,
    pub catalog: Catalog,
    /// The records of the last batch, where nobody knows whether it was confirmed: not to be shown
    /// before they have been written anew.
    pub tail: Vec<Vec<u8>>,
    /// Segments that hold nothing; not to be overwritten before the tail is somewhere else.
    pub leftovers: Vec<Arc<Segment>>,
}

/// What has been read so far.
#[derive(Debug)]
struct Reading {
    segments: BTreeMap<u64, Arc<Segment>>,
    catalog: Catalog,
    tail: Vec<Vec<u8>>,
    lost: u64,
}

/// The next older segment that holds something, by what is known of it.
enum Older {
    Told(Summary),
    Ended(SegmentEnd),
    Unknown(u64),
}

impl Recovery {
    /// Reads the folder, and changes nothing in it.
    ///
    /// # Errors
    /// When it is not a store's, or is one that this program must not touch.
    pub fn look(disk: &Arc<dyn Disk>) -> Result<Self, RecoverError> {
        let mut recovered = Recovered::look(Arc::clone(disk), Kind::Store, &[LOCK_NAME])?;
        let alignment = alignment(&**disk);
        let files = recovered.segments.iter();
        let files = files.map(|(number, it)| (*number, Arc::new(segment(*number, it, alignment))));
        let mut reading = Reading {
            segments: files.collect(),
            catalog: Catalog::default(),
            tail: Vec::new(),
            lost: 0,
        };
        let newest = recovered.replay.last().map(|(number, _)| *number);
        let ended = recovered.standing.ended;
        recovered.scanned(|it| {
            if Some(it.number) == newest {
                reading.take_newest(it.number, (&it.bytes, &it.scan), ended);
            }
        });
        reading.take_older(newest);
        let (segments, (catalog, tail)) = (reading.segments.clone(), reading.finish());
        let is_left = |number: &u64| !catalog.segments.contains_key(number);
        let leftovers = segments.into_iter().filter(|(number, _)| is_left(number));
        Ok(Self {
            leftovers: leftovers.map(|(_, segment)| segment).collect(),
            recovered,
            catalog,
            tail,
        })
    }
}

impl Reading {
    fn take_newest(
        &mut self,
        number: u64,
        (bytes, scan): (&[u8], &Scan),
        ended: Option<SegmentEnd>,
    ) {
        let tail = scan.tail();
        let proven = scan.batches.len() - usize::from(tail.is_some());
        let ended = ended.filter(|end| end.segment == number && proven > 0);
        if let Some(end) = ended {
            self.take(bytes, &scan.batches[..proven], scan.is_damaged, end);
        }
        // What was carried over is still where it was.
        if self.is_unproven_copy(number) {
            return;
        }
        let records = tail.iter().flat_map(|batch| &batch.records);
        self.tail
            .extend(records.map(|record| bytes[record.payload.clone()].to_vec()));
    }

    /// Whether the segment has one batch, without evidence, of what the one before it still holds.
    fn is_unproven_copy(&self, number: u64) -> bool {
        let first = self.first_batch(number);
        !self.catalog.segments.contains_key(&number)
            && first.is_some_and(|(_, snapshot)| self.segments.contains_key(&snapshot.carried))
    }

    /// Takes in a segment with these batches.
    fn take(&mut self, bytes: &[u8], batches: &[Batch], is_damaged: bool, end: SegmentEnd) {
        let Some(segment) = self.segments.get(&end.segment) else {
            return;
        };
        if is_damaged {
            segment.note_damage();
        }
        self.catalog.hold(Arc::clone(segment), Summary::new(end));
        for batch in batches {
            let items = batch
                .items
                .clone()
                .filter(|_| batch.head.is_some_and(|it| it.is_snapshot));
            if let Some(snapshot) = items.and_then(|items| Snapshot::decode(&bytes[items])) {
                self.reach(&snapshot);
            }
            self.lost += batch
                .lost
                .iter()
                .map(|lost| lost.end - lost.start)
                .sum::<u64>();
            for record in &batch.records {
                let payload = &bytes[record.payload.clone()];
                let at = (record.payload.start - RECORD_HEAD_BYTES) as u64;
                if let Some(place) = Place::decode(payload) {
                    let spot = Spot::new(place.position, at, payload.len());
                    self.catalog
                        .add(end.segment, place.topic, place.stored_ms, spot);
                }
            }
        }
    }

    fn reach(&mut self, snapshot: &Snapshot) {
        for (name, next) in &snapshot.topics {
            self.catalog.reach(name, *next);
        }
    }

    /// Follows what each segment says of the one before.
    fn take_older(&mut self, newest: Option<u64>) {
        let mut next = newest.and_then(|newest| self.before(newest));
        while let Some(older) = next {
            let number = match older {
                Older::Told(summary) => {
                    let number = summary.end.segment;
                    self.catalog
                        .hold(Arc::clone(&self.segments[&number]), summary);
                    number
                }
                Older::Ended(end) => self.read(end.segment, Some(end)),
                Older::Unknown(number) => self.read(number, None),
            };
            next = self.before(number);
        }
    }

    fn before(&mut self, number: u64) -> Option<Older> {
        let is_older = |older: u64| older < number && self.segments.contains_key(&older);
        let lower = self.segments.range(..number).next_back();
        let unknown = lower.map(|(number, _)| Older::Unknown(*number));
        let Some((head, snapshot)) = self.first_batch(number) else {
            return unknown;
        };
        if self.is_unproven_copy(number) {
            let ended = head.previous.filter(|end| is_older(end.segment));
            return ended.map(Older::Ended).or(unknown);
        }
        let told = snapshot.previous.clone();
        let told = told.map(|it| {
            if is_older(it.end.segment) {
                Some(Older::Told(it))
            } else {
                unknown
            }
        });
        self.reach(&snapshot);
        told.flatten()
    }

    /// Reads a whole segment that others follow: all of its batches were confirmed.
    fn read(&mut self, number: u64, end: Option<SegmentEnd>) -> u64 {
        let segment = Arc::clone(&self.segments[&number]);
        let bytes = read_all(&*segment.file, segment.length);
        let scan = segment.scan(&bytes, end);
        if !scan.batches.is_empty() {
            let end = end.unwrap_or_else(|| end_of(number, &scan));
            self.take(&bytes, &scan.batches, scan.is_damaged, end);
        }
        number
    }

    /// The head and the items of a segment's first batch, where they are whole.
    fn first_batch(&self, number: u64) -> Option<(Head, Snapshot)> {
        let segment = self.segments.get(&number)?;
        let mut bytes = vec![0; HEAD_BYTES];
        read_exact_at(&*segment.file, &mut bytes, BLOCK_BYTES as u64).ok()?;
        let head = Head::decode(&bytes)?;
        let at = (BLOCK_BYTES + HEAD_BYTES) as u64;
        let is_here = (head.salt, head.segment) == (segment.salt, number);
        if !head.is_snapshot || !is_here || at + u64::from(head.items_length) > segment.length {
            return None;
        }
        let mut items = vec![0; head.items_length as usize];
        read_exact_at(&*segment.file, &mut items, at).ok()?;
        let is_whole = crc32c::crc32c(&items) == head.items_crc;
        let snapshot = is_whole.then(|| Snapshot::decode(&items)).flatten()?;
        Some((head, snapshot))
    }

    fn finish(mut self) -> (Catalog, Vec<Vec<u8>>) {
        if self.lost > 0 {
            tracing::warn!(
                messages = self.lost,
                "Some messages of the topic log are damaged and left out; the others are served"
            );
        }
        self.catalog.settle(self.lost);
        self.catalog.seal();
        let places = self
            .tail
            .iter()
            .filter_map(|payload| Place::decode(payload));
        for place in places {
            self.catalog.reach(place.topic, place.position + 1);
        }
        (self.catalog, self.tail)
    }
}

fn segment(number: u64, file: &SegmentFile, alignment: usize) -> Segment {
    Segment {
        number,
        length: file.length,
        salt: file.salt.unwrap_or_default(),
        file: Arc::clone(&file.file),
        alignment,
        is_damaged: AtomicBool::new(false),
    }
}

fn end_of(segment: u64, scan: &Scan) -> SegmentEnd {
    let heads = || scan.batches.iter().filter_map(|batch| batch.head);
    SegmentEnd {
        segment,
        end: scan.end,
        first_sequence: heads().next().map_or(0, |head| head.segment_first),
        next_sequence: heads().next_back().map_or(0, |head| head.end_sequence()),
    }
}
