//! A ring buffer of records, bounded in bytes.
//!
//! A record is two bytes of length and so many bytes. Records are known by their offset among all bytes
//! that were ever written, so a reader that comes back finds out what it has missed.

use std::collections::VecDeque;

/// What stands before a record.
const LENGTH_BYTES: usize = 2;
/// The largest record, with its length; what is longer is not kept. None is, by far: whatever a record
/// tells has a bound of its own.
const MAX_RECORD_BYTES: usize = 4096;

/// The records, oldest first.
#[derive(Debug)]
pub(super) struct RecordRing {
    bytes: VecDeque<u8>,
    max_bytes: usize,
    /// The offset of the oldest record.
    start: u64,
    /// Where the next record is encoded, kept for its memory.
    encoded: Vec<u8>,
}

/// Records that were copied out.
#[derive(Debug, Default)]
pub(super) struct CopiedRecords {
    bytes: Vec<u8>,
    /// The offset of the first.
    start: u64,
}

impl RecordRing {
    /// An empty one. Its memory is reserved, and taken as it fills.
    pub fn of(max_bytes: usize) -> Self {
        Self {
            bytes: VecDeque::with_capacity(max_bytes),
            max_bytes,
            start: 0,
            encoded: Vec::with_capacity(512),
        }
    }

    /// Adds the record that `encode` writes; the oldest make room for it.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.encoded.clear();
        encode(&mut self.encoded);
        let wanted = LENGTH_BYTES + self.encoded.len();
        let most = self.max_bytes.min(MAX_RECORD_BYTES);
        let (Ok(length), true) = (u16::try_from(self.encoded.len()), wanted <= most) else {
            return;
        };
        while self.bytes.len() + wanted > self.max_bytes {
            self.drop_oldest();
        }
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(&self.encoded);
    }

    fn drop_oldest(&mut self) {
        let length = [0, 1].map(|at| self.bytes.get(at).copied().unwrap_or_default());
        let gone = LENGTH_BYTES + usize::from(u16::from_le_bytes(length));
        self.start += gone as u64;
        self.bytes.drain(..gone.min(self.bytes.len()));
    }

    /// The bytes that are held.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a record had to make room.
    pub fn has_dropped(&self) -> bool {
        self.start > 0
    }

    /// The offset behind the newest record.
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Copies records out from this offset on, or from the oldest: some `most` bytes of them, and at
    /// least one.
    pub fn copy(&self, from: u64, most: usize) -> CopiedRecords {
        let start = from.max(self.start).min(self.end());
        let skipped = usize::try_from(start - self.start).unwrap_or(usize::MAX);
        let copied = (self.bytes.len() - skipped).min(most.max(MAX_RECORD_BYTES));
        let mut bytes = Vec::with_capacity(copied);
        let (front, back) = self.bytes.as_slices();
        let of_front = &front[skipped.min(front.len())..(skipped + copied).min(front.len())];
        bytes.extend_from_slice(of_front);
        let skipped = skipped.saturating_sub(front.len());
        bytes.extend_from_slice(&back[skipped..skipped + (copied - of_front.len())]);
        CopiedRecords { bytes, start }
    }
}

impl CopiedRecords {
    /// Shows each record that was copied whole; the offset of the next one.
    pub fn each(&self, mut see: impl FnMut(&[u8])) -> u64 {
        let mut left = &self.bytes[..];
        while let Some((length, rest)) = left.split_first_chunk::<LENGTH_BYTES>()
            && let Some((record, rest)) =
                rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
        {
            see(record);
            left = rest;
        }
        self.start + (self.bytes.len() - left.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ring: &RecordRing, from: u64, most: usize) -> (Vec<String>, u64) {
        let mut seen = Vec::new();
        let next = ring.copy(from, most).each(|record| {
            seen.push(String::from_utf8(record.to_vec()).expect("a text"));
        });
        (seen, next)
    }

    #[test]
    fn the_newest_records_take_the_place_of_the_oldest_and_the_bytes_stay_within_their_bound() {
        let mut ring = RecordRing::of(100);
        for number in 0..1000 {
            ring.push(|to| to.extend_from_slice(format!("record {number}").as_bytes()));
            assert!(ring.len() <= 100, "{} bytes", ring.len());
        }
        let (seen, next) = texts(&ring, 0, 0);
        let expected: Vec<String> = (992..1000).map(|it| format!("record {it}")).collect();
        assert_eq!(seen, expected);
        assert_eq!(next, ring.end());
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_misses_what_is_gone() {
        let mut ring = RecordRing::of(30);
        let (_, from) = texts(&ring, 0, 0);
        ring.push(|to| to.extend_from_slice(b"one"));
        let (seen, from) = texts(&ring, from, 0);
        assert_eq!(seen, ["one"]);
        assert_eq!(texts(&ring, from, 0), (vec![], from));
        ring.push(|to| to.extend_from_slice(b"two"));
        assert_eq!(texts(&ring, from, 0).0, ["two"]);
        ring.push(|to| to.extend_from_slice(&[b'3'; 24]));
        assert_eq!(texts(&ring, from, 0).0.len(), 1, "\"two\" is gone");
        // An offset of another process is none of this ring's.
        assert_eq!(texts(&ring, u64::MAX, 0).0, [""; 0]);
    }

    #[test]
    fn what_is_larger_than_the_ring_or_a_length_is_left_out() {
        let mut ring = RecordRing::of(1 << 17);
        ring.push(|to| to.extend_from_slice(b"kept"));
        ring.push(|to| to.resize(MAX_RECORD_BYTES, 0));
        assert_eq!(texts(&ring, 0, 0).0, ["kept"]);
        let mut small = RecordRing::of(8);
        small.push(|to| to.extend_from_slice(b"kept"));
        small.push(|to| to.extend_from_slice(b"too large"));
        assert_eq!(texts(&small, 0, 0).0, ["kept"]);
    }
}
