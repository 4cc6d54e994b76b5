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

/// The counts of a run. What is counted shows at once: a run may be dropped at any time.
#[derive(Debug)]
pub(super) struct RunCounts<'a> {
    metrics: &'a Metrics,
    source: &'a SourceName,
    pub listed: u64,
    pub missing: u64,
    results: [u64; EventResult::ALL.len()],
    /// A list that is read again counts once.
    is_listed: bool,
    is_whole: bool,
}

impl<'a> RunCounts<'a> {
    pub fn new(metrics: &'a Metrics, source: &'a SourceName) -> Self {
        Self {
            metrics,
            source,
            listed: 0,
            missing: 0,
            results: [0; EventResult::ALL.len()],
            is_listed: false,
            is_whole: true,
        }
    }

    /// Something became of an entry that was missing.
    pub fn add(&mut self, result: EventResult) {
        self.count(result, 1);
    }

    /// So many entries of the list are not missing, or are left alone.
    pub fn add_listed(&mut self, result: EventResult, entries: usize) {
        if !self.is_listed {
            self.count(result, entries as u64);
        }
    }

    fn count(&mut self, result: EventResult, entries: u64) {
        self.results[result as usize] += entries;
        let labels = [self.source.as_str(), result.as_str()];
        let events = &self.metrics.backfill_events_total;
        events.with_label_values(&labels).inc_by(entries);
    }

    /// So many entries were listed.
    pub fn list(&mut self, entries: usize) {
        if !self.is_listed {
            self.listed += entries as u64;
        }
    }

    /// The list was read to its end; whether all of it was seen.
    pub fn list_ended(&mut self, is_whole: bool) {
        self.is_listed = true;
        self.is_whole &= is_whole;
    }

    pub fn of(&self, result: EventResult) -> u64 {
        self.results[result as usize]
    }

    /// Entries that were missing, and that something became of.
    pub fn brought_back(&self) -> u64 {
        let results = [
            EventResult::Recovered,
            EventResult::Redelivered,
            EventResult::Dropped,
        ];
        results.into_iter().map(|result| self.of(result)).sum()
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
            whole: self.is_whole,
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
    fn a_list_that_is_read_again_counts_once() {
        let metrics = Metrics::new().expect("no name twice");
        let source = SourceName::parse("lab").expect("a name");
        let mut counts = RunCounts::new(&metrics, &source);
        for _ in 0..2 {
            counts.list(7);
            counts.add_listed(EventResult::Known, 3);
            counts.list_ended(true);
            counts.add(EventResult::Recovered);
        }
        let summary = counts.summary(false);
        assert_eq!(
            (summary.listed, summary.known, summary.recovered),
            (7, 3, 2)
        );
        let shown = |result: &str| {
            let events = &metrics.backfill_events_total;
            events.with_label_values(&["lab", result]).get()
        };
        assert_eq!((shown("known"), shown("recovered")), (3, 2));
    }
}
