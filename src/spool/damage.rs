//! Whether the file can be trusted: it is looked at before anything is written to it, and one that
//! cannot be trusted is replaced, see [`salvage`]. Single damaged records are kept as dead letters.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::salvage::{self, Cost};
use super::table::{self, DeadRow};
use super::tally::Tally;
use super::write::Unwritten;
use super::{Place, SpoolError};
use crate::sqlite::{self, Cause, Claim, Former, Identity, OpenError, Readable, Sharing};

pub(super) const IDENTITY: Identity = Identity {
    name: "spool",
    application_id: table::APPLICATION_ID,
    version: table::VERSION,
    schema: table::SCHEMA,
    former: &[Former {
        version: 1,
        schema: table::SCHEMA_1,
    }],
};

/// A file up to this size is checked whole at the start; a larger one record by record, as it is read.
const CHECKED_BYTES: u64 = 64 * 1024 * 1024;

/// An open spool.
pub(super) struct Opened {
    pub connection: Connection,
    /// Held as long as the spool is open; none for a spool in memory.
    pub claim: Option<Claim>,
    /// What it cost to replace a damaged file.
    pub cost: Cost,
    /// Why it can only be read for now: its log could not be moved into it.
    pub full: Option<rusqlite::Error>,
}

/// What a failed statement means for the file. The later ones need more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// The file is sound, but could not grow or be written: open it again.
    Unwritable,
    /// Pages may be lost or wrong: go on in a new file.
    Untrusted,
    /// What is open has no name any more: give what is in it one.
    Vanished,
}

impl Failure {
    pub fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase,
            ) => Self::Untrusted,
            _ => Self::Unwritable,
        }
    }

    pub fn remedy(self) -> &'static str {
        match self {
            Self::Unwritable => {
                "free space on the spool's disk, or make it writable; the bridge goes on by itself"
            }
            Self::Untrusted => {
                "look at the disk's health; the bridge goes on in a new file as soon as one can be written"
            }
            Self::Vanished => {
                "leave the spool's files alone while the bridge runs; where their folder is there, they are written again with all that is open"
            }
        }
    }
}

/// Opens the spool, finishing an exchange that a crash interrupted and replacing a damaged file.
pub(super) fn open(place: &Place) -> Result<Opened, SpoolError> {
    let Place::File(path) = place else {
        return Ok(Opened {
            connection: sqlite::open_in_memory(&IDENTITY)?,
            claim: None,
            cost: Cost::default(),
            full: None,
        });
    };
    let claim = Claim::take(path, IDENTITY)?;
    salvage::finish_exchange(&claim)?;
    let ((connection, full), cost) = open_or_replace(&claim)?;
    Ok(Opened {
        connection,
        claim: Some(claim),
        cost,
        full,
    })
}

/// Opens the spool again after a failure, in a new file where the old one cannot be trusted. The
/// claim stays with the caller where that fails, so that no other process can step in.
pub(super) fn reopen(
    place: &Place,
    claim: &mut Option<Claim>,
    failure: Failure,
) -> Result<Opened, SpoolError> {
    let Some(held) = claim.as_ref() else {
        return open(place);
    };
    let (connection, cost) = match failure {
        Failure::Untrusted => salvage::replace(held)?,
        Failure::Unwritable | Failure::Vanished => {
            salvage::finish_exchange(held)?;
            (held.open(Sharing::Exclusive)?, Cost::default())
        }
    };
    Ok(Opened {
        connection,
        claim: claim.take(),
        cost,
        full: None,
    })
}

fn open_or_replace(claim: &Claim) -> Result<(Readable, Cost), SpoolError> {
    match claim.open_sound(|connection| check(connection, claim.path())) {
        Ok(readable) => return Ok((readable, Cost::default())),
        Err(error @ OpenError::Damaged { .. }) => {
            tracing::error!(%error, "the spool is damaged; what can be read is carried over into a new file");
        }
        Err(error @ OpenError::Outdated { .. }) => {
            tracing::warn!(%error, "the spool is carried over into a file of the new format");
        }
        Err(error) => return Err(error.into()),
    }
    let (connection, cost) = salvage::replace(claim)?;
    Ok(((connection, None), cost))
}

/// Whether the file can be worked with. The small tables must make sense in any case; a small file
/// is checked whole, page by page, row by row and count by count.
fn check(connection: &Connection, path: &Path) -> Result<(), Cause> {
    table::check_small_tables(connection)?;
    if fs::metadata(path)?.len() <= CHECKED_BYTES {
        check_whole(connection)?;
    }
    Ok(())
}

fn check_whole(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(table::nonsense(&verdict));
    }
    table::check_records(connection)?;
    table::check_ids_and_letters(connection)?;
    let counted = Tally {
        reserved: 0,
        ..count(connection)?
    };
    let written = Tally {
        reserved: 0,
        ..Tally::load(connection)?
    };
    if counted == written {
        Ok(())
    } else {
        Err(table::nonsense("its counts are wrong"))
    }
}

/// Counts the rows themselves.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<Tally> {
    let mut tally = Tally::new();
    let mut records =
        connection.prepare("SELECT sinks, length(head) + length(body) FROM record")?;
    let mut rows = records.query([])?;
    while let Some(row) = rows.next()? {
        tally.add_record(crate::event::SinkSet::from_bits(row.get(0)?), row.get(1)?);
    }
    for (_, sink) in table::partly_settled(connection)? {
        tally.pending[sink.number()] -= 1;
    }
    let mut dead =
        connection.prepare("SELECT sink, length(head) + length(body) FROM dead_letter")?;
    let mut rows = dead.query([])?;
    while let Some(row) = rows.next()? {
        let (sink, bytes): (usize, i64) = (row.get(0)?, row.get(1)?);
        tally.bytes += bytes;
        if let Some(count) = tally.dead.get_mut(sink) {
            *count += 1;
        }
    }
    tally.ids = table::count_ids(connection)?;
    Ok(tally)
}

/// Turns a record that fails its checksum into a dead letter, in a transaction of its own.
pub(super) fn keep(
    connection: &mut Connection,
    dead: &DeadRow,
    unwritten: Unwritten,
    tally: &mut Tally,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let mut after = tally.clone();
    table::bury(&transaction, dead)?;
    after.dead[dead.sink.number()] += 1;
    after.bytes += i64::from(dead.row.bytes());
    let changed = table::settle(
        &transaction,
        unwritten.position,
        unwritten.sink,
        unwritten.last,
    )?;
    after.settle(unwritten.sink, unwritten.position.bytes, changed);
    after.save(tally, &transaction)?;
    transaction.commit()?;
    *tally = after;
    Ok(())
}
