//! A record: one accepted event as it lies in the log, and what proves that it is there.
//!
//! The payload: the digest of the body (8 bytes; 0 of a backfilled event, whatever its body), the
//! sinks it was accepted for as bits (4), the lane (1), the event's length (3), the event but for its
//! body ([`Event::encode`], which begins with what tells a repeated delivery, most often the event's id), and the body. The log adds the
//! sequence, the length and a checksum over all of it.

use std::sync::Arc;

use bytes::Bytes;

use super::index::IdEntry;
use crate::event::{Event, EventId, EventOrigin, Position, SinkIndex, SinkSet};
use crate::route::{Lane, Routed, event_label};
use crate::sink::Message;

/// An event with its place in the spool.
#[derive(Debug)]
pub struct SpoolRecord {
    position: Position,
    lane: Lane,
    event: Arc<Event>,
}

/// The lanes by their numbers in a record.
const LANES: [Lane; 3] = [Lane::Typed, Lane::Other, Lane::Quarantine];
/// The part of a payload before the event.
const PREFIX_BYTES: usize = 16;
const ID_BYTES: usize = 16;
/// The most bytes of an event without its body: far more than a request's head may have.
const MAX_EVENT_BYTES: usize = (1 << 24) - 1;
/// Room for most events, so that they grow only once.
const USUAL_BYTES: usize = 512;

/// The digest of an event that is known with whatever body. A body whose digest is this one is a matter
/// of 2^64 events.
pub(super) const ANY_BODY: u64 = 0;

/// What tells one body of an event from another.
fn digest(event: &Event) -> u64 {
    match event.origin() {
        EventOrigin::Webhook => event.digest(),
        EventOrigin::Backfill => ANY_BODY,
    }
}

/// The payload is not one of ours, though its checksum matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record's bytes are no event")]
pub(super) struct RecordDecodeError;

/// What is asked of a record without decoding its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordPrefix {
    /// What tells a repeated delivery: see [`Event::deduplication_id`].
    pub id: EventId,
    pub digest: u64,
    pub sinks: SinkSet,
    /// When it was received, in hours since the epoch.
    pub hour: u32,
}

/// The hour of a time in seconds since the epoch.
pub(super) fn hour(seconds: i64) -> u32 {
    const SECONDS_OF_AN_HOUR: i64 = 3600;
    u32::try_from(seconds / SECONDS_OF_AN_HOUR).unwrap_or(0)
}

impl RecordPrefix {
    /// Reads the first bytes of a payload.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let array = |at: usize| payload.get(at..at + 8)?.try_into().ok();
        let sinks = payload.get(8..12)?.try_into().ok()?;
        let id = payload.get(PREFIX_BYTES..PREFIX_BYTES + ID_BYTES)?;
        // An event begins with what tells a repeated delivery, and the second it was received in.
        let received_at = i64::from_le_bytes(array(PREFIX_BYTES + ID_BYTES)?);
        Some(Self {
            digest: u64::from_le_bytes(array(0)?),
            sinks: SinkSet::from_bits(u32::from_le_bytes(sinks)),
            id: EventId::from_bytes(id.try_into().ok()?),
            hour: hour(received_at),
        })
    }

    /// What the index is to know of it.
    pub fn entry(&self, sequence: u64) -> IdEntry {
        IdEntry {
            id: self.id,
            digest: self.digest,
            sequence,
            accepted_hour: self.hour,
        }
    }
}

/// An event made ready to be written: encoded by whoever brings it, so that the spool's thread has
/// nothing to do but copy it.
#[derive(Debug)]
pub(super) struct PreparedRecord {
    pub prefix: RecordPrefix,
    /// All of the payload but the body.
    pub head: Vec<u8>,
    lane: Lane,
    event: Arc<Event>,
}

impl PreparedRecord {
    /// Prepares a routed event.
    pub fn new(routed: Routed) -> Self {
        let (lane, sinks) = (routed.lane(), routed.sinks());
        Self::of(Arc::new(routed.into_event()), lane, sinks)
    }

    /// Prepares an event again, for one sink.
    pub fn again(record: &SpoolRecord, sink: SinkIndex) -> Self {
        let sinks = SinkSet::default().with(sink);
        Self::of(Arc::clone(&record.event), record.lane, sinks)
    }

    pub(super) fn of(event: Arc<Event>, lane: Lane, sinks: SinkSet) -> Self {
        let prefix = RecordPrefix {
            id: event.deduplication_id(),
            digest: digest(&event),
            sinks,
            hour: hour(event.received_at().as_second()),
        };
        let mut head = Vec::with_capacity(USUAL_BYTES);
        head.extend(prefix.digest.to_le_bytes());
        head.extend(sinks.bits().to_le_bytes());
        head.extend([0; 4]);
        event.encode(&mut head);
        let length = (head.len() - PREFIX_BYTES).min(MAX_EVENT_BYTES);
        let number = LANES.iter().take_while(|known| **known != lane).count();
        head[12..16].copy_from_slice(
            &u32::try_from(length << 8 | number)
                .unwrap_or(0)
                .to_le_bytes(),
        );
        Self {
            prefix,
            head,
            lane,
            event,
        }
    }

    /// Bytes of the payload.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.event.body().len()
    }

    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The record it becomes with this sequence.
    pub fn into_record(self, sequence: u64) -> SpoolRecord {
        SpoolRecord {
            position: Position {
                sequence,
                sinks: self.prefix.sinks,
                bytes: u32::try_from(self.bytes()).unwrap_or(u32::MAX),
            },
            lane: self.lane,
            event: self.event,
        }
    }
}

impl SpoolRecord {
    /// Reads a payload. The body is copied: the bytes it came in may be a large piece of a file.
    pub(super) fn decode(sequence: u64, payload: &[u8]) -> Result<Self, RecordDecodeError> {
        let prefix = RecordPrefix::decode(payload).ok_or(RecordDecodeError)?;
        let number = payload[12..PREFIX_BYTES]
            .try_into()
            .map_err(|_| RecordDecodeError)?;
        let number = u32::from_le_bytes(number);
        let lane = LANES
            .get((number & 0xff) as usize)
            .ok_or(RecordDecodeError)?;
        let (event, body) = payload[PREFIX_BYTES..]
            .split_at_checked((number >> 8) as usize)
            .ok_or(RecordDecodeError)?;
        let event = Event::decode(event).map_err(|_| RecordDecodeError)?;
        Ok(Self {
            position: Position {
                sequence,
                sinks: prefix.sinks,
                bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            },
            lane: *lane,
            event: Arc::new(event.with_body(Bytes::copy_from_slice(body))),
        })
    }

    /// Reads the first bytes of a payload of this length, as far as the event goes; the body is empty.
    pub(super) fn decode_head(sequence: u64, head: &[u8], length: usize) -> Option<Self> {
        let number = head.get(12..PREFIX_BYTES)?.try_into().ok()?;
        let event = (u32::from_le_bytes(number) >> 8) as usize;
        let head = head.get(..PREFIX_BYTES + event)?;
        let mut record = Self::decode(sequence, head).ok()?;
        record.position.bytes = u32::try_from(length).unwrap_or(u32::MAX);
        Some(record)
    }

    /// The payload it was read from.
    pub(super) fn encode(&self) -> Vec<u8> {
        let prepared = PreparedRecord::of(Arc::clone(&self.event), self.lane, self.position.sinks);
        let mut payload = prepared.head;
        payload.extend_from_slice(self.event.body());
        payload
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
