//! What lies where in the bytes of a segment, so that a test can damage one thing and nothing else.

use std::ops::Range;

use hookferry::log::format::{
    BLOCK_BYTES, BatchHead, Frame, HEAD_BYTES, RECORD_ALIGNMENT, RECORD_HEAD_BYTES, framed_length,
};

/// The part of the header that is in use: its checksum ends here.
pub const HEADER_BYTES: usize = 64;
/// The checksum of the header, behind all that it covers.
const HEADER_CRC: Range<usize> = 60..HEADER_BYTES;
/// Where the header says the version.
const HEADER_VERSION: usize = 8;

/// A batch.
#[derive(Debug, Clone)]
pub struct Batch {
    pub head: Range<usize>,
    pub items: Range<usize>,
    pub records: Vec<FoundRecord>,
    /// Where its last byte with a meaning is; padding follows.
    pub end: usize,
}

/// A record in a batch.
#[derive(Debug, Clone)]
pub struct FoundRecord {
    /// Its head and its payload, without padding.
    pub bytes: Range<usize>,
}

/// The batches of a segment that is whole and has not been used before.
pub fn batches(segment: &[u8]) -> Vec<Batch> {
    let mut found: Vec<Batch> = Vec::new();
    let mut at = BLOCK_BYTES;
    while let Some(head) = segment.get(at..).and_then(BatchHead::decode) {
        let batch = Batch::at(segment, at, &head);
        at = batch.end.next_multiple_of(BLOCK_BYTES);
        found.push(batch);
    }
    assert!(!found.is_empty(), "a segment has batches");
    found
}

impl Batch {
    fn at(segment: &[u8], start: usize, head: &BatchHead) -> Self {
        let items = start + HEAD_BYTES..start + HEAD_BYTES + head.items_length as usize;
        let end = start + head.length as usize;
        let mut records = Vec::new();
        let mut position = items.end.next_multiple_of(RECORD_ALIGNMENT);
        while position < end {
            let (_, length) = Frame::claim(&segment[position..end]).expect("a record");
            records.push(FoundRecord {
                bytes: position..position + RECORD_HEAD_BYTES + length,
            });
            position += framed_length(length);
        }
        Self {
            head: start..start + HEAD_BYTES,
            items,
            records,
            end,
        }
    }
}

/// All records, in order.
pub fn records(segment: &[u8]) -> Vec<FoundRecord> {
    let batches = batches(segment).into_iter();
    batches.flat_map(|batch| batch.records).collect()
}

/// The body of a record's event, which is the last part of the record.
pub fn body<'a>(segment: &'a [u8], record: &FoundRecord) -> &'a [u8] {
    const PREFIX_BYTES: usize = 16;
    let payload = &segment[record.bytes.start + RECORD_HEAD_BYTES..record.bytes.end];
    // Eight bits of the lane, and the length of the event without its body.
    let lane_and_length = payload[12..PREFIX_BYTES].try_into().expect("four bytes");
    let length = (u32::from_le_bytes(lane_and_length) >> 8) as usize;
    &payload[PREFIX_BYTES + length..]
}

/// Makes of a log that was closed one whose last records nobody knows to be acknowledged, as `kill -9`
/// leaves it: nothing lies behind them.
pub fn forget_evidence(segment: &mut [u8]) {
    let mut batches = batches(segment).into_iter();
    let last = batches.rfind(|batch| !batch.records.is_empty());
    segment[last.expect("there are records").end..].fill(0);
}

/// Makes the segment one of a program that is yet to be written.
pub fn make_newer(segment: &mut [u8], version: u32) {
    segment[HEADER_VERSION..HEADER_VERSION + 4].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&segment[..HEADER_CRC.start]);
    segment[HEADER_CRC].copy_from_slice(&crc.to_le_bytes());
}
