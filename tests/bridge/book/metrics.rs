//! The page of metrics: the declarations of src/metrics.rs.

use std::fmt::Write as _;

use super::{cell, is_current, read};

/// One declaration: its doc line, and below that the name, the kind and the labels.
struct Metric<'a> {
    name: &'a str,
    kind: &'static str,
    labels: Vec<&'a str>,
    help: &'a str,
}

impl<'a> Metric<'a> {
    fn of(help: &'a str, declaration: &'a str) -> Option<Self> {
        let help = help.strip_prefix("    /// ")?;
        let declaration = declaration.strip_prefix("    ")?.strip_suffix(';')?;
        let (name, rest) = declaration.split_once(": ")?;
        let mut parts = rest.split(", ");
        let kind = match parts.next()? {
            "IntCounter" | "IntCounterVec" => "counter",
            "IntGauge" | "IntGaugeVec" | "Gauge" | "GaugeVec" => "gauge",
            "Histogram" | "HistogramVec" => "histogram",
            _ => return None,
        };
        let labels = parts.map(|label| label.trim_matches('"')).collect();
        Some(Self {
            name,
            kind,
            labels,
            help,
        })
    }

    fn row(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|of| format!("`{of}`")).collect();
        let (name, kind, help) = (self.name, self.kind, cell(self.help));
        format!(
            "| `hookferry_{name}` | {kind} | {} | {help} |",
            labels.join(", ")
        )
    }
}

fn page(source: &str) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let pairs = lines.windows(2);
    let metrics: Vec<Metric<'_>> = pairs
        .filter_map(|pair| Metric::of(pair[0], pair[1]))
        .collect();
    let declared = lines
        .iter()
        .skip_while(|line| **line != "metrics! {")
        .take_while(|line| **line != "}")
        .filter(|line| line.ends_with(';') && !line.contains("///"));
    assert_eq!(metrics.len(), declared.count(), "each has one doc line");
    assert!(metrics.len() > 40, "{}", metrics.len());
    let mut page = "# Metrics\n\n\
        All names begin with `hookferry_`; elsewhere in this book that is left out. Labels come from \
        closed sets (configured names, reasons, status codes), so the number of series does not \
        depend on what anybody sends: an `event_type` that is not configured is `other`, a \
        quarantined delivery `quarantine`. Beside these stand the usual `process_*`. \
        [Monitoring](monitoring.md) says how to scrape them, [Alerts](alerts.md) what is watched.\n\n\
        | metric | type | labels | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for metric in &metrics {
        let _ = writeln!(page, "{}", metric.row());
    }
    page
}

#[test]
fn the_page_of_metrics_is_current() {
    let page = page(&read("src/metrics.rs"));
    is_current("metrics.md", "src/metrics.rs", &page);
}

#[test]
fn a_metric_is_read_with_its_labels_and_its_help() {
    let metric = Metric::of(
        "    /// Events | so far.",
        "    a_total: IntCounterVec, \"source\", \"code\";",
    );
    assert_eq!(
        metric.unwrap().row(),
        "| `hookferry_a_total` | counter | `source`, `code` | Events \\| so far. |"
    );
    let other = Metric::of("    /// A lock.", "    updating: Mutex<()>,");
    assert!(other.is_none());
}
