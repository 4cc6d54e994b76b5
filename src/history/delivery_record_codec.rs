//! A delivery's record as bytes.

use std::net::IpAddr;
use std::time::Duration;

use super::delivery_record::{DeliveryOutcome, DeliveryRecord, EventFacts, SignatureFacts};
use super::record_fields::{get_id, get_time, put_time};
use crate::event::SinkSet;
use crate::log::codec::{Decoder, put, put_bytes};
use crate::source::EventOrigin;

/// What a record has of what it need not have.
const HAS_SIGNATURE: u8 = 1;
const HAS_AGE: u8 = 2;
const HAS_EVENT: u8 = 4;
const HAS_SPOOLED: u8 = 8;
const HAS_QUARANTINE: u8 = 16;
const IS_BACKFILL: u8 = 32;

impl DeliveryRecord<'_> {
    /// Which parts there are.
    fn flags(&self) -> u8 {
        let age = self.signature.and_then(|it| it.age_seconds);
        let spooled = self.event.and_then(|it| it.spooled_at);
        let quarantine = self.event.and_then(|it| it.quarantine);
        [
            (HAS_SIGNATURE, self.signature.is_some()),
            (HAS_AGE, age.is_some()),
            (HAS_EVENT, self.event.is_some()),
            (HAS_SPOOLED, spooled.is_some()),
            (HAS_QUARANTINE, quarantine.is_some()),
            (IS_BACKFILL, self.origin == EventOrigin::Backfill),
        ]
        .into_iter()
        .filter_map(|(flag, is_there)| is_there.then_some(flag))
        .sum()
    }

    /// Writes it.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        put_time(to, self.received_at);
        to.push(self.flags());
        to.push(self.outcome as u8);
        put(to, u64::from(self.status));
        put(to, u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX));
        match self.address {
            None => put_bytes(to, &[]),
            Some(IpAddr::V4(address)) => put_bytes(to, &address.octets()),
            Some(IpAddr::V6(address)) => put_bytes(to, &address.octets()),
        }
        for text in [Some(self.source), self.reason, self.request_id] {
            put_bytes(to, text.unwrap_or_default().as_bytes());
        }
        if let Some(signature) = &self.signature {
            put_time(to, signature.verified_at);
            if let Some(age) = signature.age_seconds {
                to.extend_from_slice(&age.to_le_bytes());
            }
            put(to, signature.secret as u64);
        }
        if let Some(event) = &self.event {
            event.encode(to);
        }
    }
}

impl EventFacts<'_> {
    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.id.as_bytes());
        for text in [self.event_type, self.object_id] {
            put_bytes(to, text.unwrap_or_default().as_bytes());
        }
        if let Some(spooled_at) = self.spooled_at {
            put_time(to, spooled_at);
        }
        put(to, u64::from(self.sinks.bits()));
        if let Some((reason, detail)) = self.quarantine {
            put_bytes(to, reason.as_bytes());
            put_bytes(to, detail.as_bytes());
        }
    }
}

/// Reads a delivery's record; none where the bytes are something else.
pub(super) fn decode<'a>(from: &mut Decoder<'a>) -> Option<DeliveryRecord<'a>> {
    let received_at = get_time(from)?;
    let (flags, outcome): (u8, usize) = (from.small()?, from.small()?);
    let (status, took) = (from.small()?, Duration::from_micros(from.number()?));
    let address = match *from.bytes()? {
        [] => None,
        ref octets => Some(address(octets)?),
    };
    let (source, reason, request_id) = (from.text()?, optional(from)?, optional(from)?);
    Some(DeliveryRecord {
        received_at,
        took,
        source,
        origin: if flags & IS_BACKFILL == 0 {
            EventOrigin::Webhook
        } else {
            EventOrigin::Backfill
        },
        address,
        outcome: *DeliveryOutcome::ALL.get(outcome)?,
        status,
        reason,
        request_id,
        signature: if flags & HAS_SIGNATURE == 0 {
            None
        } else {
            Some(signature(from, flags)?)
        },
        event: if flags & HAS_EVENT == 0 {
            None
        } else {
            Some(event(from, flags)?)
        },
    })
}

fn signature(from: &mut Decoder<'_>, flags: u8) -> Option<SignatureFacts> {
    Some(SignatureFacts {
        verified_at: get_time(from)?,
        age_seconds: if flags & HAS_AGE == 0 {
            None
        } else {
            let (age, rest) = from.0.split_first_chunk()?;
            from.0 = rest;
            Some(i64::from_le_bytes(*age))
        },
        secret: from.small()?,
    })
}

fn event<'a>(from: &mut Decoder<'a>, flags: u8) -> Option<EventFacts<'a>> {
    Some(EventFacts {
        id: get_id(from)?,
        event_type: optional(from)?,
        object_id: optional(from)?,
        spooled_at: if flags & HAS_SPOOLED == 0 {
            None
        } else {
            Some(get_time(from)?)
        },
        sinks: SinkSet::from_bits(from.small()?),
        quarantine: if flags & HAS_QUARANTINE == 0 {
            None
        } else {
            Some((from.text()?, from.text()?))
        },
    })
}

/// A text that is there unless it is empty.
fn optional<'a>(from: &mut Decoder<'a>) -> Option<Option<&'a str>> {
    Some(Some(from.text()?).filter(|text| !text.is_empty()))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event::{EventId, SinkIndex};

    fn at(microseconds: i64) -> Timestamp {
        Timestamp::from_microsecond(microseconds).expect("in range")
    }

    fn round(record: &DeliveryRecord<'_>) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let mut from = Decoder(&bytes);
        assert_eq!(decode(&mut from), Some(*record));
        assert!(from.is_empty());
        for length in 0..bytes.len() {
            // What was cut off is never read as something else.
            let cut = decode(&mut Decoder(&bytes[..length]));
            assert_eq!(cut, None, "{length} of {}", bytes.len());
        }
    }

    #[test]
    fn a_record_comes_back_with_all_of_its_parts_or_none_of_them() {
        let bare = DeliveryRecord {
            received_at: at(1_795_000_000_123_456),
            took: Duration::from_micros(810),
            source: "unknown",
            origin: EventOrigin::Webhook,
            address: Some("2001:db8::7".parse().expect("an address")),
            outcome: DeliveryOutcome::Rejected,
            status: 404,
            reason: Some("unknown_source"),
            request_id: Some("49a5b9458767be2d"),
            signature: None,
            event: None,
        };
        round(&bare);
        let facts = EventFacts {
            id: EventId::from_bytes([7; 16]),
            event_type: Some("sample.uploaded"),
            object_id: Some("7428cca4a3a04a8e"),
            spooled_at: Some(at(1_795_000_000_124_000)),
            sinks: SinkIndex::new(31).into_iter().collect(),
            quarantine: None,
        };
        let signature = SignatureFacts {
            verified_at: at(1_795_000_000_123_500),
            age_seconds: Some(-3),
            secret: 3,
        };
        let accepted = DeliveryRecord {
            source: "onecodex",
            address: Some("192.0.2.7".parse().expect("an address")),
            outcome: DeliveryOutcome::Accepted,
            status: 200,
            reason: None,
            request_id: None,
            signature: Some(signature),
            event: Some(facts),
            ..bare
        };
        round(&accepted);
        round(&DeliveryRecord {
            origin: EventOrigin::Backfill,
            address: None,
            outcome: DeliveryOutcome::Quarantined,
            signature: Some(SignatureFacts {
                age_seconds: None,
                ..signature
            }),
            event: Some(EventFacts {
                event_type: None,
                object_id: None,
                spooled_at: None,
                quarantine: Some(("invalid_json", "expected value at line 1")),
                ..facts
            }),
            ..accepted
        });
    }
}
