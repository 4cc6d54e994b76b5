//! A broker that is away, goes away or comes back: deliveries are answered 200 throughout, nothing
//! is lost, nobody restarts anything, and other sinks do not notice.

use crate::harness::delivery::event;
use crate::harness::{Bridge, Copies, Load, MockKafka, Outlet, Setup, Target, Verdict};
use crate::order::proxied;

/// A broker as the tests bring it about.
trait Broker {
    fn leave(&self);
    fn come_back(&self);
}

impl Broker for crate::proxy::Proxy {
    fn leave(&self) {
        self.cut();
    }

    fn come_back(&self) {
        self.restore();
    }
}

impl Broker for MockKafka {
    fn leave(&self) {
        self.leaves();
    }

    fn come_back(&self) {
        self.comes_back();
    }
}

/// A day with three outages, the first of them at the start.
async fn outages(setup: &Setup, sink: &str, broker: &impl Broker, outlet: &mut Outlet) {
    let connected = [("sink", sink)];
    broker.leave();
    let bridge = setup.start().await;
    bridge.shows("sink_connected", &connected, 0.0).await;
    assert_eq!(
        bridge.ask("/readyz").await.status,
        200,
        "a broker that is away is no reason to refuse"
    );
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, 10, 30);
    load.reaches(60).await;
    bridge
        .shows("events_delivered_total", &connected, 0.0)
        .await;
    other_sink_goes_on(&bridge, 60.0).await;
    broker.come_back();
    bridge.shows("sink_connected", &connected, 1.0).await;
    bridge
        .counts("events_delivered_total", &connected, 60.0)
        .await;
    broker.leave();
    bridge.shows("sink_connected", &connected, 0.0).await;
    load.reaches(200).await;
    other_sink_goes_on(&bridge, 200.0).await;
    broker.come_back();
    bridge.shows("sink_connected", &connected, 1.0).await;
    let journal = load.finish().await;
    assert_eq!(
        journal.statuses().into_keys().collect::<Vec<_>>(),
        [200],
        "200 throughout"
    );
    let ids = journal.ids();
    let seen = outlet.has(&bridge, &setup.source, &ids).await;
    Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
    let there = Outlet::Store.has(&bridge, &setup.source, &ids).await;
    Verdict::of(&journal, &there).assert_kept(Copies::Once);
    bridge.drained().await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced(sink);
    metrics.assert_balanced("store");
    assert!(
        metrics
            .sum(
                "publish_attempts_total",
                &[("sink", "store"), ("result", "unavailable")]
            )
            .abs()
            < 0.5
    );
}

async fn other_sink_goes_on(bridge: &Bridge, least: f64) {
    bridge
        .counts("events_delivered_total", &[("sink", "store")], least)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_may_be_away_at_the_start_and_go_away() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url).and_store();
    let mut outlet = Outlet::rabbitmq(&setup).await;
    outages(&setup, "rabbitmq", &proxy, &mut outlet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_may_be_away_at_the_start_and_go_away() {
    let mut setup = Setup::store();
    let mock = MockKafka::with_topics_of(&setup.source, 1);
    let brokers = mock.brokers();
    setup = setup.and_kafka(&brokers, "");
    outages(&setup, "kafka", &mock, &mut Outlet::kafka(&brokers)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_logged_when_it_begins_and_when_it_ends() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url);
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    proxy.cut();
    bridge.shows("sink_connected", &[], 0.0).await;
    for _ in 0..20 {
        bridge
            .accepted(&setup.source, event("sample.uploaded", "a"))
            .await;
    }
    bridge
        .counts("publish_attempts_total", &[("result", "unavailable")], 3.0)
        .await;
    proxy.restore();
    bridge.drained().await;
    let count = |text: &str| bridge.log().matches(text).count();
    assert_eq!(
        count("the sink is unavailable; events wait"),
        1,
        "attempts are not logged"
    );
    assert_eq!(count("the sink takes events again"), 1);
}
