//! A delivery's record as bytes.

use std::net::IpAddr;
use std::time::Duration;

use super::delivery_record::{DeliveryOutcome, DeliveryRecord, EventFacts, SignatureFacts};
use super::record_fields::{FieldReader, put_text};
use super::unix_micros::UnixMicros;
use crate::event::SinkSet;
use crate::source::EventOrigin;

/// What a record has of what it need not have.
const HAS_SIGNATURE: u8 = 1;
const HAS_AGE: u8 = 2;
const HAS_REASON: u8 = 64;
const HAS_EVENT: u8 = 4;
const IS_SPOOLED: u8 = 8;
const HAS_QUARANTINE: u8 = 16;
const IS_BACKFILL: u8 = 32;

impl DeliveryRecord<'_> {
    /// Which parts there are.
    fn flags(&self) -> u8 {
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        let has_age = self.signature.is_some_and(|it| it.age_seconds.is_some());
        let is_spooled = self.event.is_some_and(|it| it.is_spooled);
        let has_quarantine = self.event.is_some_and(|it| it.quarantine.is_some());
        let has_reason = self.reason.is_some() || self.request_id.is_some();
        flag(self.signature.is_some(), HAS_SIGNATURE)
            | flag(has_reason, HAS_REASON)
            | flag(has_age, HAS_AGE)
            | flag(self.event.is_some(), HAS_EVENT)
            | flag(is_spooled, IS_SPOOLED)
            | flag(has_quarantine, HAS_QUARANTINE)
            | flag(self.origin == EventOrigin::Backfill, IS_BACKFILL)
    }

    /// Writes it.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        let took = u32::try_from(self.took.as_micros()).unwrap_or(u32::MAX);
        let mut head = [0; 16];
        head[..8].copy_from_slice(&self.answered_at.to_le_bytes());
        head[8..12].copy_from_slice(&took.to_le_bytes());
        head[12..14].copy_from_slice(&self.status.to_le_bytes());
        head[14] = self.flags();
        head[15] = self.outcome as u8;
        to.extend_from_slice(&head);
        put_address(to, self.address);
        put_text(to, self.source);
        if let Some(signature) = &self.signature {
            signature.encode(to);
        }
        if self.reason.is_some() || self.request_id.is_some() {
            put_text(to, self.reason.unwrap_or_default());
            put_text(to, self.request_id.unwrap_or_default());
        }
        if let Some(event) = &self.event {
            event.encode(to);
        }
    }
}

impl SignatureFacts {
    fn encode(&self, to: &mut Vec<u8>) {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&UnixMicros::from(self.verified_at).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.age_seconds.unwrap_or_default().to_le_bytes());
        bytes[16] = u8::try_from(self.secret).unwrap_or(u8::MAX);
        to.extend_from_slice(&bytes);
    }
}

impl EventFacts<'_> {
    fn encode(&self, to: &mut Vec<u8>) {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(self.id.as_bytes());
        bytes[16..].copy_from_slice(&self.sinks.bits().to_le_bytes());
        to.extend_from_slice(&bytes);
        put_text(to, self.event_type.unwrap_or_default());
        put_text(to, self.object_id.unwrap_or_default());
        if let Some((reason, detail)) = self.quarantine {
            put_text(to, reason);
            put_text(to, detail);
        }
    }
}

fn put_address(to: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        None => to.push(0),
        Some(IpAddr::V4(address)) => {
            to.push(4);
            to.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            to.push(6);
            to.extend_from_slice(&address.octets());
        }
    }
}

/// Reads a delivery's record; none where the bytes are something else.
pub(super) fn decode<'a>(from: &mut FieldReader<'a>) -> Option<DeliveryRecord<'a>> {
    let answered_at = from.time()?;
    let took = u32::from_le_bytes(from.array()?);
    let status = u16::from_le_bytes(from.array()?);
    let (flags, outcome) = (from.byte()?, usize::from(from.byte()?));
    let has = |flag: u8| flags & flag != 0;
    let (address, source) = (address(from)?, from.text()?);
    let signature = if has(HAS_SIGNATURE) {
        Some(signature(from, has(HAS_AGE))?)
    } else {
        None
    };
    let (reason, request_id) = if has(HAS_REASON) {
        (from.optional_text()?, from.optional_text()?)
    } else {
        (None, None)
    };
    Some(DeliveryRecord {
        answered_at,
        took: Duration::from_micros(took.into()),
        address,
        source,
        reason,
        request_id,
        origin: if has(IS_BACKFILL) {
            EventOrigin::Backfill
        } else {
            EventOrigin::Webhook
        },
        outcome: *DeliveryOutcome::ALL.get(outcome)?,
        status,
        signature,
        event: if has(HAS_EVENT) {
            Some(event(from, has(IS_SPOOLED), has(HAS_QUARANTINE))?)
        } else {
            None
        },
    })
}

fn address(from: &mut FieldReader<'_>) -> Option<Option<IpAddr>> {
    Some(match from.byte()? {
        0 => None,
        4 => Some(IpAddr::from(from.array::<4>()?)),
        6 => Some(IpAddr::from(from.array::<16>()?)),
        _ => return None,
    })
}

fn signature(from: &mut FieldReader<'_>, has_age: bool) -> Option<SignatureFacts> {
    let (verified_at, age) = (from.time()?, i64::from_le_bytes(from.array()?));
    Some(SignatureFacts {
        verified_at: verified_at.timestamp(),
        age_seconds: has_age.then_some(age),
        secret: usize::from(from.byte()?),
    })
}

fn event<'a>(
    from: &mut FieldReader<'a>,
    is_spooled: bool,
    has_quarantine: bool,
) -> Option<EventFacts<'a>> {
    Some(EventFacts {
        id: from.id()?,
        sinks: SinkSet::from_bits(u32::from_le_bytes(from.array()?)),
        event_type: from.optional_text()?,
        object_id: from.optional_text()?,
        is_spooled,
        quarantine: if has_quarantine {
            Some((from.text()?, from.text()?))
        } else {
            None
        },
    })
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
        let mut from = FieldReader(&bytes);
        assert_eq!(decode(&mut from), Some(*record));
        assert!(from.0.is_empty());
        for length in 0..bytes.len() {
            // What was cut off is never read as something else.
            let cut = decode(&mut FieldReader(&bytes[..length]));
            assert_eq!(cut, None, "{length} of {}", bytes.len());
        }
    }

    #[test]
    fn a_record_comes_back_with_all_of_its_parts_or_none_of_them() {
        let bare = DeliveryRecord {
            answered_at: at(1_795_000_000_123_456).into(),
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
            is_spooled: true,
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
                is_spooled: false,
                quarantine: Some(("invalid_json", "expected value at line 1")),
                ..facts
            }),
            ..accepted
        });
    }
}
