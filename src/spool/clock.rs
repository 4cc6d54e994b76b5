//! The clock by which ids are forgotten: the latest time at which an event was verified, and never faster
//! than the monotonic clock. A wall clock that jumps ahead and back forgets nothing.
//!
//! What passes while no bridge runs does not count, so ids are kept a little longer than the window.

use std::time::Instant;

use jiff::Timestamp;

const MILLISECONDS: i64 = 1000;

/// The clock.
#[derive(Debug)]
pub(super) struct VerifiedClock {
    at: i64,
    since: Instant,
}

impl VerifiedClock {
    /// Goes on from a time in seconds since the epoch; 0 where there was none.
    pub fn new(seconds: i64, now: Instant) -> Self {
        Self {
            at: seconds.saturating_mul(MILLISECONDS),
            since: now,
        }
    }

    /// An event was verified at this time by the wall clock. Returns the time that counts, in
    /// seconds since the epoch.
    pub fn observe(&mut self, verified_at: Timestamp, now: Instant) -> i64 {
        let verified = verified_at.as_millisecond();
        let passed = now.saturating_duration_since(self.since).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        if self.at == 0 {
            self.at = verified;
            self.since = now;
        } else if verified > self.at {
            self.at = verified.min(self.at.saturating_add(passed));
            self.since = now;
        }
        self.at / MILLISECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_follows_what_is_verified_and_never_outruns_the_monotonic_clock() {
        let start = Instant::now();
        let wall = |seconds| Timestamp::from_second(seconds).expect("in range");
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut clock = VerifiedClock::new(0, start);
        assert_eq!(clock.observe(wall(1_000_000), start), 1_000_000);
        assert_eq!(clock.observe(wall(1_000_010), after(10)), 1_000_010);
        let two_days = 2 * 86_400;
        assert_eq!(
            clock.observe(wall(1_000_010 + two_days), after(20)),
            1_000_020
        );
        assert_eq!(clock.observe(wall(1_000_025), after(30)), 1_000_025);
        let mut restarted = VerifiedClock::new(1_000_025, after(30));
        assert_eq!(restarted.observe(wall(2_000_000), after(31)), 1_000_026);
    }
}
