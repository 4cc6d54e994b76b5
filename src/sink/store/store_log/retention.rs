//! What keeps the files within bounds: segments that are too old or too much are dropped, their
//! files become spares or go, files with little in them are cut, and spares are made where none is
//! left.

use std::io;
use std::sync::Arc;

use super::{CatalogSegment, StoreLog, StoreSegment};
use crate::log::format::BLOCK_BYTES;
use crate::log::segment::SpareMaker;
use crate::log::unused_segment::UnusedSegment;

/// Spares that are kept for later segments: more would be counted against what may be kept.
pub(super) const MAX_SPARES: usize = 1;

/// A segment that is in no catalog any more, with its file as it was found.
pub(super) fn unused(segment: Arc<StoreSegment>) -> UnusedSegment<StoreSegment> {
    let (number, bytes) = (segment.file.number, segment.file.length);
    UnusedSegment::new(segment, number, bytes)
}

impl StoreLog {
    /// Does one bounded step of what keeps the files within bounds; whether there is more to do.
    ///
    /// # Errors
    /// What the system says.
    pub fn tend(&mut self, now_ms: u64) -> io::Result<bool> {
        let needed = if self.needs_spare() {
            self.limits.segment_bytes
        } else {
            0
        };
        // What cannot be done to one file keeps nothing else from being done.
        let recycled = self.recycle_one();
        if matches!(recycled, Ok(true)) || self.cut_one() || self.drop_one(needed, now_ms) {
            return Ok(true);
        }
        if needed > 0 {
            let mut maker = self.take_maker(needed);
            match maker.step(&*self.disk)? {
                Some(spare) => self.writer.add_spare(spare),
                None => self.maker = Some(maker),
            }
        }
        match recycled {
            Err(error) if needed == 0 => Err(error),
            _ => Ok(needed > 0),
        }
    }

    /// Whether the next segment is near and there is no spare for it.
    fn needs_spare(&self) -> bool {
        let end = self.writer.active_end().map_or(u64::MAX, |end| end.end);
        self.writer.spares().is_empty() && end > self.writer.active_bytes() / 2
    }

    /// Goes on with a spare of at least this length, or begins one.
    fn take_maker(&mut self, length: u64) -> SpareMaker {
        let begun = self.maker.take_if(|maker| maker.length() >= length);
        begun.unwrap_or_else(|| {
            self.last_spare += 1;
            SpareMaker::new(self.last_spare, length)
        })
    }

    /// Makes a spare at once, because a batch of so many bytes waits for it.
    pub(super) fn make_spare(&mut self, bytes: usize, now_ms: u64) -> io::Result<()> {
        let needed = (BLOCK_BYTES + bytes.next_multiple_of(BLOCK_BYTES)) as u64;
        let length = needed.max(self.limits.segment_bytes);
        while self.recycle_one().unwrap_or(false) || self.drop_one(length, now_ms) {}
        if (self.writer.spares().iter()).any(|spare| spare.length >= needed) {
            return Ok(());
        }
        let mut maker = self.take_maker(length);
        loop {
            if let Some(spare) = maker.step(&*self.disk)? {
                self.writer.add_spare(spare);
                return Ok(());
            }
        }
    }

    /// Drops the oldest segment, if it is to go and the file of the one before is out of the way.
    fn drop_one(&mut self, needed: u64, now_ms: u64) -> bool {
        if self.unused.iter().any(|it| !it.has_failed) {
            return false;
        }
        let is_too_much = self.file_bytes() + needed > self.limits.max_size_bytes;
        let horizon = now_ms.saturating_sub(self.limits.retention_ms);
        let Some(dropped) = self.shared.change().drop_oldest(horizon, is_too_much) else {
            return false;
        };
        let number = dropped.segment.file.number;
        let unused = UnusedSegment::new(dropped.segment, number, dropped.file_bytes);
        self.unused.push(unused);
        true
    }

    /// Bytes of all files.
    fn file_bytes(&self) -> u64 {
        let catalog = self.shared.catalog();
        let active = self.writer.active_end().map(|end| end.segment);
        let older = catalog
            .segments
            .iter()
            .filter(|(number, _)| Some(**number) != active);
        let older = older.map(|(_, held)| held.file_bytes);
        let spares = self.writer.spares().iter().map(|spare| spare.length);
        let unused = self
            .unused
            .iter()
            .chain(&self.found_unused)
            .map(|it| it.bytes);
        self.writer.active_bytes() + older.chain(spares).chain(unused).sum::<u64>()
    }

    /// Cuts the file of a segment before the active one that uses less than half of it; whether
    /// there was one. Only then, because a synced batch says already where that segment ends.
    fn cut_one(&mut self) -> bool {
        let Some(active) = self.writer.active_end() else {
            return false;
        };
        let sparse = {
            let mut catalog = self.shared.change();
            let mut older = catalog.segments.range_mut(..active.segment);
            let is_sparse =
                |held: &CatalogSegment| !held.is_cut && held.end.end < held.file_bytes / 2;
            let sparse = older.find(|(_, held)| is_sparse(held));
            sparse.map(|(_, held)| {
                held.is_cut = true;
                (held.end, Arc::clone(&held.segment))
            })
        };
        let Some((end, segment)) = sparse else {
            return false;
        };
        match segment.file.file.truncate(end.end) {
            Ok(()) => {
                if let Some(held) = self.shared.change().segments.get_mut(&end.segment) {
                    held.file_bytes = end.end;
                }
            }
            Err(error) => tracing::warn!(
                %error,
                segment = end.segment,
                "The file of a segment of the topic log cannot be cut to what it holds"
            ),
        }
        true
    }

    /// Makes a spare of a file that is not needed any more, or removes it; whether there was one that
    /// nobody reads.
    fn recycle_one(&mut self) -> io::Result<bool> {
        if self.tail.is_empty() && self.writer.active_end().is_some() {
            self.unused.append(&mut self.found_unused);
        }
        let Some(at) = self.unused.iter().position(|it| !it.is_read()) else {
            return Ok(false);
        };
        let unused = &mut self.unused[at];
        let is_wanted = unused.bytes == self.limits.segment_bytes;
        let freed = if is_wanted && self.writer.spares().len() < MAX_SPARES {
            self.last_spare += 1;
            unused.into_spare(&*self.disk, self.last_spare).map(Some)
        } else {
            self.disk.remove(&unused.name).map(|()| None)
        };
        match freed {
            Ok(Some(spare)) => self.writer.add_spare(spare),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The others have their turn first.
                let mut unused = self.unused.remove(at);
                unused.has_failed = true;
                self.unused.push(unused);
                return Err(error);
            }
            // Before the next one goes: what is dropped must not come back with a hole behind it.
            Ok(None) | Err(_) => self.disk.sync_folder()?,
        }
        self.unused.remove(at);
        Ok(true)
    }
}
