//! What the Prometheus of a profile knows: it scrapes the bridge, and has taken every rule.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::eventually::eventually_within;
use crate::observability::rules;

/// A target found by DNS is asked for every 30 s, and scraped and judged every 15 s.
const PATIENCE: Duration = Duration::from_secs(90);

fn asked(root: &str, path: &str) -> Option<Value> {
    let mut answer = ureq::get(format!("{root}/api/v1/{path}")).call().ok()?;
    let text = answer.body_mut().read_to_string().ok()?;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["status"], "success", "{path}: {answer}");
    Some(answer["data"].clone())
}

/// Waits until it has scraped these jobs, and no other; a broker's own exporter is one.
pub async fn has_targets(root: &str, jobs: &[&str]) {
    let wanted: BTreeSet<(&str, &str)> = jobs.iter().map(|job| (*job, "up")).collect();
    let mut last = Value::Null;
    let what = format!("the targets {jobs:?} are up");
    eventually_within(PATIENCE, &what, async || {
        last = asked(root, "targets?state=active")?["activeTargets"].take();
        let targets = last.as_array().expect("targets");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let seen = targets
            .iter()
            .map(|target| (text(&target["labels"]["job"]), text(&target["health"])));
        let seen: BTreeSet<(String, String)> = seen.collect();
        let seen = seen.iter().map(|(job, health)| (&job[..], &health[..]));
        (seen.collect::<BTreeSet<_>>() == wanted).then_some(())
    })
    .await;
}

/// Waits until it has evaluated every rule of deploy/prometheus without an error.
pub async fn has_every_rule(root: &str) {
    let mut wanted = Vec::new();
    for kind in ["record", "alert"] {
        let rules = rules(kind).into_iter();
        wanted.extend(rules.map(|rule| rule[kind].as_str().unwrap().to_owned()));
    }
    wanted.sort_unstable();
    eventually_within(PATIENCE, "every rule is evaluated", async || {
        let groups = asked(root, "rules")?["groups"].take();
        let groups = groups.as_array().expect("groups").iter();
        let loaded = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
        let loaded: Vec<&Value> = loaded.collect();
        let mut names: Vec<&str> = loaded
            .iter()
            .map(|rule| rule["name"].as_str().expect("a name"))
            .collect();
        names.sort_unstable();
        assert_eq!(names, wanted);
        for rule in &loaded {
            assert_ne!(rule["health"], "err", "{rule}");
        }
        loaded
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(())
    })
    .await;
}
