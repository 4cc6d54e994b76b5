//! A segment in which nothing is needed any more: its file becomes a spare, is removed, or is kept
//! under another name, once nobody reads it.

use std::io;
use std::sync::Arc;

use super::disk::Disk;
use super::segment::{Spare, recycle, segment_name};

/// The file of such a segment; `S` is the segment as its readers hold it.
#[derive(Debug)]
pub struct UnusedSegment<S> {
    /// The segment; whoever reads it holds it too.
    pub segment: Arc<S>,
    /// The name of its file, which an attempt that failed may have changed.
    pub name: String,
    /// The bytes of its file when it was let go of; it may have been cut since.
    pub bytes: u64,
    /// Whether an attempt at it has failed.
    pub has_failed: bool,
}

impl<S> UnusedSegment<S> {
    /// The segment with this number, whose file has so many bytes.
    #[must_use]
    pub fn new(segment: Arc<S>, number: u64, bytes: u64) -> Self {
        Self {
            segment,
            name: segment_name(number),
            bytes,
            has_failed: false,
        }
    }

    /// Whether somebody still reads it. Files are opened by their names, so one that is read must
    /// keep its own; nobody new can come to hold it.
    #[must_use]
    pub fn is_read(&self) -> bool {
        Arc::strong_count(&self.segment) > 1
    }

    /// Makes its file the spare with this number: see [`recycle`].
    ///
    /// # Errors
    /// What the system says; another attempt needs another number.
    pub fn into_spare(&mut self, disk: &dyn Disk, number: u64) -> io::Result<Spare> {
        recycle(disk, &mut self.name, number, self.bytes)
    }
}
