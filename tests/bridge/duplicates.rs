//! A delivery that comes again is answered 200 and published once, and nobody hears 200 before the
//! first copy is safe. (The plain cases, with restarts and crashes, are row 25 of the fault matrix.)

use futures_util::future::join_all;

use crate::harness::delivery::event;
use crate::harness::{Answer, Bridge, Connection, Outlet, Post, Setup};
use crate::order::proxied;

/// Sends the same body so many times at once; every connection is open before the first request.
pub async fn at_once(bridge: &Bridge, source: &str, body: &str, times: usize) -> Vec<Connection> {
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

pub async fn answers(connections: Vec<Connection>) -> Vec<Answer> {
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
