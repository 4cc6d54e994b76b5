//! What became of a record's entries in one run, as it is counted for Prometheus and told to people.

use super::run_line::Summary;
use crate::metrics::Metrics;
use crate::name::SourceName;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// It was missing, and is accepted now.
    Recovered,
    /// It was missing, and the provider was asked to deliver it again.
    Redelivered,
    /// The spool knows its id.
    Known,
    /// It is older than the ids that are remembered, and the provider says that it was delivered.
    Forgotten,
    /// It may still be delivered.
    TooYoung,
    /// It is no event, or the provider does not deliver it again.
    Unreadable,
    /// It was missing, and a route drops it.
    Dropped,
}

impl EventResult {
    /// Every result, so that each has a series from the first scrape on.
    pub const ALL: [Self; 7] = [
        Self::Recovered,
        Self::Redelivered,
        Self::Known,
        Self::Forgotten,
        Self::TooYoung,
        Self::Unreadable,
        Self::Dropped,
    ];

    /// The metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Redelivered => "redelivered",
            Self::Known => "known",
            Self::Forgotten => "forgotten",
            Self::TooYoung => "too_young",
            Self::Unreadable => "unreadable",
            Self::Dropped => "dropped",
        }
    }
}

/// The counts of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct RunCounts {
    pub listed: u64,
    pub missing: u64,
    results: [u64; EventResult::ALL.len()],
}

impl RunCounts {
    pub fn add(&mut self, result: EventResult) {
        self.results[result as usize] += 1;
    }

    pub fn of(&self, result: EventResult) -> u64 {
        self.results[result as usize]
    }

    /// Begins another list: what was counted of the one before is counted again.
    pub fn list_again(&mut self) {
        let kept = [
            EventResult::Recovered,
            EventResult::Redelivered,
            EventResult::Dropped,
        ];
        *self = Self {
            missing: self.missing,
            ..kept
                .into_iter()
                .fold(Self::default(), |mut counts, result| {
                    counts.results[result as usize] = self.of(result);
                    counts
                })
        };
    }

    /// Counts a run that has ended.
    pub fn show(&self, metrics: &Metrics, source: &SourceName) {
        for result in EventResult::ALL {
            let labels = [source.as_str(), result.as_str()];
            let events = metrics.backfill_events_total.with_label_values(&labels);
            events.inc_by(self.of(result));
        }
    }

    pub fn summary(&self, dry_run: bool) -> Summary {
        Summary {
            listed: self.listed,
            missing: self.missing,
            recovered: self.of(EventResult::Recovered),
            redelivered: self.of(EventResult::Redelivered),
            known: self.of(EventResult::Known),
            forgotten: self.of(EventResult::Forgotten),
            too_young: self.of(EventResult::TooYoung),
            unreadable: self.of(EventResult::Unreadable),
            dropped: self.of(EventResult::Dropped),
            dry_run,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_a_place_of_its_own() {
        for (at, result) in EventResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, at);
        }
    }

    #[test]
    fn what_was_done_is_kept_when_the_list_is_read_again() {
        let mut counts = RunCounts::default();
        for result in EventResult::ALL {
            counts.add(result);
        }
        (counts.listed, counts.missing) = (7, 2);
        counts.list_again();
        let summary = counts.summary(false);
        assert_eq!((summary.listed, summary.missing), (0, 2));
        assert_eq!((summary.recovered, summary.redelivered), (1, 1));
        assert_eq!((summary.known, summary.unreadable), (0, 0));
    }
}
