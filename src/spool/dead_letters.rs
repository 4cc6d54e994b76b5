//! Dead letters: one file for each event and sink that can never take it. A dead letter is durable
//! before the event leaves the log for that sink, and requeueing writes a record before the dead letter
//! goes, so that a crash in between leaves one too many and never one too few.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound::{Excluded, Unbounded};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::record::SpoolRecord;
use crate::log::codec::{Decoder, put, put_bytes};
use crate::log::disk::{Disk, read_exact_at, write_all_at};
use crate::name::SinkName;
use crate::seeded::{self, Bug};

/// What is said of a dead letter whose bytes are not what was written.
pub(super) const DAMAGED: &str = "the dead letter does not check; look at its file, then drop it";

const MAGIC: &[u8; 8] = b"HFletter";
const VERSION: u64 = 1;
/// Magic and checksum.
const HEAD_BYTES: usize = 12;
const SUFFIX: &str = ".letter";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// What a dead letter is called: the sequence of its event, and the sink that cannot take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterName {
    /// The sequence.
    pub sequence: u64,
    /// The sink.
    pub sink: SinkName,
}

impl fmt::Display for DeadLetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.sink)
    }
}

/// A text is no name of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a dead letter is called by its sequence and its sink, such as 4711-kafka")]
pub struct DeadLetterNameError;

impl FromStr for DeadLetterName {
    type Err = DeadLetterNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sequence, sink) = text.split_once('-').ok_or(DeadLetterNameError)?;
        let name = Self {
            sequence: sequence.parse().map_err(|_| DeadLetterNameError)?,
            sink: SinkName::parse(sink).map_err(|_| DeadLetterNameError)?,
        };
        (name.to_string() == text)
            .then_some(name)
            .ok_or(DeadLetterNameError)
    }
}

impl serde::Serialize for DeadLetterName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DeadLetterName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An event that was set aside.
#[derive(Debug)]
pub(super) struct DeadLetterFile {
    pub name: DeadLetterName,
    pub reason: String,
    pub detail: String,
    pub set_aside_at: Timestamp,
    pub record: Arc<SpoolRecord>,
}

/// The folder of the dead letters. Names and sizes are kept in memory, what they say on the disk.
#[derive(Debug)]
pub(super) struct DeadLetterFolder {
    disk: Arc<dyn Disk>,
    known: Mutex<KnownDeadLetters>,
}

/// The dead letters there are, with sums that are kept: they are asked for with every batch.
#[derive(Debug, Default)]
struct KnownDeadLetters {
    sizes: BTreeMap<DeadLetterName, u64>,
    bytes: u64,
    counts: BTreeMap<SinkName, usize>,
}

impl KnownDeadLetters {
    /// Takes one in, with its size, or out; whether it was there.
    fn set(&mut self, name: DeadLetterName, size: Option<u64>) -> bool {
        let count = self.counts.entry(name.sink.clone()).or_default();
        let former = match size {
            Some(size) => self.sizes.insert(name, size),
            None => self.sizes.remove(&name),
        };
        *count = *count + usize::from(size.is_some()) - usize::from(former.is_some());
        self.bytes = self.bytes + size.unwrap_or(0) - former.unwrap_or(0);
        former.is_some()
    }
}

impl DeadLetterFolder {
    /// Looks at the folder. Where it may be changed, what was not finished is removed.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(disk: Arc<dyn Disk>, may_change: bool) -> io::Result<Self> {
        let mut known = KnownDeadLetters::default();
        for file in disk.list()? {
            if file.ends_with(TEMPORARY_SUFFIX) && may_change {
                disk.remove(&file)?;
            }
            let name = file.strip_suffix(SUFFIX).and_then(|name| name.parse().ok());
            if let Some(name) = name {
                known.set(name, Some(disk.open(&file)?.length()?));
            }
        }
        Ok(Self {
            disk,
            known: Mutex::new(known),
        })
    }

    /// Writes a dead letter and returns once it is durable.
    ///
    /// # Errors
    /// What the system says. It may be there all the same, and writing it again makes no second one.
    pub fn write(&self, letter: &DeadLetterFile) -> io::Result<()> {
        let bytes = letter.encode();
        let file_name = format!("{}{SUFFIX}", letter.name);
        let temporary = format!("{file_name}{TEMPORARY_SUFFIX}");
        let written = || {
            let file = self.disk.create(&temporary)?;
            write_all_at(&*file, &bytes, 0)?;
            file.sync()?;
            self.disk.rename(&temporary, &file_name)?;
            self.disk.sync_folder()
        };
        if let Err(error) = written() {
            // Where it stays, the next start removes it.
            let _ = self.disk.remove(&temporary);
            return Err(error);
        }
        let size = bytes.len() as u64;
        self.lock().set(letter.name.clone(), Some(size));
        Ok(())
    }

    /// Makes sure of a dead letter that was found: what a start sees need not be on the disk.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn write_again(&self, name: &DeadLetterName) -> io::Result<()> {
        self.write(&self.read(name)?)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::InvalidData`] where its bytes are not what was written.
    pub fn read(&self, name: &DeadLetterName) -> io::Result<DeadLetterFile> {
        let file = self.disk.open(&format!("{name}{SUFFIX}"))?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, DAMAGED);
        let length = usize::try_from(file.length()?).map_err(|_| damaged())?;
        let mut bytes = vec![0; length];
        read_exact_at(&*file, &mut bytes, 0)?;
        DeadLetterFile::decode(name, &bytes).ok_or_else(damaged)
    }

    /// Removes one, durably; whether it was there.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &DeadLetterName) -> io::Result<bool> {
        match self.disk.remove(&format!("{name}{SUFFIX}")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.disk.sync_folder()?,
        }
        Ok(self.lock().set(name.clone(), None))
    }

    /// The names after one, in order, at most so many.
    pub fn names_after(&self, after: Option<&DeadLetterName>, limit: usize) -> Vec<DeadLetterName> {
        let known = self.lock();
        let after = after.map_or(Unbounded, Excluded);
        let names = known.sizes.range((after, Unbounded));
        names.take(limit).map(|(name, _)| name.clone()).collect()
    }

    /// The highest sequence that one of them is of.
    pub fn last_sequence(&self) -> Option<u64> {
        let known = self.lock();
        let last = known.sizes.last_key_value();
        last.map(|(name, _)| name.sequence)
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &DeadLetterName) -> bool {
        self.lock().sizes.contains_key(name)
    }

    /// How many there are for a sink.
    pub fn count(&self, sink: &SinkName) -> usize {
        self.lock().counts.get(sink).copied().unwrap_or(0)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.lock().sizes.len() as u64
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, KnownDeadLetters> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeadLetterFile {
    /// The file: magic, checksum, then version, sequence, reason, detail, time and payload.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend([0; 4]);
        put(&mut bytes, VERSION);
        put(&mut bytes, self.name.sequence);
        put_bytes(&mut bytes, self.name.sink.as_str().as_bytes());
        put_bytes(&mut bytes, self.reason.as_bytes());
        put_bytes(&mut bytes, self.detail.as_bytes());
        let set_aside_at = self.set_aside_at.as_microsecond();
        put(&mut bytes, set_aside_at.cast_unsigned());
        put_bytes(&mut bytes, &self.record.encode());
        let crc = crc32c::crc32c(&bytes[HEAD_BYTES..]);
        bytes[8..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(name: &DeadLetterName, bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let crc = u32::from_le_bytes(head[8..].try_into().ok()?);
        if !head.starts_with(MAGIC) || crc32c::crc32c(rest) != crc {
            return None;
        }
        let mut decoder = Decoder(rest);
        if decoder.number()? != VERSION {
            return None;
        }
        let written = DeadLetterName {
            sequence: decoder.number()?,
            sink: SinkName::parse(decoder.text()?).ok()?,
        };
        let letter = Self {
            reason: decoder.text()?.to_owned(),
            detail: decoder.text()?.to_owned(),
            set_aside_at: Timestamp::from_microsecond(decoder.number()?.cast_signed()).ok()?,
            record: Arc::new(SpoolRecord::decode(written.sequence, decoder.bytes()?).ok()?),
            name: written,
        };
        (letter.name == *name).then_some(letter)
    }
}

/// The dead letter first, then progress: unless the bug is to do it the other way round.
pub(super) fn progress_comes_first() -> bool {
    seeded::is(Bug::ProgressBeforeLetter)
}
