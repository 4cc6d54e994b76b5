//! A record: one accepted event as it lies on the disk, and what proves that it is the one that was
//! written.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use crate::event::{Event, Position, SinkSet, Unpackable};
use crate::route::{Lane, Routed, event_label};
use crate::sink::Message;

/// An event with its place in the spool.
#[derive(Debug)]
pub struct Record {
    position: Position,
    lane: Lane,
    event: Arc<Event>,
}

/// All of a record but its body: [`PACKED`], the lane's number, and the packed event. Up to format
/// 2 it was JSON, which is still read.
#[derive(Deserialize)]
struct Head {
    lane: Lane,
    event: Event,
}

/// The first byte of a head as it is written now; JSON begins with a brace.
const PACKED: u8 = 1;

/// The lanes by their numbers in a head.
const LANES: [Lane; 3] = [Lane::Typed, Lane::Other, Lane::Quarantine];

/// Room for most heads, so that they grow only once.
const USUAL_HEAD_BYTES: usize = 256;

impl Head {
    fn pack(lane: Lane, event: &Event) -> Vec<u8> {
        let mut head = Vec::with_capacity(USUAL_HEAD_BYTES);
        let number = LANES.iter().take_while(|known| **known != lane).count();
        head.extend([PACKED, number.to_le_bytes()[0]]);
        event.pack(&mut head);
        head
    }

    fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let [PACKED, number, event @ ..] = bytes else {
            return Ok(serde_json::from_slice(bytes)?);
        };
        let lane = LANES.get(usize::from(*number)).ok_or(Unpackable)?;
        Ok(Self {
            lane: *lane,
            event: Event::unpack(event)?,
        })
    }
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
    Json(#[from] serde_json::Error),
    #[error("the head cannot be read: {0}")]
    Packed(#[from] Unpackable),
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
        let Head { lane, event } = Head::read(&self.head)?;
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
    pub(super) fn create(sequence: u64, routed: Routed) -> (Self, Row) {
        let (lane, sinks) = (routed.lane(), routed.sinks());
        let head = Head::pack(lane, routed.event());
        let row = Row::new(sequence, sinks, head, routed.event().body().clone());
        let record = Self {
            position: row.position(),
            lane,
            event: Arc::new(routed.into_event()),
        };
        (record, row)
    }

    /// The row it came from.
    pub(super) fn encode(&self) -> Row {
        let head = Head::pack(self.lane, &self.event);
        let Position {
            sequence, sinks, ..
        } = self.position;
        Row::new(sequence, sinks, head, self.event.body().clone())
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
    fn a_head_of_format_2_is_read_and_written_anew_as_it_is_now() {
        let json = r#"{"lane":"typed","event":{"id":"019caf8c-6ee8-8f82-8607-a6c03b58d788","source":"onecodex","source_uri":"https://app.onecodex.com","content":{"understood":{"event_type":"sample.uploaded","object_type":"sample","object_id":"7428cca4a3a04a8e","triggered_at":"2026-03-02T17:15:42.184121Z"}},"received_at":"2026-03-02T17:15:43.184121934Z","origin":"webhook","signature":"t=1772471743 v1=508dfd8714e8f316d4bb536d01e6862b66cd2fce3109d93a9efc097171534bbe","content_type":"application/json","traceparent":"00-4afa1524aaa0f7484914532e7bc97288-fafad99992dcf708-00"}}"#;
        let body = Bytes::from_static(b"body");
        let old = Row::new(7, SinkSet::from_bits(1), json.into(), body);
        let record = old.read().expect("format 2");
        let new = record.encode();
        assert!(new.head.len() * 2 < old.head.len());
        let again = new.read().expect("format 3");
        assert_eq!(again.event(), record.event());
        assert_eq!((again.lane, again.event.body()), (record.lane, &old.body));
        for head in [&[PACKED][..], &[PACKED, 3], &[PACKED, 0, 1], b"", b"{}"] {
            let row = Row::new(7, SinkSet::from_bits(1), head.into(), Bytes::new());
            assert!(row.read().is_err(), "{head:?}");
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
