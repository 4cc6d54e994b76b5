//! P1 and P2: every event answered 200 is on its topic, whatever happens to the bridge. (Kills under
//! load are row 1 of the fault matrix.)

use crate::harness::delivery::event;
use crate::harness::{Outlet, Post, Setup, amqp_url};
use crate::order::proxied;

/// The last answer before the crash is the one most in danger.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_safe_the_moment_it_is_answered() {
    let setup = Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f").and_store();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let bridge = setup.start().await;
        ids.push(
            bridge
                .accepted(&setup.source, event("sample.uploaded", "a"))
                .await,
        );
        bridge.kill();
    }
    let bridge = setup.start().await;
    Outlet::Store.has(&bridge, &setup.source, &ids).await;
    // The broker was never there: for it all five still wait.
    bridge
        .shows("spool_events", &[("sink", "rabbitmq")], 5.0)
        .await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("rabbitmq");
    metrics.assert_balanced("store");
}

/// 503 while the broker is away, 200 for the same delivery once it is back, and one event.
async fn refuses_until_the_broker_is_back(in_memory: bool) {
    let (proxy, url) = proxied().await;
    proxy.cut();
    let setup =
        Setup::rabbitmq(&url).top("acknowledge = \"delivered\"\nacknowledge_timeout = \"500ms\"");
    let setup = if in_memory { setup.in_memory() } else { setup };
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let refused = bridge.post(&post).await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (503, "not_in_time"),
        "{refused:?}"
    );
    let seconds: u32 = refused
        .header("retry-after")
        .expect("it is there")
        .parse()
        .unwrap();
    assert!(seconds >= 1);
    bridge
        .shows(
            "deliveries_refused_total",
            &[("reason", "not_in_time")],
            1.0,
        )
        .await;
    proxy.restore();
    let id = crate::eventually::eventually("the retry is answered 200", async || {
        let answer = bridge.post(&post).await;
        (answer.status == 200).then(|| answer.id())
    })
    .await;
    let seen = outlet.has(&bridge, &setup.source, &[id]).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    bridge.metrics().await.assert_balanced("rabbitmq");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_delivered_a_broker_that_is_away_is_503_until_it_is_back() {
    refuses_until_the_broker_is_back(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_with_the_spool_in_memory() {
    refuses_until_the_broker_is_back(true).await;
}

/// Nothing is bound: RabbitMQ confirms what it then throws away, and only the return says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_no_queue_takes_is_not_delivered() {
    let setup = Setup::rabbitmq(&amqp_url())
        .top("acknowledge = \"delivered\"\nacknowledge_timeout = \"1s\"");
    let bridge = setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    assert_eq!(bridge.post(&post).await.status, 503);
    bridge
        .counts("publish_attempts_total", &[("result", "unroutable")], 1.0)
        .await;
    bridge.shows("events_delivered_total", &[], 0.0).await;
    bridge.shows("events_unroutable", &[], 1.0).await;
    // Bound now: the very event that waited arrives.
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let id = crate::eventually::eventually("the retry is answered 200", async || {
        let answer = bridge.post(&post).await;
        (answer.status == 200).then(|| answer.id())
    })
    .await;
    outlet.has(&bridge, &setup.source, &[id]).await;
}
