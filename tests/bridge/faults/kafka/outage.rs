//! The broker stops, dies, freezes or hangs, and is there again.

use std::time::{Duration, Instant};

use super::{KAFKA, Scene};
use crate::harness::{Copies, Node, Report};

/// How long the frozen broker stays frozen: longer than any timeout of the client.
const FROZEN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_a_broker_that_restarts_is_found_again() {
    let mut node = Node::kafka().await;
    let scene = Scene::at(&node.brokers()).await;
    node.shut_down();
    scene.knows_of_the_outage().await;
    scene.answers(200).await;
    node.restart().await;
    let recovered = scene.recovers().await;
    let (bridge, _, verdict) = scene.ends(Copies::InDoubt).await;
    bridge.counts("sink_reconnects_total", &KAFKA, 1.0).await;
    Report::row(4)
        .sink("kafka")
        .did("the broker stops and starts again")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_a_broker_that_is_killed_is_found_again() {
    let mut node = Node::kafka().await;
    let scene = Scene::at(&node.brokers()).await;
    node.kill();
    scene.knows_of_the_outage().await;
    scene.answers(200).await;
    node.restart().await;
    let recovered = scene.recovers().await;
    let (bridge, _, verdict) = scene.ends(Copies::InDoubt).await;
    bridge.counts("sink_reconnects_total", &KAFKA, 1.0).await;
    Report::row(4)
        .sink("kafka")
        .did("`kill -9` of the JVM under load")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_07_a_frozen_broker_holds_nobody_up() {
    let node = Node::kafka().await;
    let scene = Scene::at(&node.brokers()).await;
    node.signal("STOP");
    let frozen = Instant::now();
    scene.knows_of_the_outage().await;
    let known = Instant::now();
    // The row is about this time.
    tokio::time::sleep_until((frozen + FROZEN).into()).await;
    scene.bridge.shows("sink_connected", &KAFKA, 0.0).await;
    let over = Instant::now();
    node.signal("CONT");
    let recovered = scene.recovers().await;
    let (_bridge, journal, verdict) = scene.ends(Copies::InDoubt).await;
    let p99 = journal.p99(known, over);
    assert!(p99 <= Duration::from_millis(50), "{p99:?}");
    Report::row(7)
        .sink("kafka")
        .did(format!(
            "SIGSTOP for {} s; p99 of the answers meanwhile {:.1} ms",
            FROZEN.as_secs(),
            p99.as_secs_f64() * 1e3
        ))
        .recovered_in(recovered)
        .write(&verdict);
}
