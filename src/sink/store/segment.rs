//! A segment as a reader sees it: where its messages lie, and their bytes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::contents::{MessageLocation, SegmentContents};
use super::encoded_message::RecordHead;
use crate::log::disk::{read_exact_at, read_up_to_end};
use crate::log::format::{Frame, RECORD_HEAD_BYTES, SegmentEnd};
use crate::log::scan::Batch;
use crate::log::segment_file::SegmentFile;

/// A segment that can be read.
#[derive(Debug)]
pub(super) struct StoreSegment {
    pub file: SegmentFile,
    /// Whether it has been said that it is damaged.
    is_damaged: AtomicBool,
}

/// Whether somebody has removed the file, or cut it off: no more of it is there later either.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
    )
}

impl StoreSegment {
    /// The segment in this file.
    pub fn new(file: SegmentFile) -> Self {
        Self {
            file,
            is_damaged: AtomicBool::new(false),
        }
    }

    /// Finds its messages; in a damaged one those that are sound.
    pub fn read_contents(&self, end: SegmentEnd) -> io::Result<SegmentContents> {
        let length = end.end.min(self.file.length);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        match read_up_to_end(&*self.file.file, &mut bytes, 0) {
            Ok(_) => {}
            Err(error) if is_gone(&error) => {
                self.note_damage();
                return Ok(SegmentContents::new(0));
            }
            Err(error) => return Err(error),
        }
        let scan = self.file.scan(&bytes, Some(end));
        if scan.is_damaged {
            self.note_damage();
        }
        let mut contents = SegmentContents::new(0);
        for (place, location) in messages(&bytes, &scan.batches) {
            contents.add(place.topic.into(), place.stored_ms, location);
        }
        Ok(contents)
    }

    /// The record at this location; none where its checksum is wrong.
    pub fn read(&self, location: MessageLocation) -> io::Result<Option<Bytes>> {
        let mut bytes = vec![0; RECORD_HEAD_BYTES + location.length];
        let is_sound = match read_exact_at(&*self.file.file, &mut bytes, location.at) {
            Ok(()) => Frame::decode(&bytes, self.file.salt).is_some(),
            Err(error) if is_gone(&error) => false,
            Err(error) => return Err(error),
        };
        if !is_sound {
            self.note_damage();
            return Ok(None);
        }
        Ok(Some(Bytes::from(bytes).slice(RECORD_HEAD_BYTES..)))
    }

    /// Says once that it is damaged.
    pub fn note_damage(&self) {
        if !self.is_damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(
                segment = self.file.number,
                "A segment of the topic log is damaged; what is sound in it is still served, the rest is left out"
            );
        }
    }
}

/// The messages in the batches of a segment with these bytes.
pub(super) fn messages<'a>(
    bytes: &'a [u8],
    batches: &'a [Batch],
) -> impl Iterator<Item = (RecordHead<'a>, MessageLocation)> {
    let records = batches.iter().flat_map(|batch| &batch.records);
    records.filter_map(|record| {
        let payload = &bytes[record.payload.clone()];
        let place = RecordHead::decode(payload)?;
        let location = MessageLocation {
            position: place.position,
            at: (record.payload.start - RECORD_HEAD_BYTES) as u64,
            length: payload.len(),
        };
        Some((place, location))
    })
}
