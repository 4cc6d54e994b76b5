//! The alerts and what is recorded for them: each with a case in which it must speak, and one in
//! which it must not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{assert_known, files, folder, list, metrics_in, rules, series_in, text, yaml};
use crate::harness::Release;

/// What anybody changes who sends something, each with the matcher that leaves only what is proven;
/// none where nothing does.
const OF_STRANGERS: [(&str, Option<&str>); 12] = [
    ("hookferry_admin_tokens_refused_total", None),
    ("hookferry_deliveries_refused_total", Some("proven=\"yes\"")),
    // Their time is judged behind their signature.
    (
        "hookferry_deliveries_rejected_total",
        Some("reason=~\"timestamp_stale|timestamp_future\""),
    ),
    ("hookferry_handshakes_total", None),
    ("hookferry_http_body_bytes_in_flight", None),
    ("hookferry_http_connections", None),
    ("hookferry_http_health_checks_total", None),
    (
        "hookferry_http_request_duration_seconds",
        Some("proven=\"yes\""),
    ),
    ("hookferry_http_requests_in_flight", None),
    ("hookferry_http_requests_total", None),
    ("hookferry_tls_handshake_failures_total", None),
    ("process_open_fds", None),
];

/// Pages that count such requests only while something holds that no request brings about.
const WHILE: [(&str, &str); 1] = [(
    "HookferryDiskFull",
    "and on (job, instance) hookferry_spool_writable == 0",
)];

/// A test of a rule: an alert that fires, an alert that is silent, or a series that is recorded.
struct Case {
    /// The series it is given.
    given: BTreeSet<String>,
    /// The alert that is silent, or what is asked for.
    about: String,
    speaks: bool,
}

impl Case {
    /// Those of one entry of a file of tests.
    fn of(test: &Value) -> Vec<Self> {
        let given: BTreeSet<String> = list(test, "input_series")
            .iter()
            .flat_map(|series| series_in(text(series, "series")))
            .collect();
        let case = |about: &str, speaks| Self {
            given: given.clone(),
            about: about.to_owned(),
            speaks,
        };
        let entries = |key: &str| test[key].as_array().cloned().unwrap_or_default();
        let silent = entries("alert_rule_test").into_iter().map(|entry| {
            assert!(list(&entry, "exp_alerts").is_empty(), "{entry}");
            case(text(&entry, "alertname"), false)
        });
        let spoken = entries("promql_expr_test").into_iter().map(|entry| {
            assert!(!list(&entry, "exp_samples").is_empty(), "{entry}");
            case(text(&entry, "expr"), true)
        });
        silent.chain(spoken).collect()
    }
}

fn test_files() -> Vec<PathBuf> {
    files("deploy/prometheus/tests", "yml")
}

fn cases() -> Vec<Case> {
    let tests = test_files();
    let tests = tests.iter().map(|path| yaml(path));
    let cases = tests.flat_map(|file| list(&file, "tests").to_vec());
    cases.flat_map(|test| Case::of(&test)).collect()
}

/// What a case that fires asks for.
fn firing(alert: &str) -> String {
    format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}")
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let (cases, recorded) = (cases(), rules("record"));
    for alert in rules("alert") {
        let name = text(&alert, "alert");
        let asked = metrics_in(text(&alert, "expr"), &recorded);
        let fires = cases.iter().find(|case| case.about == firing(name));
        assert!(fires.is_some(), "{name} fires in no test");
        // Silence without the alert's own series would be no near miss.
        let is_silent = |case: &&Case| case.about == name && !case.speaks;
        let silent = cases.iter().filter(is_silent);
        let near = silent.filter(|case| asked.is_subset(&case.given)).count();
        assert!(near > 0, "{name} is silent in no test that has {asked:?}");
    }
}

#[test]
fn everything_recorded_is_asked_for_and_tested() {
    let (cases, recorded) = (cases(), rules("record"));
    let asked: BTreeSet<String> = rules("alert")
        .iter()
        .flat_map(|alert| series_in(text(alert, "expr")))
        .collect();
    for rule in &recorded {
        let name = text(rule, "record");
        let tested = |case: &&Case| series_in(&case.about).contains(name);
        assert!(cases.iter().any(|case| tested(&case)), "{name}: no test");
        assert!(asked.contains(name), "nobody asks for {name}");
        assert_known(&metrics_in(text(rule, "expr"), &recorded), name);
    }
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do() {
    let recorded = rules("record");
    let mut names = BTreeSet::new();
    for alert in rules("alert") {
        let name = text(&alert, "alert");
        assert!(name.starts_with("Hookferry"), "{name}");
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        let severity = text(&alert["labels"], "severity");
        assert!(["page", "ticket"].contains(&severity), "{name}: {severity}");
        let says = &alert["annotations"];
        for key in ["summary", "description", "runbook_section"] {
            assert!(!text(says, key).is_empty(), "{name} has no {key}");
        }
        let runbook = text(says, "runbook");
        let means = runbook.find("Means: ").unwrap_or(usize::MAX);
        let todo = runbook.find(" Do: ").unwrap_or_default();
        assert!(means < todo, "{name}: {runbook}");
        assert_known(&metrics_in(text(&alert, "expr"), &recorded), name);
        // A single scrape is no reason to wake somebody, unless the expression itself looks back.
        let looks_back = text(&alert, "expr").contains('[');
        assert!(
            alert["for"].is_string() || looks_back,
            "{name} does not wait"
        );
    }
}

/// The expression with what a rule records in the place of its name.
fn expanded(expression: &str, recorded: &[Value]) -> String {
    recorded
        .iter()
        .fold(expression.to_owned(), |expression, rule| {
            expression.replace(text(rule, "record"), text(rule, "expr"))
        })
}

/// What an expression selects of a metric: each time what stands in the braces behind its name.
fn selectors<'a>(expression: &'a str, metric: &str) -> Vec<&'a str> {
    let behind = |(at, _): (usize, &str)| {
        let rest = &expression[at + metric.len()..];
        let suffixes = ["_bucket", "_sum", "_count"];
        let bare = suffixes.iter().find_map(|it| rest.strip_prefix(it));
        let rest = bare.unwrap_or(rest);
        // Or it is the beginning of another name.
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let inside = rest.strip_prefix('{').and_then(|it| it.split_once('}'));
        Some(inside.map_or("", |(labels, _)| labels))
    };
    expression
        .match_indices(metric)
        .filter_map(behind)
        .collect()
}

#[test]
fn no_stranger_can_ring_a_page_or_burn_a_budget() {
    let (alerts, recorded) = (rules("alert"), rules("record"));
    let pages = alerts
        .iter()
        .filter(|alert| alert["labels"]["severity"] == "page")
        .map(|alert| (text(alert, "alert"), text(alert, "expr")));
    // A budget is the whole job's.
    let budgets = recorded
        .iter()
        .map(|rule| (text(rule, "record"), text(rule, "expr")))
        .filter(|(name, _)| name.starts_with("job:"));
    let watched: Vec<(&str, &str)> = pages.chain(budgets).collect();
    assert!(watched.len() > 30, "{watched:?}");
    for (metric, proven) in OF_STRANGERS {
        assert_known(&BTreeSet::from([metric.to_owned()]), "this test");
        for (name, expression) in &watched {
            let expression = expanded(expression, &recorded);
            let holds = |of: &(&str, &str)| of.0 == *name && expression.trim().ends_with(of.1);
            for selector in selectors(&expression, metric) {
                let is_proven = proven.is_some_and(|matcher| selector.contains(matcher));
                assert!(
                    is_proven || WHILE.iter().any(holds),
                    "anybody can ring {name}: {metric}{{{selector}}}"
                );
            }
        }
    }
}

#[test]
fn what_an_expression_selects_is_found() {
    let expression =
        "a_total{b=\"1\"} + rate(a_total_count[5m]) - a_totally{b=\"2\"} / sum by (b) (a_total)";
    assert_eq!(selectors(expression, "a_total"), ["b=\"1\"", "", ""]);
}

#[test]
fn promtool_accepts_every_file() {
    let config = folder("deploy/prometheus/prometheus.yml");
    for release in Release::ALL {
        let said = release.promtool(&[Path::new("check"), Path::new("config"), &config]);
        assert!(said.content, "{release:?}: {}", said.text);
        for file in files("deploy/prometheus/rules", "yml") {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                said.text.contains(&name),
                "{release:?}: {name}: {}",
                said.text
            );
            let said = release.promtool(&[Path::new("check"), Path::new("rules"), &file]);
            assert!(said.content, "{release:?}: {}", said.text);
        }
    }
}

#[test]
fn every_rule_behaves_as_its_tests_say() {
    let mut arguments = vec![PathBuf::from("test"), PathBuf::from("rules")];
    arguments.extend(test_files());
    for release in Release::ALL {
        let said = release.promtool(&arguments);
        assert!(said.content, "{release:?}: {}", said.text);
        let content = said.text.matches("SUCCESS").count();
        assert_eq!(content, test_files().len(), "{release:?}: {}", said.text);
    }
}

/// Runs the tests of alerts with other rules in the place of ours: `change` makes an alert of an alert.
/// One release is enough, because it is the tests that are tested here.
fn judged(change: impl Fn(&Value) -> Value) -> String {
    let place = TempDir::new().unwrap();
    let alerts: Vec<Value> = rules("alert").iter().map(change).collect();
    let write = |name: &str, content: &Value| {
        let path = place.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path
    };
    write(
        "rules.yml",
        &json!({ "groups": [{ "name": "changed", "rules": alerts }] }),
    );
    let mut arguments = vec![PathBuf::from("test"), PathBuf::from("rules")];
    for file in test_files() {
        let mut tests = yaml(&file);
        // Those of what is recorded have nothing to do with alerts.
        if list(&tests, "rule_files").len() < 2 {
            continue;
        }
        tests["rule_files"] = json!(["rules.yml"]);
        tests.as_object_mut().unwrap().remove("group_eval_order");
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        arguments.push(write(&name, &tests));
    }
    let said = Release::Three.promtool(&arguments);
    assert!(!said.content, "{}", said.text);
    said.text
}

#[test]
fn the_tests_catch_an_alert_that_never_fires_and_one_that_always_does() {
    let with = |alert: &Value, expression: &str| json!({ "alert": alert["alert"], "expr": expression, "labels": alert["labels"] });
    let never = judged(|alert| with(alert, "vector(0) > 1"));
    let always = judged(|alert| with(alert, "vector(1)"));
    for alert in rules("alert") {
        let name = text(&alert, "alert");
        assert!(never.contains(&format!("{:?}", firing(name))), "{name}");
        assert!(always.contains(&format!("alertname: {name}, ")), "{name}");
    }
}
