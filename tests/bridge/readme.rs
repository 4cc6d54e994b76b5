//! The README is held against what it speaks of: links lead somewhere, and no metric, key or alert
//! is missing in it.

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines outside blocks of code.
fn prose(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let is_prose = |line: &&str| {
        let fence = line.starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    };
    text.lines().filter(is_prose).collect()
}

/// How a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text: String = heading.to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// Where the links of a text lead.
fn links(text: &str) -> Vec<&str> {
    let lines = prose(text).into_iter();
    let targets = lines.flat_map(|line| line.split("](").skip(1));
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

/// Those that lead nowhere in this folder.
fn dead<'a>(text: &'a str) -> Vec<&'a str> {
    let anchors = anchors(text);
    let is_dead = |target: &&'a str| match target.strip_prefix('#') {
        Some(anchor) => !anchors.contains(anchor),
        None if target.contains("://") => false,
        None => !Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists(),
    };
    links(text).into_iter().filter(is_dead).collect()
}

/// Which of these words it does not have between backticks, by themselves or with labels behind.
fn unspoken<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let said: BTreeSet<&str> = text
        .split('`')
        .flat_map(|code| code.split([' ', ',', '{', '=', '.']))
        .collect();
    words.filter(|word| !said.contains(word)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let text = read("README.md");
    assert!(links(&text).len() > 50);
    assert_eq!(dead(&text), [""; 0]);
    let wrong = "# A `b`, c\n[x](#a-b-c) [y](#a-b) [z](src/nowhere.rs) [v](https://a/b)\n```\n[w](#none)\n```";
    assert_eq!(dead(wrong), ["#a-b", "src/nowhere.rs"]);
}

#[test]
fn every_metric_is_in_the_readme() {
    let source = read("src/metrics.rs");
    let fields = source
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    let kinds = ["IntCounter", "IntGauge", "Gauge", "Histogram"];
    let names: Vec<&str> = fields
        .filter(|(_, kind)| kinds.iter().any(|known| kind.starts_with(known)) && kind.contains(';'))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() > 40, "{names:?}");
    assert_eq!(unspoken(&read("README.md"), names.into_iter()), [""; 0]);
}

#[test]
fn every_key_of_the_configuration_is_in_the_readme() {
    let example = read("src/config/example.toml");
    let keys = example.lines().filter_map(|line| {
        let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
        let is_key = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_key.then_some(key)
    });
    let keys: BTreeSet<&str> = keys.collect();
    assert!(keys.len() > 50, "{keys:?}");
    assert_eq!(unspoken(&read("README.md"), keys.into_iter()), [""; 0]);
}

#[test]
fn every_alert_is_in_the_readme_and_so_is_what_to_do_about_it() {
    let (rules, readme) = (
        read("deploy/prometheus/rules/alerts.yml"),
        read("README.md"),
    );
    let of = |key: &str| -> Vec<&str> {
        let lines = rules
            .lines()
            .map(|line| line.trim_start_matches([' ', '-']));
        let values = lines.filter_map(|line| line.strip_prefix(key));
        values
            .map(|value| value.trim_matches([' ', '"', '\'']))
            .collect()
    };
    let (alerts, sections) = (of("alert:"), of("runbook_section:"));
    assert!(alerts.len() > 20 && alerts.len() == sections.len());
    assert_eq!(unspoken(&readme, alerts.into_iter()), [""; 0]);
    let anchors = anchors(&readme);
    let missing: BTreeSet<&str> = sections
        .into_iter()
        .filter(|section| !anchors.contains(&anchor(section)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
