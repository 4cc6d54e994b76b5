//! A segment's file, with what is needed to read batches from it.

use std::sync::Arc;

use super::disk::{Disk, File};
use super::format::{BLOCK_BYTES, RECORD_ALIGNMENT, SegmentEnd};
use super::scan::{Scan, SegmentBytes};

/// A segment's file.
#[derive(Debug, Clone)]
pub struct SegmentFile {
    /// The segment's number.
    pub number: u64,
    /// The file, which is opened when it is read.
    pub file: Arc<dyn File>,
    /// Its length.
    pub length: u64,
    /// Its salt; 0 where neither header nor heads have it.
    pub salt: u64,
    /// The boundary at which batches begin.
    pub alignment: usize,
}

impl SegmentFile {
    /// What its bytes say, from the header on; `end` is what a later segment says of its end.
    #[must_use]
    pub fn scan(&self, bytes: &[u8], end: Option<SegmentEnd>) -> Scan {
        SegmentBytes {
            bytes,
            number: self.number,
            salt: self.salt,
            alignment: self.alignment,
            end,
        }
        .scan()
    }
}

/// Batches are padded to blocks where a torn write could reach into an acknowledged one.
#[must_use]
pub fn alignment(disk: &dyn Disk) -> usize {
    if disk.prewrites() {
        BLOCK_BYTES
    } else {
        RECORD_ALIGNMENT
    }
}
