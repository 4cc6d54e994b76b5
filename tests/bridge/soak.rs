//! The crash loop: a bridge to all three sinks is killed under load, again and again, each time at
//! another moment, and every event it ever answered 200 is on all their topics.

use std::time::{Duration, Instant};

use crate::harness::{
    Bridge, Copies, Load, Outlet, Report, Setup, Target, Verdict, amqp_url, kafka_brokers,
};

/// The longest a bridge lives between two kills, in milliseconds: from before the first answer to
/// after some commits, receipts and checkpoints.
const LIFE_MILLISECONDS: u64 = 250;
/// The program is ready again this soon after a crash.
const RESTART: Duration = Duration::from_secs(2);
/// What came while no sink was connected for long goes out object by object, one event at a time.
const DRAINED: Duration = Duration::from_secs(1800);
const OBJECTS: usize = 16;
/// Room for all events: more than its default, beyond which the oldest are deleted.
const STORE_KEYS: &str = "max_size = \"64GiB\"\n";

/// So many events come between two kills at least, on average: a million at three thousand kills.
const EVENTS_PER_KILL: usize = 334;

/// How often it is killed.
fn kills() -> usize {
    let kills = std::env::var("HOOKFERRY_TEST_KILLS").expect("tests/run --soak says how often");
    kills.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --soak: thousands of kills take their time"]
async fn thousands_of_kills_lose_nothing_and_keep_the_order() {
    let brokers = kafka_brokers();
    let mut setup = Setup::rabbitmq(&amqp_url())
        .and_kafka(
            &brokers,
            "create_topics = { partitions = 3, replication = 1 }\n",
        )
        .and_store();
    let (_, store) = setup.sinks.last_mut().expect("the store");
    store.push_str(STORE_KEYS);
    let rabbitmq = Outlet::durable(&amqp_url(), &setup).await;
    let mut bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::endless(&target, &setup.source, OBJECTS);
    let mut slowest = Duration::ZERO;
    let mut killed = 0;
    while killed < kills() {
        let life = rand::random::<u64>() % LIFE_MILLISECONDS;
        // The moment is the point here.
        tokio::time::sleep(Duration::from_millis(life)).await;
        bridge.kill();
        killed += 1;
        // Half of them are killed while they start: in the middle of what the last one left behind.
        if life.is_multiple_of(2) {
            let starting = Bridge::launch(&setup.write());
            tokio::time::sleep(Duration::from_millis(life / 4)).await;
            starting.kill();
            killed += 1;
        }
        let began = Instant::now();
        bridge = setup.start().await;
        slowest = slowest.max(began.elapsed());
        target.moves_to(bridge.ingress);
    }
    assert!(slowest < RESTART, "ready again after {slowest:?}");
    let journal = load.stop().await;
    let events = journal.0.len();
    assert!(
        events >= killed * EVENTS_PER_KILL,
        "{events} events are too few for {killed} kills to mean anything"
    );
    bridge.drained_within(DRAINED).await;
    let outlets = [
        ("store", Outlet::Store),
        ("kafka", Outlet::kafka(&brokers)),
        ("rabbitmq", rabbitmq),
    ];
    for (sink, mut outlet) in outlets {
        let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
        let verdict = Verdict::of(&journal, &seen);
        println!(
            "{sink}: {killed} kills, {} acknowledged, {} messages found, {} duplicated, {} lost, {} inversions",
            verdict.acknowledged,
            seen.len(),
            verdict.duplicates,
            verdict.lost.len(),
            verdict.inversions.len()
        );
        verdict.assert_kept(Copies::InDoubt);
        bridge.metrics().await.assert_balanced(sink);
        Report::row(1)
            .sink(sink)
            .did(format!(
                "{killed} × `kill -9` at random moments, a third of them during the start"
            ))
            .recovered_in(slowest)
            .write(&verdict);
    }
}
