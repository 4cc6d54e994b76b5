//! When a record is asked next, and for which part of it.

use std::time::Duration;

use jiff::Timestamp;

use super::settings::RecoverySettings;
use super::state_file::RecoveryState;

/// When a source's record is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    every: Duration,
    audit: Duration,
}

/// What is left of a span that began then. A clock that was set back does not lengthen it.
fn left(span: Duration, since: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(since) = since else {
        return Duration::ZERO;
    };
    let passed = Duration::try_from(now.duration_since(since));
    span.saturating_sub(passed.unwrap_or(span))
}

impl Schedule {
    pub fn of(settings: &RecoverySettings) -> Self {
        Self {
            every: settings.every,
            audit: settings.audit,
        }
    }

    /// Whether everything is to be asked for.
    pub fn is_audit_due(&self, state: &RecoveryState, now: Timestamp) -> bool {
        left(self.audit, state.audited_at, now).is_zero()
    }

    /// How long it is until the next run, after one that has ended now, however.
    pub fn wait(&self, state: &RecoveryState, now: Timestamp) -> Duration {
        let audit = left(self.audit, state.audited_at, now);
        if audit.is_zero() {
            // The audit has failed: it is tried again at the usual pace.
            return self.every;
        }
        self.every.min(audit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::search::RecordPart;

    const MINUTE: u64 = 60;
    const SCHEDULE: Schedule = Schedule {
        every: Duration::from_secs(15 * MINUTE),
        audit: Duration::from_secs(24 * 60 * MINUTE),
    };

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).expect("a time")
    }

    #[test]
    fn everything_is_asked_for_at_first_and_a_day_after() {
        let mut state = RecoveryState::default();
        assert!(SCHEDULE.is_audit_due(&state, at(0)));
        state.complete(RecordPart::All, at(0));
        assert!(!SCHEDULE.is_audit_due(&state, at(24 * 60 - 1)));
        state.complete(RecordPart::Failed, at(24 * 60 - 1));
        assert!(SCHEDULE.is_audit_due(&state, at(24 * 60)));
    }

    #[test]
    fn a_run_comes_when_either_is_due() {
        let mut audited = RecoveryState::default();
        audited.complete(RecordPart::All, at(0));
        let minutes = |now: i64| SCHEDULE.wait(&audited, at(now)).as_secs() / MINUTE;
        assert_eq!(minutes(0), 15);
        assert_eq!(minutes(24 * 60 - 10), 10);
        assert_eq!(minutes(24 * 60 + 10), 15, "a failed audit is not hurried");
        assert_eq!(minutes(-100), 15, "nor is anything by a clock set back");
    }
}
