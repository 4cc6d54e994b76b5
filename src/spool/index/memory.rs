//! The index of a spool that is kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Entry, Expired, IdIndex, IndexError, Known, MAX_BODIES, SLICE};
use crate::event::EventId;

/// An index that lives as long as the program.
#[derive(Debug)]
pub(in crate::spool) struct MemoryIndex {
    max_ids: u64,
    ids: Mutex<Ids>,
}

/// What ids are forgotten by, in this order: those with a time by it; then, behind `true` and the
/// hour of their acceptance, those without. The digest tells bodies of one id apart.
type Age = (bool, u32, EventId, u64);

#[derive(Debug, Default)]
struct Ids {
    through: u64,
    entries: BTreeMap<(EventId, u64), Entry>,
    ages: BTreeSet<Age>,
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

    fn find(&self, id: EventId) -> Result<Vec<Known>, IndexError> {
        Ok(self.ids()?.of(id).take(MAX_BODIES).collect())
    }

    fn add(&self, entries: &[Entry], through: u64) -> Result<u64, IndexError> {
        let mut ids = self.ids()?;
        for entry in entries {
            ids.enter(entry);
        }
        ids.through = ids.through.max(through);
        let too_many = (ids.entries.len() as u64).saturating_sub(self.max_ids);
        for _ in 0..too_many {
            if let Some((_, _, id, digest)) = ids.ages.pop_first() {
                ids.entries.remove(&(id, digest));
            }
        }
        Ok(too_many)
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
            slice.iter().for_each(|entry| ids.remove(entry));
        }
        Ok(Expired { more: false })
    }

    fn remove(&self, id: EventId) -> Result<(), IndexError> {
        let mut ids = self.ids()?;
        let entries: Vec<Entry> = ids.entries_of(id).copied().collect();
        entries.iter().for_each(|entry| ids.remove(entry));
        Ok(())
    }
}

impl Ids {
    fn entries_of(&self, id: EventId) -> impl Iterator<Item = &Entry> {
        let bodies = self.entries.range((id, 0)..=(id, u64::MAX));
        bodies.map(|(_, entry)| entry)
    }

    fn of(&self, id: EventId) -> impl Iterator<Item = Known> {
        self.entries_of(id).map(|entry| Known {
            digest: entry.digest,
            sequence: entry.sequence,
        })
    }

    fn enter(&mut self, entry: &Entry) {
        let former = self.entries.get(&(entry.id, entry.digest)).copied();
        if former.is_none_or(|former| former.sequence < entry.sequence) {
            former.iter().for_each(|former| self.remove(former));
            self.entries.insert((entry.id, entry.digest), *entry);
            self.ages.insert(age(entry));
        }
    }

    fn remove(&mut self, entry: &Entry) {
        self.entries.remove(&(entry.id, entry.digest));
        self.ages.remove(&age(entry));
    }

    fn older_than(&self, before: EventId, hour: u32) -> Vec<Entry> {
        let smallest = EventId::from_bytes([0; 16]);
        let timed = self.ages.range(..(false, 0, before, 0));
        let untimed = (true, 0, smallest, 0)..(true, hour, smallest, 0);
        let old = timed.chain(self.ages.range(untimed));
        old.filter_map(|(_, _, id, digest)| self.entries.get(&(*id, *digest)))
            .copied()
            .collect()
    }
}

fn age(entry: &Entry) -> Age {
    let (is_untimed, hour) = if entry.id.is_timed() {
        (false, 0)
    } else {
        (true, entry.accepted_hour)
    };
    (is_untimed, hour, entry.id, entry.digest)
}

/// What makes it the double of an index on a disk.
#[cfg(test)]
impl MemoryIndex {
    /// Forgets whatever came after this sequence, as a power failure may.
    pub fn lose_after(&self, sequence: u64) {
        let mut ids = self.lock();
        ids.entries.retain(|_, entry| entry.sequence <= sequence);
        ids.ages = ids.entries.values().map(age).collect();
        ids.through = ids.through.min(sequence);
    }

    /// Whether every call but `through` fails from now on.
    pub fn refuse(&self, refuses: bool) {
        self.lock().refuses = refuses;
    }
}
