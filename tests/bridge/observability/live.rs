//! Every query that an operator would make, put to a real Prometheus that scrapes a real bridge with
//! all its sinks, on a day on which a little of everything happens.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::dashboard::{annotations, dashboard, panels};
use super::{folder, list, rules, tag_of, text, yaml};
use crate::eventually::{eventually, eventually_within};
use crate::harness::delivery::{event, now};
use crate::harness::{
    Authority, Bridge, EventsApi, Load, Outlet, Post, Prometheus, Release, Setup, Target, amqp_url,
    free_port, kafka_brokers,
};
use crate::recovery::{RecoverySetup, failed};

/// Some queries look back so far that the rate needs a few scrapes first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bridge to the store, both brokers, and a third that nobody has ever seen; its source recovers what
/// it missed.
struct Day {
    recovery: RecoverySetup,
    _authority: Authority,
    _queue: Outlet,
    bridge: Bridge,
    load: Load,
}

impl Day {
    async fn begin() -> Self {
        let topics = "create_topics = { partitions = 3, replication = 1 }\n";
        let mut setup = Setup::store()
            .and_rabbitmq(&amqp_url())
            .and_kafka(&kafka_brokers(), topics)
            .ingress("max_body = \"3MiB\"");
        let authority = Authority::new();
        let away = format!(
            "type = \"rabbitmq\"\nurl = \"amqps://guest:guest@127.0.0.1:{}/%2f\"\nca_file = {:?}\nretry_delay_max = \"500ms\"\n",
            free_port(),
            authority.certificate(),
        );
        setup.more = "[metrics]\nlisten = \"127.0.0.1:0\"\n".to_owned();
        setup.sinks.push(("away".to_owned(), away));
        let queue = Outlet::rabbitmq(&setup).await;
        let recovery = RecoverySetup::of(setup, EventsApi::start().await);
        recovery.api.adds_all(failed(2));
        let bridge = recovery.start().await;
        let every = Duration::from_millis(50);
        let target = Target::new(bridge.ingress);
        let load = Load::paced(&target, recovery.source(), (4, usize::MAX), every);
        Self {
            recovery,
            _authority: authority,
            _queue: queue,
            bridge,
            load,
        }
    }

    /// What is not in order with a delivery, each once; and a reload.
    async fn happens(&self) {
        let (source, bridge) = (self.recovery.source(), &self.bridge);
        let signed = |body: &str, secret: &str, seconds: i64| {
            Post::signed_with(source, body, secret, seconds)
        };
        let (right, body) = (crate::harness::setup::SECRET, event("sample.uploaded", "a"));
        // Kafka takes a megabyte, the others take more.
        let large = event("sample.uploaded", "b").replace("gr", &"x".repeat(2 << 20));
        for (post, status) in [
            (Post::unsigned(source, body.clone()), 400),
            (signed(&body, "another secret", now()), 401),
            (signed(&body, right, now() - 3_000_000), 401),
            (signed(&body, right, now() - 4000), 200),
            (signed(&body, right, now() + 4000), 401),
            (signed(&body, right, now()), 200),
            (signed(&body, right, now()), 200),
            (signed("odd", right, now()), 200),
            (signed(&large, right, now()), 200),
        ] {
            let answer = bridge.post(&post).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
        bridge
            .counts("events_dead_lettered_total", &[("sink", "kafka")], 1.0)
            .await;
        bridge.signal("HUP");
        eventually("the configuration is loaded anew", async || {
            bridge.said("is in force")
        })
        .await;
    }
}

/// Where the bridge is scraped.
fn scraped(bridge: &Bridge) -> String {
    let listener = bridge.metrics_listener.expect("it listens");
    listener.to_string()
}

/// The project's own configuration, quicker, and with the addresses of this test.
fn configuration(bridge: &Bridge) -> Value {
    let mut config = yaml(&folder("deploy/prometheus/prometheus.yml"));
    config["global"] = json!({ "scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s" });
    config["rule_files"] = json!([folder("deploy/prometheus/rules/*.yml")]);
    let jobs = config["scrape_configs"].as_array_mut().expect("jobs");
    for (name, target) in [
        ("hookferry", scraped(bridge)),
        ("prometheus", "{self}".to_owned()),
    ] {
        let job = jobs.iter_mut().find(|job| job["job_name"] == name);
        let targets = &mut job.expect("it is scraped")["static_configs"][0]["targets"];
        assert_eq!(targets.as_array().map(Vec::len), Some(1));
        *targets = json!([target]);
    }
    config
}

/// As Grafana would with "All" chosen.
fn substituted(query: &str) -> String {
    let query = [
        ("$__rate_interval", "10s"),
        ("$__range", "60s"),
        ("$instance", ".*"),
        ("$source", ".*"),
        ("$sink", ".*"),
    ]
    .iter()
    .fold(query.to_owned(), |query, (name, value)| {
        query.replace(name, value)
    });
    assert!(!query.contains('$'), "{query}");
    query
}

/// The values of an answer that are numbers.
fn numbers(data: &Value) -> usize {
    let series = list(data, "result").iter();
    let samples = series.flat_map(|one| match one["values"].as_array() {
        Some(values) => values.clone(),
        None => vec![one["value"].clone()],
    });
    let value = |sample: Value| sample[1].as_str().and_then(|text| text.parse::<f64>().ok());
    samples
        .filter_map(value)
        .filter(|it| it.is_finite())
        .count()
}

/// Waits until a query has an answer; an error is an error at once.
async fn has_an_answer(prometheus: &Prometheus, what: &str, query: &str, is_range: bool) {
    eventually_within(PATIENCE, &format!("{what}: {query}"), async || {
        let (from, to) = ((now() - 30).to_string(), now().to_string());
        let data = if is_range {
            let parameters = [
                ("query", query),
                ("start", &from),
                ("end", &to),
                ("step", "5"),
            ];
            prometheus.ask("query_range", &parameters)
        } else {
            prometheus.ask("query", &[("query", query)])
        };
        (numbers(&data) > 0).then_some(())
    })
    .await;
}

async fn every_panel_shows_something(prometheus: &Prometheus) {
    for panel in panels(&dashboard()) {
        for target in list(&panel, "targets") {
            let query = substituted(text(target, "expr"));
            let is_range = target["range"] == true;
            assert_ne!(target["instant"] == true, is_range, "{target}");
            has_an_answer(prometheus, text(&panel, "title"), &query, is_range).await;
        }
    }
    for annotation in annotations(&dashboard()) {
        let query = substituted(text(&annotation["target"], "expr"));
        has_an_answer(prometheus, text(&annotation, "name"), &query, true).await;
    }
}

/// `label_values(METRIC, LABEL)`, as Grafana asks for it.
async fn every_variable_has_values(prometheus: &Prometheus) {
    for variable in &list(&dashboard()["templating"], "list")[1..] {
        let query = substituted(text(variable, "definition"));
        let inside = query.strip_prefix("label_values(").expect("its only form");
        let (metric, label) = inside.rsplit_once(", ").expect("two arguments");
        let path = format!("label/{}/values", label.trim_end_matches(')'));
        let values = prometheus.ask(&path, &[("match[]", metric)]);
        assert!(!values.as_array().expect("a list").is_empty(), "{query}");
    }
}

/// Every rule is reckoned without an error, and what is recorded is there.
async fn every_rule_is_well(prometheus: &Prometheus) {
    let read = |kind: &str| {
        let groups = prometheus.ask("rules", &[]);
        let groups = list(&groups, "groups").to_vec();
        let all = groups
            .into_iter()
            .flat_map(|group| list(&group, "rules").to_vec());
        all.filter(|rule| rule["type"] == kind).collect::<Vec<_>>()
    };
    for (kind, own) in [("alerting", "alert"), ("recording", "record")] {
        let names = |all: &[Value], key: &str| -> BTreeSet<String> {
            all.iter().map(|rule| text(rule, key).to_owned()).collect()
        };
        assert_eq!(names(&read(kind), "name"), names(&rules(own), own));
        eventually_within(PATIENCE, "every rule has been reckoned", async || {
            let all = read(kind);
            let bad = all.iter().find(|rule| rule["health"] == "err");
            assert!(bad.is_none(), "{bad:?}");
            all.iter().all(|rule| rule["health"] == "ok").then_some(())
        })
        .await;
    }
    for rule in rules("record") {
        has_an_answer(prometheus, "recorded", text(&rule, "record"), false).await;
    }
    for alert in rules("alert") {
        prometheus.ask("query", &[("query", text(&alert, "expr"))]);
    }
}

/// What this day has brought about is seen by the alerts for it, and by none that is not about it.
async fn the_alerts_see_it(prometheus: &Prometheus) {
    let seen = [
        "HookferryDeadLetters",
        "HookferryDeadLettersKept",
        "HookferryQuarantined",
        "HookferrySinkDisconnected",
    ];
    eventually_within(PATIENCE, "the alerts see what happened", async || {
        let alerts = prometheus.ask("alerts", &[]);
        let alerts = list(&alerts, "alerts");
        let names: BTreeSet<&str> = alerts
            .iter()
            .map(|alert| text(&alert["labels"], "alertname"))
            .collect();
        for never in [
            "HookferryDown",
            "HookferryAbsent",
            "HookferryUnaccounted",
            "HookferryPanic",
            "HookferrySpoolNotWritable",
        ] {
            assert!(!names.contains(never), "{alerts:?}");
        }
        seen.iter().all(|name| names.contains(name)).then_some(())
    })
    .await;
}

/// The version that it runs as.
fn version(prometheus: &Prometheus) -> String {
    let about = prometheus.ask("status/buildinfo", &[]);
    text(&about, "version").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_an_operator_has_an_answer_of_each_prometheus() {
    let day = Day::begin().await;
    let configuration = configuration(&day.bridge);
    let [two, three] = Release::ALL.map(|release| Prometheus::start(release, &configuration));
    let both = [two.await, three.await];
    let [two, three] = both.each_ref().map(version);
    assert!(two.starts_with("2."), "{two}");
    assert_eq!(three, tag_of("prom/prometheus:v"));
    for prometheus in &both {
        let up = "up{job=\"hookferry\"} == 1";
        has_an_answer(prometheus, "the bridge is scraped", up, false).await;
    }
    day.happens().await;
    for prometheus in &both {
        every_rule_is_well(prometheus).await;
        every_panel_shows_something(prometheus).await;
        every_variable_has_values(prometheus).await;
        the_alerts_see_it(prometheus).await;
    }
    day.load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_no_fault_with_a_scrape() {
    let day = Day::begin().await;
    day.load.reaches(20).await;
    day.happens().await;
    let scrape = day.bridge.ask("/metrics").await.text();
    for release in Release::ALL {
        let said = release.promtool_reading(&scrape, &["check", "metrics"]);
        assert!(
            said.content && said.text.is_empty(),
            "{release:?}: {}",
            said.text
        );
    }
    day.load.stop().await;
}
