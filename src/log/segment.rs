//! The files of a log by their names: segments, which hold batches, and spares, which hold nothing
//! that was acknowledged and become segments.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, File, write_all_at};
use super::format::BLOCK_BYTES;

/// Bytes that are written at once while a spare is made: others use the disk meanwhile.
const SLICE_BYTES: usize = 1 << 20;

const SEGMENT_SUFFIX: &str = ".log";
const SPARE_PREFIX: &str = "spare-";
const TEMPORARY_SUFFIX: &str = ".tmp";
const KEPT_SUFFIX: &str = ".damaged";

/// The least and the most bytes of a segment, unless one record alone needs more.
pub const MIN_SEGMENT_BYTES: u64 = 1 << 20;
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
/// So many segments make up what a log may hold, where that keeps them within these bounds.
const SEGMENTS: u64 = 16;

/// The size of a segment of a log that may have so many bytes.
#[must_use]
pub fn segment_bytes(max_bytes: u64) -> u64 {
    (max_bytes / SEGMENTS).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES)
}

/// The name of the segment with this number.
#[must_use]
pub fn segment_name(number: u64) -> String {
    format!("{number:012}{SEGMENT_SUFFIX}")
}

/// The name under which a damaged segment is kept once nothing in it is waited for.
#[must_use]
pub fn kept_name(number: u64) -> String {
    format!("{number:012}{KEPT_SUFFIX}")
}

fn spare_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number}")
}

/// What a name says of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFileName {
    /// A segment with this number.
    Segment(u64),
    /// A spare with this number.
    Spare(u64),
    /// A spare that was not finished.
    Unfinished,
    /// A damaged segment that is kept for an operator to look at.
    Kept(u64),
    /// Something that is no file of a log.
    Other,
}

impl LogFileName {
    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let number = |digits: &str| digits.parse::<u64>().ok();
        if let Some(number) = name.strip_suffix(SEGMENT_SUFFIX).and_then(number)
            && segment_name(number) == name
        {
            return Self::Segment(number);
        }
        if let Some(number) = name.strip_suffix(KEPT_SUFFIX).and_then(number)
            && kept_name(number) == name
        {
            return Self::Kept(number);
        }
        match name.strip_prefix(SPARE_PREFIX) {
            Some(rest) if rest.ends_with(TEMPORARY_SUFFIX) => Self::Unfinished,
            Some(rest) => number(rest).map_or(Self::Other, Self::Spare),
            None => Self::Other,
        }
    }
}

/// A file that becomes a segment.
#[derive(Debug)]
pub struct Spare {
    /// Its name.
    pub name: String,
    /// The open file.
    pub file: Arc<dyn File>,
    /// Its length, all of it written before.
    pub length: u64,
}

/// A spare that is being made: written whole under a temporary name, synced, and only then given
/// its own.
#[derive(Debug)]
pub struct SpareMaker {
    number: u64,
    length: u64,
    written: u64,
    file: Option<Arc<dyn File>>,
}

impl SpareMaker {
    /// Begins one; `number` must be free.
    #[must_use]
    pub fn new(number: u64, length: u64) -> Self {
        Self {
            number,
            length,
            written: 0,
            file: None,
        }
    }

    /// The number of its name.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The length it will have.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Does one bounded step; the spare, when it is finished.
    ///
    /// # Errors
    /// What the system says. What was made is removed, as far as that can be.
    pub fn step(&mut self, disk: &dyn Disk) -> io::Result<Option<Spare>> {
        let result = self.try_step(disk);
        if result.is_err() {
            self.file = None;
            // Where it stays, the next start removes it.
            let _ = disk.remove(&self.temporary_name());
        }
        result
    }

    fn temporary_name(&self) -> String {
        spare_name(self.number) + TEMPORARY_SUFFIX
    }

    fn try_step(&mut self, disk: &dyn Disk) -> io::Result<Option<Spare>> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => disk.create(&self.temporary_name())?,
        };
        self.file = Some(Arc::clone(&file));
        if disk.prewrites() && self.written < self.length {
            let left = left_of(self.length, self.written);
            let zeros = [0; BLOCK_BYTES];
            // Block by block, as batches will be: a page cache that keeps a file in large pieces would
            // write a whole piece for each batch.
            for _ in 0..left.min(SLICE_BYTES).div_ceil(BLOCK_BYTES) {
                let block = zeros.len().min(left_of(self.length, self.written));
                write_all_at(&*file, &zeros[..block], self.written)?;
                self.written += block as u64;
            }
            return Ok(None);
        }
        file.sync()?;
        let name = spare_name(self.number);
        disk.rename(&self.temporary_name(), &name)?;
        disk.sync_folder()?;
        Ok(Some(Spare {
            name,
            file,
            length: self.length,
        }))
    }
}

fn left_of(length: u64, written: u64) -> usize {
    usize::try_from(length - written).unwrap_or(usize::MAX)
}

/// Makes the file of a segment that holds nothing any more a spare: its name goes, durably, before
/// its first byte is overwritten. Each attempt needs another `number`: a folder whose sync has failed
/// must be changed again before another sync says anything.
///
/// # Errors
/// What the system says; `name` is then the file's name for the next attempt.
pub fn recycle(disk: &dyn Disk, name: &mut String, number: u64, length: u64) -> io::Result<Spare> {
    let spare = spare_name(number);
    disk.rename(name, &spare)?;
    name.clone_from(&spare);
    disk.sync_folder()?;
    let file = disk.open(&spare)?;
    Ok(Spare {
        name: spare,
        file,
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_log_are_taken_for_its_files() {
        assert_eq!(
            LogFileName::parse(&segment_name(7)),
            LogFileName::Segment(7)
        );
        assert_eq!(LogFileName::parse(&kept_name(7)), LogFileName::Kept(7));
        assert_eq!(LogFileName::parse("spare-3"), LogFileName::Spare(3));
        assert_eq!(LogFileName::parse("spare-3.tmp"), LogFileName::Unfinished);
        let big = segment_name(u64::MAX);
        assert_eq!(LogFileName::parse(&big), LogFileName::Segment(u64::MAX));
        for other in [
            "7.log",
            "0000000000007.log",
            "x.log",
            "spare-",
            "spare-x",
            "lock",
            "",
        ] {
            assert_eq!(LogFileName::parse(other), LogFileName::Other, "{other}");
        }
    }
}
