//! The spool's folder: whose it is, and the parts of a spool put together on it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::command::Command;
use super::ids::Ids;
use super::index::{IdIndex, MemoryIndex, SqliteIndex};
use super::jobs::Rebuild;
use super::letters::Letters;
use super::maintenance::{self, Maintenance};
use super::open::{ReplayError, Replayed, ids_of, replay};
use super::owner::{self, Owner};
use super::shared::Shared;
use super::{Place, Settings, SpoolError};
use crate::log::disk::{Disk, MemoryDisk, SystemDisk};
use crate::log::format::Kind;
use crate::log::lock::{FolderLock, LOCK_NAME, LockError};
use crate::log::recover::{RecoverError, Recovered};
use crate::log::writer::{Writer, alignment};
use crate::metrics::Metrics;
use crate::name::SinkName;

const IDS: &str = "ids.db";
const LETTERS: &str = "letters";
/// Files in the folder that are not the log's; a file system's own `lost+found` is a folder.
const KNOWN: [&str; 5] = [LOCK_NAME, IDS, "ids.db-wal", "ids.db-shm", "ids.db-journal"];

/// An id takes about 40 bytes in the index, which may have so many of them.
const MAX_IDS: u64 = 50_000_000;
/// Sealed segments whose ids are read before the spool is ready; those of older ones follow while
/// it accepts.
const SEGMENTS_AT_ONCE: usize = 4;

/// The parts of an open spool.
#[derive(Debug)]
pub(super) struct Opened {
    pub owner: Owner,
    pub maintenance: Maintenance,
    pub lock: Option<FolderLock>,
}

/// Opens the folder, or makes it.
pub(super) fn open(
    settings: &Settings,
    names: &[SinkName],
    metrics: Arc<Metrics>,
    commands: Sender<Command>,
) -> Result<Opened, SpoolError> {
    let path = match &settings.place {
        Place::Folder(path) => path.clone(),
        Place::Memory => PathBuf::from("memory"),
    };
    let io = |error| io_error(&path, error);
    let mut lock = None;
    let disk: Arc<dyn Disk> = match &settings.place {
        Place::Folder(path) => {
            is_no_file(path)?;
            let disk: Arc<dyn Disk> = Arc::new(SystemDisk::open(path).map_err(io)?);
            // Before anything is put into a folder that is not ours.
            Recovered::check_names(&*disk, &KNOWN).map_err(|error| log_error(path, error))?;
            lock = Some(take_lock(path)?);
            disk
        }
        Place::Memory => Arc::new(MemoryDisk::default()),
    };
    let parts = Parts {
        letters: disk.folder(LETTERS).and_then(|folder| {
            disk.sync_folder()?;
            Letters::open(folder, true)
        }),
        disk,
        names: Some(names),
        metrics,
        path: &path,
        index: |next| -> Arc<dyn IdIndex> {
            match &settings.place {
                Place::Folder(path) => Arc::new(SqliteIndex::open(path.join(IDS), next, MAX_IDS)),
                Place::Memory => Arc::new(MemoryIndex::new(MAX_IDS)),
            }
        },
    };
    let segment_bytes = owner::segment_bytes_of(settings);
    let (owner, maintenance) = assemble(parts, settings, commands, segment_bytes)?;
    Ok(Opened {
        owner,
        maintenance,
        lock,
    })
}

/// What a spool is made of, on whatever disk.
pub(super) struct Parts<'a, I: FnOnce(u64) -> Arc<dyn IdIndex>> {
    pub disk: Arc<dyn Disk>,
    pub letters: io::Result<Letters>,
    pub names: Option<&'a [SinkName]>,
    pub metrics: Arc<Metrics>,
    pub path: &'a Path,
    /// Opens the index of a log whose next sequence is this one.
    pub index: I,
}

/// Puts the parts together, after the log has been read.
pub(super) fn assemble<I: FnOnce(u64) -> Arc<dyn IdIndex>>(
    parts: Parts<'_, I>,
    settings: &Settings,
    commands: Sender<Command>,
    segment_bytes: u64,
) -> Result<(Owner, Maintenance), SpoolError> {
    let Parts {
        disk,
        letters,
        names,
        metrics,
        path,
        index,
    } = parts;
    let letters = letters.map_err(|error| io_error(path, error))?;
    let (mut recovered, replayed) = read(&disk, names, &letters, path)?;
    // Letters may outlive their log: none of them is to be taken for one of a new event.
    let last_letter = letters.names_after(None, usize::MAX).pop();
    let behind_letters = last_letter.map_or(0, |last| last.sequence + 1);
    let standing = &mut recovered.standing;
    standing.next_sequence = standing.next_sequence.max(behind_letters);
    for unfinished in &recovered.unfinished {
        disk.remove(unfinished)
            .map_err(|error| io_error(path, error))?;
    }
    let index = index(recovered.standing.next_sequence);
    let Replayed {
        state,
        entries,
        rescued,
        tail,
        dead,
        torn,
    } = replayed;
    metrics.spool_torn_batches_total.inc_by(torn);
    if torn > 0 {
        tracing::info!(
            "the log ended in a batch that was not finished; nobody was answered for it, and it is dropped"
        );
    }
    let keeps_letters = settings.place != Place::Memory;
    let shared = Arc::new(Shared::new(state, letters, metrics, keeps_letters));
    shared.lock().rescued = rescued;
    let mut ids = Ids::new(Arc::clone(&index));
    find_ids(&shared, &mut ids, entries);
    count(&shared);
    let writer = Writer::new(
        Arc::clone(&disk),
        Kind::Spool,
        recovered.standing,
        std::mem::take(&mut recovered.spares),
    );
    let kept_bytes = recovered.kept.iter().map(|(_, bytes)| bytes).sum();
    let owner = Owner::new(
        owner::Beginning {
            shared: Arc::clone(&shared),
            settings: settings.clone(),
            writer,
            ids,
            tail,
            dead,
            kept_bytes,
            segment_bytes,
        },
        Instant::now(),
    );
    let maintenance = Maintenance::new(maintenance::Beginning {
        shared,
        disk,
        index,
        done: commands,
        last_spare: recovered.last_spare,
        kept: recovered.kept,
        window: settings.limits.window,
        segment_bytes,
    });
    Ok((owner, maintenance))
}

/// Reads the log.
pub(super) fn read(
    disk: &Arc<dyn Disk>,
    names: Option<&[SinkName]>,
    letters: &Letters,
    path: &Path,
) -> Result<(Recovered, Replayed), SpoolError> {
    let log = |error| log_error(path, error);
    let mut recovered = Recovered::look(Arc::clone(disk), Kind::Spool, &KNOWN).map_err(log)?;
    let replayed = match replay(&mut recovered, names, letters, alignment(&**disk)) {
        Ok(replayed) => replayed,
        Err(ReplayError::Log(error)) => return Err(log(error)),
        Err(ReplayError::TooManySinks(known)) => return Err(SpoolError::TooManySinks { known }),
    };
    Ok((recovered, replayed))
}

/// The ids that the index lacks: those of the newest segments now, the others by and by.
fn find_ids(shared: &Shared, ids: &mut Ids, entries: Vec<(u64, Vec<super::index::Entry>)>) {
    let through = ids.index().through();
    let mut inner = shared.lock();
    let sealed: Vec<(u64, Rebuild)> = inner
        .state
        .segments
        .iter()
        .filter(|(number, segment)| {
            let is_read = entries.iter().any(|(read, _)| read == *number);
            !is_read && segment.sequences.end > through + 1
        })
        .map(|(number, segment)| {
            let rebuild = Rebuild {
                segment: Arc::clone(&segment.file),
                end: segment.end,
                sequences: segment.sequences.clone(),
            };
            (*number, rebuild)
        })
        .collect();
    inner.trim();
    drop(inner);
    let later = sealed.len().saturating_sub(SEGMENTS_AT_ONCE);
    let mut sealed = sealed.into_iter();
    let rebuild: Vec<Rebuild> = sealed.by_ref().take(later).map(|(_, it)| it).collect();
    let mut at_once: Vec<(u64, Vec<super::index::Entry>)> = sealed
        .map(|(number, it)| (number, ids_of(&it.segment, it.end, &it.sequences)))
        .collect();
    at_once.extend(entries);
    for (segment, entries) in at_once {
        for entry in entries.into_iter().filter(|entry| entry.sequence > through) {
            ids.add(segment, entry);
        }
    }
    if !rebuild.is_empty() {
        tracing::warn!(
            segments = rebuild.len(),
            "the index of ids is behind or new: ids of earlier segments are entered again; until then another copy of their events would be published"
        );
    }
    shared.jobs.add(|work| work.rebuild.extend(rebuild));
}

/// Counts what was found, and has letters removed whose place a record has taken.
fn count(shared: &Shared) {
    let mut inner = shared.lock();
    inner.count(|update| update.recovered());
    let requeued = inner.state.requeued.clone();
    drop(inner);
    shared.jobs.add(|work| work.removals.extend(requeued));
    shared.show_letters();
}

fn log_error(path: &Path, error: RecoverError) -> SpoolError {
    SpoolError::Log {
        path: path.to_owned(),
        error,
    }
}

fn io_error(path: &Path, error: io::Error) -> SpoolError {
    SpoolError::Io {
        path: path.to_owned(),
        error,
    }
}

/// A file where the folder should be is a spool of a development version, or something else.
pub(super) fn is_no_file(path: &Path) -> Result<(), SpoolError> {
    if path.is_file() {
        return Err(SpoolError::OldDatabase {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Locks the folder.
fn take_lock(path: &Path) -> Result<FolderLock, SpoolError> {
    FolderLock::take(path).map_err(|error| match error {
        LockError::Held => SpoolError::Held {
            path: path.to_owned(),
        },
        LockError::Io(error) => io_error(path, error),
    })
}

/// Whether a running bridge holds the folder. Changes nothing.
pub(super) fn is_held(path: &Path) -> Result<bool, SpoolError> {
    FolderLock::is_held(path).map_err(|error| io_error(path, error))
}

/// Opens the folder for looking at it alone.
pub(super) fn look(path: &Path) -> Result<Shared, SpoolError> {
    is_no_file(path)?;
    let io = |error| io_error(path, error);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk::existing(path).map_err(io)?);
    let nothing = |_| -> Arc<dyn Disk> { Arc::new(MemoryDisk::default()) };
    let letters = disk.folder(LETTERS).unwrap_or_else(nothing);
    let letters = Letters::open(letters, false).map_err(io)?;
    let (recovered, replayed) = read(&disk, None, &letters, path)?;
    let segments = recovered.segments.values().map(|segment| segment.length);
    let spares = recovered.spares.iter().map(|spare| spare.length);
    let kept = recovered.kept.iter().map(|(_, bytes)| *bytes);
    let file_bytes: u64 = segments.chain(spares).chain(kept).sum();
    let file_bytes = file_bytes + letters.bytes();
    let metrics = Arc::new(Metrics::new().map_err(|error| io(io::Error::other(error)))?);
    let shared = Shared::new(replayed.state, letters, metrics, true);
    let mut inner = shared.lock();
    inner.rescued = replayed.rescued;
    if let Some(tail) = replayed.tail {
        for (sequence, payload) in tail.records {
            inner.show_tail(sequence, &payload);
        }
    }
    drop(inner);
    shared.flags.file_bytes.store(file_bytes, Ordering::Relaxed);
    Ok(shared)
}
