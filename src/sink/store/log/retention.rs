//! What keeps the files within bounds: segments that are too old or too much are dropped, their
//! files become spares or go, and spares are made where none is left.

use std::io;
use std::sync::Arc;

use super::super::segment::Segment;
use super::Log;
use crate::log::format::BLOCK_BYTES;
use crate::log::segment::{SpareMaker, recycle, segment_name};

/// Spares that are kept for later segments: more would be counted against what may be kept.
pub(super) const MAX_SPARES: usize = 1;

/// The file of a segment that is in no catalog any more.
#[derive(Debug)]
pub(super) struct Leftover {
    segment: Arc<Segment>,
    /// The file's name, which an attempt that failed may have changed.
    name: String,
}

impl Leftover {
    pub fn new(segment: Arc<Segment>) -> Self {
        Self {
            name: segment_name(segment.number),
            segment,
        }
    }
}

impl Log {
    /// Does one bounded step of what keeps the files within bounds; whether there is more to do.
    ///
    /// # Errors
    /// What the system says.
    pub fn tend(&mut self, now_ms: u64) -> io::Result<bool> {
        if self.recycle_one()? {
            return Ok(true);
        }
        let needed = if self.needs_spare() {
            self.limits.segment_bytes
        } else {
            0
        };
        if self.drop_one(needed, now_ms) {
            return Ok(true);
        }
        if needed > 0 {
            let mut maker = self.maker.take().unwrap_or_else(|| self.new_maker(needed));
            match maker.step(&*self.disk)? {
                Some(spare) => self.writer.add_spare(spare),
                None => self.maker = Some(maker),
            }
        }
        Ok(needed > 0)
    }

    /// Whether the next segment is far enough away to do without a spare.
    fn needs_spare(&self) -> bool {
        let end = self.writer.active_end().map_or(u64::MAX, |end| end.end);
        self.writer.spares().is_empty() && end > self.writer.active_bytes() / 2
    }

    fn new_maker(&mut self, length: u64) -> SpareMaker {
        self.last_spare += 1;
        SpareMaker::new(self.last_spare, length)
    }

    /// Drops one segment, if one is to go and the file of the one before is out of the way.
    fn drop_one(&mut self, needed: u64, now_ms: u64) -> bool {
        if !self.leftovers.is_empty() {
            return false;
        }
        let is_too_much = self.file_bytes() + needed > self.limits.max_size_bytes;
        let horizon = now_ms.saturating_sub(self.limits.retention_ms);
        let dropped = self.shared.change().take_droppable(horizon, is_too_much);
        let is_dropped = dropped.is_some();
        self.leftovers
            .extend(dropped.map(|held| Leftover::new(held.segment)));
        is_dropped
    }

    /// Bytes of all files.
    fn file_bytes(&self) -> u64 {
        let catalog = self.shared.catalog();
        let active = self.writer.active().map(|(number, _)| number);
        let is_counted = active.is_some_and(|number| catalog.segments.contains_key(&number));
        let active = if is_counted {
            0
        } else {
            self.writer.active_bytes()
        };
        let spares = self.writer.spares().iter().map(|spare| spare.length);
        let leftovers = self
            .leftovers
            .iter()
            .map(|leftover| leftover.segment.length);
        catalog.file_bytes() + active + spares.chain(leftovers).sum::<u64>()
    }

    /// Makes a spare of a file that is not needed any more, or removes it; whether there was one that
    /// nobody reads. Files are opened by their names, so one that is read must keep its own.
    fn recycle_one(&mut self) -> io::Result<bool> {
        if self.is_carried || !self.tail.is_empty() {
            return Ok(false);
        }
        // Nobody new can come to hold it.
        let is_unread = |leftover: &Leftover| Arc::strong_count(&leftover.segment) == 1;
        let Some(at) = self.leftovers.iter().position(is_unread) else {
            return Ok(false);
        };
        let length = self.leftovers[at].segment.length;
        let is_wanted =
            length == self.limits.segment_bytes && self.writer.spares().len() < MAX_SPARES;
        let name = &mut self.leftovers[at].name;
        let freed = if is_wanted {
            self.last_spare += 1;
            recycle(&*self.disk, name, self.last_spare, length).map(Some)
        } else {
            self.disk.remove(name).map(|()| None)
        };
        match freed {
            Ok(Some(spare)) => self.writer.add_spare(spare),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Before the next one goes: what is dropped must not come back with a hole behind it.
            Ok(None) | Err(_) => self.disk.sync_folder()?,
        }
        self.leftovers.swap_remove(at);
        Ok(true)
    }

    /// Makes a spare at once, because a batch waits for it.
    pub(super) fn make_spare(&mut self, bytes: usize, now_ms: u64) -> io::Result<()> {
        let needed = (BLOCK_BYTES + bytes.next_multiple_of(BLOCK_BYTES)) as u64;
        let length = needed.max(self.limits.segment_bytes);
        while self.recycle_one()? || self.drop_one(length, now_ms) {}
        if self
            .writer
            .spares()
            .iter()
            .any(|spare| spare.length >= needed)
        {
            return Ok(());
        }
        let begun = self.maker.take_if(|maker| maker.length() >= length);
        let mut maker = begun.unwrap_or_else(|| self.new_maker(length));
        loop {
            if let Some(spare) = maker.step(&*self.disk)? {
                self.writer.add_spare(spare);
                return Ok(());
            }
        }
    }
}
