//! P7: what came is what went and what waits, at every single scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Load, Metrics, Outlet, Post, Setup, Target};
use crate::order::proxied;

fn assert_balanced(metrics: &Metrics) {
    for sink in ["rabbitmq", "store"] {
        metrics.assert_balanced(sink);
        // Every route leads to both, so what a sink was given is what was accepted.
        let accepted = metrics.sum("events_accepted_total", &[]);
        let spooled = metrics.sum_or_zero("events_spooled_total", &[("sink", sink)]);
        assert!(
            (accepted - spooled).abs() < f64::EPSILON,
            "{accepted} accepted, {spooled} spooled"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_balance_at_every_scrape_of_a_bad_day() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url).and_store();
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = Arc::new(setup.start().await);
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, 20, 20);
    let (done, scrapes) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let auditor = tokio::spawn({
        let (bridge, done, scrapes) =
            (Arc::clone(&bridge), Arc::clone(&done), Arc::clone(&scrapes));
        async move {
            while !done.load(Ordering::Relaxed) {
                assert_balanced(&bridge.metrics().await);
                scrapes.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    load.reaches(100).await;
    proxy.cut();
    load.reaches(200).await;
    proxy.restore();
    load.reaches(300).await;
    proxy.cut();
    proxy.restore();
    for _ in 0..10 {
        assert_eq!(
            bridge
                .post(&Post::signed(&setup.source, "odd"))
                .await
                .status,
            200
        );
        assert_eq!(
            bridge.post(&Post::unsigned(&setup.source, "")).await.status,
            400
        );
    }
    let journal = load.finish().await;
    outlet.has(&bridge, &setup.source, &journal.ids()).await;
    bridge.drained().await;
    done.store(true, Ordering::Relaxed);
    auditor.await.expect("every scrape balanced");
    assert!(
        scrapes.load(Ordering::Relaxed) > 10,
        "there were scrapes to look at"
    );
    let metrics = bridge.metrics().await;
    assert_balanced(&metrics);
    let labels = [("source", setup.source.as_str())];
    let is = |name: &str, value: f64| {
        let seen = metrics.sum(name, &labels);
        assert!(
            (seen - value).abs() < f64::EPSILON,
            "{name}: {seen}, not {value}"
        );
    };
    is("events_accepted_total", 401.0);
    is("events_duplicate_total", 9.0);
    is("deliveries_rejected_total", 10.0);
    is("http_requests_total", 420.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_behind_is_counted_as_recovered() {
    let setup = Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f").and_store();
    let bridge = setup.start().await;
    for _ in 0..7 {
        bridge
            .accepted(&setup.source, crate::harness::event("sample.uploaded", "a"))
            .await;
    }
    bridge
        .shows("events_delivered_total", &[("sink", "store")], 7.0)
        .await;
    bridge.kill();
    let bridge = setup.start().await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("rabbitmq");
    metrics.assert_balanced("store");
    bridge
        .shows("events_recovered_total", &[("sink", "rabbitmq")], 7.0)
        .await;
    bridge
        .shows("spool_events", &[("sink", "rabbitmq")], 7.0)
        .await;
}
