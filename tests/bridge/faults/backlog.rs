//! A long outage has ended, and the spool is full of what came meanwhile.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::spool::{Appended, Duplicates, Limits, Milestone, Place, Settings, Spool};

use crate::harness::delivery::{event, numbered};
use crate::harness::load::{Attempt, Sent, digest};
use crate::harness::setup::SECRET;
use crate::harness::{
    Bridge, Copies, Journal, Outlet, Report, Setup, Verdict, amqp_url, kafka_brokers,
};
use crate::message::Sender;

const DRAINED: Duration = Duration::from_secs(600);
/// Events a second that a backlog must drain at, at least.
const RATE: f64 = 5000.0;
/// What the bridge may take in memory with any backlog, in bytes.
const MEMORY: u64 = 192 << 20;
/// Appends at once while the spool is filled: as many as one commit takes.
const AT_ONCE: usize = 512;

/// Fills the bridge's spool before it is started: `count` events of so many objects, in turn.
async fn fill(setup: &Setup, count: usize, objects: usize) -> Journal {
    let settings = Settings {
        place: Place::Folder(setup.path("spool")),
        limits: Limits {
            max_events: 10_000_000,
            max_bytes: 1 << 40,
            duplicates: Duplicates::Suppress,
            window: Duration::from_secs(24 * 60 * 60),
        },
    };
    let sinks: Vec<SinkName> = setup
        .sinks
        .iter()
        .map(|(name, _)| SinkName::parse(name).unwrap())
        .collect();
    let metrics = Metrics::new().unwrap().into();
    let (spool, _stopped) = Spool::open(settings, &sinks, metrics).unwrap();
    let sender = Sender::new(&setup.source).to(sinks.iter().map(|name| spool.sink(name).unwrap()));
    let append = |number: usize| {
        let object = format!("object{}", number % objects);
        let body = numbered("sample.uploaded", &object, number);
        let digest = digest(body.as_bytes());
        let routed = sender.routed(body);
        let id = routed.event().id().to_string();
        let spool = spool.clone();
        async move {
            let appended = spool.append(routed, Milestone::Spooled).await;
            assert_eq!(appended, Ok(Appended::Accepted));
            accepted(object, number, digest, id)
        }
    };
    let sent = stream::iter(0..count).map(append).buffered(AT_ONCE);
    let journal = Journal(sent.collect().await);
    spool.close().await;
    journal
}

fn accepted(object: String, number: usize, digest: [u8; 32], id: String) -> Sent {
    let attempt = Attempt {
        began: Instant::now(),
        took: Duration::ZERO,
        secret: SECRET,
        status: Some(200),
        id: Some(id),
    };
    Sent {
        object,
        number,
        digest,
        attempts: vec![attempt],
    }
}

fn roomy(setup: Setup) -> Setup {
    setup.spool("max_events = 2000000\n")
}

/// Starts over the backlog, sends new events of another object while it drains, and waits until all
/// is where it belongs.
async fn drains(setup: Setup, mut outlet: Outlet, sink: &str, count: usize) -> (Bridge, Verdict) {
    let mut journal = fill(&setup, count, 1000).await;
    let began = Instant::now();
    let bridge = setup.start().await;
    let ready = began.elapsed();
    let labels = [("sink", sink)];
    bridge
        .counts(
            "events_recovered_total",
            &labels,
            f64::from(u32::try_from(count).unwrap()),
        )
        .await;
    let body = event("sample.uploaded", "another");
    let id = bridge.accepted(&setup.source, body.as_str()).await;
    let digest = digest(body.as_bytes());
    journal
        .0
        .push(accepted("another".to_owned(), 0, digest, id));
    bridge.drained_within(DRAINED).await;
    let took = began.elapsed();
    let seen = outlet.read(&bridge, &setup.source).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    bridge.metrics().await.assert_balanced(sink);
    let memory = bridge.peak_memory_bytes();
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let rate = count as f64 / took.as_secs_f64();
    println!(
        "{sink}: ready in {ready:?}, {rate:.0} events/s, at most {} MiB",
        memory >> 20
    );
    assert!(memory < MEMORY, "{} MiB", memory >> 20);
    assert!(rate > RATE || cfg!(debug_assertions), "{rate} events/s");
    Report::row(36)
        .sink(sink)
        .did(format!(
            "{count} events waiting at the start; drained at {rate:.0} a second with {} MiB",
            memory >> 20
        ))
        .recovered_in(took)
        .write(&verdict);
    (bridge, verdict)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_36_a_million_events_drain_into_the_store() {
    drains(roomy(Setup::store()), Outlet::Store, "store", 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_36_a_million_events_drain_to_kafka() {
    let brokers = kafka_brokers();
    let setup = roomy(Setup::kafka(&brokers));
    drains(setup, Outlet::kafka(&brokers), "kafka", 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_36_a_backlog_drains_to_rabbitmq() {
    let setup = roomy(Setup::rabbitmq(&amqp_url()));
    let outlet = Outlet::durable(&amqp_url(), &setup).await;
    drains(setup, outlet, "rabbitmq", 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_36_a_small_backlog_drains_into_the_store() {
    drains(Setup::store(), Outlet::Store, "store", 3000).await;
}

/// One object's events go one by one, so its backlog takes its time: nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn row_36_one_object_with_a_long_backlog_starves_nobody() {
    let setup = Setup::kafka(&kafka_brokers());
    let journal = fill(&setup, 2000, 1).await;
    let bridge = setup.start().await;
    let mut others = Vec::new();
    for number in 0..20 {
        let body = event("sample.uploaded", &format!("new{number}"));
        others.push(bridge.accepted(&setup.source, body).await);
    }
    let mut outlet = Outlet::kafka(&kafka_brokers());
    outlet.has(&bridge, &setup.source, &others).await;
    let waiting = bridge.metrics().await.sum("spool_events", &[]);
    assert!(waiting > 0.0, "the backlog still waits: {waiting}");
    assert_eq!(journal.0.len(), 2000);
}
