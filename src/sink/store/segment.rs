//! A segment as a reader sees it: where its messages lie, and their bytes.

use std::collections::HashMap;
use std::io;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::row::Place;
use crate::log::disk::{File, read_exact_at};
use crate::log::format::{BLOCK_BYTES, Frame, RECORD_HEAD_BYTES, SegmentEnd};
use crate::log::index::{BatchReader, ReadError, read_places};
use crate::log::recover::read_all;
use crate::log::scan;

/// What an index takes for a topic besides its messages, in bytes: about.
const TOPIC_BYTES: usize = 160;

/// As much of a record is read to learn its topic and position; topics' names are shorter.
const PEEKED_BYTES: usize = 1024;

/// A segment's file.
#[derive(Debug)]
pub(super) struct Segment {
    pub number: u64,
    pub length: u64,
    pub salt: u64,
    pub file: Arc<dyn File>,
    /// The boundary at which batches begin.
    pub alignment: usize,
    /// Whether it has been said that it is damaged.
    pub is_damaged: AtomicBool,
}

/// Where a message lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub position: u64,
    /// Where the record begins in the file.
    pub at: u32,
    /// The payload's length.
    pub length: u32,
}

impl Spot {
    /// A record at this offset, with a payload of so many bytes: both are in one batch, and no batch
    /// has 4 GiB.
    pub fn new(position: u64, at: u64, length: usize) -> Self {
        Self {
            position,
            at: u32::try_from(at).unwrap_or(u32::MAX),
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }
}

/// Where the messages of each topic lie.
#[derive(Debug, Default)]
pub(super) struct Index {
    topics: HashMap<Arc<str>, Vec<Spot>>,
}

impl Index {
    /// One more message.
    pub fn add(&mut self, topic: &str, spot: Spot) {
        match self.topics.get_mut(topic) {
            Some(spots) => spots.push(spot),
            None => drop(self.topics.insert(topic.into(), vec![spot])),
        }
    }

    /// The messages of a topic after a position, in order.
    pub fn after(&self, topic: &str, position: u64) -> &[Spot] {
        let spots = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        &spots[spots.partition_point(|spot| spot.position <= position)..]
    }

    /// All messages, in no order.
    pub fn all(&self) -> impl Iterator<Item = Spot> {
        self.topics.values().flatten().copied()
    }

    fn sort(&mut self) {
        for spots in self.topics.values_mut() {
            spots.sort_by_key(|spot| spot.position);
        }
    }

    /// What it takes in memory: about.
    pub fn bytes(&self) -> usize {
        let spots: usize = self.topics.values().map(Vec::capacity).sum();
        self.topics.len() * TOPIC_BYTES + spots * size_of::<Spot>()
    }
}

impl Segment {
    /// Finds the messages by the heads of the records; in a damaged segment, by looking for sound
    /// ones.
    pub fn index(&self, end: SegmentEnd) -> io::Result<Index> {
        match self.walk(end) {
            Ok(index) => Ok(index),
            Err(ReadError::Io(error)) => Err(error),
            Err(ReadError::Damaged) => {
                self.note_damage();
                Ok(self.search(end))
            }
        }
    }

    fn walk(&self, end: SegmentEnd) -> Result<Index, ReadError> {
        let range = BLOCK_BYTES as u64..end.end;
        let batches = read_places(&*self.file, (self.salt, self.number), range, self.alignment)?;
        let mut index = Index::default();
        for batch in batches {
            let mut reader = BatchReader::open(Arc::clone(&self.file), self.salt, batch)?;
            while let Some((_, length)) = reader.claim()? {
                let peeked = reader.peek(length.min(PEEKED_BYTES))?;
                let place = Place::decode(&peeked).ok_or(ReadError::Damaged)?;
                index.add(
                    place.topic,
                    Spot::new(place.position, reader.position(), length),
                );
                reader.skip(length);
            }
        }
        index.sort();
        Ok(index)
    }

    fn search(&self, end: SegmentEnd) -> Index {
        let bytes = read_all(&*self.file, self.length);
        let scan = self.scan(&bytes, Some(end));
        let mut index = Index::default();
        for record in scan.batches.iter().flat_map(|batch| &batch.records) {
            let payload = record.payload.clone();
            if let Some(place) = Place::decode(&bytes[payload.clone()]) {
                let at = (payload.start - RECORD_HEAD_BYTES) as u64;
                index.add(place.topic, Spot::new(place.position, at, payload.len()));
            }
        }
        index.sort();
        index
    }

    /// Reads the segment's bytes, whatever is damaged.
    pub fn scan(&self, bytes: &[u8], end: Option<SegmentEnd>) -> scan::Scan {
        scan::Segment {
            bytes,
            number: self.number,
            salt: self.salt,
            alignment: self.alignment,
            end,
        }
        .scan()
    }

    /// The record at a spot; none where it does not check.
    pub fn read(&self, spot: Spot) -> io::Result<Option<Bytes>> {
        let mut bytes = vec![0; RECORD_HEAD_BYTES + spot.length as usize];
        read_exact_at(&*self.file, &mut bytes, u64::from(spot.at))?;
        if Frame::decode(&bytes, self.salt).is_none() {
            self.note_damage();
            return Ok(None);
        }
        Ok(Some(Bytes::from(bytes).slice(RECORD_HEAD_BYTES..)))
    }

    /// Says once that it is damaged.
    pub fn note_damage(&self) {
        if !self.is_damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(
                segment = self.number,
                "A segment of the topic log is damaged; what is sound in it is still served, the rest is left out"
            );
        }
    }
}
