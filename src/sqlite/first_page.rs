//! Whose file it is, told from the bytes of its first page before SQLite opens it: SQLite would say
//! of one flipped byte there that this is no database, or make an empty log beside somebody else's.
//!
//! The first page holds the header of 100 bytes (<https://www.sqlite.org/fileformat2.html#the_database_header>)
//! and the statements that made the tables. The statements never change, so every file of one format
//! has the same first page but for a few counters, and it can be told by either of two signs: the
//! application id in the header, or at least half of the statements' bytes in their places. One
//! sign alone means a damaged file of ours, none somebody else's.

use std::borrow::Cow;

use super::log::PAGE;
use super::{Identity, open_in_memory, read_version};

const HEADER: usize = 100;
const APPLICATION_ID: std::ops::Range<usize> = 68..72;
const VERSION: std::ops::Range<usize> = 60..64;
/// The size in pages; it counts where the two counters behind it agree.
const SIZE: std::ops::Range<usize> = 28..32;
const CHANGED_AT: std::ops::Range<usize> = 24..28;
const SIZE_VALID_FOR: std::ops::Range<usize> = 92..96;
/// 1 for a rollback journal, 2 for a write-ahead log; one byte for writers and one for readers.
const JOURNAL: std::ops::Range<usize> = 18..20;

/// What the header always says: that it is SQLite, the size of pages, the shape of trees, the format
/// of the schema, no vacuum, UTF-8, and zeros.
const FIXED: [std::ops::Range<usize>; 6] = [0..18, 20..24, 44..48, 52..60, 64..68, 72..92];

/// What a first page says of its file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is ours; whether the rest is sound has to be seen.
    Ours,
    /// It is ours, and damaged.
    Damaged(&'static str),
    /// A newer program wrote it.
    Newer(u16),
    /// It is somebody else's.
    Foreign(Cow<'static, str>),
}

/// Judges by the beginning of a file.
///
/// # Errors
/// When the tables cannot be made in memory, to compare.
pub(super) fn judge(found: &[u8], identity: &Identity) -> rusqlite::Result<Verdict> {
    let pristine = empty(identity)?;
    let pristine = &pristine[..PAGE];
    let is_named = field(found, APPLICATION_ID) == field(pristine, APPLICATION_ID);
    // Too short to be named: whatever is there must be the beginning of a file of ours.
    let is_stub = found.len() < APPLICATION_ID.end && has_fixed(found, pristine);
    if !is_named && !is_stub && likeness(found, pristine) < RESEMBLES {
        return Ok(Verdict::Foreign(describe(found, pristine)));
    }
    let version = field(found, VERSION).and_then(read_version);
    Ok(match version {
        Some(newer) if newer > identity.version => Verdict::Newer(newer),
        None | Some(0) => Verdict::Damaged("the version in its header is not readable"),
        _ if found.len() < PAGE => Verdict::Damaged("its first page is cut off"),
        _ if !is_named || !has_fixed(found, pristine) => {
            Verdict::Damaged("its header is not as it was written")
        }
        Some(_) => Verdict::Ours,
    })
}

/// The format that the page is most like, as the first page of a file with `pages` pages, or more
/// where even an empty file has more.
///
/// # Errors
/// When the tables cannot be made in memory.
pub(super) fn renew(found: &[u8], identity: &Identity, pages: u32) -> rusqlite::Result<Renewed> {
    let mut version = identity.version;
    let mut file = empty(identity)?;
    for former in identity.former {
        let other = empty(&identity.as_of(former))?;
        if likeness(found, &other[..PAGE]) > likeness(found, &file[..PAGE]) {
            (version, file) = (former.version, other);
        }
    }
    let least = u32::try_from(file.len() / PAGE).unwrap_or(u32::MAX);
    let pages = pages.max(least);
    file.truncate(PAGE);
    file[JOURNAL].fill(2);
    file[SIZE].copy_from_slice(&pages.to_be_bytes());
    file.copy_within(CHANGED_AT, SIZE_VALID_FOR.start);
    Ok(Renewed {
        version,
        page: file,
        pages,
    })
}

/// A first page as it should be.
pub(super) struct Renewed {
    /// The format it is of.
    pub version: u16,
    /// The page.
    pub page: Vec<u8>,
    /// How many pages the file has.
    pub pages: u32,
}

/// From this share on, in hundredths, the statements are ours.
const RESEMBLES: usize = 50;

/// A new file.
fn empty(identity: &Identity) -> rusqlite::Result<Vec<u8>> {
    let mut connection = open_in_memory(identity)?;
    let bytes = connection.serialize(c"main")?.to_vec();
    Ok(bytes)
}

/// How many hundredths of what is written behind the header stand in their places.
fn likeness(found: &[u8], pristine: &[u8]) -> usize {
    let mut written = 0;
    let mut same = 0;
    for (at, byte) in pristine.iter().enumerate().skip(HEADER) {
        if *byte != 0 {
            written += 1;
            same += usize::from(found.get(at) == Some(byte));
        }
    }
    same * 100 / written.max(1)
}

/// Whether the fixed parts are as written, as far as the bytes go.
fn has_fixed(found: &[u8], pristine: &[u8]) -> bool {
    let fixed = FIXED.into_iter().flatten();
    let fixed = fixed.filter(|at| *at < found.len());
    let journal = found
        .get(JOURNAL)
        .is_none_or(|bytes| bytes[0] == bytes[1] && (1..=2).contains(&bytes[0]));
    journal && fixed.into_iter().all(|at| found[at] == pristine[at])
}

fn describe(found: &[u8], pristine: &[u8]) -> Cow<'static, str> {
    match field(found, APPLICATION_ID) {
        Some(id) if found[..16] == pristine[..16] => {
            format!("its application id is {id:#010x}").into()
        }
        _ => "it is not an SQLite file".into(),
    }
}

fn field(bytes: &[u8], at: std::ops::Range<usize>) -> Option<i32> {
    let bytes = bytes.get(at)?.try_into().ok()?;
    Some(i32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
