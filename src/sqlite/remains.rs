//! What is left of a damaged file: a copy that can be read in more than one way, while the file
//! itself, with its log, keeps every byte.
//!
//! Nothing in the file is believed that can be known otherwise: the first page is that of a new
//! file, and the log is written anew from what its frames say. Then it is read in several ways, for
//! what one reading cannot see another one may: with all that was committed, by every guess of what
//! a damaged frame was; with the commits before the damage; and without the log.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::log::{self, Content, Frame, Log, PAGE};
use super::{Cause, Identity, beside, first_page};

/// A copy of a damaged file; it goes when this is dropped.
#[derive(Debug)]
pub struct Remains {
    copy: PathBuf,
    /// Logs with all that was committed.
    newest: Vec<Vec<u8>>,
    /// Logs with less.
    older: Vec<Vec<u8>>,
    version: u16,
}

impl Remains {
    /// Copies the file at `path`, or what is left of it, to `copy`.
    ///
    /// # Errors
    /// When the copy cannot be written. What cannot be read is left out.
    pub fn gather(path: &Path, copy: PathBuf, identity: &Identity) -> Result<Self, Cause> {
        let mut remains = Self {
            copy,
            newest: Vec::new(),
            older: Vec::new(),
            version: identity.version,
        };
        remains.clear()?;
        let mut main = File::create(&remains.copy)?;
        let copied = copy_readable(path, &mut main)?;
        let bytes = read_readable(&beside(path, "-wal"))?;
        let log = Log::read(&bytes);
        let pages = u32::try_from(copied.div_ceil(PAGE as u64)).unwrap_or(u32::MAX);
        let committed = log.committed();
        let most = pages.saturating_add(u32::try_from(committed.len()).unwrap_or(u32::MAX));
        let contents = committed
            .iter()
            .flat_map(|frame| possible(frame, None, most));
        let end = contents.map(|content| content.page_number).max();
        let size = end.unwrap_or(0).max(pages);
        let renewed = first_page::renew(&first(&remains.copy)?, identity, size)?;
        let size = renewed.pages;
        main.seek(SeekFrom::Start(0))?;
        main.write_all(&renewed.page)?;
        main.set_len(u64::from(size) * PAGE as u64)?;
        remains.version = renewed.version;
        let seal = |frames: &[Frame<'_>], guess| {
            let contents = frames
                .iter()
                .flat_map(|frame| possible(frame, Some(guess), most));
            log::seal(contents, size)
        };
        let guesses = committed.iter().map(Frame::guesses).max().unwrap_or(1);
        remains.newest = (0..guesses).map(|guess| seal(committed, guess)).collect();
        remains.older = vec![seal(log.readable(), 0), Vec::new()];
        Ok(remains)
    }

    /// The format that the file has.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Opens the copy with all that was committed, for each guess of what that is.
    pub fn newest(&self) -> impl Iterator<Item = Result<Connection, Cause>> {
        self.newest.iter().map(|log| self.reading(log))
    }

    /// Opens the copy for every way of reading it, the newest first.
    pub fn readings(&self) -> impl Iterator<Item = Result<Connection, Cause>> {
        let older = self.older.iter().map(|log| self.reading(log));
        self.newest().chain(older)
    }

    fn reading(&self, log: &[u8]) -> Result<Connection, Cause> {
        fs::write(beside(&self.copy, "-wal"), log)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.copy, flags)?;
        // The next reading needs the copy without this log.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA mmap_size = 0")?;
        Ok(connection)
    }

    fn clear(&self) -> io::Result<()> {
        super::remove_database(&self.copy)
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // The next gathering makes room for itself.
        let _ = self.clear();
    }
}

/// What the frame may hold, by one guess or by all, if that can be of this file: the file has at
/// most one page more for each frame. The first page is known, and is left out.
fn possible<'f>(
    frame: &'f Frame<'_>,
    guess: Option<usize>,
    most: u32,
) -> impl Iterator<Item = &'f Content<'f>> {
    let guesses = guess.map_or(0..frame.guesses(), |guess| guess..guess + 1);
    let contents = guesses.map(|guess| frame.content(guess));
    contents.filter(move |content| (2..=most).contains(&content.page_number))
}

/// The beginning of the copy.
fn first(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(PAGE as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All that can be read of a file; none where there is no file.
fn read_readable(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    copy_readable(path, &mut bytes)?;
    Ok(bytes)
}

/// Copies a file, with zeros for the pages that the disk cannot read. Returns its length.
fn copy_readable(path: &Path, to: &mut impl Write) -> io::Result<u64> {
    let mut from = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let length = from.metadata()?.len();
    let mut at = 0;
    let mut page = [0; PAGE];
    while at < length {
        let left = usize::try_from(length - at).unwrap_or(PAGE).min(PAGE);
        page.fill(0);
        let read = from
            .seek(SeekFrom::Start(at))
            .and_then(|_| from.read_exact(&mut page[..left]));
        if let Err(error) = read {
            tracing::error!(file = %path.display(), at, %error, "a page cannot be read");
            page.fill(0);
        }
        to.write_all(&page[..left])?;
        at += left as u64;
    }
    Ok(length)
}
