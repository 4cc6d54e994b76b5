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

use rusqlite::{Connection, Params, Row, params};

use super::{Expired, FIRST_TIMED, IdEntry, IdIndex, IndexError, KnownBody, MAX_BODIES, SLICE};
use crate::event::EventId;
use file::Opened;

const FIND: &str = "SELECT digest, sequence FROM ids WHERE id = ?1 LIMIT ?2";
const ENTER: &str =
    "INSERT OR IGNORE INTO ids (id, digest, sequence, hour) VALUES (?1, ?2, ?3, ?4)";
const RENEW: &str =
    "UPDATE ids SET sequence = ?3, hour = ?4 WHERE id = ?1 AND digest = ?2 AND sequence < ?3";
const REMOVE: &str = "DELETE FROM ids WHERE id = ?1";
const FORGET: &str = "DELETE FROM ids WHERE id = ?1 AND digest = ?2";
const OLD_TIMED: &str = "SELECT id, digest, sequence, 0 FROM ids WHERE (id, digest) > (?2, ?3) AND id < ?4 ORDER BY id, digest LIMIT ?6";
const OLD_UNTIMED: &str = "SELECT id, digest, sequence, hour FROM ids WHERE (hour, id, digest) > (?1, ?2, ?3) AND hour < ?5 ORDER BY hour, id, digest LIMIT ?6";
const FORGET_TIMED: &str = "DELETE FROM ids WHERE (id, digest) IN (SELECT id, digest FROM ids WHERE id >= x'000000000001' ORDER BY id, digest LIMIT ?1)";
const FORGET_UNTIMED: &str = "DELETE FROM ids WHERE (id, digest) IN (SELECT id, digest FROM ids WHERE hour IS NOT NULL ORDER BY hour, id, digest LIMIT ?1)";
const COUNT: &str = "SELECT ids FROM state";
const ENTERED: &str = "UPDATE state SET through = max(through, ?1), ids = ids + ?2";
const FORGOTTEN: &str = "UPDATE state SET ids = ids - ?1";

/// An id as the file has it.
type Key = [u8; 16];
/// What of a row is asked for where it may be old enough to be forgotten: its key, its sequence, and
/// its hour.
type Old = (Key, i64, u64, u32);

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
    /// Both are missing while the file could not be opened or made.
    reader: Mutex<Option<Reader>>,
    writer: Mutex<Option<Writer>>,
}

#[derive(Debug)]
struct Reader {
    connection: Connection,
    /// No id is larger.
    newest: Key,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// What the last slices of both kinds ended with, where they were full.
    looked_at: [Option<Old>; 2],
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
            reader: None.into(),
            writer: None.into(),
        };
        match index.connect() {
            Ok(writer) => *lock(&index.writer) = Some(writer),
            Err(error) => tracing::warn!(
                path = %index.path.display(),
                cause = error.source().map(tracing::field::display),
                "the index of accepted event ids is not open yet: an event that is sent again may be published a second time"
            ),
        }
        index
    }

    /// Opens the file, or makes it anew where it was found damaged.
    fn connect(&self) -> Result<Writer, IndexError> {
        let opened = if self.is_damaged.load(Ordering::Acquire) {
            Opened::anew(&self.path)?
        } else {
            Opened::at(&self.path, self.log_next_sequence)?
        };
        self.is_damaged.store(false, Ordering::Release);
        self.through.store(opened.through, Ordering::Release);
        *lock(&self.reader) = Some(opened.reader);
        Ok(opened.writer)
    }

    /// Lets go of a file that was found damaged. A connection that closes removes files by their
    /// names, so the new file must not be there before.
    fn disconnect(&self, reader: &mut Option<Reader>) {
        self.is_damaged.store(true, Ordering::Release);
        self.through.store(0, Ordering::Release);
        *reader = None;
    }

    /// Does the work, and makes the file anew where it, or a find before, shows that it must be.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let mut writer = lock(&self.writer);
        let was_damaged = self.is_damaged.load(Ordering::Acquire);
        if writer.is_none() && !was_damaged {
            *writer = Some(self.connect()?);
        }
        let done = match writer.as_mut() {
            Some(writer) if !was_damaged => work(writer),
            _ => Err(IndexError::Damaged("it could not be read".into())),
        };
        if let Err(IndexError::Damaged(cause)) = &done {
            if writer.take().is_some() {
                file::warn(&self.path, cause);
            }
            self.disconnect(&mut lock(&self.reader));
            *writer = Some(self.connect()?);
        }
        done
    }

    /// Forgets rows, one statement for each.
    fn forget<P: Params>(&self, sql: &str, rows: Vec<P>) -> Result<(), IndexError> {
        self.write(|writer| {
            let transaction = writer.connection.transaction()?;
            let mut removed = 0;
            for row in rows {
                removed += execute(&transaction, sql, row)?;
            }
            execute(&transaction, FORGOTTEN, [removed])?;
            Ok(transaction.commit()?)
        })
    }
}

impl IdIndex for SqliteIndex {
    fn through(&self) -> u64 {
        self.through.load(Ordering::Acquire)
    }

    fn find(&self, id: EventId) -> Result<Vec<KnownBody>, IndexError> {
        let mut reader = lock(&self.reader);
        let found = match &*reader {
            None => return Err(IndexError::Unavailable("it is not open yet".into())),
            Some(reader) if *id.as_bytes() > reader.newest => return Ok(Vec::new()),
            Some(reader) => select(&reader.connection, FIND, params![id.as_bytes(), MAX_BODIES]),
        };
        let found = found.map_err(IndexError::from);
        if matches!(found, Err(IndexError::Damaged(_))) {
            self.disconnect(&mut reader);
        }
        let known = |(digest, sequence): (i64, u64)| KnownBody {
            digest: digest.cast_unsigned(),
            sequence,
        };
        Ok(found?.into_iter().map(known).collect())
    }

    fn add(&self, entries: &[IdEntry], through: u64) -> Result<u64, IndexError> {
        self.write(|writer| {
            let newest = entries.iter().map(|entry| *entry.id.as_bytes()).max();
            if let (Some(newest), Some(reader)) = (newest, &mut *lock(&self.reader)) {
                // Before the commit, so that nothing that can be found is passed over.
                reader.newest = newest.max(reader.newest);
            }
            let transaction = writer.connection.transaction()?;
            let mut new = 0;
            for entry in entries {
                new += enter(&transaction, entry)?;
            }
            execute(&transaction, ENTERED, [through, new])?;
            let ids: u64 = transaction.query_row(COUNT, [], |row| row.get(0))?;
            let at_once = (entries.len() + SLICE) as u64;
            let too_many = ids.saturating_sub(self.max_ids).min(at_once);
            let mut forgotten = 0;
            for oldest in [FORGET_TIMED, FORGET_UNTIMED] {
                if forgotten < too_many {
                    forgotten += execute(&transaction, oldest, [too_many - forgotten])?;
                }
            }
            execute(&transaction, FORGOTTEN, [forgotten])?;
            transaction.commit()?;
            self.through.fetch_max(through, Ordering::AcqRel);
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
        let (mut old, more) = self.write(|writer| Ok(writer.next_slice(before, hour)?))?;
        old.retain(|(_, _, sequence, _)| !is_pending(*sequence));
        if !old.is_empty() {
            let rows = old.into_iter().map(|(id, digest, ..)| (id, digest));
            self.forget(FORGET, rows.collect())?;
        }
        Ok(Expired { more })
    }

    fn remove(&self, id: EventId) -> Result<(), IndexError> {
        self.forget(REMOVE, vec![[*id.as_bytes()]])
    }
}

impl Writer {
    /// The rows that the next slice is about, and whether there may be more.
    fn next_slice(&mut self, before: EventId, hour: u32) -> rusqlite::Result<(Vec<Old>, bool)> {
        let kinds = [(OLD_TIMED, FIRST_TIMED), (OLD_UNTIMED, Key::default())];
        let mut all = Vec::new();
        for ((sql, first), looked_at) in kinds.into_iter().zip(&mut self.looked_at) {
            let (id, digest, _, of_hour) = looked_at.unwrap_or((first, i64::MIN, 0, 0));
            let range = params![of_hour, id, digest, before.as_bytes(), hour, SLICE];
            let old: Vec<Old> = select(&self.connection, sql, range)?;
            *looked_at = old.get(SLICE - 1).copied();
            all.extend(old);
        }
        Ok((all, self.looked_at.iter().any(Option::is_some)))
    }
}

fn select<T>(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<T>>
where
    T: for<'a> TryFrom<&'a Row<'a>, Error = rusqlite::Error>,
{
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| T::try_from(row))?;
    rows.collect()
}

/// Enters an id; returns how many rows are new.
fn enter(connection: &Connection, entry: &IdEntry) -> rusqlite::Result<u64> {
    let hour = (!entry.id.is_timed()).then_some(entry.accepted_hour);
    let digest = entry.digest.cast_signed();
    let row = params![entry.id.as_bytes(), digest, entry.sequence, hour];
    let new = execute(connection, ENTER, row)?;
    if new == 0 {
        execute(connection, RENEW, row)?;
    }
    Ok(new)
}

/// Returns how many rows it changed.
fn execute(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<u64> {
    let changed = connection.prepare_cached(sql)?.execute(params)?;
    Ok(changed as u64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
