//! A network that swallows what is sent, or lets only a little through.

use std::time::{Duration, Instant};

use super::{KAFKA, Scene};
use crate::faults::namespace::{Cable, FAR};
use crate::harness::{Copies, Node, Report, Setup, Wishes, free_port};
use crate::proxy::Proxy;

/// A broker behind a proxy that its clients know as the broker.
async fn proxied() -> (Node, Proxy) {
    let bound = format!("127.0.0.1:{}", free_port());
    let proxy = Proxy::start(bound.clone()).await;
    let advertised = proxy.address().to_string();
    let wishes = Wishes::default().listener("PROXIED", "PLAINTEXT", &bound, &advertised);
    (Node::kafka_with(&wishes).await, proxy)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, and a broker of its own"]
async fn row_06_a_cable_that_is_pulled_is_noticed_and_survived() {
    let cable = Cable::plug();
    let address = format!("{FAR}:{}", free_port());
    let wishes = Wishes {
        inside: cable.inside(),
        ..Wishes::default()
    };
    let _node = Node::kafka_with(&wishes.listener("CABLE", "PLAINTEXT", &address, &address)).await;
    let scene = Scene::at(&address).await;
    cable.pull();
    scene.knows_of_the_outage().await;
    scene.bridge.shows("sink_connected", &KAFKA, 0.0).await;
    scene.answers(200).await;
    cable.plug_in_again();
    let recovered = scene.recovers().await;
    let (bridge, _, verdict) = scene.ends(Copies::InDoubt).await;
    bridge.counts("sink_reconnects_total", &KAFKA, 1.0).await;
    Report::row(6)
        .sink("kafka")
        .did("`ip link set down` at the broker's end, under load")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_06_a_connection_that_hangs_half_open_is_given_up() {
    let (node, proxy) = proxied().await;
    let setup = Setup::kafka(&proxy.address().to_string()).and_store();
    let scene = Scene::start(setup, &node.brokers()).await;
    proxy.freeze();
    scene.knows_of_the_outage().await;
    scene.bridge.shows("sink_connected", &KAFKA, 0.0).await;
    scene.answers(200).await;
    proxy.restore();
    let recovered = scene.recovers().await;
    let (bridge, _, verdict) = scene.ends(Copies::InDoubt).await;
    bridge.counts("sink_reconnects_total", &KAFKA, 1.0).await;
    Report::row(6)
        .sink("kafka")
        .did("a proxy that keeps connections open and lets nothing through")
        .recovered_in(recovered)
        .write(&verdict);
}

/// Less than a fifth of what the load needs.
const SLOW: usize = 40_000;
/// How long the network is slow.
const SLOWNESS: Duration = Duration::from_secs(30);
/// How much the bridge may grow by: what its client holds at most, and some.
const GROWTH: u64 = 64 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_08_the_spool_absorbs_what_a_slow_broker_does_not_take() {
    let (node, proxy) = proxied().await;
    let setup = Setup::kafka(&proxy.address().to_string()).and_store();
    let scene = Scene::start(setup, &node.brokers()).await;
    let before = scene.bridge.memory_bytes();
    proxy.slow(SLOW);
    let began = Instant::now();
    let mut delivered = Vec::new();
    while began.elapsed() < SLOWNESS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let metrics = scene.bridge.metrics().await;
        assert!(metrics.sum("publish_in_flight", &KAFKA) <= 1024.0);
        delivered.push(metrics.sum("events_delivered_total", &KAFKA));
        eprintln!(
            "{:?} delivered {:?} spool {} paused {} rss {}",
            began.elapsed(),
            delivered.last(),
            metrics.sum("spool_events", &KAFKA),
            metrics.sum("sink_paused", &KAFKA),
            scene.bridge.memory_bytes()
        );
    }
    let over = Instant::now();
    assert!(
        scene.bridge.metrics().await.sum("spool_events", &KAFKA) > 1000.0,
        "it was not slow"
    );
    let grown = scene.bridge.memory_bytes().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes more");
    proxy.restore();
    let recovered = scene.recovers().await;
    let (_bridge, journal, verdict) = scene.ends(Copies::InDoubt).await;
    let p99 = journal.p99(began, over);
    assert!(p99 <= Duration::from_millis(50), "{p99:?}");
    Report::row(8)
        .sink("kafka")
        .did(format!(
            "a network of {} kB/s; the bridge grew by {:.1} MB",
            SLOW / 1000,
            grown as f64 / 1e6
        ))
        .recovered_in(recovered)
        .write(&verdict);
}
