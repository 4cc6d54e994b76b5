//! The broker is well and does not want the events: nothing is bound, the exchange is gone or another,
//! the permission is revoked, the queue is full. Nothing is dropped, and the cause can be read.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use crate::eventually::{eventually, eventually_within};
use crate::faults::backlog::fill_with;
use crate::faults::scene::{OBJECTS, Scene};
use crate::harness::{
    Bridge, Copies, Journal, Load, Node, Outlet, Report, Seen, Setup, Target, Verdict, amqp_url,
    event, unique,
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

/// How many publishes came back so far because nothing took them.
async fn hopeless(bridge: &Bridge) -> f64 {
    let came_back = [RABBIT[0], ("result", "unroutable")];
    let metrics = bridge.metrics().await;
    metrics.sum("publish_attempts_total", &came_back)
}

/// Publishes to find out, since a moment at which one had come back already, are no more than one
/// for each of the shortest pauses: half of `retry_delay_max`, and the first few are shorter.
fn assert_few(hopeless: f64, since: Instant) {
    let pauses = since.elapsed().as_secs_f64() / PAUSE.as_secs_f64();
    assert!(hopeless <= pauses + 10.0, "{hopeless} in {pauses} pauses");
}

/// Half of the longest delay that the tests configure.
const PAUSE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(300);

/// The queue is unbound under load until so many events wait for a place.
async fn unbound_under_load(objects: usize, count: usize) {
    let (setup, mut outlet) = well_bound().await;
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::endless(&target, &setup.source, objects);
    let waiting = objects as f64;
    bridge
        .counts("events_delivered_total", &RABBIT, waiting)
        .await;
    outlet.unbind(&setup.source, "#").await;
    // Of each object one event is at hand; what was on its way when the binding went has ended.
    bridge.shows("events_unroutable", &RABBIT, waiting).await;
    let (before, tried, since) = (
        delivered(&bridge).await,
        hopeless(&bridge).await,
        Instant::now(),
    );
    let enough = load.answered() + count;
    eventually_within(PATIENCE, "so many have come", async || {
        (load.answered() >= enough).then_some(())
    })
    .await;
    assert!((delivered(&bridge).await - before).abs() < 0.5);
    let tried = hopeless(&bridge).await - tried;
    assert_few(tried, since);
    bridge.shows("events_unroutable", &RABBIT, waiting).await;
    let journal = load.stop().await;
    outlet.bind(&setup.source, "#").await;
    bridge.drained_within(PATIENCE).await;
    bridge.shows("events_unroutable", &RABBIT, 0.0).await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    assert_eq!(journal.statuses().into_keys().collect::<Vec<_>>(), [200]);
    bridge.metrics().await.assert_balanced("rabbitmq");
    Report::row(10)
        .sink("rabbitmq")
        .did(format!(
            "unbound under load until {count} events had come: 0 of them reported delivered, {tried} publishes to find out; then bound"
        ))
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_10_unroutable_events_under_load_are_not_called_delivered() {
    unbound_under_load(64, 2000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a hundred thousand events take their time"]
async fn row_10_of_a_hundred_thousand_unroutable_events_none_is_called_delivered() {
    unbound_under_load(1000, 100_000).await;
}

/// Sends so many events that have a place and waits until they are there: how long that took.
async fn deliver(bridge: &Bridge, source: &str, count: usize) -> (Duration, Journal) {
    const SENDERS: usize = 64;
    let routable = [RABBIT[0], ("event_type", "sample.uploaded")];
    let metrics = bridge.metrics().await;
    let before = metrics.sum_or_zero("events_delivered_total", &routable);
    let began = Instant::now();
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, source, SENDERS, count.div_ceil(SENDERS));
    let journal = load.finish().await;
    let all = before + journal.0.len() as f64;
    eventually_within(PATIENCE, "what has a place is delivered", async || {
        let metrics = bridge.metrics().await;
        let there = metrics.sum_or_zero("events_delivered_total", &routable);
        (there >= all - 0.5).then_some(())
    })
    .await;
    (began.elapsed(), journal)
}

/// So many events of a type that nothing takes, each about an object of its own: they wait for a
/// place by one address, and the others go by.
async fn placeless_among_others(count: usize, others: usize) {
    let setup = Setup::rabbitmq(&amqp_url()).spool("max_events = 2000000\n");
    let mut outlet = Outlet::bound(&setup.source, "sample.#").await;
    let bridge = setup.start().await;
    let (alone, first) = deliver(&bridge, &setup.source, others).await;
    bridge.drained().await;
    bridge.stop().await;

    let placeless = fill_with(&setup, ("analysis.failed", "placeless"), count, count).await;
    let bridge = setup.start().await;
    let waiting = count as f64;
    eventually_within(PATIENCE, "they wait for a place", async || {
        let shown = bridge.metrics().await.sum("events_unroutable", &RABBIT);
        (shown >= waiting - 0.5).then_some(())
    })
    .await;
    let (tried, since) = (hopeless(&bridge).await, Instant::now());
    let (among, second) = deliver(&bridge, &setup.source, others).await;
    let tried = hopeless(&bridge).await - tried;
    assert_few(tried, since);
    let memory = bridge.peak_memory_bytes() >> 20;
    println!(
        "{others} delivered in {alone:?}, among {count} without a place in {among:?}; {memory} MiB, {tried} tried"
    );
    // How much slower is for the benchmarks to say.
    assert!(
        among < 2 * alone + Duration::from_secs(1),
        "{alone:?}, {among:?}"
    );
    bridge.shows("events_unroutable", &RABBIT, waiting).await;

    outlet.bind(&setup.source, "#").await;
    bridge.drained_within(PATIENCE).await;
    bridge.shows("events_unroutable", &RABBIT, 0.0).await;
    let ids: Vec<String> = [&first, &placeless, &second]
        .iter()
        .flat_map(|journal| journal.ids())
        .collect();
    let seen = outlet.has(&bridge, &setup.source, &ids).await;
    let of = |journal: &Journal| {
        let ids: HashSet<String> = journal.ids().into_iter().collect();
        let seen: Vec<Seen> = seen
            .iter()
            .filter(|one| ids.contains(&one.id))
            .cloned()
            .collect();
        let verdict = Verdict::of(journal, &seen);
        verdict.assert_kept(Copies::Once);
        verdict
    };
    of(&first);
    of(&second);
    let verdict = of(&placeless);
    bridge.metrics().await.assert_balanced("rabbitmq");
    Report::row(44)
        .sink("rabbitmq")
        .did(format!(
            "{count} events of an unbound type among {others} that have a place: these take {:.1} s instead of {:.1} s, {tried} publishes to find out; then bound",
            among.as_secs_f64(),
            alone.as_secs_f64()
        ))
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_44_events_without_a_place_hold_up_no_others() {
    placeless_among_others(2000, 640).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_44_a_hundred_and_fifty_thousand_without_a_place_hold_up_no_others() {
    placeless_among_others(150_000, 32_000).await;
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

/// A queue of the name is there, but a classic one: that is said, and its consumers get the events.
#[tokio::test(flavor = "multi_thread")]
async fn row_11_a_queue_of_another_kind_is_named_and_bound() {
    let mut setup = Setup::rabbitmq(&amqp_url());
    let (queue, observer) = (unique("classic"), Observer::new().await);
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    observer
        .channel
        .queue_declare(queue.as_str().into(), options, FieldTable::default())
        .await
        .expect("declared");
    let table = format!("[[sink.rabbitmq.queue]]\nname = \"{queue}\"\n");
    setup.sinks[0].1.push_str(&table);
    let bridge = setup.start().await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    eventually("it is in the queue", async || {
        observer.ids(&queue).await.contains(&id).then_some(())
    })
    .await;
    let log = bridge.log();
    assert!(log.contains("inequivalent arg 'x-queue-type'"), "{log}");
    bridge.stop().await;
    let options = QueueDeleteOptions::default();
    let deleting = observer
        .channel
        .queue_delete(queue.as_str().into(), options);
    deleting.await.expect("deleted");
    observer.delete_exchange(&setup.source).await;
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
