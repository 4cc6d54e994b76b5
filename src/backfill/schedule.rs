//! When a record is asked next, and for which part of it.

use std::time::Duration;

use jiff::Timestamp;

use super::search::RecordPart;
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

    /// What a run that begins now asks for: everything, where that is due.
    pub fn part(&self, state: &RecoveryState, now: Timestamp) -> RecordPart {
        if left(self.audit, state.audited_at, now).is_zero() {
            RecordPart::All
        } else {
            RecordPart::Failed
        }
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

/// What has become known by a run that was complete at this time.
pub(super) fn completed(state: RecoveryState, part: RecordPart, at: Timestamp) -> RecoveryState {
    RecoveryState {
        checked_at: Some(at),
        audited_at: match part {
            RecordPart::All => Some(at),
            RecordPart::Failed => state.audited_at,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let never = RecoveryState::default();
        assert_eq!(SCHEDULE.part(&never, at(0)), RecordPart::All);
        let audited = completed(never, RecordPart::All, at(0));
        assert_eq!(SCHEDULE.part(&audited, at(1)), RecordPart::Failed);
        assert_eq!(SCHEDULE.part(&audited, at(24 * 60 - 1)), RecordPart::Failed);
        assert_eq!(SCHEDULE.part(&audited, at(24 * 60)), RecordPart::All);
        let checked = completed(audited, RecordPart::Failed, at(15));
        assert_eq!(checked.audited_at, Some(at(0)));
        assert_eq!(checked.checked_at, Some(at(15)));
    }

    #[test]
    fn a_run_comes_when_either_is_due() {
        let audited = completed(RecoveryState::default(), RecordPart::All, at(0));
        let minutes = |now: i64| SCHEDULE.wait(&audited, at(now)).as_secs() / MINUTE;
        assert_eq!(minutes(0), 15);
        assert_eq!(minutes(24 * 60 - 10), 10);
        assert_eq!(minutes(24 * 60 + 10), 15, "a failed audit is not hurried");
        assert_eq!(minutes(-100), 15, "nor is anything by a clock set back");
    }
}
