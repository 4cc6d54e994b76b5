//! What the store holds: its topics, and the segments with their messages. In memory, and shared:
//! the owner thread changes it with every batch, and readers look here first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::segment::{Index, Segment, Spot};
use super::snapshot::{Snapshot, Stretch, Summary};
use super::topic_log::TopicSummary;
use crate::log::format::SegmentEnd;

/// The most topics there can be: a template with an object's id in it would otherwise make one for
/// every object, and their names are kept for ever.
pub(super) const MAX_TOPICS: usize = 10_000;

/// A topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Topic {
    /// The last position that readers know of; 0 before the first.
    last: u64,
    /// The position for the next message. Those of batches that failed are left out.
    next: u64,
}

/// A segment with acknowledged batches.
#[derive(Debug)]
pub(super) struct Held {
    pub segment: Arc<Segment>,
    pub summary: Summary,
    /// Where its messages lie, while it is being written to.
    pub index: Option<Index>,
}

impl Held {
    /// Whether nothing in it is missed when it goes. What is damaged stays until its time has come.
    fn is_empty(&self) -> bool {
        self.summary.topics.is_empty() && self.summary.stored_ms.1 == 0
    }
}

/// Messages of one topic in one segment.
#[derive(Debug)]
pub(super) struct Found {
    pub segment: Arc<Segment>,
    pub end: SegmentEnd,
    pub last: u64,
    /// Where they lie, as far as that is known here.
    pub spots: Option<Vec<Spot>>,
}

/// The topics and the segments.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    topics: HashMap<Arc<str>, Topic>,
    pub segments: BTreeMap<u64, Held>,
}

impl Catalog {
    /// The name as it is kept. The topic is made where there is none.
    pub fn name(&mut self, topic: &str) -> Arc<str> {
        if let Some((name, _)) = self.topics.get_key_value(topic) {
            return Arc::clone(name);
        }
        let name: Arc<str> = topic.into();
        self.topics
            .insert(Arc::clone(&name), Topic { last: 0, next: 1 });
        name
    }

    /// Gives the next position of a topic; none where it would be one topic too many.
    pub fn give(&mut self, topic: &str) -> Option<u64> {
        if !self.topics.contains_key(topic) {
            if self.topics.len() >= MAX_TOPICS {
                return None;
            }
            self.name(topic);
        }
        let topic = self.topics.get_mut(topic)?;
        topic.next += 1;
        Some(topic.next - 1)
    }

    /// A position that was given is to be given again, and all that follow it.
    pub fn take_back(&mut self, topic: &str, position: u64) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.next = topic.next.min(position);
        }
    }

    /// No position before this one is given any more.
    pub fn reach(&mut self, topic: &str, next: u64) {
        let name = self.name(topic);
        if let Some(topic) = self.topics.get_mut(&name) {
            topic.next = topic.next.max(next);
        }
    }

    /// What was given so far can be read, or is gone; `lost` further positions may have been given.
    pub fn settle(&mut self, lost: u64) {
        for topic in self.topics.values_mut() {
            topic.next += lost;
            topic.last = topic.next - 1;
        }
    }

    /// Takes a segment in.
    pub fn hold(&mut self, segment: Arc<Segment>, summary: Summary) {
        let number = segment.number;
        let index = None;
        self.segments.insert(
            number,
            Held {
                segment,
                summary,
                index,
            },
        );
    }

    /// A segment ends here now.
    pub fn grow(&mut self, end: SegmentEnd) {
        if let Some(held) = self.segments.get_mut(&end.segment) {
            held.summary.end = end;
        }
    }

    /// A message is in the log.
    pub fn add(&mut self, segment: u64, topic: &str, stored_ms: u64, spot: Spot) {
        let name = self.name(topic);
        if let Some(topic) = self.topics.get_mut(&name) {
            topic.last = topic.last.max(spot.position);
            topic.next = topic.next.max(spot.position + 1);
        }
        if let Some(held) = self.segments.get_mut(&segment) {
            held.summary.add(&name, spot.position, stored_ms);
            held.index.get_or_insert_default().add(topic, spot);
        }
    }

    /// No segment is written to any more. A damaged one of which nothing can be read stays as long
    /// as if its messages were the newest.
    pub fn seal(&mut self) {
        let newest = self
            .segments
            .values()
            .map(|held| held.summary.stored_ms.1)
            .max();
        for held in self.segments.values_mut() {
            held.index = None;
            let (oldest, last) = &mut held.summary.stored_ms;
            if oldest > last && held.segment.is_damaged.load(Ordering::Relaxed) {
                *last = newest.unwrap_or(0).max(1);
            }
        }
    }

    /// The last position of a topic that readers know of.
    pub fn last_position(&self, topic: &str) -> Option<u64> {
        let last = self.topics.get(topic)?.last;
        (last > 0).then_some(last)
    }

    /// The first segment with messages of the topic after a position, and at most `limit` of them.
    pub fn find(&self, topic: &str, after: u64, limit: usize) -> Option<Found> {
        let last = |held: &Held| Some(held.summary.topics.get(topic)?.last);
        let (held, last) = self.segments.values().find_map(|held| {
            let last = last(held).filter(|last| *last > after)?;
            Some((held, last))
        })?;
        let first_of = |spots: &[Spot]| spots[..spots.len().min(limit)].to_vec();
        Some(Found {
            segment: Arc::clone(&held.segment),
            end: held.summary.end,
            last,
            spots: held
                .index
                .as_ref()
                .map(|index| first_of(index.after(topic, after))),
        })
    }

    /// Every topic that ever had a message, by name.
    pub fn summaries(&self) -> Vec<TopicSummary> {
        let mut kept: HashMap<&str, (u64, u64)> = HashMap::new();
        for held in self.segments.values() {
            for (name, Stretch { first, count, .. }) in &held.summary.topics {
                kept.entry(name).or_insert((*first, 0)).1 += count;
            }
        }
        let seen = self.topics.iter().filter(|(_, topic)| topic.last > 0);
        let mut summaries: Vec<TopicSummary> = seen
            .map(|(name, topic)| {
                let kept = kept.get(&**name).copied();
                let (first_position, events) = kept.unwrap_or((topic.last + 1, 0));
                TopicSummary {
                    name: name.as_ref().to_owned(),
                    first_position,
                    last_position: topic.last,
                    events,
                }
            })
            .collect();
        summaries.sort_by(|a, b| a.name.cmp(&b.name));
        summaries
    }

    /// What the first batch of a segment says, and every batch without messages; `carried` is a
    /// segment whose messages are in that batch as well.
    pub fn snapshot(&self, active: Option<u64>, carried: Option<u64>) -> Snapshot {
        let mut topics: Vec<(Arc<str>, u64)> = self
            .topics
            .iter()
            .map(|(name, topic)| (Arc::clone(name), topic.next))
            .collect();
        topics.sort();
        let mut before = self.segments.iter().rev();
        // An empty one may go at any time, and with it what it says of the one before.
        let before = before.find(|(number, held)| {
            ![active, carried].contains(&Some(**number)) && !held.is_empty()
        });
        Snapshot {
            topics,
            previous: before.map(|(_, held)| held.summary.clone()),
            carried: carried.unwrap_or(0),
        }
    }

    /// Takes out a segment that may go: an empty one, or else the oldest where its newest message is
    /// of before `horizon_ms` or there is too much. The newest stays: it remembers the positions.
    pub fn take_droppable(&mut self, horizon_ms: u64, is_too_much: bool) -> Option<Held> {
        let newest = *self.segments.keys().next_back()?;
        let mut older = self.segments.range(..newest);
        let (oldest, held) = older.clone().next()?;
        let is_due = is_too_much || held.summary.stored_ms.1 < horizon_ms;
        let empty = older.find_map(|(number, held)| held.is_empty().then_some(*number));
        let number = empty.or(is_due.then_some(*oldest))?;
        self.segments.remove(&number)
    }

    /// Bytes of all segments' files.
    pub fn file_bytes(&self) -> u64 {
        self.segments.values().map(|held| held.segment.length).sum()
    }

    /// Bytes that were written to them.
    pub fn used_bytes(&self) -> u64 {
        self.segments
            .values()
            .map(|held| held.summary.end.end)
            .sum()
    }
}
