//! What the store holds: its topics, and the segments with their messages. In memory, and shared:
//! the writer thread changes it with every batch, and readers look here first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contents::{MessageLocation, SegmentContents, TopicRange};
use super::encoded_message::RecordHead;
use super::segment::StoreSegment;
use super::topic_summary::TopicSummary;
use crate::log::format::SegmentEnd;

/// The most topics there can be: a template with an object's id in it would otherwise make one for
/// every object, and their names are kept for ever.
pub(super) const MAX_TOPICS: usize = 10_000;

/// A topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicPositions {
    /// The last position that readers know of; 0 before the first.
    last: u64,
    /// The position for the next message. Those of batches that failed are left out.
    pub next: u64,
}

/// A segment with acknowledged batches.
#[derive(Debug)]
pub(super) struct CatalogSegment {
    pub segment: Arc<StoreSegment>,
    /// Bytes of its file, which may be cut once nothing more comes into it.
    pub file_bytes: u64,
    /// Whether that was tried.
    pub is_cut: bool,
    pub end: SegmentEnd,
    pub contents: SegmentContents,
}

impl CatalogSegment {
    /// A segment that ends here, with these messages.
    pub fn new(segment: Arc<StoreSegment>, end: SegmentEnd, contents: SegmentContents) -> Self {
        Self {
            file_bytes: segment.file.length,
            is_cut: false,
            segment,
            end,
            contents,
        }
    }
}

/// The topics and the segments.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub topics: BTreeMap<Arc<str>, TopicPositions>,
    pub segments: BTreeMap<u64, CatalogSegment>,
}

impl Catalog {
    /// No position of a topic before this one is given any more. The topic is made where there is
    /// none; the answer is its name as it is kept.
    pub fn reach(&mut self, topic: &str, next: u64) -> Arc<str> {
        let kept = self.topics.get_key_value(topic);
        let name = kept.map_or_else(|| topic.into(), |(name, _)| Arc::clone(name));
        let first = TopicPositions { last: 0, next: 1 };
        let topic = self.topics.entry(Arc::clone(&name)).or_insert(first);
        topic.next = topic.next.max(next);
        name
    }

    /// Makes the topic where there is none; whether it is there, and not one too many.
    pub fn admit(&mut self, topic: &str) -> bool {
        let is_there = self.topics.contains_key(topic) || self.topics.len() < MAX_TOPICS;
        if is_there {
            self.reach(topic, 1);
        }
        is_there
    }

    /// Gives the next position of a topic.
    pub fn give(&mut self, topic: &str) -> u64 {
        let position = self.next_position(topic);
        self.reach(topic, position + 1);
        position
    }

    /// What was given so far can be read, or is gone; `lost` further positions may have been given.
    pub fn settle(&mut self, lost: u64) {
        for topic in self.topics.values_mut() {
            topic.next += lost;
            topic.last = topic.next - 1;
        }
    }

    /// Takes in the segment that comes next. Nothing more comes into the ones before.
    pub fn hold(&mut self, held: CatalogSegment) {
        if let Some(mut last) = self.segments.last_entry() {
            last.get_mut().contents.forget_locations();
        }
        self.segments.insert(held.end.segment, held);
    }

    /// A message is in the log.
    pub fn add(&mut self, segment: u64, place: RecordHead<'_>, location: MessageLocation) {
        let name = self.reach(place.topic, location.position + 1);
        if let Some(topic) = self.topics.get_mut(&name) {
            topic.last = topic.last.max(location.position);
        }
        if let Some(held) = self.segments.get_mut(&segment) {
            held.contents.add(name, place.stored_ms, location);
        }
    }

    /// The last position of a topic that readers know of.
    pub fn last_position(&self, topic: &str) -> Option<u64> {
        let last = self.topics.get(topic)?.last;
        (last > 0).then_some(last)
    }

    /// The position that the next message of a topic will have.
    pub fn next_position(&self, topic: &str) -> u64 {
        self.topics.get(topic).map_or(1, |topic| topic.next)
    }

    /// Every topic that ever had a message, by name.
    pub fn summaries(&self) -> Vec<TopicSummary> {
        let seen = self.topics.iter().filter(|(_, topic)| topic.last > 0);
        seen.map(|(name, topic)| {
            let segments = self.segments.values();
            let ranges: Vec<&TopicRange> = segments
                .filter_map(|held| held.contents.topics.get(name))
                .collect();
            let first = ranges.iter().map(|it| it.first).min();
            TopicSummary {
                name: name.to_string(),
                first_position: first.unwrap_or(topic.last + 1),
                last_position: topic.last,
                events: ranges.iter().map(|it| it.count).sum(),
            }
        })
        .collect()
    }

    /// Takes out the oldest segment, if its newest message is of before `horizon_ms` or there is too
    /// much. The newest segment stays: it remembers the positions.
    pub fn drop_oldest(&mut self, horizon_ms: u64, is_too_much: bool) -> Option<CatalogSegment> {
        let is_last = self.segments.len() < 2;
        let oldest = self.segments.first_entry()?;
        let is_due = is_too_much || oldest.get().contents.newest_ms < horizon_ms;
        (is_due && !is_last).then(|| oldest.remove())
    }

    /// Bytes that were written to the segments.
    pub fn used_bytes(&self) -> u64 {
        self.segments.values().map(|held| held.end.end).sum()
    }
}
