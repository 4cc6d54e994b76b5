//! A ring buffer of records, bounded in bytes.
//!
//! A record is two bytes of length and so many bytes. Records are known by their offset among all bytes
//! that were ever written, so a reader that comes back finds out what it has missed.

/// What stands before a record.
const LENGTH_BYTES: usize = 2;
/// The largest record, with its length; what is longer is not kept. None is, by far: whatever a record
/// tells has a bound of its own.
const MAX_RECORD_BYTES: usize = 4096;

/// The records, oldest first.
#[derive(Debug)]
pub(super) struct RecordRing {
    /// An offset stands at its remainder by the length of this.
    bytes: Box<[u8]>,
    /// The offset of the oldest record.
    start: u64,
    /// The offset behind the newest.
    end: u64,
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
            bytes: vec![0; max_bytes].into_boxed_slice(),
            start: 0,
            end: 0,
            encoded: Vec::with_capacity(MAX_RECORD_BYTES),
        }
    }

    /// Adds the record that `encode` writes; the oldest make room for it.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        encoded.extend_from_slice(&[0; LENGTH_BYTES]);
        encode(&mut encoded);
        let length = encoded.len() - LENGTH_BYTES;
        if let Ok(length) = u16::try_from(length)
            && encoded.len() <= MAX_RECORD_BYTES.min(self.bytes.len())
        {
            encoded[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            self.write(&encoded);
        }
        self.encoded = encoded;
    }

    fn write(&mut self, record: &[u8]) {
        while self.len() + record.len() > self.bytes.len() {
            self.drop_oldest();
        }
        let at = self.place(self.end);
        let (front, back) = record.split_at(record.len().min(self.bytes.len() - at));
        self.bytes[at..at + front.len()].copy_from_slice(front);
        if !back.is_empty() {
            self.bytes[..back.len()].copy_from_slice(back);
        }
        self.end += record.len() as u64;
    }

    fn drop_oldest(&mut self) {
        let length = [0, 1].map(|byte| self.bytes[self.place(self.start + byte)]);
        self.start += LENGTH_BYTES as u64 + u64::from(u16::from_le_bytes(length));
    }

    /// Where an offset stands.
    fn place(&self, offset: u64) -> usize {
        usize::try_from(offset % self.bytes.len() as u64).expect("less than the length")
    }

    /// The bytes that are held.
    pub fn len(&self) -> usize {
        usize::try_from(self.end - self.start).expect("no more than the length")
    }

    /// Whether a record had to make room.
    pub fn has_dropped(&self) -> bool {
        self.start > 0
    }

    /// The offset behind the newest record.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Copies records out from this offset on, or from the oldest: some `most` bytes of them, and at
    /// least one.
    pub fn copy(&self, from: u64, most: usize) -> CopiedRecords {
        let start = from.clamp(self.start, self.end);
        let left = usize::try_from(self.end - start).expect("no more than the length");
        let (at, length) = (self.place(start), left.min(most.max(MAX_RECORD_BYTES)));
        let front = length.min(self.bytes.len() - at);
        let mut bytes = self.bytes[at..at + front].to_vec();
        bytes.extend_from_slice(&self.bytes[..length - front]);
        CopiedRecords { bytes, start }
    }
}

impl CopiedRecords {
    /// Shows each record that was copied whole; the offset of the next one.
    pub fn each(&self, mut see: impl FnMut(&[u8])) -> u64 {
        let mut left = &self.bytes[..];
        while let Some((record, rest)) = next(left) {
            see(record);
            left = rest;
        }
        self.start + (self.bytes.len() - left.len()) as u64
    }

    /// The first record.
    pub fn first(&self) -> Option<&[u8]> {
        next(&self.bytes).map(|(record, _)| record)
    }
}

/// The record at the beginning of these bytes, and what follows.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ring: &RecordRing, from: u64) -> (Vec<String>, u64) {
        let mut seen = Vec::new();
        let next = ring.copy(from, 0).each(|record| {
            seen.push(String::from_utf8(record.to_vec()).expect("a text"));
        });
        (seen, next)
    }

    #[test]
    fn the_newest_records_take_the_place_of_the_oldest_and_the_bytes_stay_within_their_bound() {
        for max_bytes in 90..110 {
            let mut ring = RecordRing::of(max_bytes);
            for number in 0..1000 {
                ring.push(|to| to.extend_from_slice(format!("record {number}").as_bytes()));
                assert!(ring.len() <= max_bytes, "{} bytes", ring.len());
            }
            let (seen, next) = texts(&ring, 0);
            let fit = max_bytes / "12record 999".len();
            let expected: Vec<String> = (1000 - fit..1000)
                .map(|it| format!("record {it}"))
                .collect();
            assert_eq!(seen, expected, "{max_bytes}");
            assert_eq!(next, ring.end());
        }
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_misses_what_is_gone() {
        let mut ring = RecordRing::of(30);
        let (_, from) = texts(&ring, 0);
        ring.push(|to| to.extend_from_slice(b"one"));
        let (seen, from) = texts(&ring, from);
        assert_eq!(seen, ["one"]);
        assert_eq!(texts(&ring, from), (vec![], from));
        ring.push(|to| to.extend_from_slice(b"two"));
        assert_eq!(texts(&ring, from).0, ["two"]);
        ring.push(|to| to.extend_from_slice(&[b'3'; 24]));
        assert_eq!(texts(&ring, from).0.len(), 1, "\"two\" is gone");
        // An offset of another process is none of this ring's.
        assert_eq!(texts(&ring, u64::MAX).0, [""; 0]);
    }

    #[test]
    fn a_large_ring_is_copied_in_parts_that_begin_and_end_with_whole_records() {
        let mut ring = RecordRing::of(100_000);
        for number in 0..50_000 {
            ring.push(|to| to.extend_from_slice(format!("{number}").as_bytes()));
        }
        let (mut from, mut seen) = (0, Vec::new());
        while from < ring.end() {
            let (texts, next) = texts(&ring, from);
            assert!(!texts.is_empty());
            seen.extend(texts);
            from = next;
        }
        let first: usize = seen[0].parse().expect("a number");
        let expected: Vec<String> = (first..50_000).map(|it| it.to_string()).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_larger_than_the_ring_or_a_record_may_be_is_left_out() {
        let mut ring = RecordRing::of(1 << 17);
        ring.push(|to| to.extend_from_slice(b"kept"));
        ring.push(|to| to.resize(MAX_RECORD_BYTES + 1, 0));
        assert_eq!(texts(&ring, 0).0, ["kept"]);
        assert_eq!(ring.copy(0, 0).first(), Some(&b"kept"[..]));
        let mut small = RecordRing::of(8);
        small.push(|to| to.extend_from_slice(b"kept"));
        small.push(|to| to.extend_from_slice(b"too large"));
        assert_eq!(texts(&small, 0).0, ["kept"]);
    }
}
