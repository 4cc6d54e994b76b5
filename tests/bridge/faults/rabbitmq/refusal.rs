//! The broker is well and does not want the events: nothing is bound, the exchange is gone or another,
//! the permission is revoked, the queue is full. Nothing is dropped, and the cause can be read.

use std::time::Duration;

use lapin::ExchangeKind;

use crate::eventually::eventually_within;
use crate::faults::scene::{OBJECTS, Scene};
use crate::harness::{
    Bridge, Copies, Load, Node, Outlet, Report, Setup, Target, Verdict, amqp_url,
};
use crate::rabbitmq_observer::Observer;

const RABBIT: [(&str, &str); 1] = [("sink", "rabbitmq")];

async fn well_bound() -> (Setup, Outlet) {
    let setup = Setup::rabbitmq(&amqp_url()).and_store();
    let outlet = Outlet::rabbitmq(&setup).await;
    (setup, outlet)
}

async fn delivered(bridge: &Bridge) -> f64 {
    bridge
        .metrics()
        .await
        .sum("events_delivered_total", &RABBIT)
}

/// Every other object's events have a queue. Returns and confirms of both kinds are in flight
/// together, and none is taken for another's.
#[tokio::test(flavor = "multi_thread")]
async fn row_10_unroutable_events_among_others_are_not_called_delivered() {
    const EACH: usize = 6;
    const PAIRS: usize = 64;
    let (setup, mut outlet) = well_bound().await;
    outlet.unbind(&setup.source, "#").await;
    for object in (0..2 * PAIRS).step_by(2) {
        outlet
            .bind(&setup.source, &format!("sample.uploaded.object{object}"))
            .await;
    }
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let journal = Load::start(&target, &setup.source, 2 * PAIRS, EACH)
        .finish()
        .await;
    let routable = (PAIRS * EACH) as f64;
    bridge
        .counts("events_delivered_total", &RABBIT, routable)
        .await;
    bridge
        .shows("events_unroutable", &RABBIT, PAIRS as f64)
        .await;
    let again = [RABBIT[0], ("result", "unroutable")];
    bridge
        .counts("publish_attempts_total", &again, 10.0 * PAIRS as f64)
        .await;
    assert!((delivered(&bridge).await - routable).abs() < 0.5);
    outlet.bind(&setup.source, "#").await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    bridge.shows("events_unroutable", &RABBIT, 0.0).await;
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("rabbitmq");
    Report::row(10)
        .sink("rabbitmq")
        .did("every other object unroutable among 128 in flight, then bound")
        .write(&verdict);
}

/// The queue is unbound under load until a hundred thousand publishes have come back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a hundred thousand publishes take their time"]
async fn row_10_of_a_hundred_thousand_unroutable_publishes_none_is_called_delivered() {
    const UNROUTABLE: f64 = 100_000.0;
    let (setup, mut outlet) = well_bound().await;
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::paced(
        &target,
        &setup.source,
        (1000, usize::MAX),
        Duration::from_millis(500),
    );
    bridge
        .counts("events_delivered_total", &RABBIT, 1000.0)
        .await;
    outlet.unbind(&setup.source, "#").await;
    bridge.counts("events_unroutable", &RABBIT, 64.0).await;
    // What was on its way when the binding went has ended.
    bridge.shows("events_unroutable", &RABBIT, 1000.0).await;
    let before = delivered(&bridge).await;
    let again = [RABBIT[0], ("result", "unroutable")];
    let patience = Duration::from_secs(300);
    eventually_within(patience, "100 000 publishes have come back", async || {
        let metrics = bridge.metrics().await;
        (metrics.sum("publish_attempts_total", &again) >= UNROUTABLE).then_some(())
    })
    .await;
    assert!((delivered(&bridge).await - before).abs() < 0.5);
    let journal = load.stop().await;
    outlet.bind(&setup.source, "#").await;
    eventually_within(patience, "everything is delivered", async || {
        let waiting = bridge.metrics().await.sum("spool_events", &[]);
        (waiting < 0.5).then_some(())
    })
    .await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    assert_eq!(journal.statuses().into_keys().collect::<Vec<_>>(), [200]);
    bridge.metrics().await.assert_balanced("rabbitmq");
    Report::row(10)
        .sink("rabbitmq")
        .did("unbound under load until 100 000 publishes had come back, 0 of them reported delivered; then bound")
        .write(&verdict);
}

/// Not declared by the bridge, so that it cannot help itself.
#[tokio::test(flavor = "multi_thread")]
async fn row_11_a_deleted_exchange_is_waited_for() {
    let (mut setup, outlet) = well_bound().await;
    setup.sinks[0].1.push_str("declare = false\n");
    let exchange = setup.source.clone();
    let scene = Scene::begin(setup, outlet).await;
    let observer = Observer::new().await;
    observer.delete_exchange(&exchange).await;
    scene.counts("events_unroutable", OBJECTS as f64).await;
    scene.says("no exchange").await;
    scene.goes_on(50).await;
    observer.exchange(&exchange, ExchangeKind::Topic).await;
    scene.outlet.bind(&exchange, "#").await;
    let recovered = scene.recovers().await;
    scene.says("the exchange takes messages again").await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(11)
        .sink("rabbitmq")
        .did("the exchange is deleted under load, and made again")
        .recovered_in(recovered)
        .write(&verdict);
}

/// An exchange of the name is there, but one that routes otherwise; once it is gone, the bridge
/// makes its own.
#[tokio::test(flavor = "multi_thread")]
async fn row_11_an_exchange_of_another_kind_is_named_and_waited_for() {
    let setup = Setup::rabbitmq(&amqp_url()).and_store();
    let exchange = setup.source.clone();
    let observer = Observer::new().await;
    observer.exchange(&exchange, ExchangeKind::Direct).await;
    let bridge = setup.start().await;
    let elsewhere = Outlet::bound(&crate::harness::unique("other"), "#").await;
    let scene = Scene::of(setup, bridge, elsewhere);
    scene.counts("events_unroutable", OBJECTS as f64).await;
    scene.says("inequivalent arg 'type'").await;
    scene.goes_on(50).await;
    observer.delete_exchange(&exchange).await;
    scene.says("the exchange takes messages again").await;
    scene.outlet.bind(&exchange, "#").await;
    let recovered = scene.recovers().await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(11)
        .sink("rabbitmq")
        .did("a direct exchange in the place of the topic exchange, then deleted")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_11_a_revoked_permission_is_named_and_waited_for() {
    let node = Node::rabbitmq().await;
    node.ctl(&["add_user", "bridge", "sesame"]);
    let permit = |write: &str| node.ctl(&["set_permissions", "bridge", ".*", write, ".*"]);
    permit(".*");
    let url = node.url().replace("guest:guest", "bridge:sesame");
    let setup = Setup::rabbitmq(&url).and_store();
    let outlet = Outlet::durable(&node.url(), &setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    permit("^$");
    // A channel remembers what it was allowed; only a new one asks again.
    node.ctl(&["close_all_connections", "the permission is revoked"]);
    scene.counts("events_unroutable", OBJECTS as f64).await;
    scene.says("ACCESS_REFUSED").await;
    scene.goes_on(100).await;
    permit(".*");
    let recovered = scene.recovers().await;
    scene.is_well().await;
    scene.shows("events_unroutable", 0.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(11)
        .sink("rabbitmq")
        .did("the permission to write is revoked under load, and given back")
        .recovered_in(recovered)
        .write(&verdict);
}

/// A consumer that is slower than the senders: what the queue rejects is offered again, later and
/// later, and arrives once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_full_queue_is_offered_everything_again() {
    let setup = Setup::rabbitmq(&amqp_url()).and_store();
    let mut outlet = Outlet::full_at(&setup, 4).await;
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let journal = Load::start(&target, &setup.source, OBJECTS, 5)
        .finish()
        .await;
    bridge.counts("events_unroutable", &RABBIT, 10.0).await;
    let rejected = [RABBIT[0], ("result", "unroutable")];
    bridge
        .counts("publish_attempts_total", &rejected, 50.0)
        .await;
    let said = bridge.log();
    assert!(said.contains("rejects the message"), "{said}");
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    bridge.drained().await;
    let metrics = bridge.metrics().await;
    assert!(metrics.sum("events_dead_lettered_total", &RABBIT).abs() < 0.5);
    metrics.assert_balanced("rabbitmq");
    let beside = Outlet::Store
        .has(&bridge, &setup.source, &journal.ids())
        .await;
    Verdict::of(&journal, &beside).assert_kept(Copies::Once);
    Report::row(12)
        .sink("rabbitmq")
        .did("a queue with `x-max-length` 4 and `reject-publish`, and a slow consumer")
        .write(&verdict);
}
