//! The index of accepted event ids: what tells a delivery that is sent again from a new event once
//! its segment has left memory.
//!
//! It stands beside the log and decides nothing by itself. Ids are entered only from batches that
//! are durable, the log says through which sequence they were, and a hit counts only if the log has
//! not lost its record. So an index that lacks something, down to an empty one, costs a second copy
//! of an event and never an event; whatever is wrong with it, making it anew is the remedy.

mod memory;
mod sqlite;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;

use rusqlite::{ErrorCode, ffi};

use crate::event::EventId;

pub(super) use memory::MemoryIndex;
pub(super) use sqlite::SqliteIndex;

/// So many ids of each kind [`IdIndex::expire`] looks at in a call, and so many beyond what it adds
/// [`IdIndex::add`] forgets: a few milliseconds.
const SLICE: usize = 512;
/// So many bodies of an id [`IdIndex::find`] tells: others are published again, and a sender that
/// changes the body of one event again and again makes nobody wait.
const MAX_BODIES: usize = 64;

/// Below it are the ids without a time.
const FIRST_TIMED: [u8; 16] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An id to enter, with its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdEntry {
    pub id: EventId,
    /// Of the event's body.
    pub digest: u64,
    /// Of the event's record.
    pub sequence: u64,
    /// When it was accepted, in hours since the Unix epoch.
    pub accepted_hour: u32,
}

/// A body that an id is known with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownBody {
    /// Of the body.
    pub digest: u64,
    /// The sequence it was accepted with last.
    pub sequence: u64,
}

/// What is left after a slice of forgetting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expired {
    /// Whether there may be more to forget; without it, everything was looked at once.
    pub more: bool,
}

/// The ids of accepted events. [`IdIndex::find`] waits for no other call that waits for the disk.
pub(super) trait IdIndex: Send + Sync + Debug {
    /// The ids of all records through this sequence were entered; 0 at first, and again where
    /// everything was lost.
    fn through(&self) -> u64;

    /// The bodies that the id is known with: at most [`MAX_BODIES`] of them.
    ///
    /// # Errors
    /// When it cannot be told; the id is then to be taken for unknown.
    fn find(&self, id: EventId) -> Result<Vec<KnownBody>, IndexError>;

    /// Enters ids, all or none, durable on return: from now on it is complete `through` there. An id
    /// with a body that is known already keeps the highest sequence, so entries may be entered again.
    /// Returns how many of the oldest were forgotten because there are too many.
    ///
    /// # Errors
    /// When nothing was entered. After [`IndexError::Damaged`] begin again behind
    /// [`IdIndex::through`].
    fn add(&self, entries: &[IdEntry], through: u64) -> Result<u64, IndexError>;

    /// Forgets ids of events triggered before `before`, and ids without a time accepted before
    /// `hour`, except those of pending records. A slice in each call, the next one behind it.
    ///
    /// # Errors
    /// As for [`IdIndex::add`].
    fn expire(
        &self,
        before: EventId,
        hour: u32,
        is_pending: &dyn Fn(u64) -> bool,
    ) -> Result<Expired, IndexError>;

    /// Forgets an id, whatever its bodies.
    ///
    /// # Errors
    /// As for [`IdIndex::add`].
    fn remove(&self, id: EventId) -> Result<(), IndexError>;
}

/// Why the index could not do it, named by what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// The disk has no space: everything known stays, and the call may be made again.
    #[error("there is no space on the disk for the index of event ids")]
    Full(#[source] Cause),
    /// What was known is lost, and the index begins anew.
    #[error("the index of event ids is damaged")]
    Damaged(#[source] Cause),
    /// The system does not let us now: the call may be made again.
    #[error("the index of event ids cannot be read or written")]
    Unavailable(#[source] Cause),
}

/// What stood in the way: an error of the system or of SQLite, or a sentence.
type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        if crate::log::disk::is_full(&error) {
            Self::Full(error.into())
        } else {
            Self::Unavailable(error.into())
        }
    }
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        // Where it is no failure of SQLite's, a value is of another kind than was written.
        let failure = error.sqlite_error().copied();
        let (code, extended) = failure.map_or((ErrorCode::DatabaseCorrupt, 0), |failure| {
            (failure.code, failure.extended_code)
        });
        match (code, extended) {
            // The second is what SQLite says where its file `-shm` finds no space.
            (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Self::Full(error.into()),
            // `Unknown` is said of a statement that does not fit the tables. A sector that cannot be
            // read now hardly ever can be later, and must not keep ids from being entered.
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown, _)
            | (_, ffi::SQLITE_IOERR_READ) => Self::Damaged(error.into()),
            _ => Self::Unavailable(error.into()),
        }
    }
}
