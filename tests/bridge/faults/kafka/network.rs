//! A network that swallows what is sent, or lets only a little through.

use std::time::{Duration, Instant};

use crate::faults::namespace::Island;
use crate::faults::scene::{self, Scene};
use crate::harness::{Bridge, Copies, Node, Outlet, Report, Setup, Wishes, free_port};
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
async fn row_06_a_cut_wire_to_kafka_is_noticed_and_survived() {
    let island = Island::new();
    let address = format!("{}:{}", island.broker(), free_port());
    let node =
        Node::kafka_with(&Wishes::default().listener("WIRE", "PLAINTEXT", &address, &address))
            .await;
    let mut setup = Setup::kafka(&address).and_store();
    setup.host = island.bridge();
    let bridge = Bridge::start_through(&island.command(), &setup.write()).await;
    let mut scene = Scene::of(setup, bridge, Outlet::kafka(&node.brokers()));
    scene.is_well().await;
    island.cut_off_broker();
    scene.is_paused().await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(200).await;
    island.reconnect_broker();
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(6)
        .sink("kafka")
        .did("`ip link set down` on the wire to the broker, under load")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_06_a_connection_that_hangs_half_open_is_given_up() {
    let (node, proxy) = proxied().await;
    let setup = Setup::kafka(&proxy.address().to_string()).and_store();
    let scene = Scene::begin(setup, Outlet::kafka(&node.brokers())).await;
    proxy.freeze();
    scene.is_paused().await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(200).await;
    proxy.restore();
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(6)
        .sink("kafka")
        .did("a proxy that keeps connections open and lets nothing through")
        .recovered_in(recovered)
        .write(&verdict);
}

/// A sixth of what the load needs.
const SLOW: usize = 80_000;
/// How long the network is slow.
const SLOWNESS: Duration = Duration::from_secs(30);
/// How much the bridge may grow by: what its client holds at most.
const GROWTH: u64 = 64 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_08_the_spool_absorbs_what_a_slow_kafka_does_not_take() {
    let (node, proxy) = proxied().await;
    let setup = Setup::kafka(&proxy.address().to_string()).and_store();
    let scene = Scene::begin(setup, Outlet::kafka(&node.brokers())).await;
    let before = scene.bridge.memory_bytes();
    proxy.slow(SLOW);
    let began = Instant::now();
    let delivered = scene.value("events_delivered_total").await;
    // The row is about this time.
    tokio::time::sleep(SLOWNESS).await;
    let over = Instant::now();
    assert!(
        scene.value("spool_events").await > 1000.0,
        "it was not slow"
    );
    assert!(
        scene.value("events_delivered_total").await > delivered + 200.0,
        "nothing got through"
    );
    let grown = scene.bridge.memory_bytes().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes more");
    proxy.restore();
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends_well(Copies::InDoubt).await;
    let quick = scene::quick(&journal, began, over);
    Report::row(8)
        .sink("kafka")
        .did(format!(
            "{} kB/s for {} s; the bridge grew by {} MB; {quick}",
            SLOW / 1000,
            SLOWNESS.as_secs(),
            grown / 1_000_000
        ))
        .recovered_in(recovered)
        .write(&verdict);
}
