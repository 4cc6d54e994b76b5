//! The writing side: batches into segments, and everything that keeps them within bounds. Only the
//! owner thread has a [`Log`].
//!
//! Retention takes whole segments, the oldest first, so a segment ends by age as well, after an
//! eighth of the retention. The first batch of a program's life goes to a fresh segment; what the
//! one before holds is carried over where that is little, so that restarts use up no segments.

mod retention;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

use super::catalog::{Found, Held};
use super::recovery::Recovery;
use super::row::{Place, Row};
use super::segment::{Segment, Spot};
use super::shared::Shared;
use super::snapshot::Summary;
use crate::log::disk::Disk;
use crate::log::format::{BatchBuffer, HEAD_BYTES, Kind, RECORD_ALIGNMENT, framed_length};
use crate::log::recover::{RecoverError, SKIPPED_SEQUENCES};
use crate::log::segment::{SpareMaker, segment_bytes};
use crate::log::writer::{AppendError, Content, Writer};
use retention::Leftover;

/// With fewer segments retention would take too much at once.
const LEAST_SEGMENTS: u64 = 4;

/// A segment is begun at least so many times in the span of retention.
const SEGMENTS_OF_RETENTION: u64 = 8;

/// A segment from before a start is carried over where it uses up to this part of its file.
const CARRIED_PART: u64 = 4;

/// How long and how much the log keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Segments whose newest entry is older than this go, in milliseconds.
    pub retention_ms: u64,
    /// Beyond this the oldest segments go, in bytes.
    pub max_size_bytes: u64,
    /// What a segment has, in bytes.
    pub segment_bytes: u64,
}

impl Limits {
    /// The limits for what is configured.
    pub fn new(retention: Duration, max_size_bytes: u64) -> Self {
        let segment_bytes = segment_bytes(max_size_bytes);
        Self {
            retention_ms: u64::try_from(retention.as_millis()).unwrap_or(u64::MAX),
            max_size_bytes: max_size_bytes.max(LEAST_SEGMENTS * segment_bytes),
            segment_bytes,
        }
    }
}

/// What became of one row of a group that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is in the log.
    Stored,
    /// It would need one topic too many, and is not in the log.
    TooManyTopics,
}

/// A record to be written.
#[derive(Debug)]
struct Record<'a> {
    place: Place<'a>,
    /// The encoded place, where the rest does not begin with it.
    head: Vec<u8>,
    rest: [&'a [u8]; 2],
}

impl<'a> Record<'a> {
    fn new(place: Place<'a>, row: &'a Row) -> Self {
        let mut head = Vec::with_capacity(place.topic.len() + 16);
        place.encode(&mut head);
        let rest = row.parts();
        Self { place, head, rest }
    }

    /// One that was written before.
    fn again(payload: &'a [u8]) -> Option<Self> {
        Some(Self {
            place: Place::decode(payload)?,
            head: Vec::new(),
            rest: [payload, &[]],
        })
    }

    fn length(&self) -> usize {
        self.head.len() + self.rest[0].len() + self.rest[1].len()
    }
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    limits: Limits,
    writer: Writer,
    shared: Arc<Shared>,
    tail: Vec<Vec<u8>>,
    /// The newest segment from before the start, until the first batch.
    former: Option<u64>,
    /// What is in no catalog any more. Its files are used again or go once nobody reads them.
    leftovers: Vec<Leftover>,
    /// Whether the leftovers' content was carried into a batch without evidence so far.
    is_carried: bool,
    maker: Option<SpareMaker>,
    last_spare: u64,
    /// Never goes back, even where the clock does: oldest first is lowest position first.
    stored_ms: u64,
    /// Whether there is reason for a batch of no messages: the last one has no evidence, or failed.
    is_open: bool,
}

impl Log {
    /// Opens the log, or makes a new one. Nothing is written before [`Log::tick`].
    ///
    /// # Errors
    /// When the folder is not a store's, or is one that this program must not touch.
    pub fn open(disk: Arc<dyn Disk>, limits: Limits) -> Result<(Self, Arc<Shared>), RecoverError> {
        let recovery = Recovery::look(&disk)?;
        let recovered = recovery.recovered;
        let (mut spares, unfit): (Vec<_>, Vec<_>) = recovered
            .spares
            .into_iter()
            .partition(|spare| spare.length == limits.segment_bytes);
        let unfit = unfit
            .into_iter()
            .chain(spares.split_off(spares.len().min(retention::MAX_SPARES)));
        for name in unfit.map(|spare| spare.name).chain(recovered.unfinished) {
            // Where one stays, the next start finds it again.
            let _ = disk.remove(&name);
        }
        let newest = recovery.catalog.segments.last_key_value();
        let stored = recovery
            .catalog
            .segments
            .values()
            .map(|held| held.summary.stored_ms.1)
            .max();
        let former = newest.map(|(number, _)| *number);
        let shared = Arc::new(Shared::new(recovery.catalog));
        let log = Self {
            limits,
            writer: Writer::new(Arc::clone(&disk), Kind::Store, recovered.standing, spares),
            disk,
            shared: Arc::clone(&shared),
            tail: recovery.tail,
            former,
            leftovers: recovery.leftovers.into_iter().map(Leftover::new).collect(),
            is_carried: false,
            maker: None,
            last_spare: recovered.last_spare,
            stored_ms: stored.unwrap_or(0),
            is_open: false,
        };
        Ok((log, shared))
    }

    /// What a group of messages may take, in bytes: it must not take long, and must fit well.
    pub fn max_group_bytes(&self) -> usize {
        usize::try_from(self.limits.segment_bytes / 4).unwrap_or(usize::MAX)
    }

    /// Writes the rows and syncs, all of them or none.
    ///
    /// # Errors
    /// When none of them is in the log. Positions that were written are not given again.
    pub fn append(&mut self, rows: &[&Row], now_ms: u64) -> Result<Vec<Appended>, AppendError> {
        self.write_former(now_ms)?;
        self.stored_ms = self.stored_ms.max(now_ms);
        let mut records = Vec::with_capacity(rows.len());
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut catalog = self.shared.change();
        for row in rows {
            let Some(position) = catalog.give(&row.topic) else {
                outcomes.push(Appended::TooManyTopics);
                continue;
            };
            let place = Place {
                topic: &row.topic,
                position,
                stored_ms: self.stored_ms,
            };
            records.push(Record::new(place, row));
            outcomes.push(Appended::Stored);
        }
        drop(catalog);
        let batch = self.writer.next_batch();
        let written = self.write(&records, None, now_ms);
        if written.is_err() && self.writer.next_batch() == batch {
            // No byte of them is anywhere.
            let mut catalog = self.shared.change();
            records
                .iter()
                .for_each(|it| catalog.take_back(it.place.topic, it.place.position));
        }
        written.map(|()| outcomes)
    }

    /// Does what is due once nothing was published for a moment: a batch without messages is the
    /// evidence that the last one was written, begins the next segment where this one is old, and
    /// finds out whether the disk works again. Tells whether anything was written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tick(&mut self, now_ms: u64) -> Result<bool, AppendError> {
        let is_due = self.is_open || !self.tail.is_empty() || self.is_aged(now_ms);
        if is_due {
            self.probe(now_ms)?;
        }
        Ok(is_due)
    }

    /// Writes a batch without messages.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn probe(&mut self, now_ms: u64) -> Result<(), AppendError> {
        self.write_former(now_ms)?;
        self.write(&[], None, now_ms)
    }

    /// Leaves the evidence that the last batch was written.
    ///
    /// # Errors
    /// When it cannot be written; the next start makes up for it.
    pub fn close(mut self, now_ms: u64) -> Result<(), AppendError> {
        if self.is_open {
            self.probe(now_ms)
        } else {
            Ok(())
        }
    }

    /// What a start found comes first: the little that the last segment holds, so that its file can
    /// be used again, and the messages of which nobody knows whether they were confirmed.
    fn write_former(&mut self, now_ms: u64) -> Result<(), AppendError> {
        if let Some(former) = self.former {
            let payloads = self.little_of(former, now_ms);
            let records: Vec<Record<'_>> =
                payloads.iter().filter_map(|it| Record::again(it)).collect();
            if !records.is_empty() {
                self.write(&records, Some(former), now_ms)?;
            }
            self.former = None;
        }
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            let records: Vec<Record<'_>> = tail.iter().filter_map(|it| Record::again(it)).collect();
            let written = self.write(&records, None, now_ms);
            if let Err(error) = written {
                drop(records);
                self.tail = tail;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The records of a segment that uses little of its file; none where there are many, or some
    /// cannot be read.
    fn little_of(&self, number: u64, now_ms: u64) -> Vec<Bytes> {
        let found = {
            let catalog = self.shared.catalog();
            let held = catalog.segments.get(&number);
            let is_little =
                |held: &&Held| held.summary.end.end <= self.limits.segment_bytes / CARRIED_PART;
            held.filter(is_little)
                .filter(|held| !self.is_old(held, now_ms))
                .map(|held| Found {
                    segment: Arc::clone(&held.segment),
                    end: held.summary.end,
                    last: 0,
                    spots: None,
                })
        };
        let read = |found: Found| -> Option<Vec<Bytes>> {
            let index = self.shared.index(&found).ok()?;
            let mut spots: Vec<Spot> = index.all().collect();
            spots.sort_by_key(|spot| spot.at);
            let is_one_batch = (spots.len() as u64) < SKIPPED_SEQUENCES;
            let spots = spots.into_iter().filter(|_| is_one_batch);
            spots.map(|spot| found.segment.read(spot).ok()?).collect()
        };
        found.and_then(read).unwrap_or_default()
    }

    fn is_old(&self, held: &Held, now_ms: u64) -> bool {
        let span = self.limits.retention_ms / SEGMENTS_OF_RETENTION;
        held.summary.stored_ms.0.saturating_add(span) <= now_ms
    }

    /// Whether the active segment's time has come.
    fn is_aged(&self, now_ms: u64) -> bool {
        let catalog = self.shared.catalog();
        let newest = catalog.segments.values().next_back();
        newest.is_some_and(|held| self.is_old(held, now_ms))
    }

    /// Writes one batch, in the next segment where it does not fit, and tells readers of it.
    fn write(
        &mut self,
        records: &[Record<'_>],
        carried: Option<u64>,
        now_ms: u64,
    ) -> Result<(), AppendError> {
        self.is_open = true;
        let alignment = self.writer.alignment();
        let length = |items: &[u8]| {
            let payloads = records.iter().map(Record::length);
            BatchBuffer::length_of(items.len(), payloads, alignment)
        };
        let active = self.writer.active_end().map(|end| end.segment);
        let snapshot = |active| self.shared.catalog().snapshot(active, carried).encode();
        let mut items = if records.is_empty() {
            snapshot(active)
        } else {
            Vec::new()
        };
        if active.is_none() || self.is_aged(now_ms) || !self.writer.fits(length(&items)) {
            items = snapshot(None);
            self.roll(length(&items), now_ms)?;
        }
        let parts: Vec<[&[u8]; 3]> = records
            .iter()
            .map(|it| [&it.head[..], it.rest[0], it.rest[1]])
            .collect();
        let payloads: Vec<&[&[u8]]> = parts.iter().map(|parts| &parts[..]).collect();
        let placed = self.writer.append(Content {
            items: &items,
            is_snapshot: !items.is_empty(),
            copies: &[],
            records: &payloads,
        })?;
        let items = items.len().next_multiple_of(RECORD_ALIGNMENT);
        self.enter(
            placed.offset + (HEAD_BYTES + items) as u64,
            records,
            carried,
        );
        self.is_open = !records.is_empty();
        self.is_carried = carried.is_some();
        Ok(())
    }

    fn roll(&mut self, bytes: usize, now_ms: u64) -> Result<(), AppendError> {
        loop {
            match self.writer.roll(bytes) {
                Err(AppendError::NoSpare) => self.make_spare(bytes, now_ms)?,
                other => return other,
            }
        }
    }

    /// Takes a batch into the catalog, whose first record begins at `at`.
    fn enter(&mut self, mut at: u64, records: &[Record<'_>], carried: Option<u64>) {
        let (Some((number, file)), Some(end)) = (self.writer.active(), self.writer.active_end())
        else {
            return;
        };
        let mut catalog = self.shared.change();
        if !catalog.segments.contains_key(&number) {
            catalog.seal();
            let segment = Segment {
                number,
                length: self.writer.active_bytes(),
                salt: self.writer.salt().unwrap_or_default(),
                file,
                alignment: self.writer.alignment(),
                is_damaged: AtomicBool::new(false),
            };
            catalog.hold(Arc::new(segment), Summary::new(end));
        }
        let carried = carried.and_then(|carried| catalog.segments.remove(&carried));
        self.leftovers
            .extend(carried.map(|held| Leftover::new(held.segment)));
        for record in records {
            let Place {
                topic,
                position,
                stored_ms,
            } = record.place;
            catalog.add(
                number,
                topic,
                stored_ms,
                Spot::new(position, at, record.length()),
            );
            at += framed_length(record.length()) as u64;
        }
        catalog.grow(end);
    }
}
