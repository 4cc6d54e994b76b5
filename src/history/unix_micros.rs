//! A time as records have it. To read the clock into one takes a third of what a [`Timestamp`] takes,
//! which is much for something that is done for each event.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixMicros(i64);

impl UnixMicros {
    /// The time now; 1970 where the clock is before that.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| {
            // Seconds of a clock are far from the bound.
            since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
        });
        Self(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// The same time; 1970 where it is beyond what there is a date for.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or_default()
    }

    /// Its bytes.
    pub(super) fn to_le_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// The time with these bytes.
    pub(super) fn from_le_bytes(bytes: [u8; 8]) -> Self {
        Self(i64::from_le_bytes(bytes))
    }
}

impl From<Timestamp> for UnixMicros {
    fn from(time: Timestamp) -> Self {
        Self(time.as_microsecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_time_of_the_clock() {
        let before = Timestamp::now();
        let now = UnixMicros::now();
        let after = Timestamp::now();
        assert!((UnixMicros::from(before).0..=UnixMicros::from(after).0).contains(&now.0));
        assert_eq!(UnixMicros::from(now.timestamp()), now);
        assert_eq!(UnixMicros::from_le_bytes(now.to_le_bytes()), now);
        assert_eq!(UnixMicros(i64::MAX).timestamp(), Timestamp::UNIX_EPOCH);
    }
}
