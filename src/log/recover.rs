//! What a start reads: which files there are, where the log ends, and the batches since the newest
//! whole snapshot. However large the log is, that is one segment, or two after damage.
//!
//! Nothing is written here. The last batch may be in the cache of the system and not on the disk,
//! so where there is no evidence that it was acknowledged, its records are handed over apart, to be
//! written anew before anything is made of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, File, NamedFile};
use super::format::{BLOCK_BYTES, Header, HeaderError, Kind, SegmentEnd};
use super::scan::{Batch, Scan, Segment, salt_of_heads};
use super::segment::{Named, Spare, segment_name};
use super::writer::{Standing, alignment};
use crate::seeded::{self, Bug};

/// Sequences that are left out where a log did not end cleanly: more than one batch holds, so that
/// none of a batch that nobody can read any more is given again.
pub const SKIPPED_SEQUENCES: u64 = 4096;

/// How often a block that cannot be read is tried again at a start, and the pause before.
const READ_ATTEMPTS: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 50 });

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The system does not let us.
    #[error(
        "{name} cannot be read: {error}; give the files to the user that the bridge runs as, or mount their disk"
    )]
    Io {
        /// The file, or the folder.
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

/// A segment's file.
#[derive(Debug, Clone)]
pub struct SegmentFile {
    /// The file, which is opened when it is read.
    pub file: Arc<dyn File>,
    /// Its length.
    pub length: u64,
    /// Its salt; none where neither header nor heads have it.
    pub salt: Option<u64>,
}

/// One scanned segment, for whoever makes a state of it.
#[derive(Debug)]
pub struct Scanned {
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
    pub standing: Standing,
    kind: Kind,
    disk: Arc<dyn Disk>,
    /// The segment that was scanned last, which is the one replayed last.
    newest: Option<Scanned>,
}

impl Recovered {
    /// Looks at the folder. `known` are names of files that are not the log's and may be there.
    ///
    /// # Errors
    /// When the folder is not a log's, or is one that this program must not touch.
    pub fn look(disk: Arc<dyn Disk>, kind: Kind, known: &[&str]) -> Result<Self, RecoverError> {
        let mut recovered = Self {
            segments: BTreeMap::new(),
            spares: Vec::new(),
            unfinished: Vec::new(),
            kept: Vec::new(),
            replay: Vec::new(),
            has_snapshot: false,
            last_spare: 0,
            standing: Standing {
                log: 0,
                next_segment: 1,
                next_batch: 1,
                acknowledged: 1,
                next_sequence: 1,
                ended: None,
            },
            kind,
            disk,
            newest: None,
        };
        Self::check_names(&*recovered.disk, known)?;
        recovered.list()?;
        recovered.find_replay()?;
        Ok(recovered)
    }

    /// Whether every file in a folder is one of a log, or known by its name.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn check_names(disk: &dyn Disk, known: &[&str]) -> Result<(), RecoverError> {
        let names = names_in(disk)?;
        let is_foreign =
            |name: &&String| Named::parse(name) == Named::Other && !known.contains(&name.as_str());
        match names.iter().find(is_foreign) {
            Some(name) => Err(RecoverError::Foreign(name.clone())),
            None => Ok(()),
        }
    }

    /// Hands over each segment to be replayed, oldest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn scanned(&mut self, mut each: impl FnMut(&Scanned)) -> Result<(), RecoverError> {
        for (number, end) in self.replay.clone() {
            match self.newest.take_if(|newest| newest.number == number) {
                Some(newest) => each(&newest),
                None => each(&self.scan(number, end)?),
            }
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(), RecoverError> {
        let mut log = None;
        for name in names_in(&*self.disk)? {
            match Named::parse(&name) {
                Named::Segment(number) => {
                    let (segment, header) = self.open_segment(&name, number)?;
                    if let Some(header) = header
                        && *log.get_or_insert(header.log) != header.log
                    {
                        return Err(RecoverError::OtherLog(name));
                    }
                    self.segments.insert(number, segment);
                    self.standing.next_segment = self.standing.next_segment.max(number + 1);
                }
                Named::Spare(number) => {
                    let (file, length) = self.open(&name)?;
                    self.last_spare = self.last_spare.max(number);
                    self.spares.push(Spare { name, file, length });
                }
                Named::Unfinished => self.unfinished.push(name),
                Named::Kept(number) => {
                    let (_, length) = self.open(&name)?;
                    self.kept.push((number, length));
                    self.standing.next_segment = self.standing.next_segment.max(number + 1);
                }
                Named::Other => {}
            }
        }
        self.spares.sort_by(|a, b| a.name.cmp(&b.name));
        self.kept.sort_unstable();
        self.standing.log = log.unwrap_or_else(rand::random);
        Ok(())
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
        let of_heads = || salt_of_heads(&read_all(&*file, length), number, alignment(&*self.disk));
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
                "the header of a segment does not check; its number and salt are taken from its batches"
            );
        }
        // There may be very many: none stays open.
        let file = Arc::new(NamedFile::new(Arc::clone(&self.disk), name.to_owned()));
        Ok((SegmentFile { file, length, salt }, header))
    }

    /// Goes back from the newest segment with a batch to the newest whole snapshot.
    fn find_replay(&mut self) -> Result<(), RecoverError> {
        let Some(newest) = self.find_newest()? else {
            return Ok(());
        };
        self.note_end(&newest);
        let mut next = Some((newest.number, newest.end));
        let mut scanned = Some(newest);
        while let Some((number, end)) = next {
            let this = match scanned.take() {
                Some(scanned) => scanned,
                None => self.scan(number, end)?,
            };
            self.replay.insert(0, (number, end));
            self.has_snapshot = this.scan.batches.iter().any(is_whole_snapshot);
            let previous = previous_of(&this.scan);
            if self.newest.is_none() {
                self.newest = Some(this);
            }
            let is_there = |it: &SegmentEnd| self.segments.contains_key(&it.segment);
            next = previous
                .filter(|previous| !self.has_snapshot && is_there(previous))
                .map(|previous| (previous.segment, Some(previous)));
        }
        Ok(())
    }

    /// The newest segment that has a batch which was acknowledged, or may have been.
    fn find_newest(&self) -> Result<Option<Scanned>, RecoverError> {
        for number in self.segments.keys().rev() {
            let scanned = self.scan(*number, None)?;
            if !scanned.scan.batches.is_empty() {
                return Ok(Some(scanned));
            }
        }
        Ok(None)
    }

    fn scan(&self, number: u64, end: Option<SegmentEnd>) -> Result<Scanned, RecoverError> {
        let segment = self.segments.get(&number).ok_or_else(|| RecoverError::Io {
            name: segment_name(number),
            error: io::ErrorKind::NotFound.into(),
        })?;
        let bytes = read_all(&*segment.file, segment.length);
        let scan = segment.salt.map_or_else(Scan::default, |salt| {
            Segment {
                bytes: &bytes,
                number,
                salt,
                alignment: alignment(&*self.disk),
                end,
            }
            .scan()
        });
        Ok(Scanned {
            number,
            bytes,
            scan,
            end,
        })
    }

    /// Where the writer goes on behind the newest segment.
    fn note_end(&mut self, newest: &Scanned) {
        let scan = &newest.scan;
        let heads = scan.batches.iter().filter_map(|batch| batch.head);
        let standing = &mut self.standing;
        let numbers = heads.clone().map(|head| head.number).max();
        standing.next_batch = numbers.unwrap_or(standing.next_batch) + 2;
        let given = heads.clone().map(|head| head.next_sequence).max();
        let tail = scan.tail();
        let is_clean = scan.is_clean();
        let proven = &scan.batches[..scan.batches.len() - usize::from(tail.is_some())];
        let previous = previous_of(scan);
        let acknowledged = proven
            .iter()
            .rev()
            .find_map(|batch| batch.head.map(|head| head.end_sequence()));
        standing.acknowledged = acknowledged
            .or(previous.map(|end| end.next_sequence))
            .unwrap_or(1);
        let skip = if is_clean { 0 } else { SKIPPED_SEQUENCES };
        standing.next_sequence = if seeded::is(Bug::ReuseSequences) {
            standing.acknowledged
        } else {
            given.unwrap_or(1).max(standing.acknowledged) + skip
        };
        let first = scan.batches.iter().find_map(|batch| batch.head);
        standing.ended = match (proven.last(), first) {
            (Some(_), Some(first)) => Some(SegmentEnd {
                segment: newest.number,
                end: tail.map_or(scan.end, |tail| tail.offset),
                first_sequence: first.segment_first,
                next_sequence: standing.acknowledged,
            }),
            _ => previous,
        };
    }
}

fn names_in(disk: &dyn Disk) -> Result<Vec<String>, RecoverError> {
    disk.list().map_err(|error| RecoverError::Io {
        name: "the folder".into(),
        error,
    })
}

impl Scan {
    /// The last batch, where it has records and there is no evidence that it was acknowledged. If
    /// they are copies alone, their sources are still there.
    #[must_use]
    pub fn tail(&self) -> Option<&Batch> {
        self.batches
            .last()
            .filter(|last| !self.is_proven && (has_new_records(last) || !last.records.is_empty()))
    }

    /// Whether the log was closed: the last batch has no records, and nothing follows it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.is_torn
            && self
                .batches
                .last()
                .is_some_and(|last| !has_new_records(last))
    }
}

fn has_new_records(batch: &Batch) -> bool {
    batch.head.is_none_or(|head| head.count > 0)
}

fn is_whole_snapshot(batch: &Batch) -> bool {
    batch.items.is_some() && batch.head.is_some_and(|head| head.is_snapshot)
}

/// What a segment's batches say of the one before.
fn previous_of(scan: &Scan) -> Option<SegmentEnd> {
    scan.batches
        .iter()
        .find_map(|batch| batch.head.map(|head| head.previous))
        .flatten()
}

/// All bytes of a file; zeros where they cannot be read.
#[must_use]
pub fn read_all(file: &dyn File, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    read_what_can_be(file, &mut bytes);
    bytes
}

/// Reads a file from its start, in large pieces, and block by block where one of them fails: what a
/// torn write left unreadable must not hide what was acknowledged beside it.
fn read_what_can_be(file: &dyn File, bytes: &mut [u8]) {
    const PIECE: usize = 1 << 20;
    for (index, piece) in bytes.chunks_mut(PIECE).enumerate() {
        let offset = (index * PIECE) as u64;
        if read_up_to_end(file, piece, offset).is_ok() {
            continue;
        }
        for (index, block) in piece.chunks_mut(512).enumerate() {
            read_patiently(file, block, offset + (index * 512) as u64);
        }
    }
}

fn read_patiently(file: &dyn File, block: &mut [u8], offset: u64) {
    for attempt in 1..=READ_ATTEMPTS {
        match read_up_to_end(file, block, offset) {
            Ok(()) => return,
            Err(_) if attempt < READ_ATTEMPTS => std::thread::sleep(READ_PAUSE),
            Err(error) => {
                tracing::error!(%error, offset, "a sector of the log cannot be read");
                block.fill(0);
            }
        }
    }
}

fn read_up_to_end(file: &dyn File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => break,
            Ok(count) => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.fill(0);
    Ok(())
}
