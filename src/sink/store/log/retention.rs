//! What keeps the files within bounds: segments that are too old or too much are dropped, their
//! files become spares or go, files with little in them are cut, and spares are made where none is
//! left.

use std::io;
use std::sync::Arc;

use super::{Held, Log, Segment};
use crate::log::format::BLOCK_BYTES;
use crate::log::segment::{SpareMaker, recycle, segment_name};

/// Spares that are kept for later segments: more would be counted against what may be kept.
pub(super) const MAX_SPARES: usize = 1;

/// The file of a segment that is in no catalog any more.
#[derive(Debug)]
pub(super) struct Leftover {
    segment: Arc<Segment>,
    bytes: u64,
    /// The file's name, which an attempt that failed may have changed.
    name: String,
    /// Whether a start has found it: the tail may be in it, and the only snapshot, until both are
    /// written anew.
    is_found: bool,
    /// Whether it could not be done away with before.
    has_failed: bool,
}

impl Leftover {
    /// Of a segment whose file has so many bytes.
    pub fn new(segment: Arc<Segment>, bytes: u64, is_found: bool) -> Self {
        Self {
            is_found,
            has_failed: false,
            name: segment_name(segment.file.number),
            bytes,
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
        let is_in_the_way = |leftover: &Leftover| !leftover.is_found && !leftover.has_failed;
        if self.leftovers.iter().any(is_in_the_way) {
            return false;
        }
        let is_too_much = self.file_bytes() + needed > self.limits.max_size_bytes;
        let horizon = now_ms.saturating_sub(self.limits.retention_ms);
        let dropped = self.shared.change().drop_oldest(horizon, is_too_much);
        let leftover = |held: Held| Leftover::new(held.segment, held.file_bytes, false);
        let before = self.leftovers.len();
        self.leftovers.extend(dropped.map(leftover));
        self.leftovers.len() > before
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
        let leftovers = self.leftovers.iter().map(|leftover| leftover.bytes);
        self.writer.active_bytes() + older.chain(spares).chain(leftovers).sum::<u64>()
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
            let is_sparse = |held: &Held| !held.is_cut && held.end.end < held.file_bytes / 2;
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
    /// nobody reads. Files are opened by their names, so one that is read must keep its own.
    fn recycle_one(&mut self) -> io::Result<bool> {
        let is_written = self.tail.is_empty() && self.writer.active_end().is_some();
        // Nobody new can come to hold it.
        let is_free = |leftover: &Leftover| {
            (is_written || !leftover.is_found) && Arc::strong_count(&leftover.segment) == 1
        };
        let Some(at) = self.leftovers.iter().position(is_free) else {
            return Ok(false);
        };
        let Leftover { bytes, name, .. } = &mut self.leftovers[at];
        let freed =
            if *bytes == self.limits.segment_bytes && self.writer.spares().len() < MAX_SPARES {
                self.last_spare += 1;
                recycle(&*self.disk, name, self.last_spare, *bytes).map(Some)
            } else {
                self.disk.remove(name).map(|()| None)
            };
        match freed {
            Ok(Some(spare)) => self.writer.add_spare(spare),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The others have their turn first.
                let mut leftover = self.leftovers.remove(at);
                leftover.has_failed = true;
                self.leftovers.push(leftover);
                return Err(error);
            }
            // Before the next one goes: what is dropped must not come back with a hole behind it.
            Ok(None) | Err(_) => self.disk.sync_folder()?,
        }
        self.leftovers.remove(at);
        Ok(true)
    }
}
