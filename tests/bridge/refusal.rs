//! P6: what cannot be made durable is refused with 503, and nothing that was accepted is lost by it.

use std::time::{Duration, Instant};

use crate::eventually::eventually;
use crate::harness::delivery::event;
use crate::harness::{
    Answer, Connection, Copies, Load, Outlet, Post, Setup, Target, Verdict, amqp_url,
};
use crate::order::proxied;

fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, reason),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let seconds: u32 = answer
        .header("retry-after")
        .expect("it is there")
        .parse()
        .unwrap();
    assert!(seconds >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_then_drains_and_accepts_again() {
    let (proxy, url) = proxied().await;
    proxy.cut();
    let setup = Setup::rabbitmq(&url).spool("max_events = 5");
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let bodies: Vec<String> = (0..6).map(|_| event("sample.uploaded", "a")).collect();
    let mut ids = Vec::new();
    for body in &bodies[..5] {
        ids.push(bridge.accepted(&setup.source, body.as_str()).await);
    }
    let sixth = Post::signed(&setup.source, bodies[5].as_str());
    assert_refused(&bridge.post(&sixth).await, "spool_full");
    // Only a proven delivery is told this, so nobody else can make it page.
    let labels = [("reason", "spool_full"), ("proven", "yes")];
    bridge.shows("deliveries_refused_total", &labels, 1.0).await;
    assert_eq!(bridge.ask("/readyz").await.status, 503);
    assert_eq!(bridge.ask("/livez").await.status, 200);
    proxy.restore();
    bridge.drained().await;
    let again = bridge.post(&sixth).await;
    assert_eq!((again.status, again.outcome().as_str()), (200, "accepted"));
    ids.push(again.id());
    assert_eq!(bridge.ask("/readyz").await.status, 200);
    assert_eq!(outlet.has(&bridge, &setup.source, &ids).await.len(), 6);
}

/// The event is safe already; a 503 would only make the sender give up on it in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_of_an_accepted_event_is_200_while_the_spool_is_full() {
    let setup = Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f").spool("max_events = 2");
    let bridge = setup.start().await;
    let bodies = [event("sample.uploaded", "a"), event("sample.uploaded", "b")];
    let id = bridge.accepted(&setup.source, bodies[0].as_str()).await;
    bridge.accepted(&setup.source, bodies[1].as_str()).await;
    let new = bridge
        .post(&Post::signed(&setup.source, event("sample.uploaded", "c")))
        .await;
    assert_refused(&new, "spool_full");
    let again = bridge
        .post(&Post::signed(&setup.source, bodies[0].as_str()))
        .await;
    assert_eq!((again.status, again.id()), (200, id), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_full_of_bytes_refuses_too() {
    let setup = Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f").spool("max_size = \"8MiB\"");
    let bridge = setup.start().await;
    let large = || {
        let mut body = event("sample.uploaded", "a").into_bytes();
        body.resize(500_000, b' ');
        Post::signed(&setup.source, body)
    };
    let mut taken = 0;
    let refused = loop {
        let answer = bridge.post(&large()).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken <= 16, "more than 8 MiB were taken");
    };
    assert_refused(&refused, "spool_full");
    // Half of the room at least is for events.
    assert!(taken >= 8, "{taken}");
    let metrics = bridge.metrics().await;
    let bytes = |name: &str| metrics.sum(name, &[]);
    assert!(bytes("spool_bytes") >= f64::from(taken) * 500_000.0);
    assert!(bytes("spool_file_bytes") >= bytes("spool_bytes"));
    assert!(bytes("spool_file_bytes") <= bytes("spool_max_bytes"));
}

/// Each needs a file of its own size, which goes once it is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_spool_for_a_body_takes_one_after_the_other() {
    let setup = Setup::store()
        .ingress("max_body = \"8MiB\"")
        .spool("max_size = \"22016KiB\"");
    let bridge = setup.start().await;
    for number in 0..6 {
        let mut body = event("sample.uploaded", &format!("large{number}")).into_bytes();
        body.resize(8 << 20, b' ');
        let post = Post::signed(&setup.source, body);
        eventually("a body of 8 MiB is accepted", async || {
            let answer = bridge.post(&post).await;
            if answer.status != 200 {
                assert_refused(&answer, "spool_full");
            }
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

/// Each life leaves a segment behind, and none is long enough to fill one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_killed_again_and_again_does_not_fill_its_spool() {
    let setup = Setup::store().spool("max_size = \"8MiB\"");
    for number in 0..12 {
        let bridge = setup.start().await;
        let body = event("sample.uploaded", &format!("life{number}"));
        let post = Post::signed(&setup.source, body);
        eventually("it is accepted", async || {
            let answer = bridge.post(&post).await;
            (answer.status == 200).then_some(())
        })
        .await;
        bridge.kill();
    }
}

/// Nor does a spool in memory take whatever comes: it has the same bounds.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_in_memory_refuses_too() {
    let setup = Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f")
        .top("acknowledge = \"delivered\"\nacknowledge_timeout = \"1s\"")
        .in_memory()
        .spool("max_events = 2\nmax_size = \"16MiB\"");
    let bridge = setup.start().await;
    for reason in ["not_in_time", "not_in_time", "spool_full"] {
        let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
        assert_refused(&bridge.post(&post).await, reason);
    }
    let bytes = f64::from(16 << 20);
    bridge.shows("spool_max_bytes", &[], bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_under_way_and_takes_nothing_new() {
    let setup = Setup::store();
    let mut bridge = setup.start().await;
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let bytes = post.bytes();
    let mut under_way = Connection::open(bridge.ingress).await.unwrap();
    under_way.send(&bytes[..bytes.len() - 10]).await.unwrap();
    let mut kept = Connection::open(bridge.ingress).await.unwrap();
    kept.send(&Post::signed(&setup.source, event("sample.uploaded", "b")).bytes())
        .await
        .unwrap();
    assert_eq!(kept.answer().await.unwrap().expect("an answer").status, 200);
    let began = Instant::now();
    bridge.signal("TERM");
    eventually("it takes nothing new", async || {
        let post = Post::signed(&setup.source, event("sample.uploaded", "c"));
        match post.to(bridge.ingress).await {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => {
                assert_refused(&answer, "draining");
                Some(())
            }
            Err(_) => Some(()),
        }
    })
    .await;
    // A connection that was kept alive is no way around it.
    let another = Post::signed(&setup.source, event("sample.uploaded", "d"));
    if kept.send(&another.bytes()).await.is_ok()
        && let Ok(Some(answer)) = kept.answer().await
    {
        assert_refused(&answer, "draining");
    }
    under_way.send(&bytes[bytes.len() - 10..]).await.unwrap();
    let answer = under_way
        .answer()
        .await
        .unwrap()
        .expect("what is under way is answered");
    assert_eq!(
        (answer.status, answer.outcome().as_str()),
        (200, "accepted")
    );
    let status = bridge.ended().await;
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let bridge = setup.start().await;
    Outlet::Store
        .has(&bridge, &setup.source, &[answer.id()])
        .await;
}

/// On connections that were kept alive, and on new ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_just_before_a_stop_is_answered() {
    let setup = Setup::store();
    let mut bridge = setup.start().await;
    let mut connections = Vec::new();
    for number in 0..20 {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let post = Post::signed(&setup.source, event("sample.uploaded", &number.to_string()));
        connection.send(&post.bytes()).await.unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(answer.status, 200);
        connections.push(connection);
    }
    for _ in 0..20 {
        connections.push(Connection::open(bridge.ingress).await.unwrap());
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let object = format!("again-{number}");
        let post = Post::signed(&setup.source, event("sample.uploaded", &object));
        connection.send(&post.bytes()).await.unwrap();
    }
    bridge.signal("TERM");
    for connection in &mut connections {
        let answer = connection.answer().await.unwrap().expect("an answer");
        if answer.status != 200 {
            assert_refused(&answer, "draining");
        }
    }
    assert_eq!(bridge.ended().await.code(), Some(0), "{}", bridge.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_with_a_request_that_never_ends() {
    let setup = Setup::store().top("shutdown_timeout = \"4s\"");
    let mut bridge = setup.start().await;
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let mut stuck = Connection::open(bridge.ingress).await.unwrap();
    stuck
        .send(&post.head("content-length: 100\r\n"))
        .await
        .unwrap();
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "b"))
        .await;
    let began = Instant::now();
    bridge.signal("TERM");
    let status = bridge.ended().await;
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    let bridge = setup.start().await;
    Outlet::Store.has(&bridge, &setup.source, &[id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_with_a_frozen_broker() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url);
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let mut bridge = setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    proxy.freeze();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(
            bridge
                .accepted(&setup.source, event("sample.uploaded", "a"))
                .await,
        );
    }
    let began = Instant::now();
    bridge.signal("TERM");
    let status = bridge.ended().await;
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    proxy.restore();
    let bridge = setup.start().await;
    outlet.has(&bridge, &setup.source, &ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_delivered_and_a_frozen_broker_answers_503() {
    let (proxy, url) = proxied().await;
    let setup =
        Setup::rabbitmq(&url).top("acknowledge = \"delivered\"\nacknowledge_timeout = \"2s\"");
    let mut bridge = setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    proxy.freeze();
    let mut under_way = Connection::open(bridge.ingress).await.unwrap();
    under_way
        .send(&Post::signed(&setup.source, event("sample.uploaded", "a")).bytes())
        .await
        .unwrap();
    bridge.shows("spool_events", &[], 1.0).await;
    let began = Instant::now();
    bridge.signal("TERM");
    let answer = under_way
        .answer()
        .await
        .unwrap()
        .expect("what is under way is answered");
    assert_refused(&answer, "not_in_time");
    let status = bridge.ended().await;
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_nothing_of_a_load() {
    let setup = Setup::rabbitmq(&amqp_url());
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, 10, 20);
    load.reaches(60).await;
    bridge.stop().await;
    let bridge = setup.start().await;
    target.moves_to(bridge.ingress);
    let journal = load.finish().await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
}
