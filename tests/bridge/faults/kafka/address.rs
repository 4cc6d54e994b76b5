//! The broker's name leads nowhere, and then somewhere else.

use crate::faults::namespace::Names;
use crate::faults::scene::Scene;
use crate::harness::{Bridge, Copies, Node, Outlet, Report, Setup, Wishes, free_port};

const NAME: &str = "kafka.test";

/// A listener at this address that tells its clients the broker's name.
fn listening(at: &str, port: u16) -> Wishes {
    let advertised = format!("{NAME}:{port}");
    Wishes::default().listener("NAMED", "PLAINTEXT", &format!("{at}:{port}"), &advertised)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, for a mount namespace, and a broker of its own"]
async fn row_29_the_name_of_kafka_is_looked_up_afresh() {
    let port = free_port();
    let mut node = Node::kafka_with(&listening("127.0.0.2", port)).await;
    let setup = Setup::kafka(&format!("{NAME}:{port}")).and_store();
    let names = Names::new(setup.path("hookferry.toml").parent().expect("a folder"));
    let bridge = Bridge::start_through(&names.command(), &setup.write()).await;
    let mut scene = Scene::of(setup, bridge, Outlet::kafka(&node.brokers()));
    scene.says("Failed to resolve").await;
    scene.has_failed_at("lookup").await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(100).await;
    names.point(NAME, "127.0.0.2");
    scene.is_well().await;
    // The broker moves.
    names.none();
    node.shut_down();
    scene.is_paused().await;
    scene.goes_on(100).await;
    node.restart_with(&listening("127.0.0.3", port)).await;
    names.point(NAME, "127.0.0.3");
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(29)
        .sink("kafka")
        .did("the broker's name is unknown at the start, and leads to another address later")
        .recovered_in(recovered)
        .write(&verdict);
}
