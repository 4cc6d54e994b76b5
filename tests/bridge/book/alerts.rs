//! The page of alerts: the rules of deploy/prometheus.

use std::fmt::Write as _;

use serde_json::Value;

use super::{anchor, anchors, is_current, read};

const RULES: &str = "deploy/prometheus/rules/alerts.yml";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let found = value[key].as_str();
    found
        .unwrap_or_else(|| panic!("no {key} in {value}"))
        .trim()
}

fn groups() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&read(RULES)).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    assert!(groups.len() > 2);
    groups.clone()
}

fn alerts(group: &Value) -> impl Iterator<Item = &Value> {
    let rules = group["rules"].as_array().unwrap().iter();
    rules.filter(|rule| rule["alert"].is_string())
}

/// A template of Prometheus for people: a label by its name, the value as N.
fn legible(template: &str) -> String {
    let mut parts = template.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").expect("a template ends");
        match expression.trim().strip_prefix("$labels.") {
            Some(label) => {
                let _ = write!(text, "`{label}`");
            }
            None => text.push('N'),
        }
        text.push_str(rest);
    }
    text
}

fn section(rule: &Value) -> String {
    let says = &rule["annotations"];
    let heading = text(says, "runbook_section");
    let waits = rule["for"].as_str();
    let (means, todo) = text(says, "runbook")
        .split_once(" Do: ")
        .expect("what to do");
    format!(
        "### {name}\n\n**{severity}**{after}: {summary}. {description}\n\n\
         {means}\n\n\
         Do: {todo} More: [{heading}](runbook.md#{anchor})\n\n\
         ```promql\n{expression}\n```\n\n",
        name = text(rule, "alert"),
        severity = text(&rule["labels"], "severity"),
        after = waits.map_or_else(String::new, |span| format!(" after {span}")),
        summary = legible(text(says, "summary")),
        description = legible(text(says, "description")),
        anchor = anchor(heading),
        expression = text(rule, "expr"),
    )
}

fn page() -> String {
    let mut page = "# Alerts\n\n\
        The rules of `deploy/prometheus/rules`. A **page** wakes somebody: deliveries are refused or not \
        published, or soon will be. A **ticket** is for the next working day. In the texts, a label stands \
        for its value, and N for the number that was measured.\n\n"
        .to_owned();
    let mut count = 0;
    for group in groups() {
        let name = text(&group, "name").trim_start_matches("hookferry.");
        let (first, rest) = name.split_at(1);
        let _ = write!(page, "## {}{rest}\n\n", first.to_uppercase());
        for rule in alerts(&group) {
            page += &section(rule);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_of_alerts_is_current() {
    is_current("alerts.md", RULES, &page());
}

#[test]
fn every_alert_leads_to_a_section_of_the_runbook() {
    let sections = anchors(&read("docs/src/runbook.md"));
    for group in groups() {
        for rule in alerts(&group) {
            let heading = text(&rule["annotations"], "runbook_section");
            let name = text(rule, "alert");
            assert!(sections.contains(&anchor(heading)), "{name}: {heading}");
        }
    }
}

#[test]
fn a_template_is_legible() {
    let template =
        "{{ $value | humanize }} of {{ $labels.sink }}, {{ printf `%.0f` $value }} times";
    assert_eq!(legible(template), "N of `sink`, N times");
}
