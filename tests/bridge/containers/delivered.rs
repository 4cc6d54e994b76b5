//! What comes out of the sink of a profile, read by consumers.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::stack::Stack;
use super::trial::{SECRET, TOKEN};
use crate::consumers::example;
use crate::eventually::eventually_blocking;
use crate::harness::unique;

/// Runs a consumer of deploy/examples until it has seen so many events: their ids.
fn consumed(script: &str, arguments: &[&str], count: usize) -> BTreeSet<String> {
    let count = count.to_string();
    let mut consumer = example(script);
    consumer.env("ONECODEX_SECRET", SECRET);
    consumer.args(["--count", &count, "--timeout", "60"]);
    consumer.args(arguments);
    ids(&mut consumer)
}

/// The ids in the lines of JSON that a command prints.
fn ids(command: &mut Command) -> BTreeSet<String> {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(id_of).collect()
}

/// What comes out of the profile's sink from its beginning, once there are so many.
pub async fn come_out(stack: &Stack, count: usize) -> BTreeSet<String> {
    stack.is_drained().await;
    match stack.profile {
        "kafka" => {
            let group = unique("group");
            let from = ["--brokers", "localhost:9092", "--group", &group];
            let topics = ["^onecodex[.].*"];
            consumed("consume_kafka.py", &[&from[..], &topics].concat(), count)
        }
        "rabbitmq" => {
            let url = "amqp://hookferry:hookferry@127.0.0.1:5672/%2f";
            consumed(
                "consume_rabbitmq.py",
                &["--url", url, "onecodex.events"],
                count,
            )
        }
        _ => {
            let what = format!("{count} events in the store");
            eventually_blocking(&what, || {
                let ids = stored();
                (ids.len() >= count).then_some(ids)
            })
        }
    }
}

/// What is on the store's topics, read as a consumer does.
fn stored() -> BTreeSet<String> {
    let root = "http://127.0.0.1:8081/topics";
    let topics: Value = serde_json::from_str(&text(root)).expect("JSON");
    let topics = topics.as_array().expect("topics").iter();
    let names = topics.map(|topic| topic["name"].as_str().expect("a name"));
    let url = |name| format!("{root}/{name}/events?limit=1000&bodies=false");
    let events: Vec<String> = names.map(|name| text(&url(name))).collect();
    events
        .iter()
        .flat_map(|lines| lines.lines().map(id_of))
        .collect()
}

/// The body of a GET, with the trial's token.
fn text(url: &str) -> String {
    let request = ureq::get(url).header("authorization", format!("Bearer {TOKEN}"));
    let mut answer = request
        .call()
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    answer.body_mut().read_to_string().expect("text")
}

/// The id in an event's line of JSON.
fn id_of(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect("a line of JSON");
    if let Some(verified) = event.get("verified") {
        assert_eq!(verified, true, "{event}");
    }
    event["id"].as_str().expect("an id").to_owned()
}
