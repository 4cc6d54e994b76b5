//! The writing end: one batch at a time into the active segment, each one write and one sync.
//!
//! What happens on a failure is the point of it. A write or sync that fails ends the segment at its
//! last acknowledged batch, and the next batch goes to another file: nothing that was acknowledged
//! lies in a block that is written again, and nothing is synced twice. Where a new segment's first
//! batch fails as well, the same file is used again from its beginning instead of using up another.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, File, NamedFile, is_full, write_all_at};
use super::format::{BLOCK_BYTES, BatchBuffer, BatchHead, Header, LogKind, SegmentEnd};
use super::position::LogPosition;
use super::segment::{Spare, segment_name};
use super::segment_file::{SegmentFile, alignment};
use crate::seeded::{self, Bug};

/// Why a batch was not written; nothing of it is acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no space for it: no device, no quota, no longer file.
    #[error("there is no space on the disk: {0}")]
    Full(io::Error),
    /// The disk does not take it.
    #[error("the disk cannot be written: {0}")]
    Failed(io::Error),
    /// The segment's file was removed or replaced while it was open.
    #[error("the segment {0} was removed or replaced while it was open")]
    Gone(String),
    /// No spare file is there that the batch fits into.
    #[error("no spare file is ready")]
    NoSpare,
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) {
            Self::Full(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// What is written as one batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchContent<'a> {
    /// The items; where it is a snapshot, they are the state before this batch.
    pub items: &'a [u8],
    /// Whether they are a snapshot.
    pub is_snapshot: bool,
    /// Copies of records whose sequences were given before.
    pub copies: &'a [(u64, &'a [&'a [u8]])],
    /// New records; they are given the next sequences.
    pub records: &'a [&'a [&'a [u8]]],
}

/// Where a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The segment.
    pub segment: u64,
    /// Where it begins in it.
    pub offset: u64,
    /// Bytes without padding.
    pub length: u32,
    /// The sequence of its first new record.
    pub first_sequence: u64,
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    name: String,
    number: u64,
    salt: u64,
    file: Arc<dyn File>,
    length: u64,
    /// Where the next batch goes.
    offset: u64,
    /// The first sequence of its first acknowledged batch.
    first_sequence: Option<u64>,
}

/// A spare on its way to be a segment. It is kept until it is one, whatever fails on the way. Each
/// attempt has a number and so a name of its own: a folder whose sync has failed must be changed
/// again before another sync says anything.
#[derive(Debug)]
struct Candidate {
    spare: Spare,
    number: u64,
    salt: u64,
}

/// The writing end of a log.
#[derive(Debug)]
pub struct LogWriter {
    disk: Arc<dyn Disk>,
    kind: LogKind,
    alignment: usize,
    position: LogPosition,
    active: Option<Active>,
    candidate: Option<Candidate>,
    spares: Vec<Spare>,
    buffer: BatchBuffer,
}

impl LogWriter {
    /// A writer that goes on in a fresh segment, once there is something to write.
    #[must_use]
    pub fn new(
        disk: Arc<dyn Disk>,
        kind: LogKind,
        position: LogPosition,
        spares: Vec<Spare>,
    ) -> Self {
        Self {
            alignment: alignment(&*disk),
            disk,
            kind,
            position,
            active: None,
            candidate: None,
            spares,
            buffer: BatchBuffer::default(),
        }
    }

    /// The sequence that the next record will have.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.position.next_sequence
    }

    /// The number that the next batch will have.
    #[must_use]
    pub fn next_batch(&self) -> u64 {
        self.position.next_batch
    }

    /// The active segment's number, and its file for reading.
    #[must_use]
    pub fn active(&self) -> Option<(u64, Arc<dyn File>)> {
        let active = self.active.as_ref()?;
        let file = NamedFile::new(Arc::clone(&self.disk), active.name.clone());
        Some((active.number, Arc::new(file)))
    }

    /// The active segment's file, for reading it.
    #[must_use]
    pub fn active_file(&self) -> Option<SegmentFile> {
        let (number, file) = self.active()?;
        Some(SegmentFile {
            number,
            file,
            length: self.active_bytes(),
            salt: self.salt()?,
            alignment: self.alignment,
        })
    }

    /// Bytes of the active segment's file; a candidate's where there is no active segment.
    #[must_use]
    pub fn active_bytes(&self) -> u64 {
        let candidate = self.candidate.as_ref().map(|it| it.spare.length);
        self.active
            .as_ref()
            .map(|it| it.length)
            .or(candidate)
            .unwrap_or(0)
    }

    /// The salt of the active segment.
    #[must_use]
    pub fn salt(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.salt)
    }

    /// The active segment's end and the sequences in it, once a batch in it is acknowledged.
    #[must_use]
    pub fn active_end(&self) -> Option<SegmentEnd> {
        let active = self.active.as_ref()?;
        Some(SegmentEnd {
            segment: active.number,
            end: active.offset,
            first_sequence: active.first_sequence?,
            next_sequence: self.position.acknowledged,
        })
    }

    /// The end of the last segment with acknowledged batches: the active one, or the one before.
    #[must_use]
    pub fn last_end(&self) -> Option<SegmentEnd> {
        self.active_end().or(self.position.ended)
    }

    /// The spares that are ready.
    #[must_use]
    pub fn spares(&self) -> &[Spare] {
        &self.spares
    }

    /// Takes a spare in.
    pub fn add_spare(&mut self, spare: Spare) {
        self.spares.push(spare);
    }

    /// Whether a batch of these contents fits into the active segment.
    #[must_use]
    pub fn fits(&self, bytes: usize) -> bool {
        let padded = bytes.next_multiple_of(self.alignment) as u64;
        self.active
            .as_ref()
            .is_some_and(|active| active.offset + padded <= active.length)
    }

    /// The boundary at which batches begin.
    #[must_use]
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Ends the active segment and makes a spare with space for `bytes` the active one: its header
    /// synced, its name durable. The next batch must be a snapshot.
    ///
    /// # Errors
    /// Why it could not be; the next attempt goes on with the same file.
    pub fn roll(&mut self, bytes: usize) -> Result<(), AppendError> {
        self.end_segment();
        let needed = (BLOCK_BYTES + bytes.next_multiple_of(self.alignment)) as u64;
        if self.active.as_ref().is_some_and(|it| it.length >= needed) {
            return Ok(());
        }
        self.drop_small_attempts(needed);
        if self.candidate.is_none() {
            self.candidate = Some(self.take_candidate(needed)?);
        }
        if let Some(candidate) = self.candidate.as_mut() {
            candidate.number = self.position.next_segment;
            self.position.next_segment += 1;
            if let Err(error) = begin_segment(&*self.disk, self.kind, candidate, &self.position) {
                self.drop_removed_files();
                return Err(error);
            }
        }
        if let Some(candidate) = self.candidate.take() {
            self.active = Some(Active {
                name: segment_name(candidate.number),
                number: candidate.number,
                salt: candidate.salt,
                file: candidate.spare.file,
                length: candidate.spare.length,
                offset: BLOCK_BYTES as u64,
                first_sequence: None,
            });
        }
        Ok(())
    }

    /// Writes one batch and syncs it. The active segment must have space for it.
    ///
    /// # Errors
    /// When it could not be written: then none of it is acknowledged, its sequences are not given
    /// again, and the segment has ended, unless it has no acknowledged batch at all.
    pub fn append(&mut self, content: BatchContent<'_>) -> Result<Placed, AppendError> {
        let active = self.active.as_ref().ok_or(AppendError::NoSpare)?;
        let (salt, first) = (active.salt, self.position.next_sequence);
        self.buffer.begin(content.items);
        for (sequence, payload) in content.copies {
            self.buffer.push(salt, *sequence, payload);
        }
        for (sequence, payload) in (first..).zip(content.records) {
            self.buffer.push(salt, sequence, payload);
        }
        let next = first + content.records.len() as u64;
        self.write(content.is_snapshot, (first, next, next))
    }

    /// Writes the records of a batch of which nobody knows whether it was acknowledged, with their
    /// sequences, as the first batch of a fresh segment; `next` is the sequence to go on with.
    ///
    /// # Errors
    /// As [`LogWriter::append`], but that the sequences are the same in the next attempt.
    pub fn append_tail(
        &mut self,
        items: &[u8],
        records: &[(u64, &[u8])],
    ) -> Result<Placed, AppendError> {
        let salt = self.salt().ok_or(AppendError::NoSpare)?;
        self.buffer.begin(items);
        for (sequence, payload) in records {
            self.buffer.push(salt, *sequence, &[payload]);
        }
        let next = self.position.next_sequence;
        let first = records.first().map_or(next, |(sequence, _)| *sequence);
        let end = records.last().map_or(next, |(sequence, _)| sequence + 1);
        self.write(true, (first, end, next))
    }

    fn write(
        &mut self,
        is_snapshot: bool,
        (first, end, next): (u64, u64, u64),
    ) -> Result<Placed, AppendError> {
        let active = self.active.as_mut().ok_or(AppendError::NoSpare)?;
        let segment_first = active.first_sequence.unwrap_or(first);
        let head = BatchHead {
            salt: active.salt,
            segment: active.number,
            number: self.position.next_batch,
            length: 0,
            is_snapshot,
            previous_next: self.position.acknowledged,
            first_sequence: first,
            count: u32::try_from(end - first).expect("each takes bytes of a batch"),
            next_sequence: next,
            items_length: 0,
            items_crc: 0,
            segment_first,
            previous: self.position.ended,
        };
        let length = self.buffer.length();
        let bytes = self.buffer.finish(head, self.alignment);
        let placed = Placed {
            segment: active.number,
            offset: active.offset,
            length,
            first_sequence: first,
        };
        // Used up, whatever becomes of them.
        self.position.next_batch += 1;
        self.position.next_sequence = self.position.next_sequence.max(next);
        if let Err(error) = write_batch(&*self.disk, active, bytes) {
            self.end_segment();
            return Err(error);
        }
        active.offset += bytes.len() as u64;
        active.first_sequence = Some(segment_first);
        self.position.acknowledged = end;
        Ok(placed)
    }

    /// From now on the active segment has ended, if there is anything acknowledged in it.
    fn end_segment(&mut self) {
        if let Some(end) = self.active_end() {
            self.position.ended = Some(end);
            self.active = None;
        }
    }

    /// Files that somebody has removed are of no use: others are made.
    fn drop_removed_files(&mut self) {
        let disk = Arc::clone(&self.disk);
        let is_there = |spare: &Spare| disk.is_named(&spare.name, &*spare.file).unwrap_or(true);
        self.spares.retain(is_there);
        self.candidate
            .take_if(|candidate| !is_there(&candidate.spare));
    }

    /// A file that nothing was acknowledged in and that is too small for what comes is a spare again
    /// only after a start, which finds it.
    fn drop_small_attempts(&mut self, needed: u64) {
        if self.active.as_ref().is_some_and(|it| it.length < needed) {
            self.active = None;
        }
        if self
            .candidate
            .as_ref()
            .is_some_and(|it| it.spare.length < needed)
        {
            self.candidate = None;
        }
    }

    fn take_candidate(&mut self, needed: u64) -> Result<Candidate, AppendError> {
        let fitting = |spare: &&(usize, u64)| spare.1 >= needed;
        let lengths: Vec<(usize, u64)> =
            (0..).zip(self.spares.iter().map(|it| it.length)).collect();
        let smallest = lengths
            .iter()
            .filter(fitting)
            .min_by_key(|(_, length)| *length);
        let (index, _) = smallest.ok_or(AppendError::NoSpare)?;
        Ok(Candidate {
            spare: self.spares.remove(*index),
            number: 0,
            salt: rand::random(),
        })
    }
}

/// The header is durable under the spare's name before the file has a segment's, and the name is
/// durable before the first batch.
fn begin_segment(
    disk: &dyn Disk,
    kind: LogKind,
    candidate: &mut Candidate,
    position: &LogPosition,
) -> Result<(), AppendError> {
    let header = Header {
        kind,
        log: position.log,
        segment: candidate.number,
        salt: candidate.salt,
        first_batch: position.next_batch,
    };
    let name = segment_name(candidate.number);
    let file = Arc::clone(&candidate.spare.file);
    write_all_at(&*file, &header.encode(), 0)?;
    file.sync()?;
    if candidate.spare.name != name {
        disk.rename(&candidate.spare.name, &name)?;
        candidate.spare.name.clone_from(&name);
    }
    if !seeded::is(Bug::SkipFolderSync) {
        disk.sync_folder()?;
    }
    if disk.is_named(&name, &*file)? {
        Ok(())
    } else {
        Err(AppendError::Gone(name))
    }
}

fn write_batch(disk: &dyn Disk, active: &Active, bytes: &[u8]) -> Result<(), AppendError> {
    if !disk.is_named(&active.name, &*active.file)? {
        return Err(AppendError::Gone(active.name.clone()));
    }
    write_all_at(&*active.file, bytes, active.offset)?;
    if !seeded::is(Bug::SkipSync) {
        active.file.sync()?;
    }
    Ok(())
}
