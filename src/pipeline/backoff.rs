//! How long to wait before trying again: doubling from the first delay to the longest, with jitter,
//! so that many who failed together do not come back together.

use std::time::Duration;

/// The first and the longest delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySchedule {
    /// After the first failure.
    pub first: Duration,
    /// After many.
    pub longest: Duration,
}

impl RetrySchedule {
    /// The delay after `failures` failures in a row: between half and all of `first * 2^(failures-1)`,
    /// where `random` in 0..=1 chooses.
    #[must_use]
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

/// Failures in a row, and the delay they call for.
#[derive(Debug, Clone)]
pub struct Backoff {
    schedule: RetrySchedule,
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub fn new(schedule: RetrySchedule) -> Self {
        Self {
            schedule,
            failures: 0,
        }
    }

    /// Follows another schedule from the next failure on.
    pub fn follow(&mut self, schedule: RetrySchedule) {
        self.schedule = schedule;
    }

    /// Notes a failure and says how long to wait.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.schedule.delay(self.failures, rand::random())
    }

    /// Forgets the failures.
    pub fn worked(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: RetrySchedule = RetrySchedule {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(10),
    };

    #[test]
    fn delays_double_up_to_the_longest_and_jitter_halves_them_at_most() {
        let full: Vec<u128> = (1..=9)
            .map(|n| SCHEDULE.delay(n, 1.0).as_millis())
            .collect();
        assert_eq!(full, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(SCHEDULE.delay(3, 0.0).as_millis(), 200);
        assert_eq!(SCHEDULE.delay(u32::MAX, 1.0).as_millis(), 10_000);
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::new(SCHEDULE);
        for _ in 0..10 {
            backoff.failed();
        }
        backoff.worked();
        assert!(backoff.failed() <= SCHEDULE.first);
    }
}
