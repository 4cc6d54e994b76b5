//! A broker that is away, goes away or comes back: deliveries are answered 200 throughout, nothing
//! is lost, nobody restarts anything, and other sinks do not notice.

use rdkafka::mocking::MockCluster;

use crate::harness::delivery::event;
use crate::harness::{Bridge, Copies, Load, Outlet, Setup, Target, Verdict};
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

/// librdkafka's own cluster: a real Kafka names its own address to its clients, so that no proxy
/// stays in between.
struct Mock(MockCluster<'static, rdkafka::producer::DefaultProducerContext>);

impl Mock {
    fn with_topics_of(source: &str) -> Self {
        let cluster = MockCluster::new(1).expect("a cluster");
        for lane in [
            "sample.uploaded",
            "analysis.succeeded",
            "analysis.failed",
            "other",
            "quarantine",
        ] {
            cluster
                .create_topic(&format!("{source}.{lane}"), 3, 1)
                .expect("a topic");
        }
        Self(cluster)
    }
}

impl Broker for Mock {
    fn leave(&self) {
        self.0.broker_down(1).expect("it was there");
    }

    fn come_back(&self) {
        self.0.broker_up(1).expect("it is ours");
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
    let mock = Mock::with_topics_of(&setup.source);
    let brokers = mock.0.bootstrap_servers();
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

/// Kafka's own limit is a little over the bridge's default for bodies: the one event that does not
/// fit is set aside, with its bytes, and the others of its object go on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_kafka_is_set_aside_alone() {
    let brokers = crate::harness::kafka_brokers();
    let setup = Setup::kafka(&brokers);
    let bridge = setup.start().await;
    let small = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    let mut body = event("sample.uploaded", "a").into_bytes();
    body.resize(1 << 20, b' ');
    let large = bridge.accepted(&setup.source, body).await;
    let after = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    let seen = Outlet::kafka(&brokers)
        .has(&bridge, &setup.source, &[small, after])
        .await;
    assert_eq!(seen.len(), 2);
    let labels = [("sink", "kafka"), ("reason", "too_large")];
    bridge
        .shows("events_dead_lettered_total", &labels, 1.0)
        .await;
    bridge.shows("spool_dead_letters", &[], 1.0).await;
    bridge.metrics().await.assert_balanced("kafka");
    assert!(bridge.ask("/dead-letters").await.text().contains(&large));
}
