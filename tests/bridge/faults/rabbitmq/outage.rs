//! The broker is away, or might as well be: stopped, killed, frozen, blocked, silent, slow.

use std::time::{Duration, Instant};

use super::Scene;
use crate::faults::namespace::Island;
use crate::harness::{Bridge, Copies, Load, Node, Outlet, Report, Setup, Target, Verdict};
use crate::order::{proxied, proxied_at};

/// What faults.md asks of a broker that is frozen or blocked.
const TROUBLE: Duration = Duration::from_secs(25);
const QUICK: Duration = Duration::from_millis(50);

/// Answers do not slow down while the broker is in trouble and everybody knows it.
async fn answers_stay_quick(scene: Scene, row: u8, did: &str, known: Instant, over: Instant) {
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends_well(Copies::InDoubt).await;
    let p99 = journal.p99(known, over);
    assert!(p99 <= QUICK, "{p99:?}");
    Report::row(row)
        .sink("rabbitmq")
        .did(format!("{did}; p99 meanwhile {} ms", p99.as_millis()))
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_rabbitmq_is_restarted_under_load() {
    let node = Node::rabbitmq().await;
    let scene = Scene::at(&node).await;
    node.ctl(&["stop_app"]);
    scene.shows("sink_connected", 0.0).await;
    scene.shows("sink_paused", 1.0).await;
    scene.goes_on(500).await;
    node.ctl(&["start_app"]);
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(4)
        .sink("rabbitmq")
        .did("`rabbitmqctl stop_app`, then `start_app`, under load")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_rabbitmq_is_killed_under_load() {
    let mut node = Node::rabbitmq().await;
    let scene = Scene::at(&node).await;
    node.kill();
    scene.shows("sink_connected", 0.0).await;
    scene.shows("sink_paused", 1.0).await;
    scene.goes_on(500).await;
    node.restart().await;
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(4)
        .sink("rabbitmq")
        .did("`kill -9` of the broker under load")
        .recovered_in(recovered)
        .write(&verdict);
}

/// The broker takes what is published and its confirms never come back: after the deadline the
/// events go out again, with their ids.
#[tokio::test(flavor = "multi_thread")]
async fn row_06_confirms_that_never_come_are_not_waited_for() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url).and_store();
    let outlet = Outlet::rabbitmq(&setup).await;
    let scene = Scene::begin(setup, outlet).await;
    proxy.mute();
    scene.attempts("unavailable", 1.0).await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(50).await;
    proxy.restore();
    let recovered = scene.recovers().await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    assert!(verdict.duplicates > 0, "what was in doubt went out again");
    Report::row(6)
        .sink("rabbitmq")
        .did("the broker's answers are swallowed after a publish")
        .recovered_in(recovered)
        .write(&verdict);
}

/// The cable is pulled: no packet says that the connection has ended.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, for a network namespace"]
async fn row_06_a_wire_goes_down_and_comes_up_again() {
    let island = Island::new();
    let (_proxy, url) = proxied_at(&format!("{}:0", island.broker())).await;
    let mut setup = Setup::rabbitmq(&url).and_store();
    setup.host = island.bridge();
    let outlet = Outlet::rabbitmq(&setup).await;
    let bridge = Bridge::start_through(&island.command(), &setup.write()).await;
    let mut scene = Scene::of(setup, bridge, outlet);
    scene.is_well().await;
    island.cut_off_broker();
    scene.attempts("unavailable", 1.0).await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(500).await;
    island.reconnect_broker();
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(6)
        .sink("rabbitmq")
        .did("`ip link set down` between the bridge and the broker")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_07_a_frozen_rabbitmq_holds_nobody_up() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url).and_store();
    let outlet = Outlet::rabbitmq(&setup).await;
    let scene = Scene::begin(setup, outlet).await;
    proxy.freeze();
    scene.attempts("unavailable", 1.0).await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(50).await;
    proxy.restore();
    scene.recovers().await;
    scene.ends_well(Copies::InDoubt).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_07_answers_stay_quick_while_rabbitmq_is_frozen() {
    let node = Node::rabbitmq().await;
    let scene = Scene::at(&node).await;
    let began = Instant::now();
    node.signal("STOP");
    scene.shows("sink_connected", 0.0).await;
    scene.shows("sink_paused", 1.0).await;
    let known = Instant::now();
    // The row is about this time.
    tokio::time::sleep_until((began + TROUBLE).into()).await;
    scene.goes_on(1).await;
    let over = Instant::now();
    node.signal("CONT");
    answers_stay_quick(scene, 7, "`SIGSTOP` of the broker for 25 s", known, over).await;
}

/// A link on which a full batch takes longer than its deadline: what does not fit is not sent again
/// and again, but fewer at a time, and the spool takes the rest.
#[tokio::test(flavor = "multi_thread")]
async fn row_08_a_slow_rabbitmq_is_given_what_it_can_take() {
    const EVENTS: usize = 400;
    let (proxy, url) = proxied().await;
    let mut setup = Setup::rabbitmq(&url).and_store();
    setup.sinks[0].1.push_str("channels = 1\n");
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 1.0)
        .await;
    proxy.slow(100_000);
    let target = Target::new(bridge.ingress);
    let journal = Load::start(&target, &setup.source, EVENTS, 1)
        .finish()
        .await;
    assert!(
        bridge
            .metrics()
            .await
            .sum("spool_events", &[("sink", "rabbitmq")])
            > 0.0
    );
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::InDoubt);
    assert_eq!(journal.statuses().into_keys().collect::<Vec<_>>(), [200]);
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("rabbitmq");
    eprintln!("{} duplicates", verdict.duplicates);
}

/// The memory alarm is raised and lifted, as `rabbitmqctl` lets an operator do it; in between the
/// bridge is killed and connects to a broker that blocks it from its first message on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_09_a_blocked_rabbitmq_is_waited_for() {
    let node = Node::rabbitmq().await;
    let mut scene = Scene::at(&node).await;
    let began = Instant::now();
    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    scene.shows("sink_blocked", 1.0).await;
    scene.shows("sink_paused", 1.0).await;
    let known = Instant::now();
    // Long enough for every deadline and for two heartbeats.
    tokio::time::sleep_until((began + TROUBLE).into()).await;
    scene.goes_on(1).await;
    scene.shows("sink_blocked", 1.0).await;
    let over = Instant::now();
    scene.bridge.signal("KILL");
    scene.bridge.ended().await;
    scene.restarts().await;
    scene.shows("sink_blocked", 1.0).await;
    scene.goes_on(100).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    scene.shows("sink_blocked", 0.0).await;
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends(Copies::InDoubt).await;
    let p99 = journal.p99(known, over);
    assert!(p99 <= QUICK, "{p99:?}");
    Report::row(9)
        .sink("rabbitmq")
        .did(format!(
            "memory alarm for 25 s, then `kill -9` of the bridge; p99 meanwhile {} ms",
            p99.as_millis()
        ))
        .recovered_in(recovered)
        .write(&verdict);
}
