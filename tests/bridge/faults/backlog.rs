//! A long outage has ended, and the spool is full of what came meanwhile; or one of two sinks is still
//! away, and the spool is full of what it has not had.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::spool::{
    Appended, Duplicates, Milestone, Spool, SpoolLimits, SpoolLocation, SpoolSettings,
};

use super::away::start_by;
use crate::eventually::eventually_within;
use crate::harness::delivery::{event, numbered};
use crate::harness::load::{Attempt, Sent, digest};
use crate::harness::quota::Quota;
use crate::harness::setup::SECRET;
use crate::harness::{
    Answer, Bridge, Connection, Copies, Journal, Load, Outlet, Post, Report, Setup, Target,
    Verdict, amqp_url, kafka_brokers,
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
    fill_with(setup, ("sample.uploaded", "object"), count, objects).await
}

/// The same with events of this type about objects of this name.
pub(super) async fn fill_with(
    setup: &Setup,
    (event_type, name): (&str, &str),
    count: usize,
    objects: usize,
) -> Journal {
    let settings = SpoolSettings {
        location: SpoolLocation::Folder(setup.spool_folder.clone()),
        limits: SpoolLimits {
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
        let object = format!("{name}{}", number % objects);
        let body = numbered(event_type, &object, number);
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

pub(super) fn accepted(object: String, number: usize, digest: [u8; 32], id: String) -> Sent {
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

/// Of a spool that nobody reads but an operator.
const MEMORY_AWAY: u64 = 96 << 20;
/// How soon a bridge is ready, and the longest that an answer may take, with any backlog: what it
/// comes to is for the benchmarks to say.
const READY: Duration = Duration::from_secs(2);
const STALL: Duration = Duration::from_millis(250);
/// Senders that go on meanwhile, and how often.
const SENDERS: usize = 8;
const EVERY: Duration = Duration::from_millis(5);
const AWAY: &str = "amqp://guest:guest@127.0.0.1:1/%2f";
const STORE: [(&str, &str); 1] = [("sink", "store")];
const RABBIT: [(&str, &str); 1] = [("sink", "rabbitmq")];

/// Deliveries that come while somebody does something with the spool.
struct Meanwhile {
    load: Load,
    began: Instant,
}

impl Meanwhile {
    async fn begin(bridge: &Bridge, source: &str) -> Self {
        let target = Target::new(bridge.ingress);
        let load = Load::paced(&target, source, (SENDERS, usize::MAX), EVERY);
        load.reaches(10 * SENDERS).await;
        let began = Instant::now();
        Self { load, began }
    }

    /// The longest that an answer took since, and everything that was sent.
    async fn end(self) -> (Duration, Journal) {
        self.load.reaches(self.load.answered() + 10 * SENDERS).await;
        let journal = self.load.stop().await;
        let statuses: Vec<u16> = journal.statuses().into_keys().collect();
        assert_eq!(statuses, [200], "somebody was refused");
        let took = journal
            .attempts()
            .filter(|attempt| attempt.began >= self.began)
            .map(|attempt| attempt.took);
        (took.max().expect("some were sent"), journal)
    }
}

/// Looks through the events that wait as an operator does, up to so many pages of them.
async fn look(bridge: &Bridge, pages: usize) -> usize {
    let (mut after, mut listed) = (0, 0);
    for page in 0..pages {
        assert_eq!(bridge.ask("/spool").await.status, 200);
        // Now and then with the bodies.
        let bodies = page % 10 == 0;
        let path = format!("/spool/events?after={after}&limit=1000&bodies={bodies}");
        let answer = bridge.ask(&path).await;
        assert_eq!(answer.status, 200);
        let events = answer.json();
        let events = events.as_array().expect("a list");
        let Some(last) = events.last() else { break };
        after = last["sequence"].as_u64().expect("a sequence");
        listed += events.len();
    }
    listed
}

/// Drops what waits for the sink.
async fn drop_pending(bridge: &Bridge, sink: &str) -> Answer {
    let request = bridge.operators_request("DELETE", &format!("/spool/sinks/{sink}"));
    let mut connection = Connection::open(bridge.admin).await.unwrap();
    connection.send(request.as_bytes()).await.unwrap();
    connection.answer().await.unwrap().expect("an answer")
}

/// What the store has of these. The last kill leaves copies behind.
fn of(journal: &Journal, seen: &[crate::harness::Seen]) -> Verdict {
    let ids: std::collections::HashSet<String> = journal.ids().into_iter().collect();
    let seen: Vec<_> = seen
        .iter()
        .filter(|one| ids.contains(&one.id))
        .cloned()
        .collect();
    let verdict = Verdict::of(journal, &seen);
    verdict.assert_kept(Copies::InDoubt);
    verdict
}

/// Two sinks, and one of them never comes back: the other has everything and is not held up by what
/// waits; an operator looks through it, and in the end drops it.
async fn one_of_two_sinks_is_away(count: usize, pages: usize) {
    let mut setup = roomy(Setup::store().and_rabbitmq(AWAY));
    let backlog = fill(&setup, count, 1000).await;
    let bridge = setup.start().await;
    eventually_within(DRAINED, "the store has everything", async || {
        let waiting = bridge.metrics().await.sum("spool_events", &STORE);
        (waiting < 0.5).then_some(())
    })
    .await;
    bridge.stop().await;

    let began = Instant::now();
    let bridge = setup.start().await;
    let ready = began.elapsed();
    #[allow(clippy::cast_precision_loss, reason = "a million")]
    let waiting = count as f64;
    bridge
        .shows("events_recovered_total", &RABBIT, waiting)
        .await;
    let meanwhile = Meanwhile::begin(&bridge, &setup.source).await;
    let listed = look(&bridge, pages).await;
    assert!(listed >= count.min(pages * 1000), "{listed} listed");
    let (looking, more) = meanwhile.end().await;
    let memory = bridge.peak_memory_bytes();
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("rabbitmq");
    bridge.stop().await;

    // Only what no dispatcher serves may be dropped.
    setup.sinks.retain(|(name, _)| name != "rabbitmq");
    let bridge = setup.start().await;
    let meanwhile = Meanwhile::begin(&bridge, &setup.source).await;
    let dropped = drop_pending(&bridge, "rabbitmq").await;
    assert_eq!(dropped.status, 200, "{dropped:?}");
    let expected = (count + more.0.len()) as u64;
    assert_eq!(dropped.json()["count"].as_u64(), Some(expected));
    let (dropping, last) = meanwhile.end().await;
    bridge.shows("spool_events", &RABBIT, 0.0).await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("rabbitmq");
    let memory = memory.max(bridge.peak_memory_bytes());
    println!(
        "{count} waiting: ready in {ready:?}; the longest answer {looking:?} while looked through, {dropping:?} while dropped; at most {} MiB",
        memory >> 20
    );
    assert!(memory < MEMORY_AWAY, "{} MiB", memory >> 20);
    if !cfg!(debug_assertions) {
        assert!(ready < READY, "{ready:?}");
        assert!(looking.max(dropping) < STALL, "{looking:?}, {dropping:?}");
    }
    // They stay dropped.
    bridge.kill();
    let bridge = setup.start().await;
    bridge.drained().await;
    let seen = Outlet::Store.read(&bridge, &setup.source).await;
    let verdict = of(&backlog, &seen);
    of(&more, &seen);
    of(&last, &seen);
    bridge.metrics().await.assert_balanced("store");
    Report::row(42)
        .sink("store, RabbitMQ")
        .did(format!(
            "{count} events waiting for one of two sinks: ready in {} ms with {} MiB; the longest answer {} ms while they were looked through, {} ms while they were dropped",
            ready.as_millis(),
            memory >> 20,
            looking.as_millis(),
            dropping.as_millis()
        ))
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_42_what_waits_for_one_sink_holds_up_no_other() {
    one_of_two_sinks_is_away(5000, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_42_a_million_events_for_one_sink_hold_up_no_other() {
    one_of_two_sinks_is_away(1_000_000, 200).await;
}

/// What was dropped has left; that the log cannot be told of it is an alarm like any other.
#[tokio::test(flavor = "multi_thread")]
async fn row_42_a_drop_that_cannot_be_written_is_an_alarm() {
    let mut setup = Setup::store().and_rabbitmq(AWAY);
    fill(&setup, 500, 10).await;
    setup.sinks.retain(|(name, _)| name != "rabbitmq");
    let quota = Quota::below(&setup.spool_folder);
    let bridge = start_by(&setup, |command| quota.load_into(command)).await;
    bridge.shows("spool_events", &STORE, 0.0).await;
    quota.fail("EIO", "write,fdatasync");
    let dropped = drop_pending(&bridge, "rabbitmq").await;
    assert_eq!(dropped.json()["count"].as_u64(), Some(500), "{dropped:?}");
    bridge.shows("spool_writable", &[], 0.0).await;
    let new = Post::signed(&setup.source, event("sample.uploaded", "new"));
    assert_eq!(bridge.post(&new).await.status, 503);
    quota.relieve();
    bridge.shows("spool_writable", &[], 1.0).await;
    assert_eq!(bridge.post(&new).await.status, 200);
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("rabbitmq");
    bridge.kill();
    let bridge = setup.start().await;
    bridge.drained().await;
}
