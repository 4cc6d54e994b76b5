//! Reads the bytes of one segment: its batches, what of them is damaged, and where it ends.
//!
//! The distinction that everything rests on is between *damage* and a *torn* end. A batch that does
//! not check is damaged if there is evidence that it was acknowledged: a later head in the segment
//! (the next batch is begun only after the sync of this one has returned), or the statement of a
//! later segment that this one ended behind it. Without evidence it was torn: nobody was answered,
//! and it is dropped.

use std::collections::BTreeSet;
use std::ops::Range;

use super::format::{
    BLOCK_BYTES, BatchHead, Frame, HEAD_BYTES, RECORD_ALIGNMENT, RECORD_HEAD_BYTES, SegmentEnd,
    framed_length,
};
use crate::seeded::{self, Bug};

/// A record's place in the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its sequence.
    pub sequence: u64,
    /// Where its payload lies in the file.
    pub payload: Range<usize>,
}

/// A batch that was acknowledged, or the newest one, which perhaps was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its head; none where that is damaged.
    pub head: Option<BatchHead>,
    /// Where its items lie; none where they are damaged.
    pub items: Option<Range<usize>>,
    /// Its sound records.
    pub records: Vec<FoundRecord>,
    /// Sequences of records that were acknowledged and are damaged.
    pub lost: Vec<Range<u64>>,
    /// Whether all of it is as it was written.
    pub is_whole: bool,
}

/// What one segment's bytes say.
#[derive(Debug, Default)]
pub struct Scan {
    /// The batches, in order.
    pub batches: Vec<Batch>,
    /// Whether something of what was acknowledged does not check.
    pub is_damaged: bool,
    /// The head of a batch that was begun behind the last one and never acknowledged.
    pub torn: Option<BatchHead>,
    /// Whether there is evidence that the last batch was acknowledged.
    pub is_proven: bool,
    /// Where the last batch ends.
    pub end: u64,
}

impl Scan {
    /// Every head that is whole, in order.
    pub fn heads(&self) -> impl Iterator<Item = BatchHead> {
        let of_batches = self.batches.iter().filter_map(|batch| batch.head);
        of_batches.chain(self.torn)
    }

    /// The last batch, where there is no evidence that it was acknowledged, nor that it is on the
    /// disk. If its records are copies alone, their sources are still there.
    #[must_use]
    pub fn tail(&self) -> Option<&Batch> {
        self.batches.last().filter(|_| !self.is_proven)
    }

    /// The batches before that one.
    #[must_use]
    pub fn proven(&self) -> &[Batch] {
        &self.batches[..self.batches.len() - self.tail().iter().count()]
    }

    /// Where they end in the segment of this number; none where there are none. The head of the batch
    /// behind them knows the last of their sequences where their own heads are damaged.
    #[must_use]
    pub fn proven_end(&self, segment: u64) -> Option<SegmentEnd> {
        let first = self.heads().next()?;
        let tail = self.tail();
        let of_last = self.proven().iter().rev().find_map(|batch| batch.head);
        let behind = self.torn.or(tail.and_then(|batch| batch.head));
        let before = || first.previous.map_or(1, |end| end.next_sequence);
        (!self.proven().is_empty()).then(|| SegmentEnd {
            segment,
            end: tail.map_or(self.end, |tail| tail.offset),
            first_sequence: first.segment_first,
            next_sequence: behind
                .map(|head| head.previous_next)
                .max(of_last.map(|head| head.end_sequence()))
                .unwrap_or_else(before),
        })
    }
}

/// A segment's bytes, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct SegmentBytes<'a> {
    /// The bytes, from the header on.
    pub bytes: &'a [u8],
    /// Its number.
    pub number: u64,
    /// Its salt.
    pub salt: u64,
    /// The boundary at which batches begin.
    pub alignment: usize,
    /// What a later segment says of its end.
    pub end: Option<SegmentEnd>,
}

/// The salt of a segment whose header does not check: that of the newest head with its number.
/// Bytes of an earlier use of the file bear another number, or an older batch's.
#[must_use]
pub fn salt_of_heads(bytes: &[u8], number: u64, alignment: usize) -> Option<u64> {
    let heads = (BLOCK_BYTES..bytes.len())
        .step_by(alignment)
        .filter_map(|at| BatchHead::decode(&bytes[at..]));
    let of_segment = heads.filter(|head| head.segment == number);
    of_segment
        .max_by_key(|head| head.number)
        .map(|head| head.salt)
}

impl SegmentBytes<'_> {
    /// Reads all batches.
    #[must_use]
    pub fn scan(&self) -> Scan {
        let mut scan = Scan::default();
        let (mut at, mut last) = (BLOCK_BYTES, None);
        while at < self.limit() {
            let head = self.head_at(at, last);
            let mut batch = head.map(|head| self.batch(at, head));
            let mut end = head.map_or(at, |head| self.behind(at, &head));
            if batch.as_ref().is_none_or(|batch| !batch.is_whole) {
                let later = self.next_head(at, head.or(last));
                if !self.was_acknowledged(later) {
                    scan.torn = head;
                    break;
                }
                scan.is_damaged = true;
                if head.is_none() {
                    end = later.map_or(self.limit(), |(at, _)| at);
                    let later = later.map(|(_, head)| head);
                    batch = Some(self.headless(at..end, self.sequences_between(last, later)));
                }
            }
            scan.batches.extend(batch);
            last = head.or(last);
            at = end;
        }
        scan.end = at as u64;
        scan.is_proven = self.end.is_some() || scan.torn.is_some();
        scan
    }

    /// Whether there is evidence that what does not check was acknowledged: a head behind it, or the
    /// stated end.
    fn was_acknowledged(&self, later: Option<(usize, BatchHead)>) -> bool {
        let is_evident = self.end.is_some() || later.is_some();
        (is_evident || seeded::is(Bug::TakeTornEndForDamage))
            && !seeded::is(Bug::TakeDamageForTornEnd)
    }

    /// Where to stop: nothing behind the stated end counts.
    fn limit(&self) -> usize {
        let stated = self.end.and_then(|end| usize::try_from(end.end).ok());
        stated.map_or(self.bytes.len(), |end| end.min(self.bytes.len()))
    }

    /// Where the batch with this head ends, padding included.
    fn behind(&self, at: usize, head: &BatchHead) -> usize {
        (at + head.length as usize).next_multiple_of(self.alignment)
    }

    /// The head at an offset, if it is one of this segment behind the last one.
    fn head_at(&self, at: usize, last: Option<BatchHead>) -> Option<BatchHead> {
        let head = BatchHead::decode(self.bytes.get(at..)?)?;
        let fits = at + head.length as usize <= self.bytes.len();
        let is_later = last.is_none_or(|last| head.number > last.number);
        (head.salt == self.salt && head.segment == self.number && fits && is_later).then_some(head)
    }

    /// The first head behind an offset, and where it is.
    fn next_head(&self, at: usize, last: Option<BatchHead>) -> Option<(usize, BatchHead)> {
        let mut places = (at + self.alignment..self.limit()).step_by(self.alignment);
        places.find_map(|at| Some((at, self.head_at(at, last)?)))
    }

    /// What can be read of the batch with this head.
    fn batch(&self, at: usize, head: BatchHead) -> Batch {
        let items = at + HEAD_BYTES..at + HEAD_BYTES + head.items_length as usize;
        let records = items.end.next_multiple_of(RECORD_ALIGNMENT)..at + head.length as usize;
        let items = Some(items).filter(|items| {
            let bytes = self.bytes.get(items.clone());
            bytes.is_some_and(|bytes| crc32c::crc32c(bytes) == head.items_crc)
        });
        let (records, are_whole) = self.records(records, head.end_sequence());
        let is_whole = are_whole && items.is_some();
        let lost = if is_whole {
            Vec::new()
        } else {
            missing(head.first_sequence..head.end_sequence(), &records)
        };
        Batch {
            offset: at as u64,
            head: Some(head),
            items,
            records,
            lost,
            is_whole,
        }
    }

    /// What can be read where a head is damaged, and perhaps those of several batches; new records
    /// there had these sequences.
    fn headless(&self, region: Range<usize>, sequences: Range<u64>) -> Batch {
        let offset = region.start as u64;
        let (records, _) = self.records(region, sequences.end);
        Batch {
            offset,
            head: None,
            items: None,
            lost: missing(sequences, &records),
            records,
            is_whole: false,
        }
    }

    /// The sequences of new records between two heads, as far as they, or the stated end, tell.
    fn sequences_between(&self, last: Option<BatchHead>, later: Option<BatchHead>) -> Range<u64> {
        let first = last
            .map(|last| last.next_sequence)
            .or(later.map(|head| head.segment_first))
            .or(self.end.map(|end| end.first_sequence))
            .unwrap_or(0);
        let next = later
            .map(|head| head.previous_next)
            .or(self.end.map(|end| end.next_sequence));
        first..next.unwrap_or(first).max(first)
    }

    /// Every sound record in a region below a sequence, and whether they fill it. Each begins at an
    /// 8-byte boundary and has a checksum of its own, so a damaged length hides none of its
    /// neighbours.
    fn records(&self, region: Range<usize>, next: u64) -> (Vec<FoundRecord>, bool) {
        let (mut records, mut are_whole) = (Vec::new(), true);
        let mut position = region.start;
        while position < region.end {
            let here = &self.bytes[position..region.end];
            let is_possible = Frame::claim(here)
                .is_some_and(|(sequence, length)| sequence < next && length <= here.len());
            let frame = is_possible.then(|| Frame::decode(here, self.salt));
            if let Some(frame) = frame.flatten() {
                let payload = position + RECORD_HEAD_BYTES;
                records.push(FoundRecord {
                    sequence: frame.sequence,
                    payload: payload..payload + frame.payload.len(),
                });
                position += framed_length(frame.payload.len());
            } else {
                are_whole = false;
                position += RECORD_ALIGNMENT;
            }
        }
        (records, are_whole)
    }
}

/// The sequences of which there is no record.
fn missing(sequences: Range<u64>, records: &[FoundRecord]) -> Vec<Range<u64>> {
    let there: BTreeSet<u64> = records.iter().map(|record| record.sequence).collect();
    ranges(sequences.filter(|sequence| !there.contains(sequence)))
}

/// Rising numbers as ranges.
pub(crate) fn ranges(numbers: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::super::format::BatchBuffer;
    use super::*;

    const SALT: u64 = 7;
    const NUMBER: u64 = 3;

    /// A segment with one batch for each list of payload lengths.
    fn segment(batches: &[&[usize]]) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        let mut buffer = BatchBuffer::default();
        let mut next = 1;
        for (number, payloads) in (1..).zip(batches) {
            let first_sequence = next;
            buffer.begin(b"items");
            for length in *payloads {
                buffer.push(SALT, next, &[&vec![0x5a; *length]]);
                next += 1;
            }
            let head = BatchHead {
                salt: SALT,
                segment: NUMBER,
                number,
                length: 0,
                is_snapshot: number == 1,
                previous_next: first_sequence,
                first_sequence,
                count: payloads.len() as u32,
                next_sequence: next,
                items_length: 0,
                items_crc: 0,
                segment_first: 1,
                previous: None,
            };
            bytes.extend_from_slice(buffer.finish(head, BLOCK_BYTES));
        }
        bytes.extend([0; 4 * BLOCK_BYTES]);
        bytes
    }

    fn scan(bytes: &[u8]) -> Scan {
        SegmentBytes {
            bytes,
            number: NUMBER,
            salt: SALT,
            alignment: BLOCK_BYTES,
            end: None,
        }
        .scan()
    }

    fn sequences(scan: &Scan) -> Vec<u64> {
        let records = scan.batches.iter().flat_map(|batch| &batch.records);
        records.map(|record| record.sequence).collect()
    }

    fn lost(scan: &Scan) -> Vec<u64> {
        let lost = scan.batches.iter().flat_map(|batch| batch.lost.clone());
        lost.flatten().collect()
    }

    #[test]
    fn whole_batches_are_read_and_the_last_one_is_not_proven() {
        let found = scan(&segment(&[&[10, 5000], &[], &[100]]));
        assert_eq!(sequences(&found), [1, 2, 3]);
        assert_eq!(
            (found.is_damaged, found.torn.is_some(), found.is_proven),
            (false, false, false)
        );
        assert_eq!(found.end, 5 * BLOCK_BYTES as u64);
    }

    #[test]
    fn a_last_batch_that_does_not_check_was_torn_and_proves_the_one_before() {
        let mut bytes = segment(&[&[10], &[100]]);
        bytes[2 * BLOCK_BYTES + 300] = 0;
        bytes[2 * BLOCK_BYTES + 200] ^= 1;
        let found = scan(&bytes);
        assert_eq!(sequences(&found), [1]);
        assert_eq!(
            (found.torn.is_some(), found.is_proven, found.is_damaged),
            (true, true, false)
        );
        bytes[2 * BLOCK_BYTES + 10] ^= 1;
        let found = scan(&bytes);
        assert_eq!(
            (found.torn.is_some(), found.is_proven, found.is_damaged),
            (false, false, false)
        );
    }

    #[test]
    fn a_changed_byte_before_a_later_head_loses_at_most_the_record_it_lies_in() {
        let bytes = segment(&[&[10, 5000, 20], &[300, 300], &[]]);
        let whole = scan(&bytes);
        for at in (BLOCK_BYTES..4 * BLOCK_BYTES).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            let found = scan(&changed);
            let mut all = sequences(&found);
            all.extend(lost(&found));
            all.sort_unstable();
            assert_eq!(all, [1, 2, 3, 4, 5], "byte {at}");
            assert!(lost(&found).len() <= 1, "byte {at}: {:?}", lost(&found));
            assert_eq!(
                found.is_damaged,
                found.batches != whole.batches,
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_lost_block_is_counted_exactly() {
        let mut bytes = segment(&[&[10], &[3000, 3000, 100], &[50]]);
        bytes[2 * BLOCK_BYTES..3 * BLOCK_BYTES].fill(0xff);
        let found = scan(&bytes);
        assert_eq!(lost(&found), [2, 3]);
        assert_eq!(sequences(&found), [1, 4, 5]);
    }

    #[test]
    fn a_stated_end_is_evidence_and_hides_what_lies_behind_it() {
        let mut bytes = segment(&[&[10], &[100], &[200]]);
        bytes[2 * BLOCK_BYTES + 200] ^= 1;
        let end = SegmentEnd {
            segment: NUMBER,
            end: 3 * BLOCK_BYTES as u64,
            first_sequence: 1,
            next_sequence: 3,
        };
        let found = SegmentBytes {
            bytes: &bytes,
            number: NUMBER,
            salt: SALT,
            alignment: BLOCK_BYTES,
            end: Some(end),
        }
        .scan();
        assert_eq!((sequences(&found), lost(&found)), (vec![1], vec![2]));
        assert!(found.is_damaged && found.is_proven);
    }

    #[test]
    fn the_end_that_is_stated_of_a_segment_covers_records_whose_heads_are_damaged() {
        for damaged in [&[1][..], &[2], &[1, 2]] {
            let mut bytes = segment(&[&[10], &[100, 200], &[]]);
            for block in damaged {
                bytes[block * BLOCK_BYTES + 10] ^= 1;
            }
            let end = scan(&bytes).proven_end(NUMBER);
            assert_eq!(end.map(|end| end.next_sequence), Some(4), "{damaged:?}");
            let found = SegmentBytes {
                bytes: &bytes,
                number: NUMBER,
                salt: SALT,
                alignment: BLOCK_BYTES,
                end,
            }
            .scan();
            assert_eq!(sequences(&found), [1, 2, 3], "{damaged:?}");
        }
    }

    #[test]
    fn bytes_of_an_earlier_use_are_not_taken_for_batches() {
        let bytes = segment(&[&[10], &[100]]);
        let found = SegmentBytes {
            bytes: &bytes,
            number: NUMBER,
            salt: SALT + 1,
            alignment: BLOCK_BYTES,
            end: None,
        }
        .scan();
        assert!(found.batches.is_empty() && found.torn.is_none() && !found.is_damaged);
        assert_eq!(salt_of_heads(&bytes, NUMBER, BLOCK_BYTES), Some(SALT));
        assert_eq!(salt_of_heads(&bytes, NUMBER + 1, BLOCK_BYTES), None);
    }
}
