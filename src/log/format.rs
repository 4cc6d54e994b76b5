//! The bytes of the log: the header of a segment, the head of a batch, and the frame of a record.
//! Encoding and decoding alone; nothing here touches a file. All numbers are little endian, all
//! checksums CRC-32C (Castagnoli, RFC 3720).

/// What a header fills, and on a disk the boundary at which each batch begins: the page of the file
/// system, so that no write touches a block with acknowledged bytes.
pub const BLOCK_BYTES: usize = 4096;
/// The head of a batch.
pub const HEAD_BYTES: usize = 128;
/// The head of a record: sequence, length, checksum.
pub const RECORD_HEAD_BYTES: usize = 16;
/// Records and items begin at multiples of this.
pub const RECORD_ALIGNMENT: usize = 8;

const HEADER_MAGIC: [u8; 8] = *b"hookfery";
const HEAD_MAGIC: u32 = u32::from_le_bytes(*b"HFBt");
/// The version of this format.
pub const VERSION: u32 = 1;
/// Where a header's checksum lies: behind everything else that is in use.
const HEADER_CRC_AT: usize = 60;

/// Whose log it is: the folder of one is not taken for the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LogKind {
    /// The spool.
    Spool = 1,
    /// The topics of the embedded store.
    Store = 2,
}

/// The header of a segment: static, and durable before the first batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose log it is.
    pub kind: LogKind,
    /// Which log it belongs to: a random number made with the folder.
    pub log: u64,
    /// The segment's number; the file is named by it.
    pub segment: u64,
    /// A random number for this use of the file: bytes of an earlier use do not have it.
    pub salt: u64,
    /// No batch in the segment has a lower number.
    pub first_batch: u64,
}

/// Why a block is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// It is of something else.
    Foreign,
    /// It is of another kind of log.
    OtherKind,
    /// It has the version of a newer program.
    Newer(u32),
    /// It does not check.
    Damaged,
}

impl Header {
    /// The block as it is written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend(HEADER_MAGIC);
        block.extend(VERSION.to_le_bytes());
        block.extend((self.kind as u32).to_le_bytes());
        for number in [self.log, self.segment, self.salt, self.first_batch] {
            block.extend(number.to_le_bytes());
        }
        block.resize(HEADER_CRC_AT, 0);
        block.extend(crc32c::crc32c(&block).to_le_bytes());
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Reads a header of this kind of log.
    ///
    /// # Errors
    /// Named by what is wrong.
    pub fn decode(block: &[u8], kind: LogKind) -> Result<Self, HeaderError> {
        if !block.starts_with(&HEADER_MAGIC) {
            let blank = block.iter().all(|byte| *byte == 0);
            return Err(if blank {
                HeaderError::Damaged
            } else {
                HeaderError::Foreign
            });
        }
        let version = u32_at(block, 8).ok_or(HeaderError::Damaged)?;
        let crc = u32_at(block, HEADER_CRC_AT).ok_or(HeaderError::Damaged)?;
        // The version and the kind are believed only with the checksum, whose place never changes.
        if crc32c::crc32c(&block[..HEADER_CRC_AT]) != crc {
            return Err(HeaderError::Damaged);
        }
        if version > VERSION {
            return Err(HeaderError::Newer(version));
        }
        if u32_at(block, 12) != Some(kind as u32) {
            return Err(HeaderError::OtherKind);
        }
        let number = |at| u64_at(block, at).ok_or(HeaderError::Damaged);
        Ok(Self {
            kind,
            log: number(16)?,
            segment: number(24)?,
            salt: number(32)?,
            first_batch: number(40)?,
        })
    }
}

/// Where a segment ended: the statement that every later batch makes about the last segment that
/// has acknowledged batches. Its batches before `end` were acknowledged, what follows was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEnd {
    /// The segment's number.
    pub segment: u64,
    /// Where its last acknowledged batch ends, in bytes.
    pub end: u64,
    /// The first sequence that it could hold.
    pub first_sequence: u64,
    /// The sequence behind its last one.
    pub next_sequence: u64,
}

/// The head of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The segment's salt.
    pub salt: u64,
    /// The segment's number.
    pub segment: u64,
    /// The batch's number: rises over the life of the log.
    pub number: u64,
    /// Bytes of head, items and records, without the padding behind them.
    pub length: u32,
    /// Whether the items are a snapshot of the whole state before this batch.
    pub is_snapshot: bool,
    /// The sequence behind the last record before this batch. Sequences from here up to the first
    /// one were never given to a record that was acknowledged.
    pub previous_next: u64,
    /// The sequence of its first new record; the others follow without a gap.
    pub first_sequence: u64,
    /// New records. Records with a sequence below the first are copies of earlier ones.
    pub count: u32,
    /// The sequence that the next batch begins with. Sequences between the last record and this one
    /// are never given.
    pub next_sequence: u64,
    /// Bytes of the items.
    pub items_length: u32,
    /// Their checksum.
    pub items_crc: u32,
    /// The first sequence of the segment's first batch.
    pub segment_first: u64,
    /// Where the last segment with acknowledged batches ended; none in the log's first one.
    pub previous: Option<SegmentEnd>,
}

impl BatchHead {
    /// The sequence behind the batch's last record.
    #[must_use]
    pub fn end_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count)
    }

    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend(HEAD_MAGIC.to_le_bytes());
        bytes.extend([0; 4]);
        for number in [self.salt, self.segment, self.number] {
            bytes.extend(number.to_le_bytes());
        }
        let flags = u32::from(self.is_snapshot) | u32::from(self.previous.is_some()) << 1;
        for number in [self.length, flags] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.first_sequence.to_le_bytes());
        for number in [self.count, self.items_length, self.items_crc, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.segment_first.to_le_bytes());
        let end = self.previous.unwrap_or(SegmentEnd {
            segment: 0,
            end: 0,
            first_sequence: 0,
            next_sequence: 0,
        });
        for number in [end.segment, end.end, end.first_sequence, end.next_sequence] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.previous_next, self.next_sequence] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(HEAD_BYTES, 0);
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes.try_into().expect("resized to this length")
    }

    /// Reads a head, if these bytes begin with one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEAD_BYTES)?;
        if u32_at(bytes, 0)? != HEAD_MAGIC || u32_at(bytes, 4)? != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        let flags = u32_at(bytes, 36)?;
        let previous = SegmentEnd {
            segment: u64_at(bytes, 72)?,
            end: u64_at(bytes, 80)?,
            first_sequence: u64_at(bytes, 88)?,
            next_sequence: u64_at(bytes, 96)?,
        };
        Some(Self {
            salt: u64_at(bytes, 8)?,
            segment: u64_at(bytes, 16)?,
            number: u64_at(bytes, 24)?,
            length: u32_at(bytes, 32)?,
            is_snapshot: flags & 1 != 0,
            previous_next: u64_at(bytes, 104)?,
            next_sequence: u64_at(bytes, 112)?,
            first_sequence: u64_at(bytes, 40)?,
            count: u32_at(bytes, 48)?,
            items_length: u32_at(bytes, 52)?,
            items_crc: u32_at(bytes, 56)?,
            segment_first: u64_at(bytes, 64)?,
            previous: (flags & 2 != 0).then_some(previous),
        })
    }
}

/// Memory that the buffer keeps for the next batch: one record can be far larger than all others.
const MAX_KEPT_BYTES: usize = 8 << 20;

/// A batch while it is put together, in a buffer that is used again.
#[derive(Debug, Default)]
pub struct BatchBuffer {
    bytes: Vec<u8>,
    items_length: usize,
}

impl BatchBuffer {
    /// Empties it, and begins with these items.
    pub fn begin(&mut self, items: &[u8]) {
        self.bytes.clear();
        self.bytes.shrink_to(MAX_KEPT_BYTES);
        self.bytes.resize(HEAD_BYTES, 0);
        self.bytes.extend_from_slice(items);
        self.items_length = items.len();
        self.align();
    }

    /// Adds a record, or the copy of one.
    pub fn push(&mut self, salt: u64, sequence: u64, payload: &[&[u8]]) {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).expect("bodies are far smaller");
        let crc = record_crc(salt, sequence, length, payload);
        self.bytes.extend(sequence.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(crc.to_le_bytes());
        for part in payload {
            self.bytes.extend_from_slice(part);
        }
        self.align();
    }

    /// Bytes of what it holds so far, without padding.
    #[must_use]
    pub fn length(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("bodies are far smaller")
    }

    /// The whole batch, ready to be written: the head is filled in but for what the buffer knows
    /// itself, and it is padded to a multiple of `alignment`.
    pub fn finish(&mut self, head: BatchHead, alignment: usize) -> &[u8] {
        let head = BatchHead {
            length: self.length(),
            items_length: u32::try_from(self.items_length).expect("as above"),
            items_crc: crc32c::crc32c(&self.bytes[HEAD_BYTES..HEAD_BYTES + self.items_length]),
            ..head
        };
        self.bytes[..HEAD_BYTES].copy_from_slice(&head.encode());
        self.bytes
            .resize(self.bytes.len().next_multiple_of(alignment), 0);
        &self.bytes
    }

    /// How many bytes a batch has, padding included, with this many bytes of items and with records
    /// of these payload lengths.
    pub fn length_of(
        items: usize,
        payloads: impl Iterator<Item = usize>,
        alignment: usize,
    ) -> usize {
        let records: usize = payloads.map(framed_length).sum();
        (HEAD_BYTES + items.next_multiple_of(RECORD_ALIGNMENT) + records)
            .next_multiple_of(alignment)
    }

    fn align(&mut self) {
        let length = self.bytes.len().next_multiple_of(RECORD_ALIGNMENT);
        self.bytes.resize(length, 0);
    }
}

/// The bytes that a record with this payload takes in a batch.
#[must_use]
pub fn framed_length(payload: usize) -> usize {
    (RECORD_HEAD_BYTES + payload).next_multiple_of(RECORD_ALIGNMENT)
}

/// A record found in the bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its sequence.
    pub sequence: u64,
    /// What it holds.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the record that begins here, if its checksum matches.
    #[must_use]
    pub fn decode(bytes: &'a [u8], salt: u64) -> Option<Self> {
        let sequence = u64_at(bytes, 0)?;
        let length = u32_at(bytes, 8)?;
        let end = RECORD_HEAD_BYTES.checked_add(length as usize)?;
        let payload = bytes.get(RECORD_HEAD_BYTES..end)?;
        let crc = record_crc(salt, sequence, length, &[payload]);
        (u32_at(bytes, 12)? == crc).then_some(Self { sequence, payload })
    }

    /// What the head of a record claims, before its checksum is looked at: the sequence and the
    /// payload's length.
    #[must_use]
    pub fn claim(bytes: &[u8]) -> Option<(u64, usize)> {
        Some((u64_at(bytes, 0)?, u32_at(bytes, 8)? as usize))
    }
}

/// The checksum of a record is over the salt and all of the record, so that neither a record of an
/// earlier use of the file nor one in another's place is taken for it.
fn record_crc(salt: u64, sequence: u64, length: u32, payload: &[&[u8]]) -> u32 {
    let mut prefix = [0; 20];
    prefix[..8].copy_from_slice(&salt.to_le_bytes());
    prefix[8..16].copy_from_slice(&sequence.to_le_bytes());
    prefix[16..].copy_from_slice(&length.to_le_bytes());
    payload.iter().fold(crc32c::crc32c(&prefix), |crc, part| {
        crc32c::crc32c_append(crc, part)
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        kind: LogKind::Spool,
        log: 1,
        segment: 2,
        salt: 3,
        first_batch: 4,
    };

    fn head() -> BatchHead {
        BatchHead {
            salt: 3,
            segment: 2,
            number: 9,
            length: 0,
            is_snapshot: true,
            previous_next: 90,
            first_sequence: 100,
            count: 0,
            next_sequence: 102,
            items_length: 0,
            items_crc: 0,
            segment_first: 90,
            previous: Some(SegmentEnd {
                segment: 1,
                end: 8192,
                first_sequence: 1,
                next_sequence: 90,
            }),
        }
    }

    #[test]
    fn a_header_comes_back_and_every_changed_byte_is_noticed() {
        let block = HEADER.encode();
        assert_eq!(Header::decode(&block, LogKind::Spool), Ok(HEADER));
        assert_eq!(
            Header::decode(&block, LogKind::Store),
            Err(HeaderError::OtherKind)
        );
        for at in 0..HEADER_CRC_AT + 4 {
            let mut changed = block.clone();
            changed[at] ^= 0x10;
            assert!(Header::decode(&changed, LogKind::Spool).is_err(), "{at}");
        }
        for length in 0..HEADER_CRC_AT + 4 {
            assert!(Header::decode(&block[..length], LogKind::Spool).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut block = HEADER.encode();
        block[8] = 2;
        assert_eq!(
            Header::decode(&block, LogKind::Spool),
            Err(HeaderError::Damaged)
        );
        let crc = crc32c::crc32c(&block[..HEADER_CRC_AT]);
        block[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            Header::decode(&block, LogKind::Spool),
            Err(HeaderError::Newer(2))
        );
        assert_eq!(
            Header::decode(b"SQLite format 3\0", LogKind::Spool),
            Err(HeaderError::Foreign)
        );
    }

    #[test]
    fn a_batch_comes_back_as_it_was_put_together() {
        let mut buffer = BatchBuffer::default();
        for items in [&b""[..], b"item", b"12345678"] {
            buffer.begin(items);
            buffer.push(3, 7, &[b"old"]);
            buffer.push(3, 100, &[b"a", b"bc"]);
            buffer.push(3, 101, &[]);
            let payloads = [3, 3, 0].into_iter();
            let length = BatchBuffer::length_of(items.len(), payloads, BLOCK_BYTES);
            let head_of_two = BatchHead { count: 2, ..head() };
            let bytes = buffer.finish(head_of_two, BLOCK_BYTES).to_vec();
            assert_eq!(bytes.len(), length);
            let read = BatchHead::decode(&bytes).expect("a head");
            assert_eq!((read.count, read.end_sequence()), (2, 102));
            assert_eq!((read.is_snapshot, read.previous), (true, head().previous));
            let end = HEAD_BYTES + read.items_length as usize;
            assert_eq!(&bytes[HEAD_BYTES..end], items);
            assert_eq!(read.items_crc, crc32c::crc32c(items));
            let mut at = end.next_multiple_of(RECORD_ALIGNMENT);
            for (sequence, payload) in [(7, &b"old"[..]), (100, b"abc"), (101, b"")] {
                let frame = Frame::decode(&bytes[at..], 3).expect("a record");
                assert_eq!(frame, Frame { sequence, payload });
                assert_eq!(Frame::decode(&bytes[at..], 4), None, "another salt");
                at += framed_length(payload.len());
            }
            assert_eq!(at, read.length as usize);
        }
    }

    #[test]
    fn every_changed_byte_of_a_head_and_of_a_record_is_noticed() {
        let mut buffer = BatchBuffer::default();
        buffer.begin(b"");
        buffer.push(3, 100, &[b"payload"]);
        let bytes = buffer.finish(head(), RECORD_ALIGNMENT).to_vec();
        for at in 0..HEAD_BYTES + RECORD_HEAD_BYTES + 7 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let sound = BatchHead::decode(&changed).is_some()
                && Frame::decode(&changed[HEAD_BYTES..], 3).is_some();
            assert!(!sound, "{at}");
        }
    }
}
