//! When the file cannot be trusted: setting it aside, carrying over what can be read, and keeping
//! single damaged records.
//!
//! A replacement is built under another name and becomes the spool by renames, in an order that a
//! crash can interrupt anywhere: `<file>.salvaged` exists only once it is whole, and an opening that
//! finds one finishes the exchange first. The old file keeps its bytes under `<file>.damaged-<time>`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};

use super::table::{self, DeadRow};
use super::tally::Tally;
use super::write::Unwritten;
use super::{Place, SpoolError};
use crate::sqlite::{self, Claim, Identity, OpenError, Sharing};

const IDENTITY: Identity = Identity {
    name: "spool",
    application_id: table::APPLICATION_ID,
    version: table::VERSION,
    schema: table::SCHEMA,
};

/// A file up to this size is checked whole at the start; a larger one record by record, as it is read.
const CHECKED_BYTES: u64 = 64 * 1024 * 1024;

/// An open spool.
pub(super) struct Opened {
    pub connection: Connection,
    /// Held as long as the spool is open; none for a spool in memory.
    pub claim: Option<Claim>,
    /// Records that were counted but could not be read.
    pub lost: u64,
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
            lost: 0,
            full: None,
        });
    };
    let claim = Claim::take(path, IDENTITY)?;
    finish_exchange(&claim)?;
    let mut full = None;
    let (connection, lost) = match claim.open_readable(Sharing::Exclusive) {
        Ok((connection, error)) if is_sound(&connection, claim.path()) => {
            full = error;
            (connection, 0)
        }
        Ok((connection, _)) => {
            drop(connection);
            replace(&claim)?
        }
        Err(OpenError::Damaged { cause, .. }) => {
            tracing::error!(file = %claim.path().display(), %cause, "the spool is damaged");
            replace(&claim)?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Opened {
        connection,
        claim: Some(claim),
        lost,
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
    let (connection, lost) = match failure {
        Failure::Untrusted => replace(held)?,
        Failure::Unwritable | Failure::Vanished => {
            finish_exchange(held)?;
            (held.open(Sharing::Exclusive)?, 0)
        }
    };
    Ok(Opened {
        connection,
        claim: claim.take(),
        lost,
        full: None,
    })
}

/// Prepares a file with everything that an open but nameless one has, for [`reopen`] to put in its
/// place. Whatever lies there by then is set aside. Returns how many records could not be read.
pub(super) fn rescue(nameless: &Connection, claim: &mut Claim) -> Result<u64, SpoolError> {
    claim.renew()?;
    let unfinished = beside(claim.path(), ".salvaging");
    remove_database(&unfinished).map_err(|error| set_aside(claim.path(), error))?;
    let lost = fill(&unfinished, |fresh| carry_over(nameless, fresh))?;
    sqlite::leave_name_alone(nameless)?;
    fs::rename(&unfinished, beside(claim.path(), ".salvaged"))
        .map_err(|error| set_aside(claim.path(), error))?;
    Ok(lost)
}

/// Whether the file can be worked with. The small tables must make sense in any case; a small file
/// is checked whole, page by page and count by count.
fn is_sound(connection: &Connection, path: &Path) -> bool {
    let small = fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES);
    let verdict = table::check_small_tables(connection).and_then(|()| {
        if small {
            check_whole(connection)
        } else {
            Ok(())
        }
    });
    if let Err(error) = &verdict {
        tracing::error!(file = %path.display(), %error, "the spool is damaged");
    }
    verdict.is_ok()
}

fn check_whole(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(table::nonsense(&verdict));
    }
    table::check_records(connection)?;
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

/// Carries what can be read into a new file, which then takes the old one's name.
fn replace(claim: &Claim) -> Result<(Connection, u64), SpoolError> {
    let mut lost = 0;
    // One that is there already holds what the old file had, whose name may be gone by now.
    if !beside(claim.path(), ".salvaged").exists() {
        let unfinished = beside(claim.path(), ".salvaging");
        remove_database(&unfinished).map_err(|error| set_aside(claim.path(), error))?;
        lost = salvage(claim.path(), &unfinished)?;
        fs::rename(&unfinished, beside(claim.path(), ".salvaged"))
            .map_err(|error| set_aside(claim.path(), error))?;
    }
    finish_exchange(claim)?;
    let connection = claim.open(Sharing::Exclusive)?;
    tracing::error!(
        file = %claim.path().display(),
        lost_records = lost,
        "the spool was replaced; what could be read was carried over, and the old file is kept beside it"
    );
    Ok((connection, lost))
}

/// Puts a whole replacement in the spool's place, where there is one.
fn finish_exchange(claim: &Claim) -> Result<(), SpoolError> {
    let salvaged = beside(claim.path(), ".salvaged");
    if !salvaged.exists() {
        return Ok(());
    }
    let exchange = || {
        let aside = claim.move_aside(Timestamp::now().as_second())?;
        tracing::error!(file = %aside.display(), "the damaged spool was set aside");
        fs::rename(&salvaged, claim.path())?;
        sqlite::sync_folder(claim.path())
    };
    exchange().map_err(|error| set_aside(claim.path(), error))
}

/// Builds the replacement. A table that cannot be read to its end gives what it has on both sides
/// of the damage.
fn salvage(damaged: &Path, unfinished: &Path) -> Result<u64, SpoolError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    fill(unfinished, |fresh| {
        match Connection::open_with_flags(damaged, flags) {
            Ok(old) => carry_over(&old, fresh),
            Err(error) => {
                tracing::error!(%error, "nothing of the damaged spool can be read");
                Ok(0)
            }
        }
    })
}

/// Makes a new file and fills it in one transaction.
fn fill(
    unfinished: &Path,
    carry: impl FnOnce(&Connection) -> Result<u64, SpoolError>,
) -> Result<u64, SpoolError> {
    let fresh_claim = Claim::take(unfinished, IDENTITY)?;
    let fresh = fresh_claim.open(Sharing::Exclusive)?;
    fresh.execute_batch("BEGIN IMMEDIATE")?;
    let lost = carry(&fresh)?;
    fresh.execute_batch("COMMIT")?;
    seal(fresh, unfinished)?;
    // Its lock file has done its work; a left-over one would only puzzle people.
    let _ = fs::remove_file(beside(unfinished, ".lock"));
    Ok(lost)
}

/// Moves everything into the one file that will be renamed, and makes sure that it is there.
fn seal(fresh: Connection, path: &Path) -> Result<(), SpoolError> {
    // Closing would only try this, and leave what it carried over in a log that stays behind.
    fresh.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    fresh.close().map_err(|(_, error)| error)?;
    if beside(path, "-wal").exists() {
        return Err(set_aside(
            path,
            io::Error::other("its log could not be moved into it"),
        ));
    }
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| set_aside(path, error))
}

/// The tables in the order of their worth, with their keys and columns.
const TABLES: [(&str, &str, &[&str]); 6] = [
    ("record", "seq", &["seq", "sinks", "crc", "head", "body"]),
    (
        "dead_letter",
        "number",
        &[
            "number",
            "seq",
            "sink",
            "reason",
            "detail",
            "buried_at",
            "sinks",
            "crc",
            "head",
            "body",
        ],
    ),
    ("sink", "number", &["number", "name"]),
    ("settled", "seq", &["seq", "sink"]),
    ("ledger", "id", &["id", "seq"]),
    ("ledger_untimed", "id", &["id", "seq", "accepted_at"]),
];

fn carry_over(old: &Connection, fresh: &Connection) -> Result<u64, SpoolError> {
    let counted = Tally::load(old).ok();
    for (name, key, columns) in TABLES {
        for direction in ["ASC", "DESC"] {
            match copy_rows(old, fresh, (name, key, columns), direction) {
                Ok(()) => break,
                Err(Copying::Reading(error)) => {
                    tracing::error!(table = name, direction, %error, "a table of the spool cannot be read to its end")
                }
                Err(Copying::Writing(error)) => return Err(error.into()),
            }
        }
    }
    let found = recount(fresh, counted.as_ref())?;
    let expected = counted.map_or(0, |tally| tally.records);
    Ok(table::unsigned(expected - found))
}

enum Copying {
    Reading(rusqlite::Error),
    Writing(rusqlite::Error),
}

fn copy_rows(
    old: &Connection,
    fresh: &Connection,
    (name, key, columns): (&str, &str, &[&str]),
    direction: &str,
) -> Result<(), Copying> {
    let list = columns.join(", ");
    let marks = vec!["?"; columns.len()].join(", ");
    let mut insert = fresh
        .prepare(&format!(
            "INSERT OR IGNORE INTO {name} ({list}) VALUES ({marks})"
        ))
        .map_err(Copying::Writing)?;
    let mut select = old
        .prepare(&format!(
            "SELECT {list} FROM {name} ORDER BY {key} {direction}"
        ))
        .map_err(Copying::Reading)?;
    let mut rows = select.query([]).map_err(Copying::Reading)?;
    while let Some(row) = rows.next().map_err(Copying::Reading)? {
        let values = (0..columns.len())
            .map(|column| row.get::<_, rusqlite::types::Value>(column))
            .collect::<Result<Vec<_>, _>>();
        insert
            .execute(params_from_iter(values.map_err(Copying::Reading)?))
            .map_err(Copying::Writing)?;
    }
    Ok(())
}

/// Makes the small tables whole and writes the counts anew. Returns the number of records.
fn recount(fresh: &Connection, counted: Option<&Tally>) -> Result<i64, SpoolError> {
    table::mend_small_tables(fresh)?;
    let mut tally = count(fresh)?;
    let highest: i64 = fresh.query_row("SELECT coalesce(max(seq), 0) FROM ledger", [], |row| {
        row.get(0)
    })?;
    let reserved = counted.map_or(0, |tally| tally.reserved);
    tally.reserved = reserved
        .max(highest + 1)
        .max(table::signed(table::next_free(fresh)?));
    tally.save(&Tally::new(), fresh)?;
    Ok(tally.records)
}

/// Counts the rows themselves.
fn count(connection: &Connection) -> rusqlite::Result<Tally> {
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

fn set_aside(path: &Path, error: io::Error) -> SpoolError {
    SpoolError::SetAside {
        path: path.display().to_string(),
        error,
    }
}

fn remove_database(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-journal", "-shm"] {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
