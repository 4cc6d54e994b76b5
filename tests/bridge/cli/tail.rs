use std::process::Stdio;

use super::{Running, Setup, hookferry, lines, run};
use crate::message::unique;

#[test]
fn tail_shows_a_stores_topic_from_its_start() {
    let setup = Setup::with_store();
    let served = setup.serve();
    setup.send(&served, 3);
    let config = setup.config();
    let tail = |more: &[&str]| {
        let mut arguments = vec![
            "tail",
            "--config",
            &config,
            "--sink",
            "store",
            "--admin",
            &served.admin,
            "--from-start",
        ];
        arguments.extend(more);
        run(&arguments)
    };
    let said = tail(&["onecodex.sample.uploaded", "--count", "3"]).with_code(0);
    let positions: Vec<&str> = said
        .out
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            assert_eq!(
                (fields.len(), fields[0], fields[2]),
                (6, "onecodex.sample.uploaded", "sample.uploaded")
            );
            fields[1]
        })
        .collect();
    assert_eq!(positions, ["1", "2", "3"]);
    let said = tail(&["--count", "1", "--json"]).with_code(0);
    let event: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let body: serde_json::Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["event_type"], "sample.uploaded");
    assert_eq!(event["headers"]["ce_id"], event["id"]);
    let said = tail(&["--count", "1", "--body"]).with_code(0);
    assert!(said.out.contains("\n{\"api_version\""), "{}", said.out);
}

#[test]
fn tail_shows_what_comes_and_ends_when_its_reader_does_or_at_a_signal() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let config = setup.config();
    let arguments = [
        "tail",
        "--config",
        &config,
        "--sink",
        "store",
        "--admin",
        &served.admin,
        "onecodex.sample.uploaded",
        "--from-start",
    ];
    let mut first = Running::start(hookferry(&arguments));
    let mut second = Running::start(hookferry(&arguments));
    let (mut reader, mut other) = (first.stdout(), second.stdout());
    setup.send(&served, 1);
    assert_eq!(lines(&mut reader, 1), lines(&mut other, 1));
    drop(reader);
    setup.send(&served, 1);
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut first.child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(said, "");
    assert_eq!(second.stop("TERM").code(), Some(0));
}

#[test]
fn what_cannot_be_followed_is_said() {
    let setup = Setup::with_store();
    let config = setup.config();
    let said = run(&["tail", "--config", &config, "--sink", "kafka"]).with_code(2);
    assert!(said.err.contains("there are store"), "{}", said.err);
    let said = run(&["tail", "--config", &config, "--sink", "store"]).with_code(2);
    assert!(said.err.contains("--admin"), "{}", said.err);
    let nobody = "http://127.0.0.1:1";
    run(&[
        "tail", "--config", &config, "--sink", "store", "--admin", nobody, "t",
    ])
    .with_code(1);
    let rabbit = Setup::with_sink("r", "type = \"rabbitmq\"\nurl = \"amqp://127.0.0.1:1\"");
    run(&[
        "tail",
        "--config",
        &rabbit.config(),
        "--sink",
        "r",
        "--from-start",
    ])
    .with_code(2);
    run(&["tail", "--config", &rabbit.config(), "--sink", "r"]).with_code(1);
}

fn broker(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run tests/run, or set it to a broker's address")
    })
}

#[test]
fn tail_and_check_serve_kafka() {
    let prefix = unique("tail");
    let brokers = broker("HOOKFERRY_TEST_KAFKA_BROKERS");
    let sink = format!(
        "type = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{prefix}\"\n\
         create_topics = {{ partitions = 1, replication = 1, min_insync_replicas = 1 }}"
    );
    let setup = Setup::with_sink("kafka", &sink);
    let config = setup.config();
    // Looking makes nothing.
    run(&["check", "--connect", "--config", &config]);
    let said = run(&["tail", "--config", &config, "--sink", "kafka"]).with_code(1);
    assert!(said.err.contains("there is no topic"), "{}", said.err);
    let served = setup.serve();
    setup.send(&served, 2);
    crate::eventually::eventually_blocking("the topic is there", || {
        let said = run(&[
            "tail",
            "--config",
            &config,
            "--sink",
            "kafka",
            "--from-start",
            "--count",
            "2",
        ]);
        let shown = said.code == Some(0) && said.out.lines().count() == 2;
        shown.then_some(())
    });
    let said = run(&["check", "--connect", "--config", &config]).with_code(0);
    assert!(said.out.contains(&prefix), "{}", said.out);
}

#[test]
fn tail_and_check_serve_rabbitmq() {
    let exchange = unique("tail");
    let url = broker("HOOKFERRY_TEST_AMQP_URL");
    let sink = format!(
        "type = \"rabbitmq\"\nurl = \"{url}\"\nexchange = \"{exchange}\"\ndeclare = true\n[[sink.rabbit.queue]]\nname = \"{exchange}\"\nbinding = \"#\""
    );
    let setup = Setup::with_sink("rabbit", &sink);
    let served = setup.serve();
    // The exchange is there once something has been delivered.
    setup.send(&served, 1);
    let config = setup.config();
    crate::eventually::eventually_blocking("the exchange is there", || {
        let said = run(&["check", "--connect", "--config", &config]);
        (said.code == Some(0) && said.out.contains("is a durable topic exchange")).then_some(())
    });
    let mut command = hookferry(&[
        "tail",
        "--config",
        &config,
        "--sink",
        "rabbit",
        "analysis.#",
        "--count",
        "1",
    ]);
    command.stdin(Stdio::null());
    let mut tail = Running::start(command);
    // It is bound at some moment: events are sent until one is seen.
    let secret = setup.secret();
    let ended = crate::eventually::eventually_blocking("an event is seen", || {
        let arguments = [
            "send",
            "--url",
            &served.webhook,
            "--secret-file",
            &secret,
            "--event-type",
            "analysis.failed",
        ];
        run(&arguments).with_code(0);
        tail.child.try_wait().unwrap()
    });
    assert_eq!(ended.code(), Some(0));
    let line = lines(&mut tail.stdout(), 1).concat();
    assert!(
        line.starts_with(&format!("{exchange}/analysis.failed.")),
        "{line}"
    );
}
