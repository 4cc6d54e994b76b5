//! The ids of accepted events: those of segments that the index does not have yet, in memory, and
//! behind them the index. An id is known with each body that it came with. The log decides: it is
//! known only through a record that was durable, and a hit counts only if that record was not lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::index::{IdEntry, IdIndex, KnownBody};
use crate::event::EventId;

/// Bytes that an id takes in memory, about: twice in tables that are partly empty.
const BYTES_OF_AN_ID: usize = 128;
/// Beyond so many bytes the ids of the oldest segment are forgotten: the index cannot be written.
const MAX_BYTES: usize = 64 << 20;

/// Ids in memory, each with the digests of its bodies, and the sequence of each.
#[derive(Debug, Default)]
pub(super) struct KnownIds(BTreeMap<(EventId, u64), u64>);

impl KnownIds {
    /// The bodies that an id is known with.
    pub fn of(&self, id: EventId) -> impl Iterator<Item = KnownBody> {
        let bodies = self.0.range((id, 0)..=(id, u64::MAX));
        bodies.map(|(&(_, digest), &sequence)| KnownBody { digest, sequence })
    }

    /// An id was accepted, perhaps again.
    pub fn insert(&mut self, id: EventId, known: KnownBody) {
        self.0.insert((id, known.digest), known.sequence);
    }

    /// Forgets what came with this entry, unless it came again since.
    fn remove(&mut self, entry: &IdEntry) {
        let key = (entry.id, entry.digest);
        if self.0.get(&key) == Some(&entry.sequence) {
            self.0.remove(&key);
        }
    }
}

/// The ids of one segment.
#[derive(Debug)]
struct SegmentIds {
    segment: u64,
    entries: Arc<Vec<IdEntry>>,
    /// No more are added.
    is_sealed: bool,
}

/// The ids.
#[derive(Debug)]
pub(super) struct AcceptedIds {
    recent: KnownIds,
    segments: VecDeque<SegmentIds>,
    entries: usize,
    /// The segment whose ids are on their way into the index.
    indexing: Option<u64>,
    index: Arc<dyn IdIndex>,
}

impl AcceptedIds {
    pub fn new(index: Arc<dyn IdIndex>) -> Self {
        Self {
            recent: KnownIds::default(),
            segments: VecDeque::new(),
            entries: 0,
            indexing: None,
            index,
        }
    }

    pub fn index(&self) -> &Arc<dyn IdIndex> {
        &self.index
    }

    /// The bodies that an id is known with, the newest records first; the index is asked for those
    /// that it alone has. What it cannot tell is unknown: a second copy is published.
    pub fn find(&self, id: EventId) -> impl Iterator<Item = KnownBody> {
        let indexed = move || self.index.find(id).unwrap_or_default();
        self.recent
            .of(id)
            .chain(std::iter::once_with(indexed).flatten())
    }

    /// The bodies that an id is known with, of those that the index may not have yet.
    pub fn find_recent(&self, id: EventId) -> Vec<KnownBody> {
        self.recent.of(id).collect()
    }

    /// A record with this id is durable. Returns how many older ids had to be forgotten.
    pub fn add(&mut self, segment: u64, entry: IdEntry) -> u64 {
        let known = KnownBody {
            digest: entry.digest,
            sequence: entry.sequence,
        };
        self.recent.insert(entry.id, known);
        match self.segments.back_mut() {
            Some(last) if last.segment == segment && !last.is_sealed => {
                Arc::make_mut(&mut last.entries).push(entry);
            }
            _ => self.segments.push_back(SegmentIds {
                segment,
                entries: Arc::new(vec![entry]),
                is_sealed: false,
            }),
        }
        self.entries += 1;
        let mut forgotten = 0;
        while self.entries * BYTES_OF_AN_ID > MAX_BYTES && self.segments.len() > 1 {
            forgotten += self.forget_oldest();
        }
        forgotten
    }

    /// Nothing is added any more to the segments up to here.
    pub fn seal(&mut self) {
        for segment in &mut self.segments {
            segment.is_sealed = true;
        }
    }

    /// The ids of the oldest segment, if they can go into the index and no others are on their way:
    /// [`AcceptedIds::indexed`] or [`AcceptedIds::not_indexed`] says what became of them.
    pub fn next_to_index(&mut self) -> Option<Arc<Vec<IdEntry>>> {
        let first = self.segments.front().filter(|first| first.is_sealed)?;
        if self.indexing.is_some() {
            return None;
        }
        self.indexing = Some(first.segment);
        Some(Arc::clone(&first.entries))
    }

    /// Those ids are in the index now, unless they had to be forgotten meanwhile.
    pub fn indexed(&mut self) {
        let segment = self.indexing.take();
        if self.segments.front().map(|first| first.segment) == segment {
            self.forget_oldest();
        }
    }

    /// They cannot be entered now.
    pub fn not_indexed(&mut self) {
        self.indexing = None;
    }

    /// Whether the ids of this segment are in memory alone.
    pub fn holds(&self, segment: u64) -> bool {
        self.segments.iter().any(|of| of.segment == segment)
    }

    /// Those ids are in the index now, or shall not be kept. Returns how many they are.
    pub fn forget_oldest(&mut self) -> u64 {
        let Some(first) = self.segments.pop_front() else {
            return 0;
        };
        self.entries -= first.entries.len();
        for entry in &*first.entries {
            self.recent.remove(entry);
        }
        first.entries.len() as u64
    }

    /// An event of which nothing was kept: the next copy is a new one.
    pub fn forget(&mut self, id: EventId) {
        let bodies: Vec<KnownBody> = self.recent.of(id).collect();
        for known in bodies {
            self.recent.0.remove(&(id, known.digest));
        }
        for of in &mut self.segments {
            let entries = Arc::make_mut(&mut of.entries);
            let before = entries.len();
            entries.retain(|entry| entry.id != id);
            self.entries -= before - entries.len();
        }
        // An index that cannot be written only keeps what it has.
        let _ = self.index.remove(id);
    }
}
