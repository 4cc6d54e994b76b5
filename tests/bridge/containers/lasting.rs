//! What has been answered 200 outlasts a kill of the bridge's container, and `down` and `up`.

use std::collections::BTreeSet;

use super::delivered::come_out;
use super::head;
use super::stack::Stack;
use super::trial::{INGRESS, delivery};
use crate::eventually::eventually;
use crate::harness::Connection;
use crate::harness::delivery::event;

/// Events of each part.
const EVENTS: usize = 40;

/// Sends so many, as soon as the bridge answers: their ids.
async fn accepted(count: usize) -> BTreeSet<String> {
    eventually("the bridge listens", async || {
        let mut connection = Connection::open(INGRESS).await.ok()?;
        // Docker's own proxy takes connections before there is anybody behind it.
        connection
            .send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .ok()?;
        connection.answer().await.ok().flatten().map(|_| ())
    })
    .await;
    let mut ids = BTreeSet::new();
    for number in 0..count {
        let object = format!("object{}", number % 5);
        let answer = delivery(event("sample.uploaded", &object))
            .to(INGRESS)
            .await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        ids.insert(answer.id());
    }
    assert_eq!(ids.len(), count);
    ids
}

/// A kill with the sink away, a start, `down` and `up`: each event comes out, and no other.
async fn loses_nothing(profile: &'static str) {
    let stack = Stack::new(profile);
    let bridge = stack.bridge();
    let broker = (profile != "store").then_some(profile);
    let mut services = vec![bridge.clone()];
    services.extend(broker.map(str::to_owned));
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    let up = [&["up", "--detach"], &names[..]].concat();
    stack.compose(&up);
    stack.is_healthy(&services).await;
    let mut sent = accepted(EVENTS).await;
    if let Some(broker) = broker {
        assert_eq!(come_out(&stack, EVENTS).await, sent);
        stack.compose(&["stop", broker]);
        sent.extend(accepted(EVENTS).await);
        assert_eq!(stack.waiting(), EVENTS);
    }
    let id = stack.id(&bridge);
    stack.types(&format!("docker kill {id}")).good();
    assert_eq!(stack.inspect(&bridge)["State"]["ExitCode"], 137);
    stack.types(&format!("docker start {id}")).good();
    sent.extend(accepted(EVENTS).await);
    if broker.is_some() {
        assert_eq!(stack.waiting(), 2 * EVENTS);
    }
    let down = head::command("'*' down --volumes").replace(" --volumes", "");
    assert!(head::commands().contains(&down), "{down}");
    stack.types(&down).good();
    assert_eq!(stack.services(), [""; 0]);
    stack.compose(&up);
    stack.is_healthy(&services).await;
    sent.extend(accepted(1).await);
    // RabbitMQ's consumer has taken what it has seen.
    let before = if profile == "rabbitmq" { EVENTS } else { 0 };
    let seen = come_out(&stack, sent.len() - before).await;
    let missing: Vec<&String> = sent.difference(&seen).collect();
    let unknown: Vec<&String> = seen.difference(&sent).collect();
    assert_eq!(
        (missing.len(), unknown.len()),
        (before, 0),
        "{missing:?} {unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn the_store_loses_nothing_by_a_kill_and_by_down_and_up() {
    loses_nothing("store").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn kafka_loses_nothing_by_a_kill_and_by_down_and_up() {
    loses_nothing("kafka").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn rabbitmq_loses_nothing_by_a_kill_and_by_down_and_up() {
    loses_nothing("rabbitmq").await;
}
