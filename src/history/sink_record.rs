//! What happened to an event at a sink, as it is remembered.

use std::time::Duration;

use jiff::Timestamp;

use super::record_fields::{FieldReader, put_text};
use super::unix_micros::UnixMicros;
use crate::event::{EventId, SinkIndex};
use crate::sink::Destination;

/// What happened to an event at a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRecord<'a> {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub sink: SinkIndex,
    /// The event; none where it happened to all that waited for the sink.
    pub id: Option<EventId>,
    /// What.
    pub step: SinkStep<'a>,
}

/// A step of an event's way at a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkStep<'a> {
    /// It is handed to the sink.
    Published,
    /// The sink has confirmed it.
    Confirmed {
        /// After so long.
        took: Duration,
        /// Where it is now.
        destination: Destination,
    },
    /// A publish has failed.
    Failed {
        /// How, as the metrics have it.
        result: &'a str,
        /// What the sink said.
        detail: &'a str,
    },
    /// It is a dead letter.
    DeadLettered {
        /// Why.
        reason: &'a str,
    },
    /// An operator has put its dead letter back into the spool.
    Requeued,
    /// An operator has dropped it.
    Discarded,
}

const PUBLISHED: u8 = 0;
const CONFIRMED_KAFKA: u8 = 1;
const CONFIRMED_RABBITMQ: u8 = 2;
const CONFIRMED_STORE: u8 = 3;
const FAILED: u8 = 4;
const DEAD_LETTERED: u8 = 5;
const REQUEUED: u8 = 6;
const DISCARDED: u8 = 7;

/// Writes that a publish has begun.
pub(super) fn encode_published(to: &mut Vec<u8>, at: UnixMicros, sink: SinkIndex, id: EventId) {
    put_head(to, (at, sink, Some(id)), PUBLISHED);
}

/// Writes that a publish was confirmed.
pub(super) fn encode_confirmed(
    to: &mut Vec<u8>,
    (at, sink, id): (UnixMicros, SinkIndex, EventId),
    took: Duration,
    destination: &Destination,
) {
    let kind = match destination {
        Destination::Kafka { .. } => CONFIRMED_KAFKA,
        Destination::RabbitMq { .. } => CONFIRMED_RABBITMQ,
        Destination::Store { .. } => CONFIRMED_STORE,
    };
    put_head(to, (at, sink, Some(id)), kind);
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    to.extend_from_slice(&took.to_le_bytes());
    match destination {
        Destination::Kafka {
            topic,
            partition,
            offset,
        } => {
            put_text(to, topic);
            to.extend_from_slice(&partition.to_le_bytes());
            to.extend_from_slice(&offset.to_le_bytes());
        }
        Destination::RabbitMq {
            exchange,
            routing_key,
        } => {
            put_text(to, exchange);
            put_text(to, routing_key);
        }
        Destination::Store { topic, position } => {
            put_text(to, topic);
            to.extend_from_slice(&position.to_le_bytes());
        }
    }
}

impl SinkRecord<'_> {
    /// Writes it.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        let (kind, texts) = match &self.step {
            SinkStep::Confirmed { took, destination } => {
                let id = self.id.unwrap_or(NO_EVENT);
                let of = (self.at.into(), self.sink, id);
                return encode_confirmed(to, of, *took, destination);
            }
            SinkStep::Published => (PUBLISHED, [None; 2]),
            SinkStep::Failed { result, detail } => (FAILED, [Some(*result), Some(*detail)]),
            SinkStep::DeadLettered { reason } => (DEAD_LETTERED, [Some(*reason), None]),
            SinkStep::Requeued => (REQUEUED, [None; 2]),
            SinkStep::Discarded => (DISCARDED, [None; 2]),
        };
        put_head(to, (self.at.into(), self.sink, self.id), kind);
        for text in texts.into_iter().flatten() {
            put_text(to, text);
        }
    }
}

/// Stands where a record is of no single event; no event's version is 0.
const NO_EVENT: EventId = EventId::from_bytes([0; 16]);

/// Appends what every record begins with.
fn put_head(to: &mut Vec<u8>, (at, sink, id): (UnixMicros, SinkIndex, Option<EventId>), kind: u8) {
    let mut head = [0; 26];
    head[..8].copy_from_slice(&at.to_le_bytes());
    head[8] = u8::try_from(sink.number()).expect("a spool knows 32 sinks at most");
    head[9..25].copy_from_slice(id.unwrap_or(NO_EVENT).as_bytes());
    head[25] = kind;
    to.extend_from_slice(&head);
}

/// Reads a record of a sink; none where the bytes are something else.
pub(super) fn decode<'a>(from: &mut FieldReader<'a>) -> Option<SinkRecord<'a>> {
    let (at, sink) = (
        from.time()?.timestamp(),
        SinkIndex::new(usize::from(from.byte()?))?,
    );
    let id = Some(from.id()?).filter(|id| *id != NO_EVENT);
    let step = match from.byte()? {
        PUBLISHED => SinkStep::Published,
        kind @ (CONFIRMED_KAFKA | CONFIRMED_RABBITMQ | CONFIRMED_STORE) => SinkStep::Confirmed {
            took: Duration::from_micros(u64::from_le_bytes(from.array()?)),
            destination: destination(from, kind)?,
        },
        FAILED => SinkStep::Failed {
            result: from.text()?,
            detail: from.text()?,
        },
        DEAD_LETTERED => SinkStep::DeadLettered {
            reason: from.text()?,
        },
        REQUEUED => SinkStep::Requeued,
        DISCARDED => SinkStep::Discarded,
        _ => return None,
    };
    Some(SinkRecord { at, sink, id, step })
}

fn destination(from: &mut FieldReader<'_>, kind: u8) -> Option<Destination> {
    let name = from.text()?.to_owned();
    Some(match kind {
        CONFIRMED_KAFKA => Destination::Kafka {
            topic: name,
            partition: i32::from_le_bytes(from.array()?),
            offset: i64::from_le_bytes(from.array()?),
        },
        CONFIRMED_RABBITMQ => Destination::RabbitMq {
            exchange: name,
            routing_key: from.text()?.to_owned(),
        },
        _ => Destination::Store {
            topic: name,
            position: u64::from_le_bytes(from.array()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(step: SinkStep<'_>, id: Option<EventId>) {
        let record = SinkRecord {
            at: Timestamp::from_microsecond(1_795_000_000_123_456).expect("in range"),
            sink: SinkIndex::new(5).expect("in range"),
            id,
            step,
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(decode(&mut FieldReader(&bytes)), Some(record.clone()));
        for length in 0..bytes.len() {
            assert_eq!(decode(&mut FieldReader(&bytes[..length])), None, "{length}");
        }
    }

    #[test]
    fn every_step_comes_back_as_it_was() {
        let id = Some(EventId::from_bytes([9; 16]));
        let took = Duration::from_micros(4_200);
        let topic = "onecodex.sample.uploaded".to_owned();
        for destination in [
            Destination::Kafka {
                topic: topic.clone(),
                partition: 3,
                offset: -1,
            },
            Destination::RabbitMq {
                exchange: "onecodex".to_owned(),
                routing_key: "sample.uploaded.7428".to_owned(),
            },
            Destination::Store {
                topic,
                position: u64::MAX,
            },
        ] {
            round(SinkStep::Confirmed { took, destination }, id);
        }
        let (result, detail) = ("unavailable", "no confirm within 30 s");
        round(SinkStep::Failed { result, detail }, id);
        let reason = "too_large";
        round(SinkStep::DeadLettered { reason }, id);
        for step in [SinkStep::Published, SinkStep::Requeued, SinkStep::Discarded] {
            round(step, id);
        }
        round(SinkStep::Discarded, None);
    }
}
