//! Where a log goes on: what recovery finds and the writer begins with.

use super::format::SegmentEnd;

/// The numbers with which an opened log goes on.
#[derive(Debug, Clone, Copy)]
pub struct LogPosition {
    /// Which log it is.
    pub log: u64,
    /// The next segment's number.
    pub next_segment: u64,
    /// The next batch's number.
    pub next_batch: u64,
    /// The sequence behind the last record that was acknowledged.
    pub acknowledged: u64,
    /// The next sequence to be given.
    pub next_sequence: u64,
    /// Where the last segment with acknowledged batches ended.
    pub ended: Option<SegmentEnd>,
}
