//! Which messages a segment holds, by topic. Where they lie in the file is known of the segment that
//! is written to, and of those that were read not long ago.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a message lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageLocation {
    pub position: u64,
    /// Where the record begins in the file.
    pub at: u64,
    /// The payload's length.
    pub length: usize,
}

/// The messages of one topic in one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TopicRange {
    pub first: u64,
    pub last: u64,
    /// How many they are: positions whose batch failed are missing.
    pub count: u64,
    /// Where they lie, in order; empty where that is not known.
    pub locations: Vec<MessageLocation>,
}

impl TopicRange {
    /// Where the first messages after a position lie, at most `limit` of them.
    pub fn after(&self, position: u64, limit: usize) -> Vec<MessageLocation> {
        let start = self
            .locations
            .partition_point(|location| location.position <= position);
        self.locations[start..]
            .iter()
            .take(limit)
            .copied()
            .collect()
    }
}

/// The messages in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentContents {
    /// When the oldest of them was stored; far away where there is none.
    pub oldest_ms: u64,
    /// When the newest of them was stored; where there is none, when the newest before was.
    pub newest_ms: u64,
    pub topics: BTreeMap<Arc<str>, TopicRange>,
}

impl SegmentContents {
    /// None yet.
    pub fn new(newest_ms: u64) -> Self {
        Self {
            oldest_ms: u64::MAX,
            newest_ms,
            topics: BTreeMap::new(),
        }
    }

    /// Where the messages lie is not kept any more.
    pub fn forget_locations(&mut self) {
        for range in self.topics.values_mut() {
            range.locations = Vec::new();
        }
    }

    /// One more message, which lies behind all others.
    pub fn add(&mut self, topic: Arc<str>, stored_ms: u64, location: MessageLocation) {
        self.oldest_ms = self.oldest_ms.min(stored_ms);
        self.newest_ms = self.newest_ms.max(stored_ms);
        let range = self.topics.entry(topic).or_default();
        if range.count == 0 {
            range.first = location.position;
        }
        range.last = location.position;
        range.count += 1;
        range.locations.push(location);
    }
}
