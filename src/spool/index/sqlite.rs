//! The index on the disk: a SQLite database beside the log, `ids.db`.
//!
//! - **Two connections.** One adds and forgets; the other finds, on the snapshot that the
//!   write-ahead log gives it, so nobody who is answered waits for a commit or a checkpoint.
//! - **New ids go to the end.** Ids begin with the time of their event, so the table is written
//!   where it ends and forgotten where it begins, however large it is. An id above every one that
//!   was entered is unknown without a look at the disk. Ids without a time are the table's first
//!   ones, and are forgotten by the hour of their acceptance, for which there is an index.
//! - **Made anew.** What is damaged, is of another format or belongs to another log is removed, not
//!   mended: the log is the truth, and enters again what it still has.

mod file;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Params, Transaction, params};

use super::{Cause, Entry, Expired, IdIndex, IndexError, Known, SLICE};
use crate::event::EventId;
use file::Opened;

const FIND: &str = "SELECT digest, sequence FROM ids WHERE id = ?1";
const ENTER: &str =
    "INSERT OR IGNORE INTO ids (id, digest, sequence, hour) VALUES (?1, ?2, ?3, ?4)";
const RENEW: &str =
    "UPDATE ids SET digest = ?2, sequence = ?3, hour = ?4 WHERE id = ?1 AND sequence < ?3";
const REMOVE: &str = "DELETE FROM ids WHERE id = ?1";
const OLD_TIMED: &str =
    "SELECT id, sequence, 0 FROM ids WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3";
const OLD_UNTIMED: &str = "SELECT id, sequence, hour FROM ids WHERE (hour, id) > (?1, ?2) AND hour < ?3 ORDER BY hour, id LIMIT ?4";
const FORGET_TIMED: &str = "DELETE FROM ids WHERE id IN (SELECT id FROM ids WHERE id >= x'000000000001' ORDER BY id LIMIT ?1)";
const FORGET_UNTIMED: &str = "DELETE FROM ids WHERE id IN (SELECT id FROM ids WHERE hour IS NOT NULL ORDER BY hour, id LIMIT ?1)";
const SET_STATE: &str = "UPDATE state SET through = ?1, ids = ?2";

/// Every statement: what a file must understand to be ours.
const STATEMENTS: [&str; 9] = [
    FIND,
    ENTER,
    RENEW,
    REMOVE,
    OLD_TIMED,
    OLD_UNTIMED,
    FORGET_TIMED,
    FORGET_UNTIMED,
    SET_STATE,
];

/// An id as the file has it.
type Key = [u8; 16];
/// Below it are the ids without a time.
const FIRST_TIMED: Key = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Nothing is above it.
const LARGEST: Key = [0xff; 16];

/// The index in a file.
#[derive(Debug)]
pub(in crate::spool) struct SqliteIndex {
    path: PathBuf,
    /// At the opening.
    log_next_sequence: u64,
    max_ids: u64,
    through: AtomicU64,
    /// Whether the file was found damaged, and is not made anew yet.
    is_damaged: AtomicBool,
    /// No id is larger.
    newest: Mutex<Key>,
    reader: Mutex<Option<Connection>>,
    writer: Mutex<Writer>,
}

#[derive(Debug, Default)]
struct Writer {
    /// None while the file could not be opened or made.
    connection: Option<Connection>,
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// What the file says of itself.
    through: u64,
    ids: u64,
    /// What the last slices of both kinds ended with, where they were full.
    timed_after: Option<Key>,
    untimed_after: Option<(u32, Key)>,
}

impl SqliteIndex {
    /// Opens the index at `path`, and makes it where it is missing or unfit. One that is complete
    /// through `log_next_sequence`, which the log has yet to give, belongs to another log. Where the
    /// system lets us neither open nor make it, nothing is known, and every call that writes tries
    /// again.
    pub fn open(path: PathBuf, log_next_sequence: u64, max_ids: u64) -> Self {
        let index = Self {
            path,
            log_next_sequence,
            max_ids,
            through: 0.into(),
            is_damaged: false.into(),
            newest: LARGEST.into(),
            reader: None.into(),
            writer: Writer::default().into(),
        };
        match Opened::at(&index.path, log_next_sequence) {
            Ok(opened) => index.install(opened, &mut lock(&index.writer)),
            Err(error) => tracing::warn!(
                path = %index.path.display(),
                cause = error.source().map(tracing::field::display),
                "the index of accepted event ids is not open yet: an event that is sent again may be published a second time"
            ),
        }
        index
    }

    fn install(&self, opened: Opened, writer: &mut Writer) {
        self.through.store(opened.state.through, Ordering::Release);
        *writer = Writer {
            connection: Some(opened.writer),
            state: opened.state,
        };
        let mut reader = lock(&self.reader);
        *reader = Some(opened.reader);
        *lock(&self.newest) = opened.newest;
        self.is_damaged.store(false, Ordering::Release);
    }

    /// Runs a transaction, and makes the file anew where it, or a find before, shows that it must be.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut State) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let mut writer = lock(&self.writer);
        if self.is_damaged.load(Ordering::Acquire) {
            return Err(self.renew(&mut writer, "it could not be read".into()));
        }
        if writer.connection.is_none() {
            let opened = Opened::at(&self.path, self.log_next_sequence)?;
            self.install(opened, &mut writer);
        }
        match writer.commit(work) {
            Ok(done) => {
                self.through.store(writer.state.through, Ordering::Release);
                Ok(done)
            }
            Err(IndexError::Damaged(cause)) => Err(self.renew(&mut writer, cause)),
            Err(error) => Err(error),
        }
    }

    /// Makes the file anew and returns the error that says so, or the one that it could not be.
    fn renew(&self, writer: &mut Writer, cause: Cause) -> IndexError {
        if writer.connection.is_some() {
            file::warn(&self.path, &cause);
        }
        self.is_damaged.store(true, Ordering::Release);
        *lock(&self.newest) = LARGEST;
        // Before the new file is there: a connection that closes removes files by their names.
        drop(lock(&self.reader).take());
        writer.connection = None;
        match Opened::anew(&self.path) {
            Ok(opened) => self.install(opened, writer),
            Err(error) => return error,
        }
        IndexError::Damaged(cause)
    }
}

impl IdIndex for SqliteIndex {
    fn through(&self) -> u64 {
        if self.is_damaged.load(Ordering::Acquire) {
            return 0;
        }
        self.through.load(Ordering::Acquire)
    }

    fn find(&self, id: EventId) -> Result<Option<Known>, IndexError> {
        if *id.as_bytes() > *lock(&self.newest) {
            return Ok(None);
        }
        let reader = lock(&self.reader);
        let Some(connection) = reader.as_ref() else {
            return Err(IndexError::Unavailable("it is not open yet".into()));
        };
        let found = look_up(connection, id).map_err(IndexError::from);
        if matches!(found, Err(IndexError::Damaged(_))) {
            // Under the reader's lock, so that it is not said of a new file.
            self.is_damaged.store(true, Ordering::Release);
        }
        found
    }

    fn add(&self, entries: &[Entry], through: u64) -> Result<u64, IndexError> {
        let newest = entries.iter().map(|entry| *entry.id.as_bytes()).max();
        self.write(|transaction, state| {
            if let Some(newest) = newest {
                // Before the commit, so that nothing that can be found is passed over.
                let mut known_newest = lock(&self.newest);
                *known_newest = newest.max(*known_newest);
            }
            for entry in entries {
                state.ids += u64::from(enter(transaction, entry)?);
            }
            let too_many = state
                .ids
                .saturating_sub(self.max_ids)
                .min((entries.len() + SLICE) as u64);
            let mut forgotten = 0;
            for oldest in [FORGET_TIMED, FORGET_UNTIMED] {
                if forgotten < too_many {
                    forgotten += execute(transaction, oldest, [too_many - forgotten])?;
                }
            }
            state.ids = state.ids.saturating_sub(forgotten);
            state.through = state.through.max(through);
            Ok(forgotten)
        })
    }

    /// No lock is held while `is_pending` is asked, which may wait for others.
    fn expire(
        &self,
        before: EventId,
        hour: u32,
        is_pending: &dyn Fn(u64) -> bool,
    ) -> Result<Expired, IndexError> {
        let (mut old, more) =
            self.write(|transaction, state| next_slice(transaction, state, before, hour))?;
        old.retain(|(_, sequence, _)| !is_pending(*sequence));
        if !old.is_empty() {
            self.write(|transaction, state| {
                let mut old = old.iter();
                old.try_for_each(|(id, ..)| forget(transaction, id, state))
            })?;
        }
        Ok(Expired { more })
    }

    fn remove(&self, id: EventId) -> Result<(), IndexError> {
        self.write(|transaction, state| forget(transaction, id.as_bytes(), state))
    }
}

impl Writer {
    fn commit<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut State) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(IndexError::Unavailable("it is not open yet".into()));
        };
        let transaction = connection.transaction()?;
        let mut state = self.state;
        let done = work(&transaction, &mut state)?;
        if (state.through, state.ids) != (self.state.through, self.state.ids) {
            execute(&transaction, SET_STATE, [state.through, state.ids])?;
        }
        transaction.commit()?;
        self.state = state;
        Ok(done)
    }
}

fn look_up(connection: &Connection, id: EventId) -> rusqlite::Result<Option<Known>> {
    let known = |row: &rusqlite::Row<'_>| {
        Ok(Known {
            digest: row.get::<_, i64>(0)?.cast_unsigned(),
            sequence: row.get(1)?,
        })
    };
    let mut statement = connection.prepare_cached(FIND)?;
    statement.query_row([id.as_bytes()], known).optional()
}

/// Enters an id; returns whether it is a new one.
fn enter(connection: &Connection, entry: &Entry) -> rusqlite::Result<bool> {
    let hour = (!entry.id.is_timed()).then_some(entry.accepted_hour);
    let digest = entry.digest.cast_signed();
    let row = params![entry.id.as_bytes(), digest, entry.sequence, hour];
    let is_new = execute(connection, ENTER, row)? == 1;
    if !is_new {
        execute(connection, RENEW, row)?;
    }
    Ok(is_new)
}

fn forget(connection: &Connection, id: &Key, state: &mut State) -> rusqlite::Result<()> {
    let removed = execute(connection, REMOVE, [id])?;
    state.ids = state.ids.saturating_sub(removed);
    Ok(())
}

/// An id that may be old enough to be forgotten, its sequence, and its hour.
type Old = (Key, u64, u32);

/// The ids that the next slice is about, and whether there may be more.
fn next_slice(
    connection: &Connection,
    state: &mut State,
    before: EventId,
    hour: u32,
) -> rusqlite::Result<(Vec<Old>, bool)> {
    let after = state.timed_after.unwrap_or(FIRST_TIMED);
    let range = params![after, before.as_bytes(), SLICE];
    let mut old = select(connection, OLD_TIMED, range)?;
    state.timed_after = old.get(SLICE - 1).map(|(id, ..)| *id);

    let (after_hour, after) = state.untimed_after.unwrap_or_default();
    let range = params![after_hour, after, hour, SLICE];
    let untimed = select(connection, OLD_UNTIMED, range)?;
    state.untimed_after = untimed.get(SLICE - 1).map(|(id, _, hour)| (*hour, *id));

    old.extend(untimed);
    Ok((
        old,
        state.timed_after.is_some() || state.untimed_after.is_some(),
    ))
}

fn select(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Old>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// Returns how many rows it changed.
fn execute(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<u64> {
    let changed = connection.prepare_cached(sql)?.execute(params)?;
    Ok(changed as u64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
