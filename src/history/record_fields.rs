//! The fields that records of every kind have, as bytes.

use jiff::Timestamp;

use crate::event::EventId;
use crate::log::codec::Decoder;

/// Appends a time, in microseconds since 1970.
pub(super) fn put_time(to: &mut Vec<u8>, at: Timestamp) {
    to.extend_from_slice(&at.as_microsecond().to_le_bytes());
}

/// The next time.
pub(super) fn get_time(from: &mut Decoder<'_>) -> Option<Timestamp> {
    let (microseconds, rest) = from.0.split_first_chunk()?;
    from.0 = rest;
    Timestamp::from_microsecond(i64::from_le_bytes(*microseconds)).ok()
}

/// The next event id.
pub(super) fn get_id(from: &mut Decoder<'_>) -> Option<EventId> {
    let (id, rest) = from.0.split_first_chunk()?;
    from.0 = rest;
    Some(EventId::from_bytes(*id))
}
