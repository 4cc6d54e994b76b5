//! The store's log as it is written: batches into segments, and all that keeps them within bounds.
//! Only the writer thread has a [`StoreLog`].
//!
//! Retention takes whole segments, the oldest first, so a segment ends by age as well, after an
//! eighth of the retention. A program's life begins with a fresh segment. The file of the one before
//! is cut where it holds little, so that restarts use up no space.

mod retention;

use std::sync::Arc;
use std::time::Duration;

use super::catalog::{Catalog, CatalogSegment};
use super::contents::{MessageLocation, SegmentContents};
use super::encoded_message::{EncodedMessage, RecordHead};
use super::recovery::StoreRecovery;
use super::segment::StoreSegment;
use super::shared::SharedStore;
use crate::log::disk::Disk;
use crate::log::format::{BatchBuffer, HEAD_BYTES, LogKind, RECORD_ALIGNMENT, framed_length};
use crate::log::recover::RecoverError;
use crate::log::segment::{SpareMaker, segment_bytes};
use crate::log::unused_segment::UnusedSegment;
use crate::log::writer::{AppendError, BatchContent, LogWriter};

/// With fewer segments retention would take too much at once.
const LEAST_SEGMENTS: u64 = 4;

/// A segment is begun at least so many times in the span of retention.
const SEGMENTS_OF_RETENTION: u64 = 8;

/// A snapshot that is no larger stands in each batch without messages too: it is then on the disk
/// more than once.
const MAX_REPEATED_BYTES: usize = 4 << 10;

/// How long and how much the log keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreLimits {
    /// Segments whose newest entry is older than this go, in milliseconds.
    pub retention_ms: u64,
    /// Beyond this the oldest segments go, in bytes.
    pub max_size_bytes: u64,
    /// What a segment has, in bytes.
    pub segment_bytes: u64,
}

impl StoreLimits {
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

/// The open log.
#[derive(Debug)]
pub(super) struct StoreLog {
    disk: Arc<dyn Disk>,
    limits: StoreLimits,
    writer: LogWriter,
    shared: Arc<SharedStore>,
    /// What a start found at the end, until it is written anew.
    tail: Arc<Vec<EncodedMessage>>,
    /// What is not in the catalog, and the bytes of its file. The files are used again or go once
    /// nobody reads them.
    unused: Vec<UnusedSegment<StoreSegment>>,
    /// Such as a start has found: the tail may be in them, and the only snapshot, until both are
    /// written anew.
    found_unused: Vec<UnusedSegment<StoreSegment>>,
    maker: Option<SpareMaker>,
    last_spare: u64,
    /// Never goes back, even where the clock does: oldest first is lowest position first.
    stored_ms: u64,
    /// Whether there is reason for a batch of no messages: the last one has no evidence, or failed.
    is_open: bool,
}

impl StoreLog {
    /// Opens the log, or makes a new one. No batch is written before [`StoreLog::tick`].
    ///
    /// # Errors
    /// When the folder is not a store's, or is one that this program must not touch.
    pub fn open(
        disk: Arc<dyn Disk>,
        limits: StoreLimits,
    ) -> Result<(Self, Arc<SharedStore>), RecoverError> {
        let StoreRecovery {
            recovered,
            catalog,
            tail,
            unused,
        } = StoreRecovery::look(&disk)?;
        let (mut spares, mut unfit): (Vec<_>, Vec<_>) = recovered
            .spares
            .into_iter()
            .partition(|spare| spare.length == limits.segment_bytes);
        unfit.extend(spares.drain(spares.len().min(retention::MAX_SPARES)..));
        let unfit = unfit.into_iter().map(|spare| spare.name);
        for name in unfit.chain(recovered.unfinished) {
            // Where one stays, the next start finds it again.
            let _ = disk.remove(&name);
        }
        let stored = catalog.segments.values().map(|it| it.contents.newest_ms);
        let is_empty = unused.is_empty();
        let log = Self {
            limits,
            writer: LogWriter::new(
                Arc::clone(&disk),
                LogKind::Store,
                recovered.position,
                spares,
            ),
            disk,
            tail: Arc::new(tail),
            unused: Vec::new(),
            found_unused: unused.into_iter().map(retention::unused).collect(),
            maker: None,
            last_spare: recovered.last_spare,
            stored_ms: stored.max().unwrap_or(0),
            // Until a batch says it again, the positions may stand in what was left over alone.
            is_open: !is_empty,
            shared: Arc::new(SharedStore::new(catalog)),
        };
        let shared = Arc::clone(&log.shared);
        Ok((log, shared))
    }

    /// What a group of messages may take, in bytes: it must not take long, and must fit well.
    pub fn max_group_bytes(&self) -> usize {
        usize::try_from(self.limits.segment_bytes / 4).unwrap_or(usize::MAX)
    }

    /// Writes the messages and syncs, all of them or none, and answers with their positions. Without
    /// messages it is evidence that the last batch was written, and finds out whether the disk works.
    /// What a start found comes first: the messages of which nobody knows whether they were confirmed.
    ///
    /// # Errors
    /// When none of them is in the log. Positions that were written are not given again.
    pub fn append(
        &mut self,
        messages: &[EncodedMessage],
        now_ms: u64,
    ) -> Result<Vec<u64>, AppendError> {
        if !self.tail.is_empty() {
            // It stays the tail meanwhile, so that the file it is in is not used again.
            self.append_batch(&Arc::clone(&self.tail), now_ms)?;
            self.tail = Arc::default();
        }
        self.append_batch(messages, now_ms)
    }

    fn append_batch(
        &mut self,
        messages: &[EncodedMessage],
        now_ms: u64,
    ) -> Result<Vec<u64>, AppendError> {
        let items = self.make_room(messages, now_ms)?;
        if !messages.is_empty() {
            self.stored_ms = self.stored_ms.max(now_ms);
        }
        let mut catalog = self.shared.change();
        let places = messages.iter().map(|message| RecordHead {
            topic: &message.topic,
            position: message
                .position
                .unwrap_or_else(|| catalog.give(&message.topic)),
            stored_ms: self.stored_ms,
        });
        let places: Vec<RecordHead<'_>> = places.collect();
        drop(catalog);
        self.write(&items, messages, &places)?;
        Ok(places.iter().map(|place| place.position).collect())
    }

    /// Does what is due once nothing was published for a moment, or nothing will be: leaves the
    /// evidence that the last batch was written, begins the next segment where this one is old, and
    /// finds out whether the disk works again. Tells whether anything was written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tick(&mut self, now_ms: u64) -> Result<bool, AppendError> {
        let is_due = self.is_open || !self.tail.is_empty() || self.is_aged(now_ms);
        if is_due {
            self.append(&[], now_ms)?;
        }
        Ok(is_due)
    }

    /// Whether the newest segment's time has come.
    fn is_aged(&self, now_ms: u64) -> bool {
        let span = self.limits.retention_ms / SEGMENTS_OF_RETENTION;
        let catalog = self.shared.catalog();
        let newest = catalog.segments.values().next_back();
        newest.is_some_and(|it| it.contents.oldest_ms.saturating_add(span) <= now_ms)
    }

    /// Goes on in the next segment where a batch with these messages does not fit into this one. The
    /// answer is the batch's items: a snapshot in a segment's first batch, a small one in a batch
    /// without messages too, otherwise nothing.
    fn make_room(
        &mut self,
        messages: &[EncodedMessage],
        now_ms: u64,
    ) -> Result<Vec<u8>, AppendError> {
        self.is_open = true;
        let bytes = |items: &[u8]| {
            let lengths = messages.iter().map(EncodedMessage::max_record_bytes);
            BatchBuffer::length_of(items.len(), lengths, self.writer.alignment())
        };
        let active = self.writer.active_end().map(|end| end.segment);
        if let Some(active) = active.filter(|_| !self.is_aged(now_ms)) {
            let mut items = match messages {
                [] => self.shared.catalog().encode(active),
                _ => Vec::new(),
            };
            if items.len() > MAX_REPEATED_BYTES {
                items.clear();
            }
            if self.writer.fits(bytes(&items)) {
                return Ok(items);
            }
        }
        let items = self.shared.catalog().encode(u64::MAX);
        // Behind a large snapshot there is room for messages, or the next batch would need another
        // segment, and another snapshot.
        let segment = usize::try_from(self.limits.segment_bytes).unwrap_or(usize::MAX);
        let is_large = items.len() > segment / 2;
        let bytes = bytes(&items) + if is_large { segment } else { 0 };
        loop {
            match self.writer.roll(bytes) {
                Err(AppendError::NoSpare) => self.make_spare(bytes, now_ms)?,
                other => return other.map(|()| items),
            }
        }
    }

    /// Writes one batch with these messages at these places, and tells readers of it.
    fn write(
        &mut self,
        items: &[u8],
        messages: &[EncodedMessage],
        places: &[RecordHead<'_>],
    ) -> Result<(), AppendError> {
        let heads: Vec<Vec<u8>> = places.iter().map(RecordHead::encode).collect();
        let parts = messages.iter().zip(&heads);
        let parts: Vec<[&[u8]; 3]> = parts.map(|(message, head)| message.parts(head)).collect();
        let payloads: Vec<&[&[u8]]> = parts.iter().map(|parts| &parts[..]).collect();
        let placed = self.writer.append(BatchContent {
            items,
            is_snapshot: !items.is_empty(),
            copies: &[],
            records: &payloads,
        })?;
        self.is_open = !messages.is_empty();
        let mut at =
            placed.offset + (HEAD_BYTES + items.len().next_multiple_of(RECORD_ALIGNMENT)) as u64;
        let mut catalog = self.shared.change();
        let Some(segment) = self.enter_segment(&mut catalog) else {
            return Ok(());
        };
        for (place, parts) in places.iter().zip(&parts) {
            let length = parts.iter().map(|part| part.len()).sum();
            let location = MessageLocation {
                position: place.position,
                at,
                length,
            };
            catalog.add(segment, *place, location);
            at += framed_length(length) as u64;
        }
        Ok(())
    }

    /// Takes the active segment into the catalog as far as it is written; its number.
    fn enter_segment(&self, catalog: &mut Catalog) -> Option<u64> {
        let (file, end) = (self.writer.active_file()?, self.writer.active_end()?);
        if let Some(held) = catalog.segments.get_mut(&end.segment) {
            held.end = end;
        } else {
            let contents = SegmentContents::new(self.stored_ms);
            catalog.hold(CatalogSegment::new(
                Arc::new(StoreSegment::new(file)),
                end,
                contents,
            ));
        }
        Some(end.segment)
    }
}
