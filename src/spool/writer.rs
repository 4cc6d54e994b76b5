//! The spool's writer thread: it takes whatever waits, writes it as one batch, syncs, and only then
//! answers. It is a state machine whose [`SpoolWriter::step`] does what can be done now, so that a test
//! can put any order of events, failures and crashes between two steps.

mod copies;
mod disk_space;
mod plan;
mod tail;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::accepted_ids::AcceptedIds;
use super::clock::VerifiedClock;
use super::command::{Append, MaintenanceResult, NoSpare, WriterCommand};
use super::dead_letters::DeadLetterName;
use super::error::SpoolUnavailable;
use super::index::{IdEntry, IdIndex};
use super::items::{self, Item};
use super::jobs::ToIndex;
use super::outcome::{Appended, Milestone};
use super::record::SpoolRecord;
use super::replies::ReplyBatches;
use super::segment::SpoolSegment;
use super::settings::{SpoolLimits, SpoolSettings};
use super::shared::{Inner, SharedSpool};
use super::state::{SegmentState, Unwritten};
use super::unproven_tail::UnprovenTail;
use crate::event::SinkSet;
use crate::log::index::BatchLocation;
use crate::log::writer::{AppendError, BatchContent, LogWriter, Placed};
use crate::seeded::{self, Bug};
use disk_space::DiskSpace;
use plan::PlannedBatch;

/// How long progress may wait for a batch to be written with, and how often a disk that fails is
/// tried.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// The pauses after failures in a row, from the second on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How soon a disk that has failed is tried, at the earliest.
const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// How often old ids are looked for.
const EXPIRE_PAUSE: Duration = Duration::from_secs(60);

/// The writer thread's state: the log's writing end, and what waits for it.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    pub(super) shared: Arc<SharedSpool>,
    settings: SpoolSettings,
    pub(super) log: LogWriter,
    ids: AcceptedIds,
    tail: Option<UnprovenTail>,
    queue: VecDeque<Append>,
    /// Segments in which nothing was ever acknowledged, to be recycled once a batch is, and whether they
    /// are kept for an operator.
    dead: Vec<(Arc<SpoolSegment>, bool)>,
    /// The sinks of the last batch's records.
    previous_sinks: Vec<(u64, SinkSet)>,
    /// Whether a later batch is still to show that the last one was acknowledged.
    is_unproven: bool,
    failures: u32,
    retry_at: Option<Instant>,
    ticked_at: Instant,
    expired_at: Instant,
    clock: VerifiedClock,
    items: Vec<u8>,
    disk_space: DiskSpace,
    /// Records that wait to be copied forward, and whether more are being read.
    copies: Vec<(u64, Vec<u8>)>,
    is_copying: bool,
    /// Whether what is in the queue waits for a file.
    is_waiting: bool,
    /// Health probes, which are answered after the next step.
    probes: Vec<oneshot::Sender<()>>,
    closing: Option<oneshot::Sender<()>>,
}

/// What a writer thread begins with.
#[derive(Debug)]
pub(super) struct SpoolWriterParts {
    pub shared: Arc<SharedSpool>,
    pub settings: SpoolSettings,
    pub log: LogWriter,
    pub ids: AcceptedIds,
    pub tail: Option<UnprovenTail>,
    /// Whether another batch has to say that the last one was acknowledged.
    pub is_unproven: bool,
    pub dead: Vec<(Arc<SpoolSegment>, bool)>,
    /// Bytes of files that are neither segments nor spares nor dead letters.
    pub kept_bytes: u64,
    pub segment_bytes: u64,
}

impl SpoolWriter {
    pub fn new(beginning: SpoolWriterParts, now: Instant) -> Self {
        let SpoolWriterParts {
            shared,
            settings,
            log,
            ids,
            tail,
            is_unproven,
            dead,
            kept_bytes,
            segment_bytes,
        } = beginning;
        let verified = shared.lock().state.verified;
        let mut writer = Self {
            disk_space: DiskSpace::new(&settings, kept_bytes, segment_bytes),
            shared,
            log,
            ids,
            tail,
            queue: VecDeque::new(),
            dead,
            previous_sinks: Vec::new(),
            is_unproven,
            failures: 0,
            retry_at: None,
            ticked_at: now,
            expired_at: now,
            clock: VerifiedClock::new(verified, now),
            items: Vec::new(),
            copies: Vec::new(),
            is_copying: false,
            is_waiting: false,
            probes: Vec::new(),
            closing: None,
            settings,
        };
        writer.ids.seal();
        writer.shared.flags.writable.store(true, Ordering::Relaxed);
        writer.limit(writer.settings.limits);
        writer.want_files();
        writer.show();
        writer
    }

    /// Runs until it is told to close or every handle is gone.
    pub fn run(
        mut self,
        inbox: &Receiver<WriterCommand>,
        handles: &Weak<()>,
        release: impl FnOnce(),
    ) {
        loop {
            match inbox.recv_timeout(self.patience()) {
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) if handles.strong_count() == 0 => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.take_waiting(inbox);
            self.step(Instant::now());
            if self.closing.is_some() {
                break;
            }
        }
        self.finish(Instant::now());
        let closing = self.closing.take();
        // The folder is free for another process before anybody hears of it.
        drop(self);
        release();
        if let Some(reply) = closing {
            // Whoever asked may have run into its own deadline.
            let _ = reply.send(());
        }
    }

    fn patience(&self) -> Duration {
        if !self.queue.is_empty() && !self.is_waiting {
            // More than one batch holds: the next one is written at once.
            Duration::ZERO
        } else if self.failures > 0 || self.disk_space.is_stuck() {
            PROBE_PAUSE
        } else {
            TICK
        }
    }

    /// The index of the ids that it enters.
    pub fn index(&self) -> &Arc<dyn IdIndex> {
        self.ids.index()
    }

    /// Takes all commands that wait, up to one group.
    pub fn take_waiting(&mut self, inbox: &Receiver<WriterCommand>) {
        while self.queue.len() < plan::GROUP_EVENTS
            && self.closing.is_none()
            && let Ok(command) = inbox.try_recv()
        {
            self.take(command);
        }
    }

    /// Sorts one command in.
    pub fn take(&mut self, command: WriterCommand) {
        match command {
            WriterCommand::Append(append) => self.queue.push_back(*append),
            WriterCommand::Maintained(done) => self.take_done(done),
            WriterCommand::Limit(limits) => self.limit(limits),
            WriterCommand::FindRecent(ids, reply) => {
                // Whoever asked may not wait any more.
                let _ = reply.send(self.find_recent(&ids));
            }
            WriterCommand::Probe(reply) => self.probes.push(reply),
            WriterCommand::Close(reply) => self.closing = Some(reply),
        }
    }

    fn limit(&mut self, limits: SpoolLimits) {
        self.settings.limits = limits;
        self.disk_space.limit(limits.max_bytes);
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let metrics = &self.shared.metrics;
        metrics.spool_max_bytes.set(signed(limits.max_bytes));
        metrics.spool_max_events.set(signed(limits.max_events));
        let flags = &self.shared.flags;
        flags.max_bytes.store(limits.max_bytes, Ordering::Relaxed);
        flags.max_events.store(limits.max_events, Ordering::Relaxed);
    }

    /// Does what can be done now: one batch at most.
    pub fn step(&mut self, now: Instant) {
        self.is_waiting = self.tail.is_some();
        self.try_spare_again(now);
        if seeded::is(Bug::RecycleBeforeProgress) {
            let shared = Arc::clone(&self.shared);
            let active = self.log.active().map_or(0, |(number, _)| number);
            self.recycle(&mut shared.lock(), 0, None, active);
        }
        if self.tail.is_some() && self.may_try(now) {
            self.write_tail(now);
        }
        self.free_segments(now);
        let is_due = now.saturating_duration_since(self.ticked_at) >= TICK;
        if self.queue.is_empty() {
            self.write_copies(now);
            if self.failures > 0 && self.tail.is_none() && self.may_try(now) {
                // Nobody may ask while it is said that the spool cannot be written.
                self.write_without_records(now);
            }
            if is_due {
                self.ticked_at = now;
                self.tick(now);
            }
        } else if !self.may_try(now) {
            self.refuse_all(self.disk_space.cause());
        } else if self.tail.is_some() {
            // What may have been answered before comes first; without space for it there is none.
            self.refuse_if_stuck();
        } else {
            self.write_group(now);
        }
        self.show();
        for probe in std::mem::take(&mut self.probes) {
            // Whoever asked may have run into its own deadline.
            let _ = probe.send(());
        }
    }

    fn may_try(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| now >= at)
    }

    /// Once a second without events: progress, the evidence for the last batch, and old ids.
    fn tick(&mut self, now: Instant) {
        self.want_files();
        self.want_copies();
        if self.tail.is_some() || !self.may_try(now) {
            return;
        }
        let before = self.ids_to_forget(now);
        let has_news = !self.shared.lock().state.unwritten.is_empty();
        let must_snapshot = self.is_snapshot_wanted();
        if has_news || self.is_unproven || must_snapshot || self.failures > 0 {
            self.write_without_records(now);
        }
        // The log says so before it is done: after a restart nobody takes them for known.
        let is_written = self.shared.lock().state.unwritten.ids_since.is_none();
        if before.is_some() && is_written {
            self.expired_at = now;
            self.shared.jobs.add(|work| work.expire = before);
        }
    }

    /// Once a minute: the time before which ids are to be forgotten, in seconds since the epoch.
    fn ids_to_forget(&self, now: Instant) -> Option<i64> {
        if now.saturating_duration_since(self.expired_at) < EXPIRE_PAUSE {
            return None;
        }
        let window = self.settings.limits.window.as_secs();
        let mut inner = self.shared.lock();
        let before = inner.state.verified.saturating_sub_unsigned(window).max(0);
        inner.state.forget_before(before);
        Some(before)
    }

    /// So many ids had to be forgotten before their time.
    fn forgot_early(&self, ids: u64, inner: &mut Inner) {
        if ids > 0 {
            self.shared.metrics.spool_forgotten_ids_total.inc_by(ids);
            inner.lost_ids();
        }
    }

    /// Where no file is to be had, segments are let go of at once: a run of less than a second must
    /// not leave more of them behind than it found.
    fn free_segments(&mut self, now: Instant) {
        if !self.disk_space.is_stuck() || self.tail.is_some() || !self.may_try(now) {
            return;
        }
        self.want_copies();
        if self.log.active().is_none() || self.is_snapshot_wanted() {
            self.write_without_records(now);
        }
    }

    fn write_without_records(&mut self, now: Instant) {
        match self
            .disk_space
            .for_progress(&self.log, self.items_bytes(0).0)
        {
            // What came of it, the next look at the disk will show.
            Ok(()) => drop(self.write_empty(now)),
            Err(_) => self.want_files(),
        }
    }

    fn write_group(&mut self, now: Instant) {
        let planned = self.plan(None);
        if planned.is_empty() {
            self.answer(planned, None);
            return;
        }
        let bytes = planned.payload_bytes();
        match self
            .disk_space
            .for_events(&self.log, &bytes, self.items_bytes(bytes.len()))
        {
            Ok(()) => {}
            Err(wanted) => {
                self.put_back(planned);
                self.is_waiting = true;
                self.want(wanted);
                self.refuse_if_stuck();
                return;
            }
        }
        match self.write_planned(&planned, now) {
            Ok(placed) => {
                let requeued = planned.requeued();
                self.answer(planned, Some(placed));
                if !requeued.is_empty() {
                    self.shared.jobs.add(|work| work.removals.extend(requeued));
                }
            }
            Err(cause) => self.refuse(planned, cause),
        }
        if now.saturating_duration_since(self.ticked_at) >= TICK {
            self.ticked_at = now;
            self.want_files();
            self.want_copies();
            self.write_copies(now);
        }
    }

    fn write_planned(
        &mut self,
        planned: &PlannedBatch,
        now: Instant,
    ) -> Result<Placed, SpoolUnavailable> {
        let mut extra: Vec<Item> = planned.requeued().into_iter().map(Item::Requeued).collect();
        if let Some(received) = planned.latest_received_at() {
            extra.push(Item::Verified(self.clock.observe(received, now)));
        }
        let sinks = planned.sinks();
        extra.push(Item::Sinks(sinks.clone()));
        let parts: Vec<[&[u8]; 2]> = planned.payloads();
        let records: Vec<&[&[u8]]> = parts.iter().map(|parts| &parts[..]).collect();
        let placed = self.append(&records, &[], extra, now)?;
        self.previous_sinks = sinks;
        Ok(placed)
    }

    /// Writes a batch without records.
    fn write_empty(&mut self, now: Instant) -> Result<(), SpoolUnavailable> {
        self.append(&[], &[], Vec::new(), now)?;
        self.previous_sinks.clear();
        Ok(())
    }

    /// Writes one batch with what the log does not know yet, into a fresh segment where the active
    /// one has no space, and with a snapshot where one is due.
    fn append(
        &mut self,
        records: &[&[&[u8]]],
        copies: &[(u64, &[&[u8]])],
        extra: Vec<Item>,
        now: Instant,
    ) -> Result<Placed, SpoolUnavailable> {
        let started = Instant::now();
        let (unwritten, done) = self.take_news();
        let predecessor = self.log.last_end().map(|end| end.segment);
        let payloads = || {
            let copies = copies.iter().map(|(_, parts)| *parts);
            let all = records.iter().copied().chain(copies);
            all.map(|parts| parts.iter().map(|part| part.len()).sum())
        };
        let result = self.begin_batch(&unwritten, extra, payloads, predecessor);
        let result = result.and_then(|is_snapshot| {
            let content = BatchContent {
                items: &self.items,
                is_snapshot,
                copies,
                records,
            };
            Ok((self.log.append(content)?, is_snapshot))
        });
        match result {
            Ok((placed, is_snapshot)) => {
                self.written(placed, is_snapshot, &done, predecessor);
                self.is_unproven = !records.is_empty() || !copies.is_empty();
                let metrics = &self.shared.metrics;
                metrics
                    .spool_commit_duration_seconds
                    .observe(started.elapsed().as_secs_f64());
                Ok(placed)
            }
            Err(error) => {
                self.shared.lock().state.unwritten.put_back(unwritten);
                Err(self.failed(&error, now))
            }
        }
    }

    /// Puts the items together; rolls to a fresh segment where the batch does not fit.
    fn begin_batch<I: Iterator<Item = usize>>(
        &mut self,
        unwritten: &Unwritten,
        extra: Vec<Item>,
        payloads: impl Fn() -> I,
        predecessor: Option<u64>,
    ) -> Result<bool, AppendError> {
        let previous = Item::PreviousSinks(self.previous_sinks.clone());
        let mut small = unwritten.items();
        small.extend(extra);
        small.push(previous);
        let alignment = self.log.alignment();
        let length = |items: &[u8]| {
            crate::log::format::BatchBuffer::length_of(items.len(), payloads(), alignment)
        };
        self.items.clear();
        small
            .iter()
            .for_each(|item| items::encode(item, &mut self.items));
        // Where the first batch of a segment has failed, the next one is its first.
        let is_first = self.log.active_end().is_none();
        let fits = self.log.fits(length(&self.items));
        if fits && !is_first && !self.is_snapshot_wanted() {
            return Ok(false);
        }
        self.items.clear();
        items::encode(&Item::Snapshot(self.snapshot(predecessor)), &mut self.items);
        // Progress is in the snapshot; what else is new is not.
        small
            .retain(|item| !matches!(item, Item::Progress(..) | Item::Loss(_) | Item::IdsSince(_)));
        small
            .iter()
            .for_each(|item| items::encode(item, &mut self.items));
        let bytes = length(&self.items);
        if !self.log.fits(bytes) {
            self.log.roll(bytes)?;
        }
        Ok(true)
    }

    /// What the log does not know yet, and the segments of which the batch will say that nothing in
    /// them is waited for.
    fn take_news(&self) -> (Unwritten, Vec<u64>) {
        let mut inner = self.shared.lock();
        let unwritten = inner.take_unwritten();
        let is_done = |segment: &SegmentState| segment.live == 0 && segment.done_with.is_none();
        let segments = inner.state.segments.iter();
        let done = segments
            .filter(|(_, it)| is_done(it))
            .map(|(number, _)| *number);
        (unwritten, done.collect())
    }

    fn snapshot(&self, predecessor: Option<u64>) -> items::Snapshot {
        let (inner, batch) = (self.shared.lock(), self.log.next_batch());
        inner.state.snapshot(|number, segment| {
            is_done_with(segment, batch) && self.is_free(number, segment, predecessor)
        })
    }

    /// Whether nothing in a segment waits, its ids are in the index, and it is not the one before
    /// the active one.
    fn is_free(&self, number: u64, segment: &SegmentState, predecessor: Option<u64>) -> bool {
        segment.live == 0 && Some(number) != predecessor && !self.ids.holds(number)
    }

    /// A batch is durable: what it says counts.
    fn written(&mut self, placed: Placed, is_snapshot: bool, done: &[u64], before: Option<u64>) {
        self.recovered_from_failure();
        let batch = self.log.next_batch() - 1;
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        if !inner.state.segments.contains_key(&placed.segment) {
            self.ids.seal();
            if let Some(file) = self.log.active_file() {
                let (number, file) = (file.number, Arc::new(SpoolSegment::new(file)));
                inner.state.add_segment(number, SegmentState::new(file));
            }
        }
        if let Some(segment) = inner.state.segments.get_mut(&placed.segment) {
            segment.end = self.log.active_end().map_or(segment.end, |end| end.end);
        }
        for number in done {
            if let Some(segment) = inner.state.segments.get_mut(number) {
                segment.done_with.get_or_insert(batch);
            }
        }
        if is_snapshot {
            self.recycle(&mut inner, batch, before, placed.segment);
            self.cut(&inner, placed.segment);
        }
    }

    /// The files of segments that ended early, as those of short runs do, are cut to what is in them:
    /// a synced batch says now where each of them ends.
    fn cut(&self, inner: &Inner, active: u64) {
        let before = inner.state.segments.range(..active);
        let ended_early = before.filter(|(_, it)| !it.is_damaged && it.end < it.file.length() / 2);
        let cuts: Vec<(Arc<SpoolSegment>, u64)> = ended_early
            .map(|(_, it)| (Arc::clone(&it.file), it.end))
            .collect();
        if !cuts.is_empty() {
            self.shared.jobs.add(|work| work.cuts.extend(cuts));
        }
    }

    /// Takes the segments out that the snapshot does without.
    fn recycle(&mut self, inner: &mut Inner, batch: u64, before: Option<u64>, active: u64) {
        let is_done =
            |it: &SegmentState| is_done_with(it, batch) || seeded::is(Bug::RecycleBeforeProgress);
        let segments = inner.state.segments.iter();
        let going = segments
            .filter(|(number, it)| {
                **number != active && is_done(it) && self.is_free(**number, it, before)
            })
            .map(|(number, _)| *number);
        let going: Vec<u64> = going.collect();
        for number in going {
            if let Some(segment) = inner.state.remove_segment(number) {
                let going = (segment.file, segment.is_damaged);
                self.disk_space
                    .recycle(&self.shared, going, self.log.spares().len());
            }
        }
        for dead in std::mem::take(&mut self.dead) {
            self.disk_space
                .recycle(&self.shared, dead, self.log.spares().len());
        }
    }

    fn recovered_from_failure(&mut self) {
        if self.failures > 0 {
            tracing::info!("the spool is written again");
        }
        self.failures = 0;
        self.retry_at = None;
        self.disk_space.worked();
        self.shared.flags.writable.store(true, Ordering::Relaxed);
    }

    /// A batch failed: nothing of it counts. The next one goes to another file at once; where that
    /// fails as well, after a pause.
    fn failed(&mut self, error: &AppendError, now: Instant) -> SpoolUnavailable {
        if matches!(error, AppendError::NoSpare) {
            self.want_files();
            return self.disk_space.cause();
        }
        self.failures += 1;
        if self.failures > 1 {
            let doublings = (self.failures - 2).min(8);
            self.retry_at = Some(now + (FIRST_PAUSE * (1 << doublings)).min(TICK));
        }
        let cause = self.disk_space.failed(error);
        if self.failures == 1 {
            tracing::error!(%error, "a batch of the spool was not written; its events are refused, and the next one goes to another file");
        }
        // Before anybody is answered: the next request is told the same.
        let flags = &self.shared.flags;
        let is_disk_full = cause == SpoolUnavailable::DiskFull;
        flags.disk_full.store(is_disk_full, Ordering::Relaxed);
        flags.writable.store(false, Ordering::Relaxed);
        self.previous_sinks.clear();
        self.want_files();
        cause
    }

    /// Writes the last progress and an empty batch, which says that the log was closed.
    fn finish(&mut self, now: Instant) {
        self.refuse_all(SpoolUnavailable::Closed);
        let has_news = !self.shared.lock().state.unwritten.is_empty();
        if self.tail.is_none() && (has_news || self.is_unproven) {
            let fits = self
                .disk_space
                .for_progress(&self.log, self.items_bytes(0).0);
            if fits.is_err() || self.write_empty(now).is_err() {
                tracing::warn!(
                    "the last progress was not written; its events are published again after the next start"
                );
            }
        }
        self.shared.close();
        self.shared.jobs.add(|work| work.stop = true);
    }
}

/// Whether an earlier batch says that nothing in the segment waits: a snapshot in this batch may do
/// without it.
fn is_done_with(segment: &SegmentState, batch: u64) -> bool {
    segment.done_with.is_some_and(|with| with < batch)
}
