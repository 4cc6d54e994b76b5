//! The index of a spool that is kept in memory.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Entry, Expired, IdIndex, IndexError, Known, SLICE};
use crate::event::EventId;

/// An index that lives as long as the program.
#[derive(Debug)]
pub(in crate::spool) struct MemoryIndex {
    max_ids: u64,
    ids: Mutex<Ids>,
}

/// What ids are forgotten by, in this order: those with a time by it; then, behind `true` and the
/// hour of their acceptance, those without.
type Age = (bool, u32, EventId);

#[derive(Debug, Default)]
struct Ids {
    through: u64,
    entries: HashMap<EventId, Entry>,
    ages: BTreeSet<Age>,
    /// What the last slices of both kinds ended with, where they were full.
    looked_at: [Option<Age>; 2],
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

    fn find(&self, id: EventId) -> Result<Option<Known>, IndexError> {
        let ids = self.ids()?;
        Ok(ids.entries.get(&id).map(|entry| Known {
            digest: entry.digest,
            sequence: entry.sequence,
        }))
    }

    fn add(&self, entries: &[Entry], through: u64) -> Result<u64, IndexError> {
        let mut ids = self.ids()?;
        for entry in entries {
            ids.enter(entry);
        }
        ids.through = ids.through.max(through);
        let too_many = (ids.ages.len() as u64).saturating_sub(self.max_ids);
        for _ in 0..too_many {
            if let Some((_, _, id)) = ids.ages.pop_first() {
                ids.entries.remove(&id);
            }
        }
        Ok(too_many)
    }

    /// The lock is let go of before `is_pending` is asked, which may wait for others.
    fn expire(
        &self,
        before: EventId,
        hour: u32,
        is_pending: &dyn Fn(u64) -> bool,
    ) -> Result<Expired, IndexError> {
        let (mut old, more) = self.ids()?.next_slice(before, hour);
        old.retain(|entry| !is_pending(entry.sequence));
        let mut ids = self.ids()?;
        for entry in old {
            ids.remove(entry.id);
        }
        Ok(Expired { more })
    }

    fn remove(&self, id: EventId) -> Result<(), IndexError> {
        self.ids()?.remove(id);
        Ok(())
    }
}

impl Ids {
    fn enter(&mut self, entry: &Entry) {
        let former = self.entries.get(&entry.id);
        if former.is_none_or(|former| former.sequence < entry.sequence) {
            self.remove(entry.id);
            self.entries.insert(entry.id, *entry);
            self.ages.insert(age(entry));
        }
    }

    fn remove(&mut self, id: EventId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.ages.remove(&age(&entry));
        }
    }

    /// The entries that the next slice is about, and whether there may be more.
    fn next_slice(&mut self, before: EventId, hour: u32) -> (Vec<Entry>, bool) {
        let first = EventId::lower_bound(Timestamp::UNIX_EPOCH);
        let kinds = [
            ((false, 0, first), (false, 0, before)),
            ((true, 0, first), (true, hour, first)),
        ];
        let mut old = Vec::new();
        for (looked_at, (first, end)) in self.looked_at.iter_mut().zip(kinds) {
            let after = looked_at.unwrap_or(first);
            let ages = self.ages.range((Excluded(after), Unbounded));
            let slice: Vec<_> = ages.take_while(|age| **age < end).take(SLICE).collect();
            *looked_at = slice.get(SLICE - 1).map(|age| **age);
            old.extend(slice.iter().filter_map(|(_, _, id)| self.entries.get(id)));
        }
        (old, self.looked_at.iter().any(Option::is_some))
    }
}

fn age(entry: &Entry) -> Age {
    if entry.id.is_timed() {
        (false, 0, entry.id)
    } else {
        (true, entry.accepted_hour, entry.id)
    }
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
