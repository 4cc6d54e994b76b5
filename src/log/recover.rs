//! Recovery of a log: which files there are, where it ends, and the batches since the newest whole
//! snapshot. However large the log is, that is one segment, or two after damage.
//!
//! Nothing is written here. The last batch may be in the cache of the system and not on the disk,
//! so where there is no evidence that it was acknowledged, its records are handed over apart, to be
//! written anew before anything is made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, File, NamedFile, read_up_to_end};
use super::format::{BLOCK_BYTES, Header, HeaderError, LogKind, SegmentEnd};
use super::position::LogPosition;
use super::scan::{Batch, Scan, salt_of_heads};
use super::segment::{LogFileName, Spare, segment_name};
use super::segment_file::{SegmentFile, alignment};
use crate::seeded::{self, Bug};

/// Sequences that are left out where a log did not end cleanly: more than one batch holds, so that
/// none of a batch that nobody can read any more is given again.
pub const SKIPPED_SEQUENCES: u64 = 4096;

/// How often a block that cannot be read is tried again at a start, and the pause before.
const READ_ATTEMPTS: u32 = 3;
/// Pauses for one file at most: where very much of it cannot be read, the rest is tried once.
const MAX_READ_PAUSES: usize = 128;
const READ_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 50 });

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The system does not let us.
    #[error("{name} cannot be read: {error}")]
    Io {
        /// The file; nothing for the folder.
        name: String,
        /// What the system said.
        error: io::Error,
    },
    /// A file that is no file of a log.
    #[error("{0} is no file of this log; name an empty folder, or move it away")]
    Foreign(String),
    /// A segment of another log.
    #[error("{0} belongs to another log than the segments before it; move it away")]
    OtherLog(String),
    /// Written by a newer program.
    #[error(
        "{name} has format version {version}, which is newer than this program; run the newer program"
    )]
    Newer {
        /// The file.
        name: String,
        /// Its version.
        version: u32,
    },
}

/// One scanned segment, for whoever makes a state of it.
#[derive(Debug)]
pub struct ScannedSegment {
    /// The segment's number.
    pub number: u64,
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub scan: Scan,
    /// What a later segment says of its end.
    pub end: Option<SegmentEnd>,
}

/// The files of a log and where it ends.
#[derive(Debug)]
pub struct Recovered {
    /// Every segment that is there, by number.
    pub segments: BTreeMap<u64, SegmentFile>,
    /// Spares from before.
    pub spares: Vec<Spare>,
    /// Names of unfinished spares, to be removed.
    pub unfinished: Vec<String>,
    /// Damaged segments that are kept.
    pub kept: Vec<(u64, u64)>,
    /// The segments to be replayed, oldest first, with what is known of each end. The first one
    /// holds the newest whole snapshot, if there is any.
    pub replay: Vec<(u64, Option<SegmentEnd>)>,
    /// Whether there is a whole snapshot in it.
    pub has_snapshot: bool,
    /// The highest number that a spare ever had here.
    pub last_spare: u64,
    /// Where the writer goes on.
    pub position: LogPosition,
    /// Segments of which neither header nor batch can be read: what they hold is not known, so their
    /// files are not to be used again.
    pub unreadable: BTreeSet<u64>,
    /// Whether the last records may be proven by a batch alone of which nobody knows whether it is on
    /// the disk: another has to prove them as well.
    pub is_unproven: bool,
    kind: LogKind,
    disk: Arc<dyn Disk>,
    /// The segment that was scanned last, which is the one replayed last.
    newest: Option<ScannedSegment>,
}

impl Recovered {
    /// Looks at the folder. `known` are names of files that are not the log's and may be there.
    ///
    /// # Errors
    /// When the folder is not a log's, or is one that this program must not touch.
    pub fn look(disk: Arc<dyn Disk>, kind: LogKind, known: &[&str]) -> Result<Self, RecoverError> {
        let mut recovered = Self {
            segments: BTreeMap::new(),
            spares: Vec::new(),
            unfinished: Vec::new(),
            kept: Vec::new(),
            replay: Vec::new(),
            has_snapshot: false,
            last_spare: 0,
            position: LogPosition {
                log: 0,
                next_segment: 1,
                next_batch: 1,
                acknowledged: 1,
                next_sequence: 1,
                ended: None,
            },
            unreadable: BTreeSet::new(),
            is_unproven: false,
            kind,
            disk,
            newest: None,
        };
        Self::check_names(&*recovered.disk, known)?;
        recovered.list()?;
        recovered.find_replay();
        Ok(recovered)
    }

    /// Whether every file in a folder is one of a log, or known by its name.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn check_names(disk: &dyn Disk, known: &[&str]) -> Result<(), RecoverError> {
        let names = names_in(disk)?;
        let is_foreign = |name: &&String| {
            LogFileName::parse(name) == LogFileName::Other && !known.contains(&name.as_str())
        };
        match names.iter().find(is_foreign) {
            Some(name) => Err(RecoverError::Foreign(name.clone())),
            None => Ok(()),
        }
    }

    /// Hands over each segment to be replayed, oldest first.
    pub fn scanned(&mut self, mut each: impl FnMut(&ScannedSegment)) {
        for (number, end) in self.replay.clone() {
            let newest = self.newest.take_if(|newest| newest.number == number);
            each(&newest.unwrap_or_else(|| self.scan(number, end)));
        }
    }

    fn list(&mut self) -> Result<(), RecoverError> {
        let mut logs = BTreeMap::new();
        for name in names_in(&*self.disk)? {
            match LogFileName::parse(&name) {
                LogFileName::Segment(number) => {
                    let (segment, header) = self.open_segment(&name, number)?;
                    logs.extend(header.map(|header| (number, header.log)));
                    if segment.salt == 0 {
                        self.unreadable.insert(number);
                    }
                    self.segments.insert(number, segment);
                    self.position.next_segment = self.position.next_segment.max(number + 1);
                }
                LogFileName::Spare(number) => {
                    let (file, length) = self.open(&name)?;
                    self.last_spare = self.last_spare.max(number);
                    self.spares.push(Spare { name, file, length });
                }
                LogFileName::Unfinished => self.unfinished.push(name),
                LogFileName::Kept(number) => {
                    let (_, length) = self.open(&name)?;
                    self.kept.push((number, length));
                    self.position.next_segment = self.position.next_segment.max(number + 1);
                }
                LogFileName::Other => {}
            }
        }
        self.spares.sort_by(|a, b| a.name.cmp(&b.name));
        self.kept.sort_unstable();
        self.position.log = self.log_of(logs)?.unwrap_or_else(rand::random);
        Ok(())
    }

    /// The log that the segments' headers name. A start that could not read a header has begun a log of
    /// its own, if no batch was there either; so only what holds batches can be of another log.
    fn log_of(&self, mut logs: BTreeMap<u64, u64>) -> Result<Option<u64>, RecoverError> {
        let newest = logs.values().next_back().copied();
        if logs.values().any(|log| Some(*log) != newest) {
            logs.retain(|number, _| !self.scan(*number, None).scan.batches.is_empty());
        }
        let first = logs.values().next().copied();
        match logs.iter().find(|(_, log)| Some(**log) != first) {
            Some((number, _)) => Err(RecoverError::OtherLog(segment_name(*number))),
            None => Ok(first.or(newest)),
        }
    }

    fn open(&self, name: &str) -> Result<(Arc<dyn File>, u64), RecoverError> {
        let opened = self
            .disk
            .open(name)
            .and_then(|file| file.length().map(|length| (file, length)));
        opened.map_err(|error| RecoverError::Io {
            name: name.to_owned(),
            error,
        })
    }

    fn open_segment(
        &self,
        name: &str,
        number: u64,
    ) -> Result<(SegmentFile, Option<Header>), RecoverError> {
        let (file, length) = self.open(name)?;
        let mut block = vec![0; BLOCK_BYTES];
        read_what_can_be(&*file, &mut block);
        let alignment = alignment(&*self.disk);
        let of_heads = || salt_of_heads(&read_all(&*file, length), number, alignment);
        let (header, salt) = match Header::decode(&block, self.kind) {
            Ok(header) if header.segment == number => (Some(header), Some(header.salt)),
            Ok(_) | Err(HeaderError::Damaged) => (None, of_heads()),
            // A header whose first bytes are gone is still one where its batches are there.
            Err(HeaderError::Foreign) => match of_heads() {
                Some(salt) => (None, Some(salt)),
                None => return Err(RecoverError::Foreign(name.to_owned())),
            },
            Err(HeaderError::OtherKind) => return Err(RecoverError::Foreign(name.to_owned())),
            Err(HeaderError::Newer(version)) => {
                return Err(RecoverError::Newer {
                    name: name.to_owned(),
                    version,
                });
            }
        };
        if header.is_none() {
            tracing::error!(
                segment = name,
                is_kept = salt.is_none(),
                "the header of a segment does not check: its number and salt are taken from its batches, and where none is whole either, its file is kept"
            );
        }
        // There may be very many: none stays open.
        let file = Arc::new(NamedFile::new(Arc::clone(&self.disk), name.to_owned()));
        let segment = SegmentFile {
            number,
            file,
            length,
            salt: salt.unwrap_or(0),
            alignment,
        };
        Ok((segment, header))
    }

    /// Goes back from the newest segment with a batch to the newest whole snapshot.
    fn find_replay(&mut self) {
        // One with a batch that was acknowledged, or may have been.
        let mut scanned = self.segments.keys().rev().map(|it| self.scan(*it, None));
        let Some(mut this) = scanned.find(|it| !it.scan.batches.is_empty()) else {
            return;
        };
        self.note_end(&this);
        let mut end = None;
        loop {
            self.replay.insert(0, (this.number, end));
            self.has_snapshot = this.scan.batches.iter().any(|batch| {
                batch.items.is_some() && batch.head.is_some_and(|head| head.is_snapshot)
            });
            end = previous_of(&this.scan)
                .filter(|it| !self.has_snapshot && self.segments.contains_key(&it.segment));
            self.newest.get_or_insert(this);
            let Some(previous) = end else { return };
            this = self.scan(previous.segment, end);
        }
    }

    /// Reads one of the segments that are there.
    fn scan(&self, number: u64, end: Option<SegmentEnd>) -> ScannedSegment {
        let segment = &self.segments[&number];
        let bytes = read_all(&*segment.file, segment.length);
        ScannedSegment {
            number,
            scan: segment.scan(&bytes, end),
            bytes,
            end,
        }
    }

    /// Where the writer goes on behind the newest segment. What is not proven is not in the
    /// statement of its end: where it has records, they are copied, and its items are in the
    /// snapshot that the statement comes with.
    fn note_end(&mut self, newest: &ScannedSegment) {
        let scan = &newest.scan;
        let given = scan.heads().map(|head| head.next_sequence).max();
        let is_closed = |batch: &Batch| batch.head.is_some_and(|head| head.count == 0);
        let is_clean = scan.torn.is_none() && scan.batches.last().is_some_and(is_closed);
        let skipped = if is_clean { 0 } else { SKIPPED_SEQUENCES };
        let has_records = |batch: &Batch| !batch.records.is_empty() || !batch.lost.is_empty();
        self.is_unproven = scan.proven().last().is_none_or(has_records);
        let position = &mut self.position;
        position.ended = scan.proven_end(newest.number).or(previous_of(scan));
        position.acknowledged = position.ended.map_or(1, |end| end.next_sequence);
        position.next_sequence = if seeded::is(Bug::ReuseSequences) {
            position.acknowledged
        } else {
            given.unwrap_or(1).max(position.acknowledged) + skipped
        };
        let number = scan.heads().map(|head| head.number).max();
        position.next_batch = number.unwrap_or(position.next_batch) + 2;
    }
}

fn names_in(disk: &dyn Disk) -> Result<Vec<String>, RecoverError> {
    disk.list().map_err(|error| RecoverError::Io {
        name: String::new(),
        error,
    })
}

/// What a segment's batches say of the one before.
fn previous_of(scan: &Scan) -> Option<SegmentEnd> {
    scan.heads().next().and_then(|head| head.previous)
}

/// All bytes of a file; zeros where they cannot be read.
#[must_use]
pub fn read_all(file: &dyn File, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    read_what_can_be(file, &mut bytes);
    bytes
}

/// Reads a file from its start, in large pieces, and sector by sector where one of them fails: what a
/// torn write left unreadable must not hide what was acknowledged beside it.
fn read_what_can_be(file: &dyn File, bytes: &mut [u8]) {
    const PIECE: usize = 1 << 20;
    const SECTOR: usize = 512;
    let (mut unreadable, mut pauses) = (0, 0..MAX_READ_PAUSES);
    for (offset, piece) in (0_u64..).step_by(PIECE).zip(bytes.chunks_mut(PIECE)) {
        if read_up_to_end(file, piece, offset).is_err() {
            for (offset, sector) in (offset..).step_by(SECTOR).zip(piece.chunks_mut(SECTOR)) {
                if !read_patiently(file, sector, offset, &mut pauses) {
                    sector.fill(0);
                    unreadable += 1;
                }
            }
        }
    }
    if unreadable > 0 {
        tracing::error!(
            sectors = unreadable,
            bytes = bytes.len(),
            "sectors of a file of the log cannot be read"
        );
    }
}

/// Whether a sector could be read, at least when it was tried again after a pause.
fn read_patiently(
    file: &dyn File,
    sector: &mut [u8],
    offset: u64,
    pauses: &mut Range<usize>,
) -> bool {
    (1..=READ_ATTEMPTS).any(|attempt| {
        if attempt > 1 {
            if pauses.next().is_none() {
                return false;
            }
            std::thread::sleep(READ_PAUSE);
        }
        sector.fill(0);
        read_up_to_end(file, sector, offset).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::super::disk::simulated::{Call, Crash, DiskFault, SimulatedDisk};
    use super::super::segment::SpareMaker;
    use super::super::writer::{BatchContent, LogWriter};
    use super::*;

    const SPARE_BYTES: u64 = 16 << 10;

    fn look(disk: &SimulatedDisk) -> Recovered {
        Recovered::look(Arc::new(disk.clone()), LogKind::Spool, &[]).expect("a log's folder")
    }

    /// Goes on behind what was found, in a fresh segment.
    fn write_on(disk: &SimulatedDisk, found: &Recovered) -> LogWriter {
        let mut maker = SpareMaker::new(found.last_spare + 1, SPARE_BYTES);
        let spare = std::iter::repeat_with(|| maker.step(disk).expect("nothing fails"))
            .find_map(|spare| spare)
            .expect("it is made at some time");
        let disk = Arc::new(disk.clone());
        let mut writer = LogWriter::new(disk, LogKind::Spool, found.position, vec![spare]);
        writer.roll(BLOCK_BYTES).expect("there is a spare");
        let snapshot = BatchContent {
            is_snapshot: true,
            records: &[&[b"event"]],
            ..BatchContent::default()
        };
        writer.append(snapshot).expect("nothing fails");
        writer
    }

    #[test]
    fn a_batch_that_no_sync_has_proven_is_not_in_the_statement_whatever_it_holds() {
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            let mut writer = write_on(&disk, &look(&disk));
            let acknowledged = writer.active_end();
            disk.fail(1, &[Call::Sync], DiskFault::Broken);
            writer
                .append(BatchContent::default())
                .expect_err("its sync");

            let disk = disk.crash(Crash::Process);
            let found = look(&disk);
            let tail = found.newest.as_ref().and_then(|newest| newest.scan.tail());
            assert!(tail.is_some_and(|tail| tail.records.is_empty()));
            assert_eq!(found.position.ended, acknowledged, "seed {seed}");
            assert!(found.is_unproven, "what proves the event may be gone");
            let end = write_on(&disk, &found).active_end();
            assert!(end.is_some_and(|end| end.segment == 2));

            // What the cache alone had is gone, and nothing is missed.
            let found = look(&disk.crash(Crash::Power));
            let first = found.scan(1, acknowledged).scan;
            assert!(!first.is_damaged && first.tail().is_none(), "seed {seed}");
            assert_eq!(
                found.newest.map(|it| previous_of(&it.scan)),
                Some(acknowledged)
            );
        }
    }
}
