//! The broker stops, dies, freezes or hangs, and is there again.

use std::time::{Duration, Instant};

use crate::faults::scene::{self, Scene};
use crate::harness::{Copies, Node, Report};

/// How long the frozen broker stays frozen: longer than any timeout of the client.
const FROZEN: Duration = Duration::from_secs(25);

/// The broker ends in this way, and starts again.
async fn is_found_again(end: impl FnOnce(&mut Node), did: &str) {
    let mut node = Node::kafka().await;
    let scene = Scene::at_kafka(&node.brokers()).await;
    end(&mut node);
    scene.is_paused().await;
    scene.goes_on(200).await;
    node.restart().await;
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(4)
        .sink("kafka")
        .did(did)
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_a_broker_that_restarts_is_found_again() {
    is_found_again(Node::shut_down, "the broker stops and starts again").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_a_broker_that_is_killed_is_found_again() {
    is_found_again(Node::kill, "`kill -9` of the JVM under load").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_07_a_frozen_broker_holds_nobody_up() {
    let node = Node::kafka().await;
    let scene = Scene::at_kafka(&node.brokers()).await;
    node.signal("STOP");
    let frozen = Instant::now();
    scene.is_paused().await;
    let known = Instant::now();
    // The row is about this time.
    tokio::time::sleep_until((frozen + FROZEN).into()).await;
    scene.shows("sink_connected", 0.0).await;
    let over = Instant::now();
    node.signal("CONT");
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends_well(Copies::InDoubt).await;
    let quick = scene::quick(&journal, known, over);
    Report::row(7)
        .sink("kafka")
        .did(format!("SIGSTOP for {} s; {quick}", FROZEN.as_secs()))
        .recovered_in(recovered)
        .write(&verdict);
}
