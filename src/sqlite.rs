//! SQLite files that belong to one bridge: claimed, made whole or not at all, and opened with every
//! setting named. The spool and the store sink both stand on it.
//!
//! - **One owner.** [`Claim::take`] locks `<file>.lock`; whoever holds the claim may open, reopen
//!   and move the file aside. The lock dies with the process, so nothing needs tidying after a crash.
//! - **Born whole.** A new file is made under another name, synced, and renamed into place. A file
//!   under its own name therefore always carries its identity, and one that does not is damaged.
//! - **Nothing half-synced is built upon.** After a failed write or sync the kernel may show bytes
//!   that never reached the disk, and a later commit would stand on them in the write-ahead log.
//!   So every opening ends with a full checkpoint, which writes them all again.
//! - **Looked at before it is touched.** Whose file it is, is read from its first page, and whether
//!   the log is whole from the log itself, before SQLite opens anything; nothing is written before
//!   the tables have been found as they must be. So a file that is refused or set aside keeps every
//!   byte.
//! - **Reused, not shrunk.** There is no vacuum: deleted rows leave free pages, which the next rows
//!   take, so a file stays as large as it ever was.

mod error;
mod first_page;
mod log;
mod remains;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

pub use error::{Cause, OpenError};
use first_page::Verdict;
pub use remains::Remains;

/// What makes a file ours.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// What the file is called in messages, such as `spool`.
    pub name: &'static str,
    /// The `application_id` in its header.
    pub application_id: i32,
    /// The format's version, from 1.
    pub version: u16,
    /// The statements that make the tables. Their text is compared with the file's, so any change
    /// of it, even of white space, needs a new version.
    pub schema: &'static str,
    /// The formats before this one that can still be read.
    pub former: &'static [Former],
}

/// A format that this program no longer writes.
#[derive(Debug, Clone, Copy)]
pub struct Former {
    /// Its version.
    pub version: u16,
    /// The statements that made its tables.
    pub schema: &'static str,
}

impl Identity {
    /// The identity that files of a former format have.
    #[must_use]
    fn as_of(&self, former: &Former) -> Self {
        Self {
            version: former.version,
            schema: former.schema,
            ..*self
        }
    }
}

/// Who may read the file while its owner has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: the index of the write-ahead log stays in memory.
    Exclusive,
    /// Read-only connections, by [`open_reader`].
    Readers,
}

/// An open file; with the error where its log could not be moved into it for want of room.
pub type Readable = (Connection, Option<rusqlite::Error>);

/// The right to open a file, for as long as it lives.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    identity: Identity,
    lock: File,
}

impl Claim {
    /// Claims the file at `path`, which need not exist yet.
    ///
    /// # Errors
    /// `Held` where another claim lives, in this process or another; `Io` where the lock file
    /// beside it cannot be made.
    pub fn take(path: &Path, identity: Identity) -> Result<Self, OpenError> {
        let io = |error: io::Error| OpenError::Io {
            path: path.to_owned(),
            cause: error.into(),
        };
        // SQLite takes a name that begins with `file:` for a URI; an absolute one never does.
        let path = std::path::absolute(path).map_err(io)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(&path, ".lock"))
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                identity,
                lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Held { path }),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// Takes the lock anew where its file was removed or replaced: whoever came then may hold it.
    ///
    /// # Errors
    /// As for [`Claim::take`]; the claim then stays as it is.
    pub fn renew(&mut self) -> Result<(), OpenError> {
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        let ours = self.lock.metadata().map(identity).ok();
        let found = fs::metadata(beside(&self.path, ".lock")).map(identity).ok();
        if ours.is_none() || ours != found {
            *self = Self::take(&self.path, self.identity)?;
        }
        Ok(())
    }

    /// The file, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, and makes it first where there is none. Drop every earlier connection before
    /// opening anew after an error; what they left in the write-ahead log is written again.
    ///
    /// # Errors
    /// Named by the reaction. Nothing was changed by a `Foreign`, a `Newer` or an `Outdated`.
    pub fn open(&self, sharing: Sharing) -> Result<Connection, OpenError> {
        match self.open_readable(sharing)? {
            (connection, None) => Ok(connection),
            (_, Some(full)) => Err(self.name_error(full)),
        }
    }

    fn open_readable(&self, sharing: Sharing) -> Result<Readable, OpenError> {
        self.make_if_missing()?;
        self.check_first_page()?;
        self.open_if(sharing, |_| Ok(()))
    }

    /// As [`Claim::open`] for nobody else, but only where the write-ahead log is whole and `check`
    /// finds no fault with the content; nothing was changed by a `Damaged` either. A full disk is no
    /// hindrance: where there is no room to move the log into the file, the error comes with the
    /// connection. It can read everything; nothing may be built upon it before a [`checkpoint`] has
    /// worked.
    ///
    /// # Errors
    /// Named by the reaction.
    pub fn open_sound(
        &self,
        check: impl FnOnce(&Connection) -> Result<(), Cause>,
    ) -> Result<Readable, OpenError> {
        self.make_if_missing()?;
        self.check_first_page()?;
        self.check_log()?;
        self.open_if(Sharing::Exclusive, check)
    }

    fn open_if(
        &self,
        sharing: Sharing,
        check: impl FnOnce(&Connection) -> Result<(), Cause>,
    ) -> Result<Readable, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)
            .map_err(|error| self.name_error(error))?;
        self.recognise(&connection, sharing)?;
        self.compare_schema(&connection)?;
        check(&connection).map_err(|cause| self.damaged(cause))?;
        self.prepare(&connection, sharing)
            .map_err(|error| self.name_error(error))?;
        match checkpoint(&connection) {
            Ok(()) => Ok((connection, None)),
            Err(error) if is_full(&error) => Ok((connection, Some(error))),
            Err(error) => Err(self.name_error(error)),
        }
    }

    /// Renames the file, with what belongs to it, to `<file>.damaged-<seconds>`, and returns that
    /// name. Drop every connection before.
    ///
    /// # Errors
    /// When the folder does not let us.
    pub fn move_aside(&self, unix_seconds: i64) -> io::Result<PathBuf> {
        let mut aside = beside(&self.path, &format!(".damaged-{unix_seconds}"));
        for attempt in 1.. {
            if !aside.exists() {
                break;
            }
            aside = beside(&self.path, &format!(".damaged-{unix_seconds}-{attempt}"));
        }
        for suffix in ["", "-wal", "-journal"] {
            match fs::rename(beside(&self.path, suffix), beside(&aside, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match fs::remove_file(beside(&self.path, "-shm")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_folder(&self.path)?;
        Ok(aside)
    }

    fn make_if_missing(&self) -> Result<(), OpenError> {
        let size = |suffix| fs::metadata(beside(&self.path, suffix)).map(|file| file.len());
        match size("") {
            Ok(0) => Err(self.damaged(Cause::Content("it has no bytes"))),
            Ok(_) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io(error)),
            // SQLite would delete the log of a file that is gone, and all that is in it.
            Err(_) if size("-wal").is_ok_and(|bytes| bytes > 0) => Err(self.damaged(
                Cause::Content("the file is gone, but its write-ahead log is there"),
            )),
            Err(_) => self.make(),
        }
    }

    fn make(&self) -> Result<(), OpenError> {
        let unfinished = beside(&self.path, ".new");
        for suffix in ["", "-journal"] {
            match fs::remove_file(beside(&unfinished, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.io(error)),
                _ => {}
            }
        }
        Connection::open(&unfinished)
            .and_then(|mut connection| fill(&mut connection, &self.identity))
            .map_err(|error| self.name_error(error))?;
        File::open(&unfinished)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, &self.path))
            .and_then(|()| sync_folder(&self.path))
            .map_err(|error| self.io(error))
    }

    /// Reads the identity from the bytes, so that SQLite opens no file but ours.
    fn check_first_page(&self) -> Result<(), OpenError> {
        let mut found = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(log::PAGE as u64).read_to_end(&mut found))
            .map_err(|error| self.io(error))?;
        let verdict = first_page::judge(&found, &self.identity);
        match verdict.map_err(|error| self.name_error(error))? {
            Verdict::Ours => Ok(()),
            Verdict::Damaged(what) => Err(self.damaged(Cause::Content(what))),
            Verdict::Newer(found) => Err(self.newer(found)),
            Verdict::Foreign(found) => Err(self.foreign(found.into_owned())),
        }
    }

    /// SQLite would drop what lies behind damage in its log; here it is an error.
    fn check_log(&self) -> Result<(), OpenError> {
        let bytes = match fs::read(beside(&self.path, "-wal")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.io(error)),
        };
        match log::Log::read(&bytes).damage() {
            None => Ok(()),
            Some(what) => Err(self.damaged(Cause::Content(what))),
        }
    }

    /// Reads the version once more, with the log, before anything could be written: the log may hold
    /// a first page of its own.
    fn recognise(&self, connection: &Connection, sharing: Sharing) -> Result<(), OpenError> {
        let version = version(connection, sharing).map_err(|error| self.name_error(error))?;
        match read_version(version) {
            None | Some(0) => Err(self.damaged(Cause::Content("its version is not readable"))),
            Some(found) if found > self.identity.version => Err(self.newer(found)),
            Some(found) if found < self.identity.version => Err(OpenError::Outdated {
                path: self.path.clone(),
                found,
            }),
            Some(_) => Ok(()),
        }
    }

    fn prepare(&self, connection: &Connection, sharing: Sharing) -> rusqlite::Result<()> {
        connection.execute_batch("PRAGMA journal_mode = WAL")?;
        settle(connection)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        if sharing == Sharing::Readers {
            connection.busy_timeout(READER_WAIT)?;
        }
        Ok(())
    }

    fn compare_schema(&self, connection: &Connection) -> Result<(), OpenError> {
        let ours = open_in_memory(&self.identity)
            .and_then(|ours| tables(&ours))
            .map_err(|error| self.name_error(error))?;
        let found = tables(connection).map_err(|error| self.name_error(error))?;
        if ours == found {
            Ok(())
        } else {
            Err(self.damaged(Cause::Content("its tables are not as they were made")))
        }
    }

    fn newer(&self, found: u16) -> OpenError {
        OpenError::Newer {
            path: self.path.clone(),
            found,
            known: self.identity.version,
        }
    }

    fn foreign(&self, found: String) -> OpenError {
        OpenError::Foreign {
            path: self.path.clone(),
            name: self.identity.name,
            found,
        }
    }

    fn damaged(&self, cause: Cause) -> OpenError {
        OpenError::Damaged {
            path: self.path.clone(),
            cause,
        }
    }

    fn io(&self, error: io::Error) -> OpenError {
        OpenError::Io {
            path: self.path.clone(),
            cause: error.into(),
        }
    }

    fn name_error(&self, error: rusqlite::Error) -> OpenError {
        let path = self.path.clone();
        let held = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        );
        match error {
            _ if held => OpenError::Held { path },
            // An error without a code is content that is not what its column holds.
            error if is_damage(&error) || error.sqlite_error_code().is_none() => {
                self.damaged(error.into())
            }
            error => OpenError::Io {
                path,
                cause: error.into(),
            },
        }
    }
}

/// A database of this identity in memory, which dies with its connection.
///
/// # Errors
/// When there is no memory, or the schema is wrong.
pub fn open_in_memory(identity: &Identity) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    fill(&mut connection, identity)?;
    settle(&connection)?;
    Ok(connection)
}

/// A read-only connection to a file that its owner has open with [`Sharing::Readers`].
///
/// # Errors
/// When the file cannot be opened.
pub fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(READER_WAIT)?;
    settle(&connection)?;
    Ok(connection)
}

/// Keeps the connection's end from touching what lies under the file's name by then.
///
/// # Errors
/// When the connection is of no use any more.
pub fn leave_name_alone(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map(drop)
}

/// Whether the error says that the disk has no room.
#[must_use]
pub fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Whether the error says that the file's content is wrong, rather than that the system cannot
/// write or read it now.
#[must_use]
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// How long one connection waits while another recovers or checkpoints the write-ahead log.
const READER_WAIT: Duration = Duration::from_secs(1);

/// Pages in memory per connection; to SQLite a negative number means this unit.
const CACHE_KIB: u32 = 4096;

/// From so many pages on the write-ahead log is moved into the file: 16 MiB. A page that is written
/// again before that goes into the file once, and one that was emptied and filled again, too; so a
/// queue whose rows come and go within this many pages hardly writes the file at all.
const CHECKPOINT_PAGES: u32 = 4000;

/// A write-ahead log that grew beyond this is cut back at its next reset, in bytes: more than a log
/// of [`CHECKPOINT_PAGES`] and the commit that reaches them, because one that is cut has to grow
/// again.
const WAL_LIMIT_BYTES: i64 = 24 << 20;

/// Reads the version, and takes the lock before the first read, so that in `Exclusive` the index of
/// the write-ahead log is made in memory and never in a file.
fn version(connection: &Connection, sharing: Sharing) -> rusqlite::Result<i32> {
    connection.busy_timeout(Duration::ZERO)?;
    // Should anything be wrong with the file, closing it must not move its log into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A page whose cells make no sense is an error at once, not a guess.
    connection.pragma_update(None, "cell_size_check", true)?;
    let mode = match sharing {
        Sharing::Exclusive => "EXCLUSIVE",
        Sharing::Readers => "NORMAL",
    };
    connection.execute_batch(&format!("PRAGMA locking_mode = {mode}"))?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    // A file that may not be written is opened all the same, and fails only at the first commit.
    if connection.is_readonly("main")? {
        return Err(failure(rusqlite::ffi::SQLITE_READONLY));
    }
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The settings that do not depend on whose file it is. Every commit is synced, because a confirmed
/// row must survive the loss of power; and the file is never mapped, because an I/O error would then
/// be a signal that kills the process.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA mmap_size = 0;
         PRAGMA journal_size_limit = {WAL_LIMIT_BYTES};
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};"
    ))
}

/// Moves the whole write-ahead log into the file and empties it.
///
/// # Errors
/// When the log cannot be moved now; what is in it stays there.
pub fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))?;
    if busy {
        return Err(failure(rusqlite::ffi::SQLITE_BUSY));
    }
    Ok(())
}

fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

fn fill(connection: &mut Connection, identity: &Identity) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", 4096)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(identity.schema)?;
    transaction.pragma_update(None, "application_id", identity.application_id)?;
    transaction.pragma_update(None, "user_version", written_version(identity.version))?;
    transaction.commit()
}

/// The version stands in both halves of the field, so that a flipped bit reads as damage and not
/// as the file of a newer program, which would have to be refused.
fn written_version(version: u16) -> i32 {
    i32::from_ne_bytes((u32::from(version) << 16 | u32::from(version)).to_ne_bytes())
}

fn read_version(field: i32) -> Option<u16> {
    let [a, b, c, d] = field.to_be_bytes();
    ([a, b] == [c, d]).then_some(u16::from_be_bytes([a, b]))
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    connection
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name")?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// The path with `suffix` after its last letter.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a database and what SQLite keeps beside it.
///
/// # Errors
/// When the folder does not let us.
pub fn remove_database(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-journal", "-shm"] {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a rename beside `path` durable.
///
/// # Errors
/// When the folder cannot be synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
