//! The example consumers, with client libraries no part of the bridge uses, against real brokers.

use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::delivery::event;
use crate::harness::setup::SECRET;
use crate::harness::{Bridge, Post, Setup, amqp_url, kafka_brokers};

/// A script of deploy/examples, with the client libraries that it needs.
pub fn example(script: &str) -> Command {
    let python = std::env::var("HOOKFERRY_TEST_PYTHON").expect(
        "HOOKFERRY_TEST_PYTHON names no python: run tests/run, or set it to one with deploy/examples/requirements.txt",
    );
    let mut command = Command::new(python);
    command
        .arg(format!(
            "{}/deploy/examples/{script}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .env_remove("ONECODEX_SECRET")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn consumer(script: &str) -> Command {
    let mut command = example(script);
    command.env("ONECODEX_SECRET", SECRET);
    command
}

async fn run(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.unwrap().expect("python runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Events of three types, one of them twice, with bytes that a parser would not give back.
async fn deliver(bridge: &Bridge, source: &str) -> Vec<(String, String, String)> {
    let mut sent = Vec::new();
    for (event_type, object) in [
        ("sample.uploaded", "7428cca4a3a04a8e"),
        ("analysis.succeeded", "495d7e4c16934e12"),
        ("analysis.failed", "495d7e4c16934e12"),
    ] {
        let body = event(event_type, object);
        let id = bridge.accepted(source, body.as_str()).await;
        let again = bridge.post(&Post::signed(source, body.as_str())).await;
        assert_eq!(again.outcome(), "duplicate");
        sent.push((id, event_type.to_owned(), body));
    }
    sent
}

fn assert_understood(lines: &[Value], sent: &[(String, String, String)], prefix: &str) {
    assert_eq!(lines.len(), sent.len(), "{lines:?}");
    for (id, event_type, body) in sent {
        let line = lines
            .iter()
            .find(|line| line["id"] == id.as_str())
            .expect("every event is there");
        assert_eq!(line["type"], event_type.as_str());
        assert_eq!(line["verified"], true, "{line}");
        assert_eq!(line["result"], "verified", "{line}");
        assert_eq!(line["sha256"], hex::encode(Sha256::digest(body)));
        let subject = line["subject"].as_str().expect("a subject");
        assert!(body.contains(&format!("/{subject}\"")));
        let headers = &line["headers"];
        assert_eq!(headers[format!("{prefix}specversion")], "1.0");
        assert_eq!(headers[format!("{prefix}id")], id.as_str());
        assert_eq!(headers["hookferry-origin"], "webhook");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_consumer_gets_it_right() {
    let setup = Setup::kafka(&kafka_brokers());
    let bridge = setup.start().await;
    let sent = deliver(&bridge, &setup.source).await;
    bridge.drained().await;
    let mut command = consumer("consume_kafka.py");
    command.args([
        "--brokers",
        &kafka_brokers(),
        "--group",
        &setup.source,
        "--count",
        "3",
        "--timeout",
        "60",
    ]);
    command.arg(format!("^{}[.].*", setup.source));
    let lines = lines(&run(command).await);
    assert_understood(&lines, &sent, "ce_");
    for line in &lines {
        assert_eq!(line["key"], line["subject"], "the key is the object");
        let topic = format!("{}.{}", setup.source, line["type"].as_str().unwrap());
        assert_eq!(line["topic"], topic.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_consumer_gets_it_right() {
    let mut setup = Setup::rabbitmq(&amqp_url());
    let queue = format!("{}.queue", setup.source);
    setup.sinks[0]
        .1
        .push_str(&format!("[[sink.rabbitmq.queue]]\nname = \"{queue}\"\n"));
    let bridge = setup.start().await;
    let sent = deliver(&bridge, &setup.source).await;
    bridge.drained().await;
    let mut command = consumer("consume_rabbitmq.py");
    command.args([
        "--url",
        &amqp_url(),
        "--count",
        "3",
        "--timeout",
        "60",
        &queue,
    ]);
    let lines = lines(&run(command).await);
    assert_understood(&lines, &sent, "cloudEvents_");
    for line in &lines {
        assert_eq!(line["message_id"], line["id"]);
        let key = format!(
            "{}.{}",
            line["type"].as_str().unwrap(),
            line["subject"].as_str().unwrap()
        );
        assert_eq!(line["routing_key"], key.as_str());
    }
}

/// The examples' own check must be able to fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_with_another_secret_sees_nothing_verified() {
    let setup = Setup::kafka(&kafka_brokers());
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    let mut command = consumer("consume_kafka.py");
    command.env("ONECODEX_SECRET", "another");
    command.args([
        "--brokers",
        &kafka_brokers(),
        "--group",
        &setup.source,
        "--count",
        "1",
        "--timeout",
        "60",
    ]);
    command.arg(format!("{}.sample.uploaded", setup.source));
    let seen = &lines(&run(command).await)[0];
    assert_eq!(seen["verified"], false, "{seen}");
}
