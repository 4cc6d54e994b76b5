//! The name of the broker means nothing, and later another address.

use super::{KAFKA, Scene};
use crate::eventually::eventually;
use crate::faults::namespace::Names;
use crate::harness::{Bridge, Copies, Node, Report, Setup, Wishes, free_port};

const NAME: &str = "kafka.example";

fn listening(at: &str, port: u16) -> Wishes {
    Wishes::default().listener(
        "NAMED",
        "PLAINTEXT",
        &format!("{at}:{port}"),
        &format!("{NAME}:{port}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, and a broker of its own"]
async fn row_29_a_name_is_looked_up_anew_for_every_connection() {
    let port = free_port();
    let mut node = Node::kafka_with(&listening("127.0.0.1", port)).await;
    let setup = Setup::kafka(&format!("{NAME}:{port}")).and_store();
    let names = Names::new(setup.path("hookferry.toml").parent().expect("a folder"));
    let bridge = Bridge::start_through(&names.command(), &setup.write()).await;
    eventually("the log says that the name means nothing", async || {
        bridge.log().contains("Failed to resolve").then_some(())
    })
    .await;
    bridge.shows("sink_connected", &KAFKA, 0.0).await;
    names.point(NAME, "127.0.0.1");
    let scene = Scene::around(setup, bridge, &node.brokers()).await;
    node.shut_down();
    scene.knows_of_the_outage().await;
    scene.answers(100).await;
    names.point(NAME, "127.0.0.2");
    node.restart_with(&listening("127.0.0.2", port)).await;
    let recovered = scene.recovers().await;
    let (bridge, _, verdict) = scene.ends(Copies::InDoubt).await;
    bridge.counts("sink_reconnects_total", &KAFKA, 1.0).await;
    Report::row(29)
        .sink("kafka")
        .did("name unknown at the start; the broker moves to another address")
        .recovered_in(recovered)
        .write(&verdict);
}
