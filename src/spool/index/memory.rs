//! The index of a spool that is kept in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Expired, FIRST_TIMED, IdEntry, IdIndex, IndexError, KnownBody, MAX_BODIES, SLICE};
use crate::event::EventId;

/// An index that lives as long as the program.
#[derive(Debug)]
pub(in crate::spool) struct MemoryIndex {
    max_ids: u64,
    ids: Mutex<Ids>,
}

/// An id and the digest of a body that it came with. Ids without a time are the first ones.
type Key = (EventId, u64);

#[derive(Debug, Default)]
struct Ids {
    through: u64,
    entries: BTreeMap<Key, IdEntry>,
    #[cfg(test)]
    refuses: bool,
}

impl MemoryIndex {
    /// An empty index with room for so many ids.
    pub fn new(max_ids: u64) -> Self {
        Self {
            max_ids,
            ids: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> Result<MutexGuard<'_, Ids>, IndexError> {
        let ids = self.lock();
        #[cfg(test)]
        if ids.refuses {
            return Err(IndexError::Unavailable("a test wants it to fail".into()));
        }
        Ok(ids)
    }
}

impl IdIndex for MemoryIndex {
    fn through(&self) -> u64 {
        self.lock().through
    }

    fn find(&self, id: EventId) -> Result<Vec<KnownBody>, IndexError> {
        let ids = self.ids()?;
        let bodies = ids.entries.range((id, 0)..=(id, u64::MAX));
        let known = bodies.map(|(_, entry)| KnownBody {
            digest: entry.digest,
            sequence: entry.sequence,
        });
        Ok(known.take(MAX_BODIES).collect())
    }

    fn add(&self, entries: &[IdEntry], through: u64) -> Result<u64, IndexError> {
        let mut ids = self.ids()?;
        for entry in entries {
            let known = ids
                .entries
                .entry((entry.id, entry.digest))
                .or_insert(*entry);
            if known.sequence < entry.sequence {
                *known = *entry;
            }
        }
        ids.through = ids.through.max(through);
        let max_ids = usize::try_from(self.max_ids).unwrap_or(usize::MAX);
        let too_many = ids.entries.len().saturating_sub(max_ids);
        for oldest in ids.oldest(too_many) {
            ids.entries.remove(&oldest);
        }
        Ok(too_many as u64)
    }

    /// Everything at once, because nothing is read for it; but the lock is let go of before
    /// `is_pending` is asked, which may wait for others, and now and then for whoever looks up ids.
    fn expire(
        &self,
        before: EventId,
        hour: u32,
        is_pending: &dyn Fn(u64) -> bool,
    ) -> Result<Expired, IndexError> {
        let mut old = self.ids()?.older_than(before, hour);
        old.retain(|entry| !is_pending(entry.sequence));
        for slice in old.chunks(SLICE) {
            let mut ids = self.ids()?;
            for entry in slice {
                ids.entries.remove(&(entry.id, entry.digest));
            }
        }
        Ok(Expired { more: false })
    }

    fn remove(&self, id: EventId) -> Result<(), IndexError> {
        let mut ids = self.ids()?;
        while let Some((&key, _)) = ids.entries.range((id, 0)..=(id, u64::MAX)).next() {
            ids.entries.remove(&key);
        }
        Ok(())
    }
}

impl Ids {
    /// So many that are forgotten first: those with a time by it, then the others by their hours.
    fn oldest(&self, count: usize) -> Vec<Key> {
        let first_timed = (EventId::from_bytes(FIRST_TIMED), 0);
        let timed = self.entries.range(first_timed..).take(count);
        let mut oldest: Vec<Key> = timed.map(|(key, _)| *key).collect();
        if oldest.len() < count {
            let untimed = self.entries.range(..first_timed);
            let mut untimed: Vec<(&Key, &IdEntry)> = untimed.collect();
            untimed.sort_by_key(|(_, entry)| entry.accepted_hour);
            let untimed = untimed.into_iter().map(|(key, _)| *key);
            oldest.extend(untimed.take(count - oldest.len()));
        }
        oldest
    }

    /// Looks at all without a time, which are few: they are deliveries that could not be read.
    fn older_than(&self, before: EventId, hour: u32) -> Vec<IdEntry> {
        let all = self.entries.values();
        let first = all.take_while(|entry| !entry.id.is_timed() || entry.id < before);
        let old = first.filter(|entry| entry.id.is_timed() || entry.accepted_hour < hour);
        old.copied().collect()
    }
}

/// What makes it the double of an index on a disk.
#[cfg(test)]
impl MemoryIndex {
    /// Forgets whatever came after this sequence, as a power failure may.
    pub fn lose_after(&self, sequence: u64) {
        let mut ids = self.lock();
        ids.entries.retain(|_, entry| entry.sequence <= sequence);
        ids.through = ids.through.min(sequence);
    }

    /// Whether every call but `through` fails from now on.
    pub fn refuse(&self, refuses: bool) {
        self.lock().refuses = refuses;
    }
}
