//! The maintenance thread, for all that no answer waits for: spares, dead letters, the index of ids,
//! recycling, and copies of what still waits in sparse segments. Each [`Maintenance::step`] is one
//! piece of work, bounded in bytes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use jiff::Timestamp;

use super::command::{MaintenanceResult, NoSpare, WriterCommand};
use super::dead_letters::{DeadLetterFile, DeadLetterName, progress_comes_first};
use super::error::SpoolUnavailable;
use super::index::IdIndex;
use super::jobs::{Disposal, ToIndex, WriteDeadLetter};
use super::record::{SpoolRecord, hour};
use super::segment::SpoolSegment;
use super::settlement::NewDeadLetter;
use super::shared::SharedSpool;
use crate::event::EventId;
use crate::log::disk::{Disk, is_full};
use crate::log::segment::{SpareMaker, kept_name, segment_name};
use crate::log::unused_segment::UnusedSegment;
use crate::seeded::{self, Bug};

/// Damaged segments that are kept; beyond it the oldest goes.
const MAX_KEPT: usize = 4;
/// Bytes of records that are copied forward at once.
const COPY_BYTES: usize = 1 << 20;
/// Records that are copied forward at once.
const COPY_RECORDS: usize = 256;
/// How often the thread looks by itself.
const PAUSE: Duration = Duration::from_secs(1);

/// The maintenance of a spool.
#[derive(Debug)]
pub(super) struct Maintenance {
    shared: Arc<SharedSpool>,
    disk: Arc<dyn Disk>,
    index: Arc<dyn IdIndex>,
    /// What the index was complete through when it was looked at last.
    indexed_through: u64,
    /// Whether the log says already that the index cannot be made anew.
    cannot_rebuild: bool,
    done: Sender<WriterCommand>,
    maker: Option<SpareMaker>,
    /// Whether the log says already that no spare can be made.
    has_said_so: bool,
    /// Whether the log says already that a requeued dead letter cannot be removed.
    cannot_remove: bool,
    /// Whether the log says already that a segment cannot be recycled.
    cannot_recycle: bool,
    last_spare: u64,
    /// Kept segments: number and bytes, oldest first.
    kept: Vec<(u64, u64)>,
}

/// What a maintenance begins with.
#[derive(Debug)]
pub(super) struct MaintenanceParts {
    pub shared: Arc<SharedSpool>,
    pub disk: Arc<dyn Disk>,
    pub index: Arc<dyn IdIndex>,
    pub done: Sender<WriterCommand>,
    pub last_spare: u64,
    pub kept: Vec<(u64, u64)>,
}

impl Maintenance {
    pub fn new(beginning: MaintenanceParts) -> Self {
        let MaintenanceParts {
            shared,
            disk,
            index,
            done,
            last_spare,
            kept,
        } = beginning;
        Self {
            shared,
            disk,
            indexed_through: index.through(),
            cannot_rebuild: false,
            index,
            done,
            maker: None,
            has_said_so: false,
            cannot_remove: false,
            cannot_recycle: false,
            last_spare,
            kept,
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        while !self.shared.jobs.lock().stop {
            if !self.step() {
                self.shared.jobs.wait(PAUSE);
            }
        }
        // What has been asked for and costs nobody a wait is done: dead letters and their removal.
        while self.write_dead_letter() || self.remove_dead_letter() {}
    }

    /// Does one piece of work; whether there was any.
    pub fn step(&mut self) -> bool {
        self.cut_segment()
            || self.make_spare()
            || self.write_dead_letter()
            || self.remove_dead_letter()
            || self.recycle()
            || self.drop_kept()
            || self.begin_index_anew()
            || self.rebuild_index()
            || self.enter_ids()
            || self.read_copies()
            || self.forget_ids()
    }

    fn tell(&self, done: MaintenanceResult) {
        // The writer thread may have ended.
        let _ = self.done.send(WriterCommand::Maintained(done));
    }

    /// Cuts the file of a segment that a start left with little in it.
    fn cut_segment(&mut self) -> bool {
        let Some((segment, end)) = self.shared.jobs.lock().cuts.pop_front() else {
            return false;
        };
        if let Err(error) = segment.cut(end) {
            tracing::warn!(
                %error,
                file = segment_name(segment.file.number),
                "the file of a segment cannot be cut to what it holds; all of it counts against max_size"
            );
        }
        true
    }

    fn make_spare(&mut self) -> bool {
        if self.maker.is_none() {
            let Some(length) = self.shared.jobs.lock().spare.take() else {
                return false;
            };
            self.last_spare += 1;
            self.maker = Some(SpareMaker::new(self.last_spare, length));
        }
        let Some(maker) = self.maker.as_mut() else {
            return false;
        };
        match maker.step(&*self.disk) {
            Ok(None) => {}
            Ok(Some(spare)) => {
                self.maker = None;
                self.has_said_so = false;
                self.tell(MaintenanceResult::Spare(spare));
            }
            Err(error) => {
                self.maker = None;
                let cause = if is_full(&error) {
                    NoSpare::Full
                } else {
                    NoSpare::Failed
                };
                // Said once: it is tried again and again.
                if !std::mem::replace(&mut self.has_said_so, true) {
                    tracing::warn!(%error, "a file for the spool cannot be made");
                }
                self.tell(MaintenanceResult::NoSpare(cause));
            }
        }
        true
    }

    fn write_dead_letter(&mut self) -> bool {
        let Some(WriteDeadLetter { dead_letter, reply }) =
            self.shared.jobs.lock().dead_letters.pop_front()
        else {
            return false;
        };
        if progress_comes_first() {
            self.shared.set_aside(&dead_letter);
        }
        let written = self.write_dead_letter_file(&dead_letter);
        if written.is_ok() {
            self.shared.set_aside(&dead_letter);
            if !self.shared.keeps_dead_letters {
                // Nothing is kept of it, so the sender's next try must not pass for a duplicate.
                self.tell(MaintenanceResult::NothingKept(
                    dead_letter.record.event().deduplication_id(),
                ));
            }
        }
        // The dispatcher may be gone; the dead letter is written all the same.
        let _ = reply.send(written);
        true
    }

    fn write_dead_letter_file(&self, dead_letter: &NewDeadLetter) -> Result<(), SpoolUnavailable> {
        if !self.shared.keeps_dead_letters || seeded::is(Bug::DropDeadLetter) {
            return Ok(());
        }
        let sink = self.shared.lock().state.name_of(dead_letter.sink);
        let letter = DeadLetterFile {
            name: DeadLetterName {
                sequence: dead_letter.record.position().sequence,
                sink,
            },
            reason: dead_letter.reason.as_str().to_owned(),
            detail: dead_letter.detail.clone(),
            set_aside_at: Timestamp::now(),
            record: Arc::clone(&dead_letter.record),
        };
        match self.shared.dead_letters.write(&letter) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%error, letter = %letter.name, "a dead letter cannot be written; its event goes on waiting");
                Err(if is_full(&error) {
                    SpoolUnavailable::DiskFull
                } else {
                    SpoolUnavailable::Unwritable
                })
            }
        }
    }

    /// Removes a dead letter whose place a record has taken; whether there was one.
    fn remove_dead_letter(&mut self) -> bool {
        let Some(name) = self.shared.jobs.lock().removals.pop_front() else {
            return false;
        };
        match self.shared.dead_letters.remove(&name) {
            Ok(_) => {
                self.shared.lock().state.requeued.retain(|it| *it != name);
                self.shared.show_dead_letters();
            }
            // Until it is gone, each snapshot says that a record has taken its place.
            Err(error) => {
                if !std::mem::replace(&mut self.cannot_remove, true) {
                    tracing::warn!(%error, letter = %name, "a requeued dead letter cannot be removed; it is tried again");
                }
                self.shared.jobs.lock().removals.push_back(name);
                return false;
            }
        }
        self.cannot_remove = false;
        true
    }

    /// Does away with the file of a segment in which nothing is waited for.
    fn recycle(&mut self) -> bool {
        let next = {
            let mut work = self.shared.jobs.lock();
            let at = work.unused.iter().position(|(it, _)| !it.is_read());
            at.and_then(|at| work.unused.remove(at))
        };
        let Some((mut unused, disposal)) = next else {
            return false;
        };
        let done = match self.try_recycle(&mut unused, disposal) {
            Ok(done) => done,
            // Somebody has removed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                MaintenanceResult::Removed(unused.bytes)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.cannot_recycle, true) {
                    tracing::warn!(%error, file = unused.name, "the file of a segment cannot be used again or removed; it counts against max_size, and it is tried again");
                }
                unused.has_failed = true;
                self.shared.jobs.lock().unused.push_back((unused, disposal));
                return false;
            }
        };
        self.cannot_recycle = false;
        self.tell(done);
        true
    }

    fn try_recycle(
        &mut self,
        unused: &mut UnusedSegment<SpoolSegment>,
        disposal: Disposal,
    ) -> io::Result<MaintenanceResult> {
        let (number, length) = (unused.segment.file.number, unused.bytes);
        let is_cut = unused.segment.length() < length;
        match disposal {
            Disposal::Keep => {
                let kept = kept_name(number);
                if unused.name != kept {
                    self.disk.rename(&unused.name, &kept)?;
                    unused.name = kept;
                }
                self.disk.sync_folder()?;
                self.kept.push((number, length));
                Ok(MaintenanceResult::Kept(length))
            }
            Disposal::Spare if !is_cut => {
                self.last_spare += 1;
                let spare = unused.into_spare(&*self.disk, self.last_spare)?;
                Ok(MaintenanceResult::Recycled(spare))
            }
            Disposal::Spare | Disposal::Remove => {
                self.disk.remove(&unused.name)?;
                self.disk.sync_folder()?;
                Ok(MaintenanceResult::Removed(length))
            }
        }
    }

    /// Of too many damaged segments the oldest goes.
    fn drop_kept(&mut self) -> bool {
        if self.kept.len() <= MAX_KEPT {
            return false;
        }
        let (oldest, bytes) = self.kept.remove(0);
        match self.disk.remove(&kept_name(oldest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = kept_name(oldest), "a damaged segment of before cannot be removed; it counts against max_size until the next start");
            }
            _ => self.tell(MaintenanceResult::NotKept(bytes)),
        }
        true
    }

    /// An index that was found damaged is made anew: what the segments have of its ids is entered
    /// again.
    fn begin_index_anew(&mut self) -> bool {
        let through = self.index.through();
        if through >= std::mem::replace(&mut self.indexed_through, through) {
            return false;
        }
        let segments = {
            let mut inner = self.shared.lock();
            inner.find_lost_ids(through);
            inner.state.segments.keys().copied().collect()
        };
        self.shared.jobs.lock().rebuild = segments;
        true
    }

    /// Ids of segments that the index lacks, one segment at a time.
    fn rebuild_index(&mut self) -> bool {
        let Some(segment) = self.shared.jobs.lock().rebuild.front().copied() else {
            return false;
        };
        // Whether it can be written is found out before a segment is read for it.
        let added = self.index.add(&[], 0).and_then(|_| {
            // One that is gone meanwhile has taken its ids along.
            let found = self.shared.ids_of(segment);
            found.map_or(Ok(0), |(entries, through)| {
                self.index.add(&entries, through)
            })
        });
        let Err(error) = added else {
            self.cannot_rebuild = false;
            self.shared.jobs.lock().rebuild.pop_front();
            return true;
        };
        // A damaged one is made anew with that, and takes them the next time.
        if !std::mem::replace(&mut self.cannot_rebuild, true) {
            tracing::warn!(%error, "ids cannot be entered into their index, and it is tried again; until then another copy of their events would be published");
        }
        let waits = {
            let mut work = self.shared.jobs.lock();
            work.to_index.take().is_some()
        };
        if waits {
            self.tell(MaintenanceResult::NotIndexed);
        }
        false
    }

    /// Ids of the segment that was written last, behind those of all others.
    fn enter_ids(&mut self) -> bool {
        let next = {
            let mut work = self.shared.jobs.lock();
            if work.rebuild.is_empty() {
                work.to_index.take()
            } else {
                None
            }
        };
        let Some(ToIndex { entries, through }) = next else {
            return false;
        };
        match self.index.add(&entries, through) {
            Ok(forgotten) => self.tell(MaintenanceResult::Indexed(forgotten)),
            Err(error) => {
                tracing::warn!(%error, "ids cannot be entered into their index; it is tried again");
                self.tell(MaintenanceResult::NotIndexed);
            }
        }
        true
    }

    fn forget_ids(&mut self) -> bool {
        let Some(seconds) = self.shared.jobs.lock().expire.take() else {
            return false;
        };
        let Ok(before) = Timestamp::from_second(seconds) else {
            return true;
        };
        let hour = hour(seconds);
        let is_pending = |sequence| self.shared.lock().state.is_pending(sequence);
        match self
            .index
            .expire(EventId::lower_bound(before), hour, &is_pending)
        {
            Ok(expired) if expired.more => {
                self.shared.jobs.add(|work| work.expire = Some(seconds));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old ids cannot be forgotten now"),
        }
        true
    }

    /// Reads what still waits in a sparse segment, for the writer thread to write it anew.
    fn read_copies(&mut self) -> bool {
        let Some(segment) = self.shared.jobs.lock().copies.take() else {
            return false;
        };
        let sequences = self.shared.lock().state.pending_in(segment, COPY_RECORDS);
        let records = self.shared.read(&sequences, COPY_BYTES).unwrap_or_default();
        let copy = |record: &Arc<SpoolRecord>| (record.position().sequence, record.encode());
        self.tell(MaintenanceResult::Copies(
            records.iter().map(copy).collect(),
        ));
        true
    }
}
