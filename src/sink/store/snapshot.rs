//! What the items of a batch say: every topic with the position it goes on with, and what is in the
//! segment before. So a start learns what each segment holds from the one behind it, and reads only
//! the newest one whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::log::codec::{Decoder, put, put_bytes};
use crate::log::format::SegmentEnd;

/// The positions of one topic that lie in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub first: u64,
    pub last: u64,
    /// How many they are: positions whose batch failed are missing.
    pub count: u64,
}

/// What is in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub end: SegmentEnd,
    /// When the oldest and the newest of its messages were stored.
    pub stored_ms: (u64, u64),
    pub topics: BTreeMap<Arc<str>, Stretch>,
}

impl Summary {
    /// Nothing yet.
    pub fn new(end: SegmentEnd) -> Self {
        Self {
            end,
            stored_ms: (u64::MAX, 0),
            topics: BTreeMap::new(),
        }
    }

    /// One more message is in it.
    pub fn add(&mut self, topic: &Arc<str>, position: u64, stored_ms: u64) {
        let (oldest, newest) = self.stored_ms;
        self.stored_ms = (oldest.min(stored_ms), newest.max(stored_ms));
        let stretch = self.topics.entry(Arc::clone(topic)).or_insert(Stretch {
            first: position,
            last: position,
            count: 0,
        });
        stretch.first = stretch.first.min(position);
        stretch.last = stretch.last.max(position);
        stretch.count += 1;
    }
}

/// The store before a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Each topic, by name, and the position it goes on with.
    pub topics: Vec<(Arc<str>, u64)>,
    /// The segment before this one.
    pub previous: Option<Summary>,
    /// A segment whose messages are all in this batch as well; 0 where there is none.
    pub carried: u64,
}

impl Snapshot {
    /// The items.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        put(&mut to, self.carried);
        put(&mut to, self.topics.len() as u64);
        for (name, next) in &self.topics {
            put_bytes(&mut to, name.as_bytes());
            put(&mut to, *next);
        }
        let Some(previous) = &self.previous else {
            return to;
        };
        let end = previous.end;
        let (oldest, newest) = previous.stored_ms;
        for number in [
            end.segment,
            end.end,
            end.first_sequence,
            end.next_sequence,
            oldest,
            newest,
        ] {
            put(&mut to, number);
        }
        let place = |name: &Arc<str>| self.topics.binary_search_by(|(known, _)| known.cmp(name));
        let known = previous
            .topics
            .iter()
            .filter_map(|(name, it)| Some((place(name).ok()?, it)));
        let known: Vec<(usize, &Stretch)> = known.collect();
        put(&mut to, known.len() as u64);
        for (place, stretch) in known {
            put(&mut to, place as u64);
            put(&mut to, stretch.first);
            put(&mut to, stretch.last - stretch.first);
            put(&mut to, stretch.count);
        }
        to
    }

    /// Reads what was encoded.
    pub fn decode(items: &[u8]) -> Option<Self> {
        let mut from = Decoder(items);
        let carried = from.number()?;
        let topics: Vec<(Arc<str>, u64)> =
            from.list(|from| Some((from.text()?.into(), from.number()?)))?;
        let previous = if from.is_empty() {
            None
        } else {
            Some(summary(&mut from, &topics)?)
        };
        Some(Self {
            topics,
            previous,
            carried,
        })
    }
}

fn summary(from: &mut Decoder<'_>, topics: &[(Arc<str>, u64)]) -> Option<Summary> {
    let end = SegmentEnd {
        segment: from.number()?,
        end: from.number()?,
        first_sequence: from.number()?,
        next_sequence: from.number()?,
    };
    let stored_ms = (from.number()?, from.number()?);
    let stretches = from.list(|from| {
        let (name, _) = topics.get(from.small::<usize>()?)?;
        let first = from.number()?;
        let last = first.checked_add(from.number()?)?;
        let count = from.number()?;
        Some((Arc::clone(name), Stretch { first, last, count }))
    })?;
    Some(Summary {
        end,
        stored_ms,
        topics: stretches.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Snapshot {
        let mut previous = Summary::new(SegmentEnd {
            segment: 7,
            end: 1 << 20,
            first_sequence: 90,
            next_sequence: 200,
        });
        let topics: Vec<(Arc<str>, u64)> =
            vec![("a".into(), 5), ("b".into(), 1), ("é".into(), 300)];
        previous.add(&topics[2].0, 200, 1000);
        previous.add(&topics[2].0, 299, 1001);
        previous.add(&topics[0].0, 4, 900);
        Snapshot {
            topics,
            previous: Some(previous),
            carried: 3,
        }
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let shorter = Snapshot {
            previous: None,
            ..whole()
        };
        for snapshot in [Snapshot::default(), shorter, whole()] {
            assert_eq!(Snapshot::decode(&snapshot.encode()), Some(snapshot));
        }
        let summary = whole().previous.expect("given");
        assert_eq!(summary.stored_ms, (900, 1001));
        assert_eq!(
            summary.topics["é"],
            Stretch {
                first: 200,
                last: 299,
                count: 2
            }
        );
    }

    #[test]
    fn what_is_cut_off_is_none() {
        let (bytes, end) = (
            whole().encode(),
            Snapshot {
                previous: None,
                ..whole()
            }
            .encode()
            .len(),
        );
        for length in (0..bytes.len()).filter(|length| *length != end) {
            assert_eq!(Snapshot::decode(&bytes[..length]), None, "{length}");
        }
    }
}
