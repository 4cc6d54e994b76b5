//! The dashboard as a file: whole, readable, and about metrics that there are.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{
    assert_known, declared, files, folder, list, metric_of, metrics_in, rules, series_in, text,
    yaml,
};
use crate::harness::promtool;

const ROWS: [&str; 7] = [
    "Health", "In", "Recovery", "Out", "Spool", "Brokers", "Process",
];

/// The dashboard.
pub(super) fn dashboard() -> Value {
    let all = files("deploy/grafana/dashboards", "json");
    let [file] = all.as_slice() else {
        panic!("one dashboard: {all:?}");
    };
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Its panels, without the rows.
pub(super) fn panels(dashboard: &Value) -> Vec<Value> {
    let panels = list(dashboard, "panels").iter();
    let found: Vec<Value> = panels
        .filter(|panel| panel["type"] != "row")
        .cloned()
        .collect();
    assert!(found.len() > 30, "{} panels", found.len());
    found
}

/// The annotations that ask Prometheus.
pub(super) fn annotations(dashboard: &Value) -> Vec<Value> {
    let all = list(&dashboard["annotations"], "list").iter();
    let found: Vec<Value> = all
        .filter(|one| one["target"]["expr"].is_string())
        .cloned()
        .collect();
    assert!(!found.is_empty());
    found
}

/// The queries of all panels and annotations, each with its title.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let of = |panel: &Value| {
        let title = text(panel, "title").to_owned();
        let targets = list(panel, "targets").to_vec();
        targets
            .into_iter()
            .map(move |target| (title.clone(), text(&target, "expr").to_owned()))
    };
    let marks = annotations(dashboard);
    let marks = marks
        .iter()
        .map(|mark| (text(mark, "name"), text(&mark["target"], "expr")))
        .map(|(name, expr)| (name.to_owned(), expr.to_owned()));
    panels(dashboard).iter().flat_map(of).chain(marks).collect()
}

/// Left, top, right and bottom; the last two are outside.
fn place(panel: &Value) -> [u64; 4] {
    let of = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
    [of("x"), of("y"), of("x") + of("w"), of("y") + of("h")]
}

fn overlap(one: &Value, other: &Value) -> bool {
    let ([a, b, c, d], [e, f, g, h]) = (place(one), place(other));
    a < g && e < c && b < h && f < d
}

#[test]
fn seven_rows_hold_all_panels() {
    let dashboard = dashboard();
    let all = list(&dashboard, "panels");
    let rows = all.iter().filter(|panel| panel["type"] == "row");
    let titles: Vec<&str> = rows.map(|row| text(row, "title")).collect();
    assert_eq!(titles, ROWS);
    assert_eq!(all[0]["type"], "row", "each panel is under a row");
    let mut bottom = 0;
    for (at, panel) in all.iter().enumerate() {
        let [left, top, right, end] = place(panel);
        assert!(left < right && right <= 24 && top < end, "{panel}");
        if panel["type"] == "row" {
            assert!(top >= bottom, "a row begins below the one before: {panel}");
            assert_eq!((right, end), (24, top + 1), "{panel}");
        } else {
            let row = all[..at].iter().rfind(|other| other["type"] == "row");
            assert!(top >= place(row.expect("the first is one"))[3], "{panel}");
        }
        bottom = bottom.max(end);
        let over = all[..at].iter().find(|other| overlap(panel, other));
        assert!(over.is_none(), "{panel} lies over {over:?}");
    }
    let ids: BTreeSet<u64> = all
        .iter()
        .filter_map(|panel| panel["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), all.len(), "each panel has an id of its own");
}

#[test]
fn every_panel_says_what_it_means_in_which_unit() {
    let chosen = json!({ "type": "prometheus", "uid": "${datasource}" });
    for panel in panels(&dashboard()) {
        let title = text(&panel, "title");
        assert!(text(&panel, "description").len() > 20, "{title}");
        let defaults = &panel["fieldConfig"]["defaults"];
        let is_map = panel["type"] == "heatmap";
        let axis = if is_map {
            &panel["options"]["yAxis"]
        } else {
            defaults
        };
        assert!(!text(axis, "unit").is_empty(), "{title} has no unit");
        let steps = defaults["thresholds"]["steps"].as_array();
        assert!(is_map || steps.is_some(), "{title} has no thresholds");
        assert_eq!(panel["datasource"], chosen, "{title}");
        let mut letters = BTreeSet::new();
        for target in list(&panel, "targets") {
            assert_eq!(target["datasource"], chosen, "{title}");
            assert!(letters.insert(text(target, "refId").to_owned()), "{title}");
        }
        assert!(!letters.is_empty(), "{title} shows nothing");
    }
}

#[test]
fn every_query_asks_for_what_there_is() {
    let recorded = rules("record");
    for (title, query) in queries(&dashboard()) {
        assert_known(&metrics_in(&query, &recorded), &title);
    }
}

#[test]
fn every_metric_is_on_the_dashboard_or_in_an_alert() {
    let recorded = rules("record");
    let alerts = rules("alert");
    let alerts = alerts.iter().map(|alert| text(alert, "expr").to_owned());
    let shown = queries(&dashboard()).into_iter().map(|(_, query)| query);
    let asked: BTreeSet<String> = alerts
        .chain(shown)
        .flat_map(|expression| metrics_in(&expression, &recorded))
        .map(
            |series| match declared().iter().any(|(name, _)| *name == series) {
                true => series,
                false => metric_of(&series).to_owned(),
            },
        )
        .collect();
    for (metric, _) in declared() {
        assert!(asked.contains(&metric), "nobody looks at {metric}");
    }
}

/// Both bounds have the same labels: `or` would leave out the second one as a twin of the first.
#[test]
fn the_fullest_bound_of_the_spool_is_the_larger_one() {
    let panels = panels(&dashboard());
    let panel = panels
        .iter()
        .find(|panel| panel["title"] == "Spool's fullest bound")
        .expect("it is there");
    let query = text(&list(panel, "targets")[0], "expr").replace("$instance", ".*");
    let case = |bytes: u32, events: u32, fullest: f64| {
        let series = |name: &str, labels: &str, value: u32| {
            json!({
                "series": format!("hookferry_{name}{{job=\"hookferry\", instance=\"a\"{labels}}}"),
                "values": value.to_string(),
            })
        };
        json!({
            "interval": "1m",
            "input_series": [
                series("spool_file_bytes", "", bytes),
                series("spool_max_bytes", "", 100),
                series("spool_events", ", sink=\"kafka\"", events),
                series("spool_events", ", sink=\"store\"", 0),
                series("spool_dead_letters", ", sink=\"kafka\"", 4),
                series("spool_dead_letters", ", sink=\"store\"", 6),
                series("spool_max_events", "", 100),
            ],
            "promql_expr_test": [{
                "expr": query,
                "eval_time": "0m",
                "exp_samples": [{ "labels": "{}", "value": fullest }],
            }],
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tests.yml");
    let tests = [case(60, 10, 0.6), case(10, 60, 0.7)];
    std::fs::write(&file, json!({ "tests": tests }).to_string()).unwrap();
    let said = promtool(&[Path::new("test"), Path::new("rules"), &file]);
    assert!(said.content, "{}", said.text);
}

#[test]
fn the_dashboard_and_its_data_source_find_each_other() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39));
    let variables = list(&dashboard["templating"], "list");
    let names: Vec<&str> = variables.iter().map(|it| text(it, "name")).collect();
    assert_eq!(names, ["datasource", "instance", "source", "sink"]);
    let source = yaml(&folder(
        "deploy/grafana/provisioning/datasources/prometheus.yml",
    ));
    let source = &list(&source, "datasources")[0];
    assert_eq!(source["uid"], variables[0]["current"]["value"]);
    assert_eq!(source["type"], variables[0]["query"]);
    let provider = yaml(&folder(
        "deploy/grafana/provisioning/dashboards/hookferry.yml",
    ));
    let place = text(&list(&provider, "providers")[0]["options"], "path").to_owned();
    let compose = std::fs::read_to_string(folder("docker-compose.yml")).unwrap();
    for mount in [
        format!("./deploy/grafana/dashboards:{place}:ro"),
        "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro".to_owned(),
        "./deploy/prometheus:/etc/prometheus:ro".to_owned(),
    ] {
        assert!(compose.contains(&mount), "docker-compose.yml: {mount}");
    }
    for variable in &variables[1..] {
        assert_eq!(variable["includeAll"], true, "{variable}");
        assert_eq!(variable["allValue"], ".*", "{variable}");
        let metrics = series_in(text(variable, "definition"));
        assert_known(&metrics, text(variable, "name"));
    }
}

#[test]
fn no_file_lies_where_no_test_looks() {
    let looked_at = [
        ("deploy/prometheus", vec!["prometheus.yml"]),
        (
            "deploy/prometheus/rules",
            vec!["alerts.yml", "recording.yml"],
        ),
        (
            "deploy/grafana/provisioning/datasources",
            vec!["prometheus.yml"],
        ),
        (
            "deploy/grafana/provisioning/dashboards",
            vec!["hookferry.yml"],
        ),
        (
            "deploy/grafana/dashboards",
            vec!["hookferry.json", "kustomization.yaml"],
        ),
        ("deploy/grafana/provisioning", vec![]),
        ("deploy/grafana", vec![]),
    ];
    for (place, names) in looked_at {
        let entries = std::fs::read_dir(folder(place)).unwrap();
        let mut found: Vec<String> = entries
            .map(Result::unwrap)
            .filter(|entry| entry.path().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names, "{place}");
    }
    let all = std::fs::read_dir(folder("deploy/prometheus/tests")).unwrap();
    let tests = files("deploy/prometheus/tests", "yml");
    assert_eq!(all.count(), tests.len(), "each is run by promtool");
}
