//! A delivery that comes again is answered 200 and published once, and nobody hears 200 before the
//! first copy is safe.

use futures_util::future::join_all;

use crate::harness::delivery::event;
use crate::harness::{Answer, Bridge, Connection, Outlet, Post, Setup};
use crate::order::proxied;

/// Sends the same body so many times at once; every connection is open before the first request.
async fn at_once(bridge: &Bridge, source: &str, body: &str, times: usize) -> Vec<Connection> {
    let connections = (0..times).map(|_| Connection::open(bridge.ingress));
    let opened: Vec<_> = join_all(connections)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let bytes = Post::signed(source, body).bytes();
    let sends = opened.into_iter().map(|mut connection| {
        let bytes = bytes.clone();
        async move {
            connection.send(&bytes).await.unwrap();
            connection
        }
    });
    join_all(sends).await
}

async fn answers(connections: Vec<Connection>) -> Vec<Answer> {
    let answers = connections
        .into_iter()
        .map(async |mut connection| connection.answer().await.unwrap().expect("an answer"));
    join_all(answers).await
}

fn outcomes(answers: &[Answer], outcome: &str) -> usize {
    answers
        .iter()
        .filter(|answer| answer.status == 200 && answer.outcome() == outcome)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_another_they_are_published_once() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let id = bridge.accepted(&setup.source, body.as_str()).await;
    for _ in 0..5 {
        let answer = bridge
            .post(&Post::signed(&setup.source, body.as_str()))
            .await;
        assert_eq!(
            (answer.status, answer.outcome().as_str(), answer.id()),
            (200, "duplicate", id.clone())
        );
    }
    bridge.drained().await;
    assert_eq!(Outlet::Store.read(&bridge, &setup.source).await.len(), 1);
    let labels = [("source", setup.source.as_str())];
    bridge.shows("events_duplicate_total", &labels, 5.0).await;
    bridge.shows("events_accepted_total", &labels, 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_are_one_event() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let answers = answers(at_once(&bridge, &setup.source, &body, 100).await).await;
    assert_eq!(
        (
            outcomes(&answers, "accepted"),
            outcomes(&answers, "duplicate")
        ),
        (1, 99)
    );
    bridge.drained().await;
    assert_eq!(Outlet::Store.read(&bridge, &setup.source).await.len(), 1);
    bridge.shows("events_duplicate_total", &[], 99.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_and_a_crash_do_not_forget() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let id = bridge.accepted(&setup.source, body.as_str()).await;
    bridge.drained().await;
    bridge.stop().await;
    let bridge = setup.start().await;
    let after_restart = bridge
        .post(&Post::signed(&setup.source, body.as_str()))
        .await;
    bridge.kill();
    let bridge = setup.start().await;
    let after_crash = bridge
        .post(&Post::signed(&setup.source, body.as_str()))
        .await;
    for answer in [after_restart, after_crash] {
        assert_eq!(
            (answer.outcome().as_str(), answer.id()),
            ("duplicate", id.clone())
        );
    }
    bridge.drained().await;
    assert_eq!(Outlet::Store.read(&bridge, &setup.source).await.len(), 1);
}

/// The copy that is answered 200 as a duplicate may be the only answer the sender ever gets: at
/// that moment the event must be on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_answered_first_the_event_survives_a_crash() {
    for round in 0..5 {
        let setup = Setup::store();
        let bridge = setup.start().await;
        let body = event("sample.uploaded", "a");
        let mut connections = at_once(&bridge, &setup.source, &body, 20).await;
        let mut one = connections.swap_remove(round);
        let answer = one.answer().await.unwrap().expect("an answer");
        bridge.kill();
        assert_eq!(answer.status, 200);
        let bridge = setup.start().await;
        Outlet::Store
            .has(&bridge, &setup.source, &[answer.id()])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_delivered_nobody_hears_200_before_the_broker_has_it() {
    let (proxy, url) = proxied().await;
    let setup =
        Setup::rabbitmq(&url).top("acknowledge = \"delivered\"\nacknowledge_timeout = \"25s\"");
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 1.0)
        .await;
    proxy.cut();
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 0.0)
        .await;
    let body = event("sample.uploaded", "a");
    let connections = at_once(&bridge, &setup.source, &body, 100).await;
    // All of them are inside: the first in the spool, which the scrape shows, the others behind it.
    bridge
        .shows("spool_events", &[("sink", "rabbitmq")], 1.0)
        .await;
    let metrics = bridge.metrics().await;
    let codes = metrics.sum_or_zero("http_requests_total", &[("source", &setup.source)]);
    assert!(
        codes.abs() < f64::EPSILON,
        "{codes} have been answered without the broker"
    );
    proxy.restore();
    let answers = answers(connections).await;
    assert_eq!(
        outcomes(&answers, "accepted") + outcomes(&answers, "duplicate"),
        100
    );
    assert_eq!(outcomes(&answers, "accepted"), 1);
    let seen = outlet.has(&bridge, &setup.source, &[answers[0].id()]).await;
    assert_eq!(seen.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_publishes_every_copy() {
    let setup = Setup::store().top("duplicates = \"forward\"");
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let answers = answers(at_once(&bridge, &setup.source, &body, 10).await).await;
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "{answers:?}"
    );
    bridge.drained().await;
    assert_eq!(Outlet::Store.read(&bridge, &setup.source).await.len(), 10);
    bridge.metrics().await.assert_balanced("store");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_of_another_source_is_another_event() {
    let mut setup = Setup::store();
    let secret = setup.path("secret");
    setup.more = format!(
        "[source.second]\nprovider = \"onecodex\"\nsecrets = [{{ file = {secret:?} }}]\n[[route]]\nsource = \"second\"\nsinks = [\"store\"]\n"
    );
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let one = bridge.accepted(&setup.source, body.as_str()).await;
    let other = bridge.accepted("second", body.as_str()).await;
    assert_ne!(one, other);
}
