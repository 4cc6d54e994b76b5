//! Replacing a file that cannot be trusted, or whose format is no longer written: what can be read
//! goes into a new file, and what cannot is counted.
//!
//! A replacement is built under another name and becomes the spool by renames, in an order that a
//! crash can interrupt anywhere: `<file>.salvaged` exists only once it is whole, and an opening that
//! finds one finishes the exchange first. The old file keeps its bytes, and its log, under
//! `<file>.damaged-<time>`; it is read as a copy.

mod carry;

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;

use super::SpoolError;
use super::format::IDENTITY;
use crate::event::SinkIndex;
use crate::sqlite::{self, Cause, Claim, OpenError, Remains, Sharing, beside};
use carry::Carrier;

/// What a damaged file has cost. What is counted as lost is never too little; it may be too much
/// where an older state of the file gave back what a newer one had lost.
#[derive(Debug, Clone, Default)]
pub(super) struct Cost {
    /// Records that are gone, or are not what was written.
    pub records: u64,
    /// Accepted ids that are forgotten.
    pub ids: u64,
    /// By sink.
    pub of_sinks: Vec<(SinkIndex, SinkCost)>,
}

/// What it has cost one sink.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SinkCost {
    /// Events that waited for it and are gone.
    pub lost: u64,
    /// Events that waited for it and are dead letters now, because they are not what was written.
    pub buried: u64,
}

/// Carries what can be read into a new file, which then takes the old one's name.
pub(super) fn replace(claim: &Claim) -> Result<(Connection, Cost), SpoolError> {
    let mut cost = Cost::default();
    // One that is there already holds what the old file had, whose name may be gone by now.
    if !beside(claim.path(), ".salvaged").exists() {
        cost = fill(claim.path(), |fresh| {
            let copy = beside(claim.path(), ".remains");
            carry_remains(&Remains::gather(claim.path(), copy, &IDENTITY)?, fresh)
        })?;
    }
    finish_exchange(claim)?;
    let connection = claim.open(Sharing::Exclusive)?;
    if cost.records + cost.ids > 0 {
        tracing::error!(
            file = %claim.path().display(),
            damaged_records = cost.records,
            forgotten_ids = cost.ids,
            remedy = "look at the disk's health; the old file is kept beside the new one, and what is only damaged is among the dead letters",
            "records of the spool were lost or are damaged"
        );
    }
    Ok((connection, cost))
}

/// Prepares a file with everything that an open but nameless one has, for [`finish_exchange`] to put
/// in its place. Whatever lies there by then is set aside.
pub(super) fn rescue(nameless: &Connection, claim: &mut Claim) -> Result<Cost, SpoolError> {
    claim.renew()?;
    let cost = fill(claim.path(), |fresh| {
        let mut carrier = Carrier::new(fresh, IDENTITY.version);
        carrier.read(nameless)?;
        Ok(carrier.finish()?)
    })?;
    sqlite::leave_name_alone(nameless)?;
    Ok(cost)
}

/// Puts a whole replacement in the spool's place, where there is one.
pub(super) fn finish_exchange(claim: &Claim) -> Result<(), SpoolError> {
    let salvaged = beside(claim.path(), ".salvaged");
    if !salvaged.exists() {
        return Ok(());
    }
    let exchange = || {
        let aside = claim.move_aside(Timestamp::now().as_second())?;
        tracing::warn!(file = %aside.display(), "the old spool is kept as it was, beside the new one; remove it when it is no longer needed");
        fs::rename(&salvaged, claim.path())?;
        sqlite::sync_folder(claim.path())
    };
    exchange().map_err(|error| set_aside(claim.path(), error))
}

/// Builds the replacement of the file at `path` in one transaction; it is whole once it has its name.
fn fill(
    path: &Path,
    carry: impl FnOnce(&Connection) -> Result<Cost, Cause>,
) -> Result<Cost, SpoolError> {
    let unfinished = beside(path, ".salvaging");
    sqlite::remove_database(&unfinished).map_err(|error| set_aside(path, error))?;
    let claim = Claim::take(&unfinished, IDENTITY)?;
    let fresh = claim.open(Sharing::Exclusive)?;
    fresh.execute_batch("BEGIN IMMEDIATE")?;
    let cost = carry(&fresh).map_err(|cause| OpenError::Io {
        path: path.to_owned(),
        cause,
    })?;
    fresh.execute_batch("COMMIT")?;
    seal(fresh, &unfinished)?;
    // Its lock file has done its work; a left-over one would only puzzle people.
    let _ = fs::remove_file(beside(&unfinished, ".lock"));
    fs::rename(&unfinished, beside(path, ".salvaged")).map_err(|error| set_aside(path, error))?;
    Ok(cost)
}

fn carry_remains(remains: &Remains, fresh: &Connection) -> Result<Cost, Cause> {
    match carry_whole(remains, fresh)? {
        Some(cost) => Ok(cost),
        None => carry_pieces(remains, fresh),
    }
}

/// Carries over the reading that has everything there ever was, where there is one.
fn carry_whole(remains: &Remains, fresh: &Connection) -> Result<Option<Cost>, Cause> {
    for reading in remains.newest() {
        fresh.execute_batch("SAVEPOINT reading")?;
        let mut carrier = Carrier::new(fresh, remains.version());
        if carrier.read(&reading?)? {
            return Ok(Some(carrier.finish()?));
        }
        fresh.execute_batch("ROLLBACK TO reading; RELEASE reading")?;
    }
    Ok(None)
}

/// Carries over what each of the readings has.
fn carry_pieces(remains: &Remains, fresh: &Connection) -> Result<Cost, Cause> {
    let mut carrier = Carrier::new(fresh, remains.version());
    for reading in remains.readings() {
        carrier.read(&reading?)?;
    }
    Ok(carrier.finish()?)
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

fn set_aside(path: &Path, error: io::Error) -> SpoolError {
    SpoolError::SetAside {
        path: path.display().to_string(),
        error,
    }
}
