//! The broker is away, or might as well be: stopped, killed, frozen, blocked, silent, slow.

use std::time::{Duration, Instant};

use crate::eventually::eventually_within;
use crate::faults::namespace::Island;
use crate::faults::scene::{self, Scene};
use crate::harness::{Bridge, Copies, Journal, Load, Node, Outlet, Report, Setup, Target, Verdict};
use crate::order::{proxied, proxied_at};

/// How long a broker is frozen or blocked: longer than every deadline, and than two heartbeats.
const TROUBLE: Duration = Duration::from_secs(25);
/// Twice what the bridge needs for the connections of a thousand senders.
const MEMORY_BYTES: u64 = 256 << 20;
const RABBIT: [(&str, &str); 1] = [("sink", "rabbitmq")];

/// Restarted in good order, then killed. (A quorum queue of RabbitMQ 3.10 that is killed within a
/// second of its making never has a leader again; this one is older by then.)
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_04_rabbitmq_is_restarted_and_killed_under_load() {
    let mut node = Node::rabbitmq().await;
    let scene = Scene::at_rabbitmq(&node).await;
    node.ctl(&["stop_app"]);
    scene.shows("sink_connected", 0.0).await;
    scene.shows("sink_paused", 1.0).await;
    scene.goes_on(500).await;
    node.ctl(&["start_app"]);
    let restarted = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    node.kill();
    scene.shows("sink_connected", 0.0).await;
    scene.shows("sink_paused", 1.0).await;
    scene.goes_on(500).await;
    node.restart().await;
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 2.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(4)
        .sink("rabbitmq")
        .did("`rabbitmqctl stop_app`, `start_app`, then `kill -9` of the broker, under load")
        .recovered_in(restarted.max(recovered))
        .write(&verdict);
}

/// The pause between two tries is for a broker that is away. It ends when there is a connection again,
/// however long it was to last.
#[tokio::test(flavor = "multi_thread")]
async fn row_04_a_new_connection_ends_the_pause() {
    let (proxy, url) = proxied().await;
    let mut setup = Setup::rabbitmq(&url).and_store();
    let patient = "retry_delay_max = \"24h\"";
    let keys = &mut setup.sinks[0].1;
    *keys = keys.replace("retry_delay_max = \"500ms\"", patient);
    assert!(keys.contains(patient), "{keys}");
    let outlet = Outlet::rabbitmq(&setup).await;
    let scene = Scene::begin(setup, outlet).await;
    proxy.cut();
    scene.shows("sink_connected", 0.0).await;
    scene.is_paused().await;
    scene.goes_on(50).await;
    proxy.restore();
    scene.recovers().await;
    scene.ends_well(Copies::InDoubt).await;
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
    let scene = Scene::at_rabbitmq(&node).await;
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
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends_well(Copies::InDoubt).await;
    let quick = scene::quick(&journal, known, over);
    Report::row(7)
        .sink("rabbitmq")
        .did(format!("`SIGSTOP` of the broker for 25 s; {quick}"))
        .recovered_in(recovered)
        .write(&verdict);
}

/// A bridge on a link that takes so many bytes a second, given so many events at once.
async fn slowed(
    bytes_per_second: usize,
    objects: usize,
    each: usize,
) -> (Bridge, Journal, Verdict) {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url).and_store();
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    bridge.shows("sink_connected", &RABBIT, 1.0).await;
    proxy.slow(bytes_per_second);
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, objects, each);
    let journal = load.finish().await;
    let waiting = bridge.metrics().await.sum("spool_events", &RABBIT);
    assert!(waiting > 0.0, "the spool takes what the link does not");
    let patience = Duration::from_secs(180);
    eventually_within(patience, "all is delivered, slow as it is", async || {
        let waiting = bridge.metrics().await.sum("spool_events", &RABBIT);
        (waiting < 0.5).then_some(())
    })
    .await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::InDoubt);
    assert_eq!(journal.statuses().into_keys().collect::<Vec<_>>(), [200]);
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("rabbitmq");
    (bridge, journal, verdict)
}

/// A full batch takes longer than its deadline, where enough events come at once. What has missed it
/// is not sent again and again as it was, but fewer events at a time.
#[tokio::test(flavor = "multi_thread")]
async fn row_08_a_slow_rabbitmq_is_given_what_it_can_take() {
    slowed(100_000, 400, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: thousands of events over a slow link take their time"]
async fn row_08_a_backlog_for_a_slow_rabbitmq_waits_in_the_spool() {
    let (bridge, journal, verdict) = slowed(100_000, 1000, 5).await;
    let (events, copies) = (journal.0.len(), verdict.duplicates);
    assert!(copies < events / 2, "{copies} copies of {events} events");
    let missed = [RABBIT[0], ("result", "unavailable")];
    let missed = bridge
        .metrics()
        .await
        .sum("publish_attempts_total", &missed);
    assert!(missed > 0.0, "a full batch takes longer than its deadline");
    let peak = bridge.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES, "{peak}");
    Report::row(8)
        .sink("rabbitmq")
        .did(format!(
            "5 000 events over a link of 100 kB/s; at most {} MB resident",
            peak / 1_000_000
        ))
        .write(&verdict);
}

/// The memory alarm is raised and lifted, as `rabbitmqctl` lets an operator do it; in between the
/// bridge is restarted and connects to a broker that blocks it from its first message on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_09_a_blocked_rabbitmq_is_waited_for() {
    let node = Node::rabbitmq().await;
    let mut scene = Scene::at_rabbitmq(&node).await;
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
    scene.bridge.signal("TERM");
    scene.bridge.ended().await;
    scene.restarts().await;
    scene.shows("sink_blocked", 1.0).await;
    scene.goes_on(100).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    scene.shows("sink_blocked", 0.0).await;
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends(Copies::InDoubt).await;
    let quick = scene::quick(&journal, known, over);
    Report::row(9)
        .sink("rabbitmq")
        .did(format!(
            "memory alarm for 25 s, then a restart of the bridge; {quick}"
        ))
        .recovered_in(recovered)
        .write(&verdict);
}
