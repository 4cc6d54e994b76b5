//! Rejections: by reason, with counts, the last of each and what usually causes it; and nothing that was
//! sent with them.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::eventually::eventually;
use crate::handshakes::with_source;
use crate::harness::delivery::{SIGNATURE, now};
use crate::harness::setup::SECRET;
use crate::harness::{Bridge, EventStream, Post, Setup, event};

use super::{assert_content, look_at};

/// What is in every body here, and must be nowhere in the page.
const BODY: &str = "b0d1e5-that-nobody-may-read";

/// Sends what is refused, each as often, by another reason; tells the signatures that were sent.
async fn refused(bridge: &Bridge, setup: &Setup, from: IpAddr) -> Vec<String> {
    let body = event("sample.uploaded", BODY);
    let signed =
        |secret: &str, seconds| Post::signed_with(&setup.source, body.as_str(), secret, seconds);
    let forged = signed("another secret", now());
    let stale = signed(SECRET, now() - 3 * 24 * 60 * 60);
    let mut signatures = Vec::new();
    for (post, count, status) in [
        (&forged, 3, 401),
        (&stale, 1, 401),
        (&Post::unsigned(&setup.source, body.as_str()), 2, 400),
        (&forged.clone().path("/webhooks/nobody"), 1, 404),
    ] {
        for _ in 0..count {
            let answer = post.sent_from(from, bridge.ingress).await.unwrap();
            assert_eq!(answer.status, status, "{answer:?}");
        }
        let headers = post.headers.iter();
        let of_it = headers.filter(|(name, _)| name == SIGNATURE);
        signatures.extend(of_it.map(|(_, value)| value.clone()));
    }
    signatures
}

/// What is told of this reason in a state.
fn told<'a>(state: &'a Value, reason: &str) -> &'a Value {
    find(state, reason).expect("it is counted")
}

fn find<'a>(state: &'a Value, reason: &str) -> Option<&'a Value> {
    let mut rejections = state["rejections"].as_array().unwrap().iter();
    rejections.find(|rejection| rejection["reason"] == reason)
}

/// The state of the bridge now.
async fn state(bridge: &Bridge) -> Value {
    let request = bridge.operators_request("GET", "/live");
    let mut stream = EventStream::open(bridge.admin, &request).await.unwrap();
    stream.next().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_are_told_by_reason_with_the_last_and_the_usual_cause() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let signatures = refused(&bridge, &setup, from).await;
    tab.shows("#rejections", &["unknown_source", "404"]).await;
    let listed = bridge.ask("/deliveries?outcome=rejected").await.text();
    let state = state(&bridge).await;
    for (reason, count) in [
        ("signature_mismatch", 3),
        ("timestamp_stale", 1),
        ("signature_missing", 2),
        ("unknown_source", 1),
    ] {
        let rejection = told(&state, reason);
        assert_eq!(rejection["count"], count, "{rejection}");
        assert_eq!(rejection["last"]["address"], "127.0.0.9", "{rejection}");
        let cause = rejection["cause"].as_str().unwrap();
        assert!(!cause.is_empty());
        let count = count.to_string();
        tab.shows("#rejections", &[reason, &count, cause, "127.0.0.9"])
            .await;
    }
    let document = tab.evaluate("document.documentElement.outerHTML").await;
    let stored = tab
        .evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        .await;
    for text in [
        document.to_string(),
        stored.to_string(),
        listed,
        state.to_string(),
    ] {
        assert!(!text.contains(BODY) && !text.contains(SECRET), "{text}");
        for signature in &signatures {
            let (_, tag) = signature.split_once("v1=").unwrap();
            assert!(!text.contains(tag), "{text}");
        }
    }
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_refused_is_told_with_its_usual_cause() {
    let setup = with_source("okta", "");
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    let without_challenge = Post::unsigned("okta", "").method("GET");
    let answer = bridge.post(&without_challenge).await;
    assert_eq!(
        (answer.status, answer.reason()),
        (403, "handshake_mismatch".into())
    );
    // A state of a moment ago is shown to the next viewer too.
    let rejection = eventually("it is counted", async || {
        let state = state(&bridge).await;
        find(&state, "handshake_mismatch").cloned()
    })
    .await;
    assert_eq!(rejection["count"], 1, "{rejection}");
    assert_eq!(rejection["last"]["source"], "okta", "{rejection}");
    let cause = rejection["cause"].as_str().unwrap();
    assert!(cause.contains("verifies the webhook"), "{cause}");
    tab.shows("#rejections", &["handshake_mismatch", "okta", cause])
        .await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
