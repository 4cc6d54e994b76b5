//! What operators look at: the rules of `deploy/prometheus` and the dashboard of `deploy/grafana`,
//! held against the metrics that the bridge has, against real Prometheus of two releases, and against
//! Grafana's own schema.

mod dashboard;
mod live;
mod rules;
mod schema;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::repository::place as folder;

/// The files of a folder that end so, in the order of their names; asserts that there are some.
fn files(name: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|of| of == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{name} has no .{extension}");
    found
}

fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text under a key.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// The list under a key.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key]
        .as_array()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// What docker-compose.yml names behind this.
fn tag_of(image: &str) -> String {
    let compose = std::fs::read_to_string(folder("docker-compose.yml")).unwrap();
    let (_, tag) = compose.split_once(image).expect("the image is there");
    tag.lines().next().unwrap_or_default().to_owned()
}

/// The rules of all files: those that record under `record`, the alerts under `alert`.
pub fn rules(kind: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for path in files("deploy/prometheus/rules", "yml") {
        for group in list(&yaml(&path), "groups") {
            let rules = list(group, "rules").iter();
            found.extend(rules.filter(|rule| rule[kind].is_string()).cloned());
        }
    }
    assert!(found.len() > 10, "there are rules with {kind}");
    found
}

/// The names of series in an expression: ours, those that a rule records, the process's, and `up`.
fn series_in(expression: &str) -> BTreeSet<String> {
    // What is quoted is a label's value.
    let bare: String = expression.split('"').step_by(2).collect();
    bare.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| {
            let is_ours = word.starts_with("hookferry_") || word.starts_with("process_");
            is_ours || word.contains(":hookferry_") || *word == "up"
        })
        .map(str::to_owned)
        .collect()
}

/// The same, with what a recording rule asks for in the place of its name.
fn metrics_in(expression: &str, recorded: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in series_in(expression) {
        match recorded.iter().find(|rule| text(rule, "record") == name) {
            Some(rule) => found.extend(metrics_in(text(rule, "expr"), recorded)),
            None => {
                found.insert(name);
            }
        }
    }
    found
}

/// The metrics that `src/metrics.rs` declares, each with its kind.
fn declared() -> Vec<(String, String)> {
    let source = std::fs::read_to_string(folder("src/metrics.rs")).unwrap();
    let (_, block) = source
        .rsplit_once("\nmetrics! {\n")
        .expect("declared there");
    let block = block.split_once("\n}\n").expect("it ends").0;
    let line = |line: &str| {
        let (name, kind) = line.trim().split_once(": ")?;
        let kind = kind.split([',', ';']).next()?;
        (!name.starts_with("//")).then(|| (format!("hookferry_{name}"), kind.to_owned()))
    };
    let found: Vec<(String, String)> = block.lines().filter_map(line).collect();
    assert!(found.len() > 40, "{found:?}");
    found
}

/// The metric that a series belongs to: a histogram has three.
fn metric_of(series: &str) -> &str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| series.strip_suffix(suffix))
        .unwrap_or(series)
}

/// Asserts that the bridge, the process collector or Prometheus itself has these.
fn assert_known(metrics: &BTreeSet<String>, what: &str) {
    let declared = declared();
    for metric in metrics {
        let known = declared.iter().any(|(name, kind)| {
            name == metric || (kind.starts_with("Histogram") && name == metric_of(metric))
        });
        let other = metric == "up" || metric.starts_with("process_");
        assert!(known || other, "{what} asks for {metric}, which nobody has");
    }
}
