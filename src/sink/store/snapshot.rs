//! The items of a segment's first batch, and of every batch without messages: each topic with the
//! position it goes on with, and what is in the segments before. So a start learns all of it from
//! the newest segment.

use std::sync::Arc;

use super::catalog::{Catalog, CatalogSegment};
use super::contents::{SegmentContents, TopicRange};
use super::segment::StoreSegment;
use crate::log::codec::{Decoder, put, put_bytes};
use crate::log::format::SegmentEnd;

impl Catalog {
    /// The items, with the segments before this one.
    pub fn encode(&self, before: u64) -> Vec<u8> {
        let mut to = Vec::new();
        put(&mut to, self.topics.len() as u64);
        for (name, topic) in &self.topics {
            put_bytes(&mut to, name.as_bytes());
            put(&mut to, topic.next);
        }
        let segments = self.segments.range(..before);
        put(&mut to, segments.clone().count() as u64);
        for (_, held) in segments {
            self.encode_segment(held, &mut to);
        }
        to
    }

    fn encode_segment(
        &self,
        CatalogSegment { end, contents, .. }: &CatalogSegment,
        to: &mut Vec<u8>,
    ) {
        for number in [
            end.segment,
            end.end,
            end.first_sequence,
            end.next_sequence,
            contents.oldest_ms,
            contents.newest_ms,
            contents.topics.len() as u64,
        ] {
            put(to, number);
        }
        for (index, name) in self.topics.keys().enumerate() {
            if let Some(range) = contents.topics.get(name) {
                put(to, index as u64);
                put(to, range.first);
                put(to, range.last - range.first);
                put(to, range.count);
            }
        }
    }

    /// Takes in what items say, but for segments that are known better; `find` gives those that are
    /// still there.
    pub fn restore(
        &mut self,
        items: &[u8],
        find: impl Fn(u64) -> Option<Arc<StoreSegment>>,
    ) -> Option<()> {
        let mut from = Decoder(items);
        let names = from.list(|from| Some(self.reach(from.text()?, from.number()?)))?;
        for (end, contents) in from.list(|from| decode_segment(from, &names))? {
            if let Some(segment) = find(end.segment) {
                let held = self.segments.entry(end.segment);
                held.or_insert_with(|| CatalogSegment::new(segment, end, contents));
            }
        }
        Some(())
    }
}

fn decode_segment(
    from: &mut Decoder<'_>,
    names: &[Arc<str>],
) -> Option<(SegmentEnd, SegmentContents)> {
    let end = SegmentEnd {
        segment: from.number()?,
        end: from.number()?,
        first_sequence: from.number()?,
        next_sequence: from.number()?,
    };
    let (oldest_ms, newest_ms) = (from.number()?, from.number()?);
    let topics = from.list(|from| {
        let name = names.get(from.small::<usize>()?)?;
        let first = from.number()?;
        let range = TopicRange {
            first,
            last: first.checked_add(from.number()?)?,
            count: from.number()?,
            locations: Vec::new(),
        };
        Some((Arc::clone(name), range))
    })?;
    let contents = SegmentContents {
        oldest_ms,
        newest_ms,
        topics: topics.into_iter().collect(),
    };
    Some((end, contents))
}

#[cfg(test)]
mod tests {
    use super::super::contents::MessageLocation;
    use super::super::encoded_message::RecordHead;
    use super::*;
    use crate::log::disk::{Disk, MemoryDisk};
    use crate::log::segment_file::SegmentFile;

    fn segment(number: u64) -> Arc<StoreSegment> {
        Arc::new(StoreSegment::new(SegmentFile {
            number,
            file: MemoryDisk::new().create("file").expect("in memory"),
            length: 1 << 20,
            salt: 1,
            alignment: 8,
        }))
    }

    fn whole() -> Catalog {
        let mut catalog = Catalog::default();
        catalog.reach("b", 5);
        for number in [3, 7, 8] {
            let end = SegmentEnd {
                segment: number,
                end: 1 << 16,
                first_sequence: 90,
                next_sequence: 200,
            };
            catalog.hold(CatalogSegment::new(
                segment(number),
                end,
                SegmentContents::new(0),
            ));
            for (topic, position) in [("é", 200 * number), ("é", 200 * number + 99), ("a", number)]
            {
                let place = RecordHead {
                    topic,
                    position,
                    stored_ms: 1000 + position,
                };
                let location = MessageLocation {
                    position,
                    at: 8192,
                    length: 10,
                };
                catalog.add(number, place, location);
            }
        }
        for held in catalog.segments.values_mut() {
            held.contents.forget_locations();
        }
        catalog
    }

    #[test]
    fn it_comes_back_as_it_was_but_for_segments_that_are_gone() {
        let mut found = Catalog::default();
        let items = whole().encode(8);
        let restored = found.restore(&items, |number| (number != 3).then(|| segment(number)));
        assert_eq!(restored, Some(()));
        assert_eq!(found.segments.keys().collect::<Vec<_>>(), [&7]);
        let (held, expected) = (&found.segments[&7], &whole().segments[&7]);
        assert_eq!(
            (held.end, &held.contents),
            (expected.end, &expected.contents)
        );
        assert_eq!(found.give("a"), 9);
        assert_eq!(found.give("b"), 5);
        assert_eq!(found.give("é"), 1700);
        assert_eq!(found.give("new"), 1);
    }

    #[test]
    fn what_is_cut_off_is_none() {
        let items = whole().encode(u64::MAX);
        for length in 0..items.len() {
            let restored = Catalog::default().restore(&items[..length], |_| None);
            assert_eq!(restored, None, "{length}");
        }
    }
}
