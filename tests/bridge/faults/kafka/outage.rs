//! The broker stops, dies, freezes or hangs, and is there again.

use std::time::{Duration, Instant};

use crate::faults::scene::Scene;
use crate::harness::{Copies, Node, Report};

/// How long the frozen broker stays frozen: longer than any timeout of the client.
const FROZEN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_a_broker_that_restarts_is_found_again() {
    let mut node = Node::kafka().await;
    let scene = Scene::at_kafka(&node.brokers()).await;
    node.shut_down();
    scene.is_paused().await;
    scene.goes_on(200).await;
    node.restart().await;
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
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
    let scene = Scene::at_kafka(&node.brokers()).await;
    node.kill();
    scene.is_paused().await;
    scene.goes_on(200).await;
    node.restart().await;
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
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
