//! Reading records for whoever needs them: the newest from memory, the others from their segments.
//! Damage is found here, when what is sealed is read; a disk that does not answer is not damage.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::error::SpoolUnavailable;
use super::record::SpoolRecord;
use super::segment::SpoolSegment;
use super::shared::{Inner, SharedSpool};
use crate::event::SinkIndex;
use crate::log::index::{BatchLocation, BatchReader, RecordReadError};
use crate::log::scan::{Scan, ranges};

/// So much of a record is read for a list: all of it but the body, mostly.
const HEAD_BYTES: usize = 4096;

/// What waits for a sink next.
#[derive(Debug)]
pub(super) enum NextRecords {
    /// These, from memory.
    Here(Vec<Arc<SpoolRecord>>),
    /// The records with these sequences, which have to be read.
    OnDisk(Vec<u64>),
    /// Nothing.
    Nothing,
}

/// Where a record lies.
#[derive(Debug)]
struct RecordLocation {
    segment: Arc<SpoolSegment>,
    place: Option<BatchLocation>,
    /// Where the segment's acknowledged batches end.
    end: u64,
}

impl Inner {
    fn cached(&self, sequence: u64) -> Option<&Arc<SpoolRecord>> {
        let rescued = || self.rescued.get(&sequence);
        self.recent.get(sequence).or_else(rescued)
    }

    /// Where a record lies.
    fn location(&self, sequence: u64) -> Option<RecordLocation> {
        let (number, place) = self.state.locate(sequence)?;
        let segment = self.state.segments.get(&number)?;
        Some(RecordLocation {
            segment: Arc::clone(&segment.file),
            place,
            end: segment.end,
        })
    }
}

impl SharedSpool {
    /// What waits for `sink` behind a sequence: at most so many records and bytes, but at least one.
    pub fn next(&self, sink: SinkIndex, after: u64, limit: usize, bytes: usize) -> NextRecords {
        let inner = self.lock();
        let mut here = Vec::new();
        let mut on_disk = Vec::new();
        let mut left = bytes;
        let pending = inner.state.pending(sink).iter_from(after.saturating_add(1));
        for sequence in pending.take(limit) {
            match inner.cached(sequence) {
                Some(record) if on_disk.is_empty() => {
                    let size = record.position().bytes as usize;
                    if size > left && !here.is_empty() {
                        break;
                    }
                    left = left.saturating_sub(size);
                    here.push(Arc::clone(record));
                }
                None if here.is_empty() => on_disk.push(sequence),
                _ => break,
            }
        }
        match (here.is_empty(), on_disk.is_empty()) {
            (false, _) => NextRecords::Here(here),
            (true, false) => NextRecords::OnDisk(on_disk),
            (true, true) => NextRecords::Nothing,
        }
    }

    /// Reads records in the order of their sequences: at most so many bytes, but at least one
    /// record. What is damaged is declared lost and left out. Blocks.
    ///
    /// Nothing behind a record that the disk does not give now is read for it: which object it is of
    /// stands in the record alone, so any of those could be a later event of the same one.
    ///
    /// # Errors
    /// When the disk does not give the first of them.
    pub fn read(
        &self,
        sequences: &[u64],
        bytes: usize,
    ) -> Result<Vec<Arc<SpoolRecord>>, SpoolUnavailable> {
        let mut records: Vec<Arc<SpoolRecord>> = Vec::new();
        let mut cursor = None;
        let mut left = bytes;
        for sequence in sequences {
            let record = match self.read_one(*sequence, &mut cursor) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) if records.is_empty() => {
                    let segment = self.lock().state.locate(*sequence).map(|(at, _)| at);
                    tracing::debug!(%error, sequence, segment, "a record cannot be read");
                    return Err(SpoolUnavailable::Unreadable);
                }
                Err(_) => break,
            };
            let size = record.position().bytes as usize;
            if size > left && !records.is_empty() {
                break;
            }
            left = left.saturating_sub(size);
            records.push(record);
        }
        Ok(records)
    }

    /// As [`SharedSpool::read`], but of what lies on the disk without bodies, for a list. The checksum is
    /// over the whole record, so what looks wrong is read whole.
    ///
    /// # Errors
    /// As [`SharedSpool::read`].
    pub fn read_heads(
        &self,
        sequences: &[u64],
        bytes: usize,
    ) -> Result<Vec<Arc<SpoolRecord>>, SpoolUnavailable> {
        let mut records = Vec::new();
        let mut cursor = None;
        let mut left = bytes;
        for sequence in sequences {
            match self.read_head(*sequence, &mut cursor) {
                Some(record) => records.push(record),
                None => records.extend(self.read(&[*sequence], bytes)?),
            }
            left = left.saturating_sub(HEAD_BYTES);
            if left == 0 {
                break;
            }
        }
        Ok(records)
    }

    fn read_head(&self, sequence: u64, cursor: &mut Option<Cursor>) -> Option<Arc<SpoolRecord>> {
        let location = {
            let inner = self.lock();
            if inner.cached(sequence).is_some() {
                return None;
            }
            inner.location(sequence)?
        };
        let (head, length) = Cursor::peek(cursor, sequence, &location, HEAD_BYTES).ok()?;
        SpoolRecord::decode_head(sequence, &head, length).map(Arc::new)
    }

    /// One record; none where nothing waits for it, or it is damaged.
    fn read_one(
        &self,
        sequence: u64,
        cursor: &mut Option<Cursor>,
    ) -> Result<Option<Arc<SpoolRecord>>, RecordReadError> {
        match self.try_read(sequence, cursor) {
            Err(RecordReadError::Damaged) => {
                *cursor = None;
                self.examine(sequence);
                // What waits for it still is sound, and where it lies is known now.
                self.try_read(sequence, cursor)
            }
            other => other,
        }
    }

    fn try_read(
        &self,
        sequence: u64,
        cursor: &mut Option<Cursor>,
    ) -> Result<Option<Arc<SpoolRecord>>, RecordReadError> {
        let location = {
            let inner = self.lock();
            if let Some(record) = inner.cached(sequence) {
                return Ok(Some(Arc::clone(record)));
            }
            let location = inner.location(sequence);
            location.filter(|_| inner.state.is_pending(sequence))
        };
        let Some(location) = location else {
            return Ok(None);
        };
        let payload = Cursor::read(cursor, sequence, &location)?;
        match SpoolRecord::decode(sequence, &payload) {
            Ok(record) => Ok(Some(Arc::new(record))),
            Err(error) => {
                tracing::error!(sequence, %error, "a record that checks cannot be decoded");
                let lost = ranges(std::iter::once(sequence));
                self.lock()
                    .declare_lost(location.segment.file.number, &lost);
                Ok(None)
            }
        }
    }

    /// Reads the damaged segment of a record whole. What is sound of what waits is kept in memory,
    /// because its place may be lost; what is not is declared lost.
    fn examine(&self, sequence: u64) {
        let found = {
            let inner = self.lock();
            let number = inner.state.locate(sequence).map(|(number, _)| number);
            let segment = number.and_then(|number| inner.state.segments.get(&number));
            segment.map(|it| (Arc::clone(&it.file), it.end, it.sequences.clone()))
        };
        let Some((segment, end, sequences)) = found else {
            return;
        };
        let (bytes, scan) = segment.scan(end, &sequences);
        segment.note_scan(&scan.batches, end);
        let mut inner = self.lock();
        let sound = inner.rescue(segment.file.number, &bytes, &scan);
        let copies: Vec<u64> = inner.state.copies_in(segment.file.number).collect();
        let here = copies.into_iter().chain(sequences);
        let lost = ranges(here.filter(|it| !sound.contains(it)));
        inner.declare_lost(segment.file.number, &lost);
    }
}

impl Inner {
    /// What waits of these sequences in this segment is lost: it is counted now, and the log is told
    /// with the next batch.
    fn declare_lost(&mut self, segment: u64, sequences: &[Range<u64>]) {
        let Some(loss) = self.state.lose(segment, sequences) else {
            return;
        };
        for sequence in loss.sequences.iter().cloned().flatten() {
            self.waiters.lost(sequence);
        }
        loss.log();
        self.count(|update| update.lost(&loss));
    }

    /// Keeps the sound records of damaged batches that still wait, and copies that lie among them.
    /// Returns the sequences of all sound records that wait.
    fn rescue(&mut self, segment: u64, bytes: &[u8], scan: &Scan) -> BTreeSet<u64> {
        let mut sound = BTreeSet::new();
        let batches = scan.batches.iter();
        for (batch, found) in batches.flat_map(|it| it.records.iter().map(move |found| (it, found)))
        {
            let sequence = found.sequence;
            let is_here = self.state.locate(sequence).map(|(at, _)| at) == Some(segment);
            if !is_here || !self.state.is_pending(sequence) {
                continue;
            }
            if !batch.is_whole {
                let payload = &bytes[found.payload.clone()];
                let Ok(record) = SpoolRecord::decode(sequence, payload) else {
                    continue;
                };
                self.rescued.insert(sequence, Arc::new(record));
            }
            sound.insert(sequence);
        }
        sound
    }
}

/// A batch that is open, because the next record wanted is likely to lie in it.
#[derive(Debug)]
struct Cursor {
    segment: u64,
    offset: u64,
    /// No record up to this sequence comes any more.
    passed: u64,
    reader: BatchReader,
}

impl Cursor {
    /// Reads the payload of a record.
    fn read(
        cursor: &mut Option<Self>,
        sequence: u64,
        location: &RecordLocation,
    ) -> Result<Bytes, RecordReadError> {
        let cursor = Self::at(cursor, sequence, location)?;
        let length = cursor.advance(sequence)?;
        cursor.reader.take(length)
    }

    /// The first bytes of a record's payload and its whole length, unchecked.
    fn peek(
        cursor: &mut Option<Self>,
        sequence: u64,
        location: &RecordLocation,
        bytes: usize,
    ) -> Result<(Bytes, usize), RecordReadError> {
        let cursor = Self::at(cursor, sequence, location)?;
        let length = cursor.advance(sequence)?;
        Ok((cursor.reader.peek(length.min(bytes))?, length))
    }

    fn at<'a>(
        cursor: &'a mut Option<Self>,
        sequence: u64,
        location: &RecordLocation,
    ) -> Result<&'a mut Self, RecordReadError> {
        let segment = &location.segment;
        let place = match location.place {
            Some(place) => place,
            None => segment
                .place(sequence, location.end)?
                .ok_or(RecordReadError::Damaged)?,
        };
        let of = (segment.file.number, place.offset);
        cursor.take_if(|it| (it.segment, it.offset) != of || it.passed >= sequence);
        if cursor.is_none() {
            let file = Arc::clone(&segment.file.file);
            *cursor = Some(Self {
                segment: segment.file.number,
                offset: place.offset,
                passed: 0,
                reader: BatchReader::open(file, segment.file.salt, place)?,
            });
        }
        cursor.as_mut().ok_or(RecordReadError::Damaged)
    }

    /// Goes on to the record; its payload's length.
    fn advance(&mut self, sequence: u64) -> Result<usize, RecordReadError> {
        while let Some((found, length)) = self.reader.claim()? {
            if found == sequence {
                self.passed = sequence;
                return Ok(length);
            }
            self.reader.skip(length);
        }
        Err(RecordReadError::Damaged)
    }
}
