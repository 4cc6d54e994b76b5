//! The bridge is killed or told to stop, at any moment, under load.

use std::time::{Duration, Instant};

use crate::faults::namespace::NoAnswer;
use crate::harness::{
    Bridge, Copies, Load, Outlet, Report, Setup, Target, Verdict, amqp_url, event, kafka_brokers,
};

const OBJECTS: usize = 12;
const EACH: usize = 40;

/// The bridge and its sink after so many kills under load, and how long the slowest start took.
async fn crashes(setup: &Setup, outlet: &mut Outlet, kills: usize) -> (Bridge, Verdict, Duration) {
    let mut bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, OBJECTS, EACH);
    let mut slowest = Duration::ZERO;
    for kill in 1..=kills {
        load.reaches(OBJECTS * EACH * kill / (kills + 1)).await;
        // The moment is the point here: anywhere between two answers.
        let moment = rand::random::<u64>() % 20_000;
        tokio::time::sleep(Duration::from_micros(moment)).await;
        bridge.kill();
        let began = Instant::now();
        bridge = setup.start().await;
        slowest = slowest.max(began.elapsed());
        target.moves_to(bridge.ingress);
    }
    let journal = load.finish().await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    (bridge, Verdict::of(&journal, &seen), slowest)
}

async fn survives_kills(setup: Setup, mut outlet: Outlet, sink: &str) {
    const KILLS: usize = 5;
    let (bridge, verdict, slowest) = crashes(&setup, &mut outlet, KILLS).await;
    verdict.assert_kept(Copies::InDoubt);
    assert_eq!(verdict.acknowledged, OBJECTS * EACH);
    bridge.drained().await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced(sink);
    // What the last kill left behind was found again, and counted.
    metrics.sum("events_recovered_total", &[("sink", sink)]);
    Report::row(1)
        .sink(sink)
        .did(format!("{KILLS} × `kill -9` at random moments"))
        .recovered_in(slowest)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_kills_on_the_way_to_the_store_lose_nothing() {
    survives_kills(Setup::store(), Outlet::Store, "store").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_kills_on_the_way_to_rabbitmq_lose_nothing() {
    let setup = Setup::rabbitmq(&amqp_url());
    let outlet = Outlet::rabbitmq(&setup).await;
    survives_kills(setup, outlet, "rabbitmq").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_kills_on_the_way_to_kafka_lose_nothing() {
    let brokers = kafka_brokers();
    survives_kills(Setup::kafka(&brokers), Outlet::kafka(&brokers), "kafka").await;
}

/// The broker's confirm is what was promised, so a bridge without a disk keeps the promise too.
#[tokio::test(flavor = "multi_thread")]
async fn row_01_kills_of_a_bridge_without_a_disk_lose_nothing() {
    let setup = Setup::rabbitmq(&amqp_url())
        .top("acknowledge = \"delivered\"")
        .in_memory();
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let (bridge, verdict, _) = crashes(&setup, &mut outlet, 4).await;
    // With several tries on their way at once, an object's next event may overtake a doubtful copy.
    verdict.assert_kept(Copies::InDoubt);
    bridge.metrics().await.assert_balanced("rabbitmq");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_03_a_stop_under_load_loses_and_repeats_nothing() {
    let setup = Setup::store();
    let mut bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, OBJECTS, EACH);
    load.reaches(OBJECTS * EACH / 3).await;
    bridge.signal("TERM");
    let began = Instant::now();
    let status = bridge.ended().await;
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let bridge = setup.start().await;
    target.moves_to(bridge.ingress);
    let journal = load.finish().await;
    let seen = Outlet::Store
        .has(&bridge, &setup.source, &journal.ids())
        .await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("store");
    Report::row(3)
        .sink("store")
        .did(format!(
            "`SIGTERM` under load; ended after {} ms",
            took.as_millis()
        ))
        .write(&verdict);
}

/// A thread that asks for a name cannot be called back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, for a mount namespace"]
async fn row_03_a_stop_does_not_wait_for_a_name_server_that_does_not_answer() {
    let setup = Setup::kafka("kafka.test:9092")
        .and_rabbitmq("amqp://rabbitmq.test")
        .top("shutdown_timeout = \"2s\"");
    let nobody = NoAnswer::new(setup.path("hookferry.toml").parent().expect("a folder")).await;
    let mut bridge = Bridge::start_through(&nobody.command(), &setup.write()).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    nobody.is_asked().await;
    nobody.is_asked().await;
    let began = Instant::now();
    bridge.signal("TERM");
    let status = bridge.ended().await;
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    assert!(took < Duration::from_secs(4), "{took:?}");
    Report::row(3)
        .did(format!(
            "`SIGTERM` while the brokers' names are asked for and nobody answers for 30 s; ended after {} ms",
            took.as_millis()
        ))
        .held();
}
