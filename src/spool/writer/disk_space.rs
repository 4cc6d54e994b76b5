//! Disk space: the files there are and may be, whether a batch has a place to go, and what is wanted
//! where it has none. New events are taken only while a spare is ready besides what they need, so that
//! progress always has somewhere to go and a full disk is emptied by delivering.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{
    AppendError, LogWriter, MaintenanceResult, NoSpare, SpoolUnavailable, SpoolWriter, ToIndex,
};
use crate::log::format::{BLOCK_BYTES, BatchBuffer, HEAD_BYTES};
use crate::log::segment::{MIN_SEGMENT_BYTES, Spare};
use crate::log::unused_segment::UnusedSegment;
use crate::spool::jobs::Disposal;
use crate::spool::segment::SpoolSegment;
use crate::spool::settings::SpoolSettings;
use crate::spool::shared::SharedSpool;

/// Spares that are made ahead: one to be written to, one that stays.
const SPARES_AHEAD: usize = 2;
/// The pause after the first attempt at a spare that failed.
const FIRST_SPARE_PAUSE: Duration = Duration::from_millis(20);
/// So many segments that could be used again are many: a bridge that is started again and again leaves
/// one each time.
const MANY_FREE: usize = 4;
/// Recycled spares beyond so many are removed.
const MAX_SPARES: usize = 8;

/// What is known of the files.
#[derive(Debug)]
pub(super) struct DiskSpace {
    segment_bytes: u64,
    max_bytes: u64,
    /// Files that are kept for an operator, and such as wait to be recycled.
    kept_bytes: u64,
    recycling_bytes: u64,
    recycling: usize,
    /// A spare is being made.
    is_making: bool,
    /// Why there is none, since the last attempt.
    stuck: Option<SpoolUnavailable>,
    /// Attempts in a row that made no spare, and when there is to be another one.
    spare_failures: u32,
    spare_retry_at: Option<Instant>,
    /// Why the last batch failed, while none has worked since.
    failed_with: Option<SpoolUnavailable>,
    /// Smaller than a segment should be, where the disk has no space for a whole one.
    length: u64,
}

impl DiskSpace {
    /// `segment_bytes` is the size of a segment: see [`crate::spool::SpoolLocation::segment_bytes`].
    pub fn new(settings: &SpoolSettings, kept_bytes: u64, segment_bytes: u64) -> Self {
        let max_bytes = settings.limits.max_bytes;
        Self {
            segment_bytes,
            max_bytes,
            kept_bytes,
            recycling_bytes: 0,
            recycling: 0,
            is_making: false,
            stuck: None,
            spare_failures: 0,
            spare_retry_at: None,
            failed_with: None,
            length: segment_bytes,
        }
    }

    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub fn limit(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// Why nothing can be written.
    pub fn cause(&self) -> SpoolUnavailable {
        let cause = self.failed_with.or(self.stuck);
        cause.unwrap_or(SpoolUnavailable::Unwritable)
    }

    /// Whether waiting for a spare is in vain for now.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// A batch failed.
    pub fn failed(&mut self, error: &AppendError) -> SpoolUnavailable {
        let cause = match error {
            AppendError::Full(_) => SpoolUnavailable::DiskFull,
            _ => SpoolUnavailable::Unwritable,
        };
        self.failed_with = Some(cause);
        cause
    }

    /// A batch has worked.
    pub fn worked(&mut self) {
        self.failed_with = None;
    }

    /// Whether progress has a place.
    pub fn for_progress(&self, writer: &LogWriter, items: usize) -> Result<(), u64> {
        let is_there = writer.fits(HEAD_BYTES + items) || !writer.spares().is_empty();
        is_there.then_some(()).ok_or(self.length)
    }

    /// Whether events with these payloads have a place, and leave a spare. Else the length of the
    /// spare that is missing.
    pub fn for_events(
        &self,
        writer: &LogWriter,
        payloads: &[usize],
        (items, snapshot): (usize, impl Fn() -> usize),
    ) -> Result<(), u64> {
        let batch =
            |items| BatchBuffer::length_of(items, payloads.iter().copied(), writer.alignment());
        let spares = writer.spares();
        if writer.fits(batch(items)) {
            return if spares.is_empty() {
                Err(self.length)
            } else {
                Ok(())
            };
        }
        let needed = (BLOCK_BYTES + batch(items + snapshot())) as u64;
        let fitting = spares.iter().any(|spare| spare.length >= needed);
        match spares.len() {
            2.. if fitting => Ok(()),
            // The one that stays comes first.
            1.. if needed > self.length => Err(needed.next_multiple_of(BLOCK_BYTES as u64)),
            _ => Err(self.length),
        }
    }

    /// A segment goes. One that was cut makes no spare, nor does one that is too large.
    pub fn recycle(
        &mut self,
        shared: &SharedSpool,
        (segment, is_damaged): (Arc<SpoolSegment>, bool),
        spares: usize,
    ) {
        let (number, bytes) = (segment.file.number, segment.length());
        let is_wanted = spares + self.recycling < MAX_SPARES
            && (self.length..=self.segment_bytes).contains(&bytes);
        let disposal = if is_damaged {
            Disposal::Keep
        } else if is_wanted {
            Disposal::Spare
        } else {
            Disposal::Remove
        };
        self.recycling_bytes += bytes;
        self.recycling += 1;
        let unused = UnusedSegment::new(segment, number, bytes);
        shared
            .jobs
            .add(|work| work.unused.push_back((unused, disposal)));
    }
}

impl SpoolWriter {
    /// Bytes of items that a batch will have, more or less, and those of a snapshot.
    pub(super) fn items_bytes(&self, records: usize) -> (usize, impl Fn() -> usize + use<>) {
        const OF_A_RANGE: usize = 8;
        const BESIDES: usize = 256;
        let inner = self.shared.lock();
        let ranges: usize = inner
            .state
            .unwritten
            .progress
            .values()
            .map(|it| it.runs().len())
            .sum();
        drop(inner);
        let shared = Arc::clone(&self.shared);
        let snapshot = move || {
            let mut bytes = Vec::new();
            let snapshot = shared.lock().state.snapshot(|_, _| false);
            super::items::encode(&super::Item::Snapshot(snapshot), &mut bytes);
            bytes.len()
        };
        (
            BESIDES + ranges * OF_A_RANGE + records * OF_A_RANGE,
            snapshot,
        )
    }

    /// Whether the next batch should be a snapshot although the segment has space: it frees segments,
    /// of which there are many, or without which there is no way to a file that is wanted. It takes
    /// two: the first says that nothing in them is waited for, and the second does without them.
    pub(super) fn is_snapshot_wanted(&self) -> bool {
        let is_under_way = || {
            let work = self.shared.jobs.lock();
            work.unused.iter().any(|(it, _)| !it.has_failed)
        };
        if is_under_way() {
            return false;
        }
        let last = self.log.last_end().map(|end| end.segment);
        let inner = self.shared.lock();
        let segments = inner.state.segments.iter();
        let free = segments.filter(|(number, segment)| self.is_free(**number, segment, last));
        free.count()
            >= if self.disk_space.is_stuck() {
                1
            } else {
                MANY_FREE
            }
    }

    /// Asks for the files that are made ahead, and for the work that frees others.
    pub(super) fn want_files(&mut self) {
        if self.log.spares().len() < SPARES_AHEAD {
            self.want(self.disk_space.length);
        }
        self.want_index();
    }

    /// The oldest sealed segment's ids go into the index. Where they cannot, and no spare is left,
    /// they are forgotten, so that the segment can go.
    pub(super) fn want_index(&mut self) {
        let Some(entries) = self.ids.next_to_index() else {
            return;
        };
        let through = entries
            .iter()
            .map(|entry| entry.sequence)
            .max()
            .unwrap_or(0);
        self.shared
            .jobs
            .add(|work| work.to_index = Some(ToIndex { entries, through }));
    }

    /// After an attempt at a spare that failed, another one follows soon, and then less and less soon.
    pub(super) fn try_spare_again(&mut self, now: Instant) {
        if self.disk_space.stuck.is_none() || self.disk_space.is_making {
            return;
        }
        let doublings = self.disk_space.spare_failures.min(5);
        let pause = (FIRST_SPARE_PAUSE * (1 << doublings)).min(super::TICK);
        if now >= *self.disk_space.spare_retry_at.get_or_insert(now + pause) {
            self.disk_space.spare_retry_at = None;
            self.disk_space.spare_failures = self.disk_space.spare_failures.saturating_add(1);
            self.want_files();
        }
    }

    /// Asks for a spare, if one more file may be.
    pub(super) fn want(&mut self, length: u64) {
        if self.disk_space.is_making {
            return;
        }
        if self.file_bytes() + length > self.disk_space.max_bytes {
            self.disk_space.stuck = Some(SpoolUnavailable::Full);
            return;
        }
        self.disk_space.is_making = true;
        self.shared.jobs.add(|work| work.spare = Some(length));
    }

    /// Refuses what waits for a file that is not to be had.
    pub(super) fn refuse_if_stuck(&mut self) {
        if let Some(cause) = self.disk_space.stuck {
            self.refuse_all(cause);
        }
    }

    /// Takes in what the maintenance thread has done.
    pub(super) fn take_done(&mut self, done: MaintenanceResult) {
        match done {
            MaintenanceResult::Spare(spare) => {
                self.disk_space.is_making = false;
                self.take_spare(spare);
            }
            MaintenanceResult::Recycled(spare) => {
                self.disk_space.end_recycling(spare.length);
                self.take_spare(spare);
            }
            MaintenanceResult::NoSpare(cause) => self.no_spare(cause),
            MaintenanceResult::Indexed(forgotten) => {
                self.forgot_early(forgotten, &mut self.shared.lock());
                self.ids.indexed();
                self.want_index();
            }
            MaintenanceResult::NotIndexed => self.not_indexed(),
            MaintenanceResult::Removed(length) => {
                self.disk_space.end_recycling(length);
                self.disk_space.is_free();
                self.want_files();
            }
            MaintenanceResult::Kept(length) => {
                self.disk_space.end_recycling(length);
                self.disk_space.kept_bytes += length;
            }
            MaintenanceResult::NotKept(length) => {
                self.disk_space.kept_bytes = self.disk_space.kept_bytes.saturating_sub(length);
            }
            MaintenanceResult::NothingKept(id) => self.ids.forget(id),
            MaintenanceResult::Copies(copies) => {
                self.is_copying = false;
                self.copies = copies;
            }
        }
    }

    fn take_spare(&mut self, spare: Spare) {
        self.disk_space.is_free();
        self.log.add_spare(spare);
        self.want_files();
    }

    fn no_spare(&mut self, cause: NoSpare) {
        self.disk_space.is_making = false;
        if cause == NoSpare::Full
            && self.disk_space.length > MIN_SEGMENT_BYTES.min(self.disk_space.segment_bytes)
        {
            // A smaller one may fit.
            self.disk_space.length = (self.disk_space.length / 2).max(MIN_SEGMENT_BYTES);
            self.want(self.disk_space.length);
            return;
        }
        self.disk_space.length = self.disk_space.segment_bytes;
        self.disk_space.stuck = Some(match cause {
            NoSpare::Full => SpoolUnavailable::DiskFull,
            NoSpare::Failed => SpoolUnavailable::Unwritable,
        });
    }

    fn not_indexed(&mut self) {
        self.ids.not_indexed();
        if self.disk_space.is_stuck() && self.log.spares().is_empty() {
            let forgotten = self.ids.forget_oldest();
            tracing::warn!(
                ids = forgotten,
                "the index of ids cannot be written and there is no space: ids are forgotten, and another copy of their events would be published"
            );
            self.forgot_early(forgotten, &mut self.shared.lock());
        }
    }

    /// Bytes of all files.
    pub(super) fn file_bytes(&self) -> u64 {
        let inner = self.shared.lock();
        let segments: u64 = inner
            .state
            .segments
            .values()
            .map(|segment| segment.file.length())
            .sum();
        let active = self.log.active().map_or(0, |(number, _)| number);
        let is_counted = inner.state.segments.contains_key(&active);
        drop(inner);
        let active = if is_counted {
            0
        } else {
            self.log.active_bytes()
        };
        let spares: u64 = self.log.spares().iter().map(|spare| spare.length).sum();
        let dead: u64 = self.dead.iter().map(|(segment, _)| segment.length()).sum();
        let others = self.disk_space.kept_bytes
            + self.disk_space.recycling_bytes
            + self.shared.dead_letters.bytes();
        segments + active + spares + dead + others
    }

    /// Shows how the files stand.
    pub(super) fn show(&self) {
        let flags = &self.shared.flags;
        // A small event, and a snapshot of hardly anything.
        let small = (HEAD_BYTES, || HEAD_BYTES);
        let takes_events = self
            .disk_space
            .for_events(&self.log, &[HEAD_BYTES], small)
            .is_ok();
        let stuck = self.disk_space.stuck.filter(|_| !takes_events);
        let stuck = self.disk_space.failed_with.or(stuck);
        let is_over = {
            let inner = self.shared.lock();
            let events = inner.state.pending_events() + self.shared.dead_letters.len();
            events >= self.settings.limits.max_events
        };
        let is_full = stuck == Some(SpoolUnavailable::Full) || is_over;
        let is_disk_full = stuck == Some(SpoolUnavailable::DiskFull);
        flags.disk_full.store(is_disk_full, Ordering::Relaxed);
        let is_writable = stuck.is_none_or(|cause| cause == SpoolUnavailable::Full);
        self.shared
            .metrics
            .spool_writable
            .set(i64::from(is_writable));
        flags.full.store(is_full, Ordering::Relaxed);
        let bytes = self.file_bytes();
        flags.file_bytes.store(bytes, Ordering::Relaxed);
        let gauge = &self.shared.metrics.spool_file_bytes;
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl DiskSpace {
    /// There is space again.
    fn is_free(&mut self) {
        self.stuck = None;
        self.spare_failures = 0;
        self.spare_retry_at = None;
    }

    fn end_recycling(&mut self, length: u64) {
        self.recycling_bytes = self.recycling_bytes.saturating_sub(length);
        self.recycling = self.recycling.saturating_sub(1);
    }
}
