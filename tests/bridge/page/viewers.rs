//! Many may look at once, up to a bound, and no delivery is the worse for it.

use crate::eventually::eventually;
use crate::harness::{Bridge, EventStream, Post, Setup, event};

async fn viewer(bridge: &Bridge) -> EventStream {
    let request = bridge.operators_request("GET", "/live");
    EventStream::open(bridge.admin, &request).await.unwrap()
}

/// How many deliveries a message tells of, those that it leaves out included.
fn told(state: &serde_json::Value) -> u64 {
    let listed = state["deliveries"].as_array().unwrap().len() as u64;
    listed + state["omitted"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_viewers_see_every_delivery_and_change_no_answer() {
    const COUNT: u64 = 120;
    let setup = Setup::store();
    let bridge = setup.start().await;
    let mut viewers = Vec::new();
    for _ in 0..10 {
        let mut stream = viewer(&bridge).await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        assert_eq!(told(&stream.next().await.unwrap()), 0);
        viewers.push(stream);
    }
    for number in 0..COUNT {
        let body = event("sample.uploaded", &format!("object{number}"));
        let answer = bridge.post(&Post::signed(&setup.source, body)).await;
        assert_eq!(
            (answer.status, answer.outcome().as_str()),
            (200, "accepted")
        );
    }
    for stream in &mut viewers {
        let mut seen = 0;
        while seen < COUNT {
            seen += told(&stream.next().await.expect("it goes on"));
        }
        assert_eq!(seen, COUNT);
    }
    drop(viewers);
    bridge.drained().await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_may_look_and_no_more_and_one_that_leaves_frees_its_place() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let mut viewers = Vec::new();
    let refused = eventually("no more may look", async || {
        let stream = viewer(&bridge).await;
        if stream.status == 200 {
            viewers.push(stream);
            return None;
        }
        Some(bridge.ask("/live").await)
    })
    .await;
    assert_eq!(
        (refused.status, refused.reason()),
        (503, "too_many_viewers".into())
    );
    assert!(viewers.len() >= 10, "{}", viewers.len());
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/spool",
        "/deliveries",
        "/",
    ] {
        assert_eq!(bridge.ask(path).await.status, 200, "{path}");
    }
    drop(viewers.remove(0));
    eventually("its place is free", async || {
        (viewer(&bridge).await.status == 200).then_some(())
    })
    .await;
    drop(viewers);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_the_stream_is_refused_at_once_and_takes_no_place() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let request = format!("HEAD /live HTTP/1.1\r\nhost: {}\r\n\r\n", bridge.admin);
    let mut refused = Vec::new();
    // More than may look, and their connections are kept.
    for _ in 0..40 {
        let stream = EventStream::open(bridge.admin, &request).await.unwrap();
        assert_eq!(stream.status, 404);
        refused.push(stream);
    }
    assert_eq!(viewer(&bridge).await.status, 200);
    drop(refused);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_stops_ends_what_is_looked_at() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let mut stream = viewer(&bridge).await;
    assert!(stream.next().await.is_some());
    bridge.stop().await;
    while stream.next().await.is_some() {}
}
