//! A record: one accepted event as it lies on the disk, and what proves that it is the one that was
//! written.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::event::{Event, Position, SinkSet};
use crate::route::{Lane, Routed, event_label};
use crate::sink::Message;

/// An event with its place in the spool.
#[derive(Debug)]
pub struct Record {
    position: Position,
    lane: Lane,
    event: Arc<Event>,
}

/// All of a record but its body.
#[derive(Serialize, Deserialize)]
struct Head<E> {
    lane: Lane,
    event: E,
}

/// A record's columns.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub sequence: u64,
    pub sinks: SinkSet,
    pub crc: u32,
    pub head: Vec<u8>,
    pub body: Bytes,
}

/// Sets of sinks that are tried for a changed one: all of those that ten sinks have.
const MAX_SETS: usize = 1 << 10;

/// Why a row is not a record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("the checksum does not match")]
    Checksum,
    #[error("the head cannot be read: {0}")]
    Head(#[from] serde_json::Error),
}

impl Row {
    /// The checksum of these columns: CRC-32 (IEEE) over the numbers in little endian, the head's
    /// length, the head and the body.
    fn checksum(sequence: u64, sinks: SinkSet, head: &[u8], body: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&sequence.to_le_bytes());
        crc.update(&sinks.bits().to_le_bytes());
        crc.update(&(head.len() as u64).to_le_bytes());
        crc.update(head);
        crc.update(body);
        crc.finalize()
    }

    /// The row of an event with this head and body.
    pub fn new(sequence: u64, sinks: SinkSet, head: Vec<u8>, body: Bytes) -> Self {
        let crc = Self::checksum(sequence, sinks, &head, &body);
        Self {
            sequence,
            sinks,
            crc,
            head,
            body,
        }
    }

    /// Whether the columns are the ones that were written.
    pub fn verify(&self) -> Result<(), Damage> {
        let crc = Self::checksum(self.sequence, self.sinks, &self.head, &self.body);
        if crc == self.crc {
            Ok(())
        } else {
            Err(Damage::Checksum)
        }
    }

    /// The row as it was written, if nothing but its sinks has changed since: the checksum tells for
    /// which of the sets of `known` sinks it was made.
    pub fn with_right_sinks(&self, known: SinkSet) -> Option<Self> {
        // From the whole set down to the sets of one: each is the one before, less one, within the
        // members of the whole.
        let below = |set: &u32| set.checked_sub(1).map(|less| less & known.bits());
        let sets = std::iter::successors(Some(known.bits()), below);
        sets.take(MAX_SETS)
            .filter(|set| *set != 0)
            .map(|set| Self {
                sinks: SinkSet::from_bits(set),
                ..self.clone()
            })
            .find(|row| row.verify().is_ok())
    }

    /// The record it holds.
    pub fn read(&self) -> Result<Record, Damage> {
        self.verify()?;
        let Head { lane, event }: Head<Event> = serde_json::from_slice(&self.head)?;
        let event = Arc::new(event.with_body(self.body.clone()));
        Ok(Record {
            position: self.position(),
            lane,
            event,
        })
    }

    /// The room it takes, in bytes.
    pub fn bytes(&self) -> u32 {
        u32::try_from(self.head.len() + self.body.len()).unwrap_or(u32::MAX)
    }

    pub fn position(&self) -> Position {
        Position {
            sequence: self.sequence,
            sinks: self.sinks,
            bytes: self.bytes(),
        }
    }
}

impl Record {
    /// The record of a newly accepted event, and its row.
    pub(super) fn create(sequence: u64, routed: Routed) -> Result<(Self, Row), serde_json::Error> {
        let (lane, sinks) = (routed.lane(), routed.sinks());
        let head = serde_json::to_vec(&Head {
            lane,
            event: routed.event(),
        })?;
        let row = Row::new(sequence, sinks, head, routed.event().body().clone());
        let record = Self {
            position: row.position(),
            lane,
            event: Arc::new(routed.into_event()),
        };
        Ok((record, row))
    }

    /// The row it came from.
    pub(super) fn encode(&self) -> Result<Row, serde_json::Error> {
        let head = serde_json::to_vec(&Head {
            lane: self.lane,
            event: &*self.event,
        })?;
        let Position {
            sequence, sinks, ..
        } = self.position;
        Ok(Row::new(sequence, sinks, head, self.event.body().clone()))
    }

    /// Its place.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The message that carries it.
    #[must_use]
    pub fn message(&self) -> Message {
        Message::new(self.position, self.lane, Arc::clone(&self.event))
    }

    /// The closed-set label of its event type.
    #[must_use]
    pub fn label(&self) -> &str {
        event_label(&self.event, self.lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_column_is_noticed() {
        let row = Row::new(
            7,
            SinkSet::from_bits(1),
            b"head".to_vec(),
            Bytes::from_static(b"body"),
        );
        assert!(row.verify().is_ok());
        let changed = [
            Row {
                sequence: 8,
                ..row.clone()
            },
            Row {
                sinks: SinkSet::from_bits(2),
                ..row.clone()
            },
            Row {
                head: b"hea".to_vec(),
                body: Bytes::from_static(b"dbody"),
                ..row.clone()
            },
            Row {
                head: b"heab".to_vec(),
                ..row.clone()
            },
            Row {
                body: Bytes::from_static(b"bodx"),
                ..row.clone()
            },
            Row {
                crc: row.crc ^ 1,
                ..row
            },
        ];
        for row in changed {
            assert!(row.verify().is_err(), "{row:?}");
        }
    }

    #[test]
    fn sinks_that_changed_are_found_again_and_nothing_else_is() {
        let (known, right) = (SinkSet::from_bits(0b1011), SinkSet::from_bits(0b0010));
        let body = Bytes::from_static(b"body");
        let row = Row::new(7, right, b"head".to_vec(), body);
        for wrong in [0, 0b1, 0b11, 0b100, 1 << 31, u32::MAX] {
            let changed = Row {
                sinks: SinkSet::from_bits(wrong),
                ..row.clone()
            };
            let found = changed.with_right_sinks(known).map(|row| row.sinks);
            assert_eq!(found, Some(right), "{wrong:b}");
        }
        let changed = Row {
            head: b"hea!".to_vec(),
            ..row.clone()
        };
        assert!(changed.with_right_sinks(known).is_none());
        assert!(row.with_right_sinks(SinkSet::from_bits(0b1001)).is_none());
        assert!(row.with_right_sinks(SinkSet::default()).is_none());
    }
}
