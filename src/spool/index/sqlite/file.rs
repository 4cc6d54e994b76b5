//! The file of the index: whether it is fit, and how it is made and opened.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{FIND, Key, Reader, Writer};
use crate::log::disk::{make_private, private};
use crate::spool::index::{Cause, IndexError};

/// Marks a file as an index of event ids (`HFI`) whose tables are of this format.
const FORMAT: i64 = 0x4846_4902;

/// The tables. Only ids without a time have an hour, and are in the index by it. No checksums: a
/// changed byte can at worst have a second copy published.
const SCHEMA: &str = "
CREATE TABLE ids (id BLOB, digest INTEGER, sequence INTEGER NOT NULL, hour INTEGER, PRIMARY KEY (id, digest)) WITHOUT ROWID;
CREATE INDEX untimed_by_hour ON ids (hour) WHERE hour IS NOT NULL;
CREATE TABLE state (through INTEGER NOT NULL, ids INTEGER NOT NULL);
INSERT INTO state (through, ids) VALUES (0, 0);
";

/// Pages in memory per connection; to SQLite a negative number means this unit.
const CACHE_KIB: i64 = 4096;
/// From so many pages on the write-ahead log is moved into the file, after the commit and without
/// waiting for readers: 2 MiB.
const CHECKPOINT_PAGES: i64 = 512;
/// A write-ahead log that one large commit made longer is cut back to this, in bytes.
const MAX_LOG_BYTES: i64 = 4 << 20;

/// Readers wait for nobody in this process; where another one holds the file, an id is rather taken
/// for unknown than waited for.
const READER_WAIT: Duration = Duration::from_millis(20);

/// An open file.
#[derive(Debug)]
pub(super) struct Opened {
    pub reader: Reader,
    pub writer: Writer,
    /// What the file says of itself.
    pub through: u64,
}

impl Opened {
    /// Opens the file, and makes it where it is missing or unfit.
    ///
    /// # Errors
    /// `Full` or `Unavailable`.
    pub fn at(path: &Path, log_next_sequence: u64) -> Result<Self, IndexError> {
        if !path.try_exists()? {
            return Self::anew(path);
        }
        match Self::existing(path, log_next_sequence) {
            Err(IndexError::Damaged(cause)) => {
                warn(path, &cause);
                Self::anew(path)
            }
            opened => opened,
        }
    }

    fn existing(path: &Path, log_next_sequence: u64) -> Result<Self, IndexError> {
        // Of an earlier version; what cannot be opened shows below.
        for extension in ["db", "db-wal", "db-shm"] {
            if let Ok(file) = File::open(path.with_extension(extension)) {
                make_private(&file)?;
            }
        }
        let writer = connect(path)?;
        let format: i64 = writer.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if format != FORMAT {
            let why = "it is no index of event ids, or of another format";
            return Err(IndexError::Damaged(why.into()));
        }
        let opened = Self::prepare(path, writer)?;
        if opened.through >= log_next_sequence.max(1) {
            return Err(IndexError::Damaged("it belongs to another log".into()));
        }
        // After a failed sync, reading shows what the disk has not got; moved into the file, it is
        // written again before anything is built upon it. Without space for that it waits.
        let writer = &opened.writer.connection;
        let moved = writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        match moved.map_err(IndexError::from) {
            Err(error @ (IndexError::Damaged(_) | IndexError::Unavailable(_))) => Err(error),
            _ => Ok(opened),
        }
    }

    /// Makes a file in the place of whatever is there.
    pub fn anew(path: &Path) -> Result<Self, IndexError> {
        for extension in ["db", "db-wal", "db-shm", "db-journal"] {
            match fs::remove_file(path.with_extension(extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        // What SQLite puts beside it gets the same mode.
        make_private(&private().write(true).create_new(true).open(path)?)?;
        let writer = connect(path)?;
        // One transaction, so a file that was not finished is not ours and is made anew.
        writer.execute_batch(&format!(
            "BEGIN; {SCHEMA} PRAGMA application_id = {FORMAT}; COMMIT"
        ))?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Self::prepare(path, writer)
    }

    fn prepare(path: &Path, writer: Connection) -> Result<Self, IndexError> {
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        writer.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)?;
        let reader = connect(path)?;
        reader.pragma_update(None, "query_only", true)?;
        reader.busy_timeout(READER_WAIT)?;
        reader.prepare_cached(FIND)?;
        let newest = "SELECT max(id) FROM ids";
        let newest: Option<Key> = reader.query_row(newest, [], |row| row.get(0))?;
        let through = "SELECT through FROM state";
        Ok(Self {
            through: reader.query_row(through, [], |row| row.get(0))?,
            reader: Reader {
                connection: reader,
                newest: newest.unwrap_or_default(),
            },
            writer: Writer {
                connection: writer,
                looked_at: [None; 2],
            },
        })
    }
}

fn connect(path: &Path) -> Result<Connection, IndexError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // SQLite takes a name that begins with `file:` for a URI; an absolute one never does.
    let connection = Connection::open_with_flags(std::path::absolute(path)?, flags)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // A page whose cells make no sense is an error at once, not a guess.
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Says that the file is made anew.
pub(super) fn warn(path: &Path, cause: &Cause) {
    tracing::warn!(
        path = %path.display(),
        %cause,
        "the index of accepted event ids is made anew: an event that is sent again may be published a second time where the log no longer has it"
    );
}
