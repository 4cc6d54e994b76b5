//! Reading a sealed or active segment by sequence: where its batches lie, and the records in them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{File, read_exact_at, read_up_to_end};
use super::format::{
    BLOCK_BYTES, BatchHead, Frame, HEAD_BYTES, RECORD_ALIGNMENT, RECORD_HEAD_BYTES, framed_length,
};

/// A batch of up to this many bytes is read in one piece; of a larger one, each record by itself.
const PIECE_BYTES: usize = 1 << 20;

/// Where a batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLocation {
    /// The sequence of its first new record.
    pub first_sequence: u64,
    /// New records in it.
    pub count: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes without padding.
    pub length: u32,
}

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
pub enum RecordReadError {
    /// The disk does not give its bytes now; they may be there later.
    #[error("the disk cannot be read: {0}")]
    Io(io::Error),
    /// Its bytes were read, and are not what was written, or the file ends before them.
    #[error("the record does not check")]
    Damaged,
}

impl From<io::Error> for RecordReadError {
    /// A file that was cut off gets no longer by waiting.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

/// Walks over the heads of a segment from one offset to another.
///
/// # Errors
/// When the disk cannot be read, or a head does not check.
pub fn read_batch_locations(
    file: &dyn File,
    (salt, segment): (u64, u64),
    range: Range<u64>,
    alignment: usize,
) -> Result<Vec<BatchLocation>, RecordReadError> {
    let mut places = Vec::new();
    let mut offset = range.start.max(BLOCK_BYTES as u64);
    while offset < range.end {
        let mut bytes = [0; HEAD_BYTES];
        read_up_to_end(file, &mut bytes, offset)?;
        let head = BatchHead::decode(&bytes)
            .filter(|head| head.salt == salt && head.segment == segment)
            .ok_or(RecordReadError::Damaged)?;
        places.push(BatchLocation::of(&head, offset));
        offset += (head.length as usize).next_multiple_of(alignment) as u64;
    }
    Ok(places)
}

impl BatchLocation {
    /// The place of a batch with this head.
    #[must_use]
    pub fn of(head: &BatchHead, offset: u64) -> Self {
        Self {
            first_sequence: head.first_sequence,
            count: head.count,
            offset,
            length: head.length,
        }
    }

    /// The sequences of its new records.
    #[must_use]
    pub fn sequences(&self) -> Range<u64> {
        self.first_sequence..self.first_sequence + u64::from(self.count)
    }
}

/// The records of one batch, read one after the other.
#[derive(Debug)]
pub struct BatchReader {
    file: Arc<dyn File>,
    salt: u64,
    /// Where the next record begins in the file.
    position: u64,
    end: u64,
    /// A piece of the file.
    piece: Bytes,
    piece_at: u64,
}

impl BatchReader {
    /// Opens the batch at this place.
    ///
    /// # Errors
    /// When the disk cannot be read, or the batch's head does not check.
    pub fn open(
        file: Arc<dyn File>,
        salt: u64,
        place: BatchLocation,
    ) -> Result<Self, RecordReadError> {
        let length = place.length as usize;
        let mut piece = vec![0; length.min(PIECE_BYTES)];
        read_exact_at(&*file, &mut piece, place.offset)?;
        let head = BatchHead::decode(&piece).filter(|head| head.salt == salt);
        let head = head.ok_or(RecordReadError::Damaged)?;
        let items = (head.items_length as usize).next_multiple_of(RECORD_ALIGNMENT);
        Ok(Self {
            file,
            salt,
            position: place.offset + (HEAD_BYTES + items) as u64,
            end: place.offset + length as u64,
            piece: piece.into(),
            piece_at: place.offset,
        })
    }

    /// Where the next record begins in the file.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The sequence and the payload's length of the next record, unchecked; none at the end.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn claim(&mut self) -> Result<Option<(u64, usize)>, RecordReadError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let bytes = self.bytes(RECORD_HEAD_BYTES)?;
        let (sequence, length) = Frame::claim(&bytes).ok_or(RecordReadError::Damaged)?;
        let end = self.position + (RECORD_HEAD_BYTES + length) as u64;
        if end > self.end {
            return Err(RecordReadError::Damaged);
        }
        Ok(Some((sequence, length)))
    }

    /// Passes over the record that [`BatchReader::claim`] has just told of.
    pub fn skip(&mut self, length: usize) {
        self.position += framed_length(length) as u64;
    }

    /// The payload of that record. It shares the memory of what was read, so copy what is kept.
    ///
    /// # Errors
    /// When the disk cannot be read, or the record does not check.
    pub fn take(&mut self, length: usize) -> Result<Bytes, RecordReadError> {
        let bytes = self.bytes(RECORD_HEAD_BYTES + length)?;
        Frame::decode(&bytes, self.salt).ok_or(RecordReadError::Damaged)?;
        self.skip(length);
        Ok(bytes.slice(RECORD_HEAD_BYTES..))
    }

    /// The first bytes of that record's payload, unchecked: a list reads no bodies.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn peek(&mut self, length: usize) -> Result<Bytes, RecordReadError> {
        Ok(self
            .bytes(RECORD_HEAD_BYTES + length)?
            .slice(RECORD_HEAD_BYTES..))
    }

    /// So many bytes from the position on.
    fn bytes(&mut self, count: usize) -> Result<Bytes, RecordReadError> {
        let from = usize::try_from(self.position - self.piece_at).unwrap_or(usize::MAX);
        if let Some(end) = from.checked_add(count)
            && end <= self.piece.len()
        {
            return Ok(self.piece.slice(from..end));
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let mut piece = vec![0; count.max(PIECE_BYTES.min(left))];
        read_exact_at(&*self.file, &mut piece, self.position)?;
        self.piece = piece.into();
        self.piece_at = self.position;
        Ok(self.piece.slice(..count))
    }
}
