//! What every row about a broker begins and ends with.

use std::time::{Duration, Instant};

use crate::eventually::{eventually, eventually_within};
use crate::harness::{
    Bridge, Copies, Journal, Load, MockKafka, Node, Outlet, Setup, Target, Verdict,
};

const STORE: (&str, &str) = ("sink", "store");
/// Senders, each with an object of its own.
pub const OBJECTS: usize = 20;
/// Their pace: 200 deliveries a second are a load, and a sink that takes one event of an object after
/// the other catches up with it, on a busy machine too.
const EVERY: Duration = Duration::from_millis(100);
/// A backlog of minutes is gone by then.
const RECOVERY: Duration = Duration::from_secs(120);

const QUICK: Duration = Duration::from_millis(50);

/// A bridge under load, on its way to a broker that is in trouble and to a store that is well.
pub struct Scene {
    pub setup: Setup,
    pub bridge: Bridge,
    pub outlet: Outlet,
    pub target: Target,
    load: Load,
    /// The name of the sink in trouble.
    sink: String,
}

impl Scene {
    /// Everything is well, and events arrive at both sinks.
    pub async fn begin(setup: Setup, outlet: Outlet) -> Self {
        let bridge = setup.start().await;
        let mut scene = Self::of(setup, bridge, outlet);
        scene.is_well().await;
        scene
    }

    /// The same on the way to a RabbitMQ of the test's own.
    pub async fn at_rabbitmq(node: &Node) -> Self {
        let setup = Setup::rabbitmq(&node.url()).and_store();
        let outlet = Outlet::durable(&node.url(), &setup).await;
        Self::begin(setup, outlet).await
    }

    /// The same on the way to a Kafka.
    pub async fn at_kafka(brokers: &str) -> Self {
        let setup = Setup::kafka(brokers).and_store();
        Self::begin(setup, Outlet::kafka(brokers)).await
    }

    /// The same on the way to a Kafka in memory, with so many brokers.
    pub async fn at_mock(members: i32) -> (Self, MockKafka) {
        let setup = Setup::store();
        let mock = MockKafka::with_topics_of(&setup.source, members);
        // A broker refuses a batch that comes after one it has not written; the one in memory would
        // take it, and the client would take its confirm as one for both. So one at a time.
        let one_at_a_time = "properties = { \"max.in.flight.requests.per.connection\" = \"1\" }\n";
        let setup = setup.and_kafka(&mock.brokers(), one_at_a_time);
        let scene = Self::begin(setup, Outlet::kafka(&mock.brokers())).await;
        (scene, mock)
    }

    /// Load on a bridge that runs already, in whatever state its sink is.
    pub fn of(setup: Setup, bridge: Bridge, outlet: Outlet) -> Self {
        let target = Target::new(bridge.ingress);
        let load = Load::paced(&target, &setup.source, (OBJECTS, usize::MAX), EVERY);
        let mut names = setup.sinks.iter().map(|(name, _)| name);
        let sink = names.find(|name| *name != STORE.1);
        Self {
            sink: sink.expect("a sink beside the store").clone(),
            setup,
            bridge,
            outlet,
            target,
            load,
        }
    }

    /// Waits until the sink is connected and takes events.
    pub async fn is_well(&mut self) {
        self.shows("sink_connected", 1.0).await;
        let delivered = self.value("events_delivered_total").await;
        self.bridge
            .counts("events_delivered_total", &[self.label()], delivered + 40.0)
            .await;
    }

    fn label(&self) -> (&str, &str) {
        ("sink", &self.sink)
    }

    /// A metric of the sink in trouble.
    pub async fn value(&self, metric: &str) -> f64 {
        self.bridge.metrics().await.sum(metric, &[self.label()])
    }

    /// Waits until the sink's metric has this value.
    pub async fn shows(&self, metric: &str, value: f64) {
        self.bridge.shows(metric, &[self.label()], value).await;
    }

    /// Waits until the sink's metric has at least this value.
    pub async fn counts(&self, metric: &str, least: f64) {
        self.bridge.counts(metric, &[self.label()], least).await;
    }

    /// Waits for so many publishes that ended in this way since the start.
    pub async fn attempts(&self, result: &str, least: f64) {
        let labels = [self.label(), ("result", result)];
        self.bridge
            .counts("publish_attempts_total", &labels, least)
            .await;
    }

    /// Waits until one more connection could not be made because of this stage.
    pub async fn fails_at(&self, stage: &str) {
        let labels = [self.label(), ("stage", stage)];
        let failures = self
            .bridge
            .metrics()
            .await
            .sum("sink_connect_failures_total", &labels);
        self.bridge
            .counts("sink_connect_failures_total", &labels, failures + 1.0)
            .await;
    }

    /// Waits until a connection has failed at this stage.
    pub async fn has_failed_at(&self, stage: &str) {
        let labels = [self.label(), ("stage", stage)];
        self.bridge
            .counts("sink_connect_failures_total", &labels, 1.0)
            .await;
    }

    /// Waits until the log names the cause.
    pub async fn says(&self, cause: &str) {
        eventually(cause, async || {
            self.bridge.log().contains(cause).then_some(())
        })
        .await;
    }

    /// Waits until the trouble is known: publishes fail, and only now and then one is tried.
    pub async fn is_paused(&self) {
        self.shows("sink_paused", 1.0).await;
        self.attempts("unavailable", 1.0).await;
    }

    /// While the broker is in trouble: so many more deliveries are answered, and the store has them.
    pub async fn goes_on(&self, more: usize) {
        let before = self
            .bridge
            .metrics()
            .await
            .sum("events_delivered_total", &[STORE]);
        self.load.reaches(self.load.answered() + more).await;
        // Each sender may have been between a delivery and its answer.
        let least = before + more as f64 - OBJECTS as f64;
        self.bridge
            .counts("events_delivered_total", &[STORE], least)
            .await;
        assert_eq!(self.bridge.ask("/readyz").await.status, 200);
    }

    /// Waits until no more events wait than the senders are about to see through, and tells how long
    /// that took: the time from the end of the fault until all is as before.
    pub async fn recovers(&self) -> Duration {
        let began = Instant::now();
        eventually_within(RECOVERY, "the backlog is gone", async || {
            let metrics = self.bridge.metrics().await;
            let of = |name: &str| metrics.sum(name, &[self.label()]);
            let well = of("sink_connected") > 0.0 && of("sink_paused") < 1.0;
            (well && of("spool_events") <= OBJECTS as f64).then_some(())
        })
        .await;
        began.elapsed()
    }

    /// Starts the bridge again after its end.
    pub async fn restarts(&mut self) {
        self.bridge = self.setup.start().await;
        self.target.moves_to(self.bridge.ingress);
    }

    /// Ends the load and holds it against both sinks.
    pub async fn ends(self, copies: Copies) -> (Journal, Verdict) {
        let source = self.setup.source;
        let (bridge, mut outlet) = (self.bridge, self.outlet);
        let sink = self.sink;
        let journal = self.load.stop().await;
        let ids = journal.ids();
        bridge.drained().await;
        let seen = outlet.has(&bridge, &source, &ids).await;
        let verdict = Verdict::of(&journal, &seen);
        verdict.assert_kept(copies);
        let beside = Outlet::Store.has(&bridge, &source, &ids).await;
        Verdict::of(&journal, &beside).assert_kept(Copies::Once);
        let metrics = bridge.metrics().await;
        metrics.assert_balanced(&sink);
        metrics.assert_balanced("store");
        let failed = [STORE, ("result", "unavailable")];
        assert!(metrics.sum("publish_attempts_total", &failed).abs() < 0.5);
        (journal, verdict)
    }

    /// As [`Self::ends`], where the bridge ran all the time: every attempt was answered 200.
    pub async fn ends_well(self, copies: Copies) -> (Journal, Verdict) {
        let (journal, verdict) = self.ends(copies).await;
        let statuses: Vec<u16> = journal.statuses().into_keys().collect();
        assert_eq!(statuses, [200], "200 throughout");
        (journal, verdict)
    }
}

/// What 99 of 100 answers took while the broker was in trouble and everybody knew it.
pub fn quick(journal: &Journal, known: Instant, over: Instant) -> String {
    let p99 = journal.p99(known, over);
    assert!(p99 <= QUICK, "{p99:?}");
    format!("p99 of the answers meanwhile {} ms", p99.as_millis())
}
