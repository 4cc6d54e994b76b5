//! What still waits in a sparse segment is written anew, with its sequences, so that the segment can
//! go: a few events that nobody takes must not hold on to all the files.

use std::time::Instant;

use super::{BatchLocation, SpoolWriter};
use crate::log::format::BatchBuffer;

/// A segment with less than this part of it live is sparse.
const SPARSE_PART: u64 = 4;
/// Copies are made once the files are more than this part of what they may be.
const PRESSING_PART: u64 = 2;
/// Bytes that copies leave in a segment for progress.
const LEFT_FOR_PROGRESS: usize = 64 << 10;

impl SpoolWriter {
    /// Asks for the records of the sparsest segment, where files are scarce, and for what was found
    /// sound between damage.
    pub(super) fn want_copies(&mut self) {
        if self.is_copying || !self.copies.is_empty() {
            return;
        }
        let is_pressing = self.file_bytes() > self.disk_space.max_bytes() / PRESSING_PART;
        let active = self.log.active().map(|(number, _)| number);
        let inner = self.shared.lock();
        let rescued = inner.rescued.keys().next();
        let rescued = rescued.and_then(|sequence| inner.state.locate(*sequence));
        let sparse = inner.state.segments.iter().filter(|(number, segment)| {
            segment.live > 0
                && segment.live_bytes * SPARSE_PART < segment.file.length()
                && Some(**number) != active
        });
        let sparsest = sparse.min_by_key(|(_, segment)| segment.live_bytes);
        let sparsest = sparsest.filter(|_| is_pressing).map(|(number, _)| *number);
        let wanted = rescued.map(|(number, _)| number).or(sparsest);
        drop(inner);
        if let Some(segment) = wanted {
            self.is_copying = true;
            self.shared.jobs.add(|work| work.copies = Some(segment));
        }
    }

    /// Writes copies, while no event waits and the active segment has space for them.
    pub(super) fn write_copies(&mut self, now: Instant) {
        if self.copies.is_empty() || self.tail.is_some() || !self.may_try(now) {
            return;
        }
        let copies = std::mem::take(&mut self.copies);
        let payloads = copies.iter().map(|(_, payload)| payload.len());
        let alignment = self.log.alignment();
        let bytes = BatchBuffer::length_of(LEFT_FOR_PROGRESS, payloads, alignment);
        if !self.log.fits(bytes) && self.log.spares().len() < 2 {
            return;
        }
        let parts: Vec<[&[u8]; 1]> = copies.iter().map(|(_, payload)| [&payload[..]]).collect();
        let records: Vec<(u64, &[&[u8]])> = copies
            .iter()
            .zip(&parts)
            .map(|((sequence, _), parts)| (*sequence, &parts[..]))
            .collect();
        let Ok(placed) = self.append(&[], &records, Vec::new(), now) else {
            return;
        };
        self.previous_sinks.clear();
        let place = BatchLocation {
            first_sequence: placed.first_sequence,
            count: 0,
            offset: placed.offset,
            length: placed.length,
        };
        let mut inner = self.shared.lock();
        for (sequence, payload) in &copies {
            let bytes = payload.len() as u64;
            inner
                .state
                .move_to(*sequence, bytes, (placed.segment, place));
            inner.rescued.remove(sequence);
        }
        drop(inner);
        // The next ones, if there are any.
        self.want_copies();
    }
}
