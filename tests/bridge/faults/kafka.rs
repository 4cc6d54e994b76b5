//! Kafka's trouble: a broker that stops, freezes, slows down, fills up, refuses or moves. Deliveries
//! are answered 200 throughout, memory stays bounded, the store beside it notices nothing, and
//! nobody has to do anything about the bridge.

mod address;
mod cluster;
mod full;
mod network;
mod outage;
mod places;
mod secured;
mod stopping;

use std::time::{Duration, Instant};

use crate::eventually::eventually_within;
use crate::harness::{Bridge, Copies, Journal, Load, MockKafka, Outlet, Setup, Target, Verdict};

/// The labels of the sink this is about, and of its failed publishes.
const KAFKA: [(&str, &str); 1] = [("sink", "kafka")];
const UNAVAILABLE: [(&str, &str); 2] = [("sink", "kafka"), ("result", "unavailable")];

/// How long a recovery may take: a broker's own start is not in it.
const RECOVERY: Duration = Duration::from_secs(60);

/// What may wait for Kafka while all is well and a load goes on.
const USUAL_BACKLOG: f64 = 100.0;

/// A bridge to Kafka and to the store, under load.
struct Scene {
    setup: Setup,
    bridge: Bridge,
    target: Target,
    load: Load,
    outlet: Outlet,
}

impl Scene {
    /// On a cluster in memory.
    async fn mocked(members: i32) -> (Self, MockKafka) {
        let setup = Setup::store();
        let mock = MockKafka::with_topics_of(&setup.source, members);
        let setup = setup.and_kafka(&mock.brokers(), "");
        (Self::start(setup, &mock.brokers()).await, mock)
    }

    /// At a broker that is at `brokers` for everybody.
    async fn at(brokers: &str) -> Self {
        Self::start(Setup::kafka(brokers).and_store(), brokers).await
    }

    /// With a load of 200 events a second, on 20 objects. The outlet reads at `reader`, which may be
    /// another listener than the one the bridge publishes to.
    async fn start(setup: Setup, reader: &str) -> Self {
        let bridge = setup.start().await;
        Self::around(setup, bridge, reader).await
    }

    async fn around(setup: Setup, bridge: Bridge, reader: &str) -> Self {
        bridge.shows("sink_connected", &KAFKA, 1.0).await;
        let target = Target::new(bridge.ingress);
        let pace = Duration::from_millis(100);
        let load = Load::paced(&target, &setup.source, (20, usize::MAX), pace);
        bridge.counts("events_delivered_total", &KAFKA, 100.0).await;
        Self {
            setup,
            bridge,
            target,
            load,
            outlet: Outlet::kafka(reader),
        }
    }

    /// So many more deliveries are answered 200.
    async fn answers(&self, more: usize) {
        self.load.reaches(self.load.answered() + more).await;
    }

    /// The outage is known: the bridge says that Kafka is away, and tries it now and then.
    async fn knows_of_the_outage(&self) {
        self.bridge.shows("sink_paused", &KAFKA, 1.0).await;
        self.bridge
            .counts("publish_attempts_total", &UNAVAILABLE, 1.0)
            .await;
    }

    /// Waits until Kafka takes events again and what has waited is there: how long that took.
    async fn recovers(&self) -> Duration {
        let began = Instant::now();
        eventually_within(RECOVERY, "Kafka's backlog is gone", async || {
            let metrics = self.bridge.metrics().await;
            let well = metrics.sum("sink_connected", &KAFKA) > 0.5
                && metrics.sum("sink_paused", &KAFKA) < 0.5
                && metrics.sum("spool_events", &KAFKA) < USUAL_BACKLOG;
            well.then_some(())
        })
        .await;
        began.elapsed()
    }

    /// Ends the load: all was answered 200 at once, and is kept.
    async fn ends(self, copies: Copies) -> (Bridge, Journal, Verdict) {
        let (bridge, journal, verdict) = self.is_kept(copies).await;
        let statuses: Vec<u16> = journal.statuses().into_keys().collect();
        assert_eq!(statuses, [200], "200 throughout");
        (bridge, journal, verdict)
    }

    /// Ends the load; everything that was answered 200 is on both sinks, in order, and the books
    /// are even.
    async fn is_kept(mut self, copies: Copies) -> (Bridge, Journal, Verdict) {
        let journal = self.load.stop().await;
        self.bridge.drained().await;
        let ids = journal.ids();
        let source = &self.setup.source;
        let seen = self.outlet.has(&self.bridge, source, &ids).await;
        let verdict = Verdict::of(&journal, &seen);
        verdict.assert_kept(copies);
        let beside = Outlet::Store.has(&self.bridge, source, &ids).await;
        Verdict::of(&journal, &beside).assert_kept(copies);
        let metrics = self.bridge.metrics().await;
        metrics.assert_balanced("kafka");
        metrics.assert_balanced("store");
        let store = [("sink", "store"), ("result", "unavailable")];
        assert!(metrics.sum("publish_attempts_total", &store) < 0.5);
        (self.bridge, journal, verdict)
    }
}
