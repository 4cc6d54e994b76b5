//! The unproven tail: records that a start has found at the log's end, of which nobody knows whether
//! they were acknowledged, or are on the disk at all. They are written anew, as the first batch of a
//! fresh segment, before anything is made of them.

use std::sync::Arc;
use std::time::Instant;

use super::{AppendError, Item, Placed, SpoolRecord, SpoolUnavailable, SpoolWriter, items};
use crate::event::SinkSet;
use crate::log::format::{BLOCK_BYTES, BatchBuffer};
use crate::seeded::{self, Bug};
use crate::spool::record::RecordPrefix;
use crate::spool::unproven_tail::UnprovenTail;

impl SpoolWriter {
    /// Writes the tail that a start has found, as the first batch of a fresh segment.
    pub(super) fn write_tail(&mut self, now: Instant) {
        let Some(tail) = self.tail.take() else { return };
        match self.try_tail(&tail, now) {
            Ok(placed) => self.tail_is_written(tail, placed),
            Err(_) => self.tail = Some(tail),
        }
    }

    fn tail_is_written(&mut self, tail: UnprovenTail, placed: Placed) {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        let mut records = Vec::new();
        for (sequence, payload) in &tail.records {
            let Ok(record) = SpoolRecord::decode(*sequence, payload) else {
                tracing::error!(sequence, "a record that checks cannot be decoded");
                continue;
            };
            let Some(entry) = RecordPrefix::decode(payload).map(|prefix| prefix.entry(*sequence))
            else {
                continue;
            };
            self.add(&mut inner, placed, &record, Some(entry));
            records.push(Arc::new(record));
        }
        for (sequence, sink) in &tail.settled {
            inner.state.leave(*sequence, *sink, 0);
        }
        let sequences = records.iter().map(|record| record.position().sequence);
        let waiting: Vec<SinkSet> = sequences.map(|it| inner.state.waiting_for(it)).collect();
        inner.count(|update| waiting.into_iter().for_each(|sinks| update.found(sinks)));
        self.previous_sinks = tail.sinks;
        self.is_unproven = true;
        self.announce(inner, records.into_iter(), Some(placed));
        self.shared.remove_requeued();
    }

    /// The tail's items are a snapshot; what the log does not know yet is in it.
    fn try_tail(&mut self, tail: &UnprovenTail, now: Instant) -> Result<Placed, SpoolUnavailable> {
        let (unwritten, done) = self.take_news();
        let result = self.begin_tail(tail).and_then(|()| {
            let parts = tail
                .records
                .iter()
                .map(|(sequence, payload)| (*sequence, &payload[..]));
            let records: Vec<(u64, &[u8])> = parts.collect();
            if seeded::is(Bug::EndBeforeCopies) {
                self.log.append_tail(&self.items, &[])?;
            }
            self.log.append_tail(&self.items, &records)
        });
        match result {
            Ok(placed) => {
                self.written(placed, true, &done, None);
                Ok(placed)
            }
            Err(error) => {
                self.shared.lock().state.unwritten.put_back(unwritten);
                Err(self.failed(&error, now))
            }
        }
    }

    fn begin_tail(&mut self, tail: &UnprovenTail) -> Result<(), AppendError> {
        self.items.clear();
        items::encode(&Item::Snapshot(self.snapshot(None)), &mut self.items);
        items::encode(&Item::Sinks(tail.sinks.clone()), &mut self.items);
        let payloads = tail.records.iter().map(|(_, payload)| payload.len());
        let alignment = self.log.alignment();
        let bytes = BatchBuffer::length_of(self.items.len(), payloads, alignment);
        let needed = (BLOCK_BYTES + bytes) as u64;
        if self.log.spares().iter().all(|spare| spare.length < needed) {
            self.want(
                needed
                    .max(self.disk_space.segment_bytes())
                    .next_multiple_of(BLOCK_BYTES as u64),
            );
        }
        self.log.roll(bytes)
    }
}

#[cfg(test)]
impl SpoolWriter {
    /// The records that a start has found and that are still to be written.
    pub(in crate::spool) fn unproven(&self) -> Vec<SpoolRecord> {
        let records = self.tail.iter().flat_map(|tail| &tail.records);
        records
            .filter_map(|(sequence, payload)| SpoolRecord::decode(*sequence, payload).ok())
            .collect()
    }
}
