//! A scrape, read without a library.

use std::collections::BTreeMap;

/// The series of one scrape.
#[derive(Debug)]
pub struct Metrics(Vec<(String, BTreeMap<String, String>, f64)>);

impl Metrics {
    /// Reads the text format. Label values of the bridge hold no quotes or commas.
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        Self(lines.map(series).collect())
    }

    /// The sum over the series of `hookferry_{name}` that have all these labels; asserts that there
    /// is one, because the sum of nothing would look like a good zero.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let full = format!("hookferry_{name}");
        let found: Vec<f64> = self
            .0
            .iter()
            .filter(|(series, of, _)| {
                *series == full
                    && labels
                        .iter()
                        .all(|(key, value)| of.get(*key).is_some_and(|v| v == value))
            })
            .map(|(_, _, value)| *value)
            .collect();
        assert!(!found.is_empty(), "there is no series {full}{labels:?}");
        found.iter().sum()
    }

    /// As `sum`, but a series that has not begun is 0.
    pub fn sum_or_zero(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let full = format!("hookferry_{name}");
        if self.0.iter().any(|(series, of, _)| {
            *series == full
                && labels
                    .iter()
                    .all(|(key, value)| of.get(*key).is_some_and(|v| v == value))
        }) {
            self.sum(name, labels)
        } else {
            0.0
        }
    }

    /// What the process collector says, such as `resident_memory_bytes`.
    pub fn process(&self, name: &str) -> f64 {
        let full = format!("process_{name}");
        let found = self.0.iter().find(|(series, _, _)| *series == full);
        found.expect("a process has it").2
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Everything that waits or went, per sink, must be what came: the equation of the books.
    ///
    /// # Panics
    /// When it does not add up.
    pub fn assert_balanced(&self, sink: &str) {
        let wrong = self.unbalanced(sink);
        assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    }

    /// What does not add up in the books of the sink.
    pub fn unbalanced(&self, sink: &str) -> Option<String> {
        let of = |name: &str| self.sum_or_zero(name, &[("sink", sink)]);
        let came =
            of("events_spooled_total") + of("events_recovered_total") + of("events_requeued_total");
        let went = of("events_delivered_total")
            + of("events_dead_lettered_total")
            + of("events_discarded_total")
            + of("events_lost_total");
        let waits = of("spool_events");
        let unaccounted = self.sum("events_unaccounted", &[]);
        let adds_up = (came - went - waits).abs() < f64::EPSILON && waits >= 0.0;
        (!adds_up || unaccounted.abs() >= f64::EPSILON).then(|| {
            format!(
                "sink {sink}: {came} came, {went} went, {waits} wait, {unaccounted} unaccounted"
            )
        })
    }
}

fn series(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a name and a value");
    let value = value.parse().expect("a number");
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let pairs = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|pair| !pair.is_empty());
    let label = |pair: &str| {
        let (key, text) = pair.split_once('=').expect("a label");
        (key.to_owned(), text.trim_matches('"').to_owned())
    };
    (name.to_owned(), pairs.map(label).collect(), value)
}
