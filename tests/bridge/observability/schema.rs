//! The dashboard by Grafana's own schema: its panels, their options, and the units.

use serde_json::{Value, json};

use super::dashboard::{dashboard, panels};
use super::{list, tag_of, text};
use crate::harness::Schema;
use crate::repository::read;

/// The dashboard with another value at this place; none takes the key away.
fn changed(at: &str, value: Option<Value>) -> Value {
    let mut dashboard = dashboard();
    let (above, key) = at.rsplit_once('/').expect("a path");
    let above = dashboard.pointer_mut(above).expect("it is there");
    match (above, value) {
        (Value::Object(keys), Some(value)) => {
            keys.insert(key.to_owned(), value);
        }
        (Value::Object(keys), None) => {
            keys.remove(key).expect("it is there");
        }
        (above, _) => panic!("{above}"),
    }
    dashboard
}

/// Where the first panel of a type is that also has what is asked for.
fn first(of: &str, has: impl Fn(&Value) -> bool) -> String {
    let dashboard = dashboard();
    let mut all = list(&dashboard, "panels").iter();
    let at = all.position(|panel| panel["type"] == of && has(panel));
    format!("/panels/{}", at.expect("there is one"))
}

#[test]
fn the_manual_names_the_versions_that_are_tried() {
    let manual = read("docs/src/monitoring.md");
    let grafana = format!("Grafana {},", tag_of("grafana/grafana:"));
    let prometheus = format!(" {},", tag_of("prom/prometheus:v"));
    for version in [grafana, prometheus] {
        assert!(manual.contains(&version), "{version}");
    }
}

#[test]
fn grafana_has_each_panel_option_and_unit_of_the_dashboard() {
    let findings = Schema::new().judge(&[dashboard()]);
    assert_eq!(findings[0].version, tag_of("grafana/grafana:"));
    assert_eq!(findings[0].panels, panels(&dashboard()).len() as u64);
    assert!(findings[0].faults.is_empty(), "{:#?}", findings[0].faults);
}

/// Changes, each to a place in the dashboard, and what must be found fault with.
fn mistakes() -> Vec<(String, Option<Value>, &'static str)> {
    let stat = first("stat", |_| true);
    let series = first("timeseries", |_| true);
    let heatmap = first("heatmap", |_| true);
    let overridden = first("timeseries", |panel| {
        panel
            .pointer("/fieldConfig/overrides/0/properties/0")
            .is_some()
    });
    let property = format!("{overridden}/fieldConfig/overrides/0/properties/0");
    let defaults = "fieldConfig/defaults";
    vec![
        (
            format!("{series}/{defaults}/unit"),
            Some(json!("seconds")),
            "no unit seconds",
        ),
        (
            format!("{heatmap}/options/yAxis/unit"),
            Some(json!("sec")),
            "no unit sec",
        ),
        (
            format!("{property}/value"),
            Some(json!("shorter")),
            "no unit shorter",
        ),
        (
            format!("{series}/type"),
            Some(json!("time-series")),
            "no panel time-series",
        ),
        (
            format!("{series}/type"),
            Some(json!("graph")),
            "no panel graph",
        ),
        (
            format!("{stat}/options/colourMode"),
            Some(json!("value")),
            "colourMode",
        ),
        (
            format!("{stat}/options/colorMode"),
            Some(json!("valeu")),
            "\"valeu\"",
        ),
        (format!("{stat}/options/colorMode"), None, "colorMode"),
        (
            format!("{stat}/{defaults}/custom"),
            Some(json!({ "lineWidth": 1 })),
            "never",
        ),
        (
            format!("{series}/{defaults}/custom/linewidth"),
            Some(json!(1)),
            "linewidth",
        ),
        (
            format!("{series}/{defaults}/thresholds/mode"),
            Some(json!("relative")),
            "relative",
        ),
        (
            format!("{series}/options/legend/calcs"),
            Some(json!(["lastNonNull"])),
            "lastNonNull",
        ),
        (format!("{series}/gridpos"), Some(json!({})), "gridpos"),
        (
            format!("{series}/targets/0/expresion"),
            Some(json!("up")),
            "expresion",
        ),
        (
            format!("{overridden}/fieldConfig/overrides/0/matcher/id"),
            Some(json!("byname")),
            "byname",
        ),
        (
            format!("{property}/id"),
            Some(json!("custom.linewidth")),
            "override custom.linewidth",
        ),
        (
            "/panels/0/collapsed".to_owned(),
            Some(json!("no")),
            "boolean",
        ),
        ("/graphTooltip".to_owned(), Some(json!(7)), "7"),
        (
            "/templating/list/1/type".to_owned(),
            Some(json!("querry")),
            "querry",
        ),
        (
            "/annotations/list/1/expr".to_owned(),
            Some(json!("up")),
            "expr",
        ),
    ]
}

#[test]
fn grafana_refuses_what_it_does_not_have() {
    let mistakes = mistakes();
    let dashboards: Vec<Value> = mistakes
        .iter()
        .map(|(at, value, _)| changed(at, value.clone()))
        .collect();
    let findings = Schema::new().judge(&dashboards);
    for ((at, _, fault), findings) in mistakes.iter().zip(findings) {
        let said = findings.faults.iter().any(|it| it.contains(fault));
        assert!(said, "{at}: {fault}: {:?}", findings.faults);
        if let Some(panel) = at.strip_prefix("/panels/") {
            let (index, _) = panel.split_once('/').expect("a path");
            let index: usize = index.parse().expect("a number");
            let title = format!(
                "panel \"{}\"",
                text(&list(&dashboard(), "panels")[index], "title")
            );
            let is_named = findings.faults.iter().all(|it| it.starts_with(&title));
            assert!(is_named, "{title}: {:?}", findings.faults);
        }
    }
}
