//! Metrics as they are read inside the program: series put together by one label.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::Metric;

/// A metric's series, put together by a label, or by nothing: their sums, unless it is said otherwise.
#[derive(Debug, Default)]
pub(super) struct MetricSums(BTreeMap<String, f64>);

impl MetricSums {
    /// Of this counter or gauge, by this label.
    pub fn by(metric: &impl Collector, label: &str) -> Self {
        Self::together(metric, label, |a, b| a + b)
    }

    /// The least of each.
    pub fn least_by(metric: &impl Collector, label: &str) -> Self {
        Self::together(metric, label, f64::min)
    }

    /// The most of each.
    pub fn most_by(metric: &impl Collector, label: &str) -> Self {
        Self::together(metric, label, f64::max)
    }

    fn together(metric: &impl Collector, label: &str, of: fn(f64, f64) -> f64) -> Self {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for family in metric.collect() {
            for series in family.get_metric() {
                let mut labels = series.get_label().iter();
                let label = labels.find(|it| it.name() == label);
                let value = label.map(|it| it.value()).unwrap_or_default().to_owned();
                let this = value_of(series);
                sums.entry(value)
                    .and_modify(|other| *other = of(*other, this))
                    .or_insert(this);
            }
        }
        Self(sums)
    }

    /// The sum for a value of the label; 0 where there is no such series.
    pub fn of(&self, value: &str) -> f64 {
        self.0.get(value).copied().unwrap_or_default()
    }

    /// The same, as a count.
    pub fn count(&self, value: &str) -> u64 {
        whole(self.of(value))
    }

    /// Each value of the label, with its sum.
    pub fn each(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(value, sum)| (value.as_str(), *sum))
    }

    /// All sums together.
    pub fn total(&self) -> u64 {
        whole(self.0.values().sum())
    }

    /// Each value of the label that has counted anything, with its count.
    pub fn counted(self) -> impl Iterator<Item = (String, u64)> {
        let counts = self.0.into_iter();
        counts
            .map(|(value, sum)| (value, whole(sum)))
            .filter(|(_, count)| *count > 0)
    }
}

/// Counts are whole, and far below 2^53.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(sum: f64) -> u64 {
    sum.max(0.0) as u64
}

/// Whichever of the two it is; the other is 0.
fn value_of(series: &Metric) -> f64 {
    series.get_counter().get_value() + series.get_gauge().get_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn series_are_summed_up_by_a_label() {
        let metrics = Metrics::new().expect("no name twice");
        let accepted = &metrics.events_accepted_total;
        for (source, event_type, count) in [("a", "x", 1), ("a", "y", 2), ("b", "x", 4)] {
            let series = accepted.with_label_values(&[source, event_type]);
            series.inc_by(count);
        }
        let sums = MetricSums::by(accepted, "source");
        assert_eq!(
            [sums.count("a"), sums.count("b"), sums.count("c")],
            [3, 4, 0]
        );
        assert_eq!(sums.total(), 7);
        let of_a = |sums: MetricSums| sums.count("a");
        assert_eq!(of_a(MetricSums::least_by(accepted, "source")), 1);
        assert_eq!(of_a(MetricSums::most_by(accepted, "source")), 2);
        let counted: Vec<_> = sums.counted().collect();
        assert_eq!(counted, [("a".to_owned(), 3), ("b".to_owned(), 4)]);
        metrics.spool_events.with_label_values(&["out"]).set(5);
        assert_eq!(
            MetricSums::by(&metrics.spool_events, "sink").count("out"),
            5
        );
        assert_eq!(MetricSums::by(&metrics.panics_total, "").total(), 0);
    }
}
