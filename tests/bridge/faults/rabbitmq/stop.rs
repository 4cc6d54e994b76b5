//! The bridge is told to stop while its broker does not answer.

use std::time::{Duration, Instant};

use crate::eventually::eventually;
use crate::faults::scene::Scene;
use crate::harness::{Copies, Node, Outlet, Report, Setup};
use crate::order::proxied;

/// The default of `shutdown_timeout`.
const ORDERLY: Duration = Duration::from_secs(10);

/// A deadline for publishes as long as the whole shutdown may take: the stop must not wait for it.
fn patient(mut setup: Setup) -> Setup {
    let keys = &mut setup.sinks[0].1;
    *keys = keys.replace("publish_timeout = \"2s\"", "publish_timeout = \"10s\"");
    setup
}

/// Readiness goes off at once, what was asked before is answered, the end is orderly and in time.
async fn stops(scene: &mut Scene) -> (Instant, Duration) {
    let asked = Instant::now();
    scene.bridge.signal("TERM");
    eventually("readiness goes off", async || {
        (scene.bridge.ask("/readyz").await.status == 503).then_some(())
    })
    .await;
    let status = scene.bridge.ended().await;
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{}", scene.bridge.log());
    assert!(took <= ORDERLY, "{took:?}");
    (asked, took)
}

/// The next start delivers what the stop has left behind.
async fn comes_back(mut scene: Scene, asked: Instant, did: String) {
    scene.restarts().await;
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends(Copies::InDoubt).await;
    let attempts = journal.0.iter().flat_map(|sent| &sent.attempts);
    for attempt in attempts.filter(|attempt| attempt.began < asked) {
        assert!(attempt.status.is_some(), "nobody is left without an answer");
    }
    Report::row(3)
        .sink("rabbitmq")
        .did(did)
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_03_a_stop_does_not_wait_for_a_frozen_rabbitmq() {
    let (proxy, url) = proxied().await;
    let setup = patient(Setup::rabbitmq(&url).and_store());
    let outlet = Outlet::rabbitmq(&setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    proxy.freeze();
    scene.counts("publish_in_flight", 1.0).await;
    scene.goes_on(50).await;
    let (asked, took) = stops(&mut scene).await;
    proxy.restore();
    let did = format!(
        "`SIGTERM` with the broker frozen; ended after {} ms",
        took.as_millis()
    );
    comes_back(scene, asked, did).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_03_a_stop_does_not_wait_for_a_blocked_rabbitmq() {
    let node = Node::rabbitmq().await;
    let setup = patient(Setup::rabbitmq(&node.url()).and_store());
    let outlet = Outlet::durable(&node.url(), &setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    scene.shows("sink_blocked", 1.0).await;
    scene.goes_on(50).await;
    let (asked, took) = stops(&mut scene).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    let did = format!(
        "`SIGTERM` with the broker blocked; ended after {} ms",
        took.as_millis()
    );
    comes_back(scene, asked, did).await;
}
