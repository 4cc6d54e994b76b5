//! A segment as readers see it: the open file, and where its batches lie. Whoever reads holds it,
//! and it is not recycled meanwhile.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::disk::read_exact_at;
use crate::log::format::{BLOCK_BYTES, Header, LogKind, SegmentEnd};
use crate::log::index::{BatchLocation, RecordReadError, read_batch_locations};
use crate::log::recover::read_all;
use crate::log::scan::{Batch, Scan};
use crate::log::segment_file::SegmentFile;

/// An open segment.
#[derive(Debug)]
pub(super) struct SpoolSegment {
    pub file: SegmentFile,
    /// The bytes of its file, which may be cut.
    length: AtomicU64,
    places: Mutex<Places>,
}

/// Where batches lie, as far as somebody has looked.
#[derive(Debug, Default)]
struct Places {
    list: Vec<BatchLocation>,
    /// The list is complete up to here.
    through: u64,
}

impl SpoolSegment {
    pub fn new(file: SegmentFile) -> Self {
        Self {
            length: AtomicU64::new(file.length),
            file,
            places: Mutex::default(),
        }
    }

    /// The bytes of its file.
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Cuts its file to what it holds, durably: a spare may be made in the space that it had.
    ///
    /// # Errors
    /// What the system says, and when somebody has put another file in its place.
    pub fn cut(&self, end: u64) -> io::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        read_exact_at(&*self.file.file, &mut block, 0)?;
        let header = Header::decode(&block, LogKind::Spool);
        if !header.is_ok_and(|it| (it.segment, it.salt) == (self.file.number, self.file.salt)) {
            let text = "it has not the segment's header any more";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.file.file.truncate(end)?;
        self.file.file.sync()?;
        self.length.store(end, Ordering::Relaxed);
        Ok(())
    }

    /// A batch was written or found here.
    pub fn note(&self, place: BatchLocation) {
        let mut places = self.lock();
        let end = place.offset + u64::from(place.length);
        places.list.push(place);
        places.through = end.next_multiple_of(self.file.alignment as u64);
    }

    /// The batch that holds a new record's sequence; none where it lies in no batch before `end`.
    ///
    /// # Errors
    /// When the disk cannot be read, or the head of a batch does not check.
    pub fn place(&self, sequence: u64, end: u64) -> Result<Option<BatchLocation>, RecordReadError> {
        let mut places = self.lock();
        if places.through < end {
            let range = places.through..end;
            let SegmentFile {
                number,
                salt,
                file,
                alignment,
                ..
            } = &self.file;
            let more = read_batch_locations(&**file, (*salt, *number), range, *alignment)?;
            places.list.extend(more);
            places.through = end;
        }
        // Batches without new records have the sequence of the next one.
        let behind = places
            .list
            .partition_point(|place| place.first_sequence <= sequence);
        let before = places.list[..behind]
            .iter()
            .rev()
            .find(|place| place.count > 0);
        Ok(before
            .filter(|place| place.sequences().contains(&sequence))
            .copied())
    }

    /// Reads the whole segment, for what is sound of it.
    pub fn scan(&self, end: u64, sequences: &Range<u64>) -> (Vec<u8>, Scan) {
        let bytes = read_all(&*self.file.file, self.length());
        let end = SegmentEnd {
            segment: self.file.number,
            end,
            first_sequence: sequences.start,
            next_sequence: sequences.end,
        };
        let scan = self.file.scan(&bytes, Some(end));
        (bytes, scan)
    }

    /// Notes what a scan has found instead of what the heads say.
    pub fn note_scan(&self, batches: &[Batch], end: u64) {
        let mut places = self.lock();
        places.list = batches
            .iter()
            .filter_map(|batch| Some(BatchLocation::of(&batch.head?, batch.offset)))
            .collect();
        places.through = end;
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
