//! The counters that the demo shows, read from the metrics' text.

/// Counters of the bridge, each summed over its labels.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DemoCounters {
    accepted: u64,
    quarantined: u64,
    duplicate: u64,
    rejected: u64,
    delivered: u64,
    pending: u64,
    unaccounted: u64,
}

impl DemoCounters {
    /// Reads them from the text that Prometheus reads.
    pub(super) fn read(text: &str) -> Self {
        let sum = |name: &str| sum(text, name);
        Self {
            accepted: sum("hookferry_events_accepted_total"),
            quarantined: sum("hookferry_events_quarantined_total"),
            duplicate: sum("hookferry_events_duplicate_total"),
            rejected: sum("hookferry_deliveries_rejected_total"),
            delivered: sum("hookferry_events_delivered_total"),
            pending: sum("hookferry_spool_events"),
            unaccounted: sum("hookferry_events_unaccounted"),
        }
    }

    /// Whether nothing waits any more.
    pub(super) fn are_settled(&self) -> bool {
        self.accepted > 0 && self.pending == 0
    }

    /// A line for each.
    pub(super) fn lines(&self) -> [String; 3] {
        [
            format!(
                "{} accepted, {} of them quarantined: {} delivered, {} pending, {} unaccounted for",
                self.accepted, self.quarantined, self.delivered, self.pending, self.unaccounted
            ),
            format!(
                "{} duplicate: answered 200, not published again",
                self.duplicate
            ),
            format!("{} rejected: the sender is told why", self.rejected),
        ]
    }
}

/// The sum of a metric's series.
fn sum(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let is_series = rest.starts_with([' ', '{']);
        let (_, value) = rest.rsplit_once(' ').filter(|_| is_series)?;
        value.parse::<u64>().ok()
    };
    text.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_and_longer_names_are_not_mixed_in() {
        let text = "# HELP a x\n# TYPE a counter\na{b=\"c d\"} 2\na{b=\"e\"} 3\na_more 7\na 1\n";
        assert_eq!(sum(text, "a"), 6);
        assert_eq!(sum(text, "a_more"), 7);
        assert_eq!(sum(text, "none"), 0);
    }
}
