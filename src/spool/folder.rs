//! The spool's folder: whose it is, and the parts of a spool put together on it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::accepted_ids::AcceptedIds;
use super::command::WriterCommand;
use super::dead_letters::DeadLetterFolder;
use super::error::SpoolError;
use super::index::{IdEntry, IdIndex, MemoryIndex, SqliteIndex};
use super::maintenance::{Maintenance, MaintenanceParts};
use super::recovery::{RecoveredState, recover};
use super::settings::{SpoolLocation, SpoolSettings};
use super::shared::SharedSpool;
use super::state::SegmentState;
use super::writer::{SpoolWriter, SpoolWriterParts};
use crate::log::disk::{Disk, MemoryDisk, SystemDisk};
use crate::log::format::LogKind;
use crate::log::lock::{FolderLock, LOCK_NAME, LockError};
use crate::log::recover::{RecoverError, Recovered};
use crate::log::writer::LogWriter;
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

/// Opens the folder, or makes it.
pub(super) fn open(
    settings: &SpoolSettings,
    names: &[SinkName],
    metrics: Arc<Metrics>,
    commands: Sender<WriterCommand>,
) -> Result<(SpoolWriter, Maintenance, Option<FolderLock>), SpoolError> {
    let (disk, lock): (Arc<dyn Disk>, _) = match &settings.location {
        SpoolLocation::Folder(path) => {
            let (disk, lock) = take_folder(path)?;
            (Arc::new(disk), Some(lock))
        }
        SpoolLocation::Memory => (Arc::new(MemoryDisk::default()), None),
    };
    let parts = SpoolParts {
        disk,
        names,
        metrics,
        commands,
        segment_bytes: settings.location.segment_bytes(settings.limits.max_bytes),
        index: |next| -> Arc<dyn IdIndex> {
            match &settings.location {
                SpoolLocation::Folder(path) => {
                    Arc::new(SqliteIndex::open(path.join(IDS), next, MAX_IDS))
                }
                SpoolLocation::Memory => Arc::new(MemoryIndex::new(MAX_IDS)),
            }
        },
    };
    let (writer, maintenance) = assemble(parts, settings)?;
    Ok((writer, maintenance, lock))
}

/// What a spool is made of, on whatever disk.
pub(super) struct SpoolParts<'a, I: FnOnce(u64) -> Arc<dyn IdIndex>> {
    pub disk: Arc<dyn Disk>,
    /// The configured sinks.
    pub names: &'a [SinkName],
    pub metrics: Arc<Metrics>,
    pub commands: Sender<WriterCommand>,
    pub segment_bytes: u64,
    /// Opens the index of a log whose next sequence is this one.
    pub index: I,
}

/// Puts the parts together, after the log has been read.
pub(super) fn assemble<I: FnOnce(u64) -> Arc<dyn IdIndex>>(
    parts: SpoolParts<'_, I>,
    settings: &SpoolSettings,
) -> Result<(SpoolWriter, Maintenance), SpoolError> {
    let (disk, segment_bytes) = (parts.disk, parts.segment_bytes);
    let path = match &settings.location {
        SpoolLocation::Folder(path) => path,
        SpoolLocation::Memory => Path::new("memory"),
    };
    let io = |error| io_error(path, error);
    let dead_letters = open_dead_letters(&*disk).map_err(io)?;
    let (recovered, replayed) = read(&disk, Some(parts.names), &dead_letters, path)?;
    for unfinished in &recovered.unfinished {
        disk.remove(unfinished).map_err(io)?;
    }
    let mut position = recovered.position;
    // Dead letters may outlive their log: none of them is to be taken for one of a new event.
    let behind_dead_letters = dead_letters.last_sequence().map_or(0, |last| last + 1);
    position.next_sequence = position.next_sequence.max(behind_dead_letters);
    let index = (parts.index)(position.next_sequence);
    let keeps_dead_letters = settings.location != SpoolLocation::Memory;
    let shared = SharedSpool::new(
        replayed.state,
        dead_letters,
        parts.metrics,
        keeps_dead_letters,
    );
    count(&shared, replayed.torn, replayed.tail.is_some());
    shared.lock().find_lost_ids(index.through());
    let shared = Arc::new(shared);
    let beginning = SpoolWriterParts {
        shared: Arc::clone(&shared),
        settings: settings.clone(),
        ids: find_ids(&shared, &index, replayed.entries),
        log: LogWriter::new(
            Arc::clone(&disk),
            LogKind::Spool,
            position,
            recovered.spares,
        ),
        tail: replayed.tail,
        is_unproven: recovered.is_unproven,
        dead: replayed.dead,
        kept_bytes: recovered.kept.iter().map(|(_, bytes)| bytes).sum(),
        segment_bytes,
    };
    let writer = SpoolWriter::new(beginning, Instant::now());
    let maintenance = Maintenance::new(MaintenanceParts {
        shared,
        disk,
        index,
        done: parts.commands,
        last_spare: recovered.last_spare,
        kept: recovered.kept,
    });
    Ok((writer, maintenance))
}

fn open_dead_letters(disk: &dyn Disk) -> io::Result<DeadLetterFolder> {
    let folder = disk.folder(LETTERS)?;
    disk.sync_folder()?;
    DeadLetterFolder::open(folder, true)
}

/// Reads the log.
fn read(
    disk: &Arc<dyn Disk>,
    names: Option<&[SinkName]>,
    dead_letters: &DeadLetterFolder,
    path: &Path,
) -> Result<(Recovered, RecoveredState), SpoolError> {
    let recovered = Recovered::look(Arc::clone(disk), LogKind::Spool, &KNOWN);
    let mut recovered = recovered.map_err(|error| log_error(path, error))?;
    let replayed = recover(&mut recovered, names, dead_letters)?;
    Ok((recovered, replayed))
}

/// The ids that the index lacks: those of the newest segments now, the others by and by. Those of
/// the segments that were `read` are known.
fn find_ids(
    shared: &SharedSpool,
    index: &Arc<dyn IdIndex>,
    read: Vec<(u64, Vec<IdEntry>)>,
) -> AcceptedIds {
    let mut ids = AcceptedIds::new(Arc::clone(index));
    let through = ids.index().through();
    let is_lacking = |(number, segment): &(&u64, &SegmentState)| {
        segment.sequences.end > through + 1 && read.iter().all(|(it, _)| it != *number)
    };
    let mut later: Vec<u64> = {
        let inner = shared.lock();
        let segments = inner.state.segments.iter();
        segments.filter(is_lacking).map(|(it, _)| *it).collect()
    };
    let now = later.split_off(later.len().saturating_sub(SEGMENTS_AT_ONCE));
    let now = now
        .into_iter()
        .filter_map(|it| Some((it, shared.ids_of(it)?.0)));
    for (segment, entries) in now.chain(read) {
        for entry in entries.into_iter().filter(|it| it.sequence > through) {
            ids.add(segment, entry);
        }
    }
    if !later.is_empty() {
        tracing::warn!(
            segments = later.len(),
            "the index of ids is behind or new: ids of earlier segments are entered again; until then another copy of their events would be published"
        );
    }
    shared.jobs.add(|work| work.rebuild.extend(later));
    ids
}

/// Counts what was found, and has dead letters removed whose place a record has taken. Where there is a
/// tail, that record may be in it: they are removed once it is written.
fn count(shared: &SharedSpool, torn: u64, has_tail: bool) {
    shared.metrics.spool_torn_batches_total.inc_by(torn);
    if torn > 0 {
        tracing::info!(
            "the log ended in a batch that was not finished; nobody was answered for it, and it is dropped"
        );
    }
    let mut inner = shared.lock();
    inner.count(|update| update.recovered());
    drop(inner);
    if !has_tail {
        shared.remove_requeued();
    }
    shared.show_dead_letters();
}

fn log_error(path: &Path, error: RecoverError) -> SpoolError {
    match error {
        RecoverError::Io { name, error } => io_error(&path.join(name), error),
        error => SpoolError::Log {
            path: path.to_owned(),
            error,
        },
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

/// Opens the folder and locks it, before anything is put into it.
fn take_folder(path: &Path) -> Result<(SystemDisk, FolderLock), SpoolError> {
    is_no_file(path)?;
    let disk = SystemDisk::open(path).map_err(|error| io_error(path, error))?;
    // It may be somebody else's.
    Recovered::check_names(&disk, &KNOWN).map_err(|error| log_error(path, error))?;
    let lock = FolderLock::take(path).map_err(|error| match error {
        LockError::Held => SpoolError::Held {
            path: path.to_owned(),
        },
        LockError::Io(error) => io_error(&path.join(LOCK_NAME), error),
    })?;
    Ok((disk, lock))
}

/// Whether a running bridge holds the folder. Changes nothing.
pub(super) fn is_held(path: &Path) -> Result<bool, SpoolError> {
    FolderLock::is_held(path).map_err(|error| io_error(path, error))
}

/// Opens the folder for looking at it alone.
pub(super) fn look(path: &Path) -> Result<SharedSpool, SpoolError> {
    let io = |error| io_error(path, error);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk::existing(path).map_err(io)?);
    let nothing = |_| -> Arc<dyn Disk> { Arc::new(MemoryDisk::default()) };
    let dead_letters = disk.folder(LETTERS).unwrap_or_else(nothing);
    let dead_letters = DeadLetterFolder::open(dead_letters, false).map_err(io)?;
    let (recovered, replayed) = read(&disk, None, &dead_letters, path)?;
    let segments = recovered.segments.values().map(|segment| segment.length);
    let spares = recovered.spares.iter().map(|spare| spare.length);
    let kept = recovered.kept.iter().map(|(_, bytes)| *bytes);
    let file_bytes = segments.chain(spares).chain(kept).sum::<u64>() + dead_letters.bytes();
    let metrics = Metrics::new().map_err(|error| io(io::Error::other(error)))?;
    let shared = SharedSpool::new(replayed.state, dead_letters, Arc::new(metrics), true);
    shared.flags.file_bytes.store(file_bytes, Ordering::Relaxed);
    let mut inner = shared.lock();
    for (sequence, payload) in replayed.tail.into_iter().flat_map(|tail| tail.records) {
        inner.show_tail(sequence, &payload);
    }
    drop(inner);
    Ok(shared)
}
