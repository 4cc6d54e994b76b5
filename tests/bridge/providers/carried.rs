//! What of a request travels with its message: the headers that are asked for, by name, and what was
//! signed, unless it is kept back.

use super::senders::{Sender, Values, with_store};
use crate::harness::{Bridge, Outlet, Seen};

/// The name of the sender's source, and the message that its sample has become.
async fn sent<'a>(bridge: &Bridge, sender: &'a Sender) -> (&'a str, Seen) {
    let sample = sender.sample(&Values::new());
    let answer = sender.sends(bridge, &sample, "accepted").await;
    let source = sender.source();
    (
        source,
        Outlet::Store.has_one(bridge, source, &answer.id()).await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chosen_headers_are_copied_and_no_others() {
    let senders = [Sender::of("github").with("headers = [\"x-github-hook-id\", \"x-absent\"]")];
    let (_setup, bridge) = with_store(&senders).await;
    let sample = senders[0].sample(&Values::new());
    let sample = sample.with("x-github-hook-installation-target-id", "7");
    let answer = senders[0].sends(&bridge, &sample, "accepted").await;
    let seen = Outlet::Store.has_one(&bridge, "github", &answer.id()).await;
    assert_eq!(seen.header("x-github-hook-id"), "31415926");
    for name in [
        "x-absent",
        "x-github-event",
        "x-github-delivery",
        "x-github-hook-installation-target-id",
        "x-hub-signature-256",
    ] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_can_be_kept_back() {
    let senders = ["standard_webhooks", "square"]
        .map(|name| Sender::of(name).with("forward_signature = false"));
    let (_setup, bridge) = with_store(&senders).await;
    for sender in &senders {
        let (source, seen) = sent(&bridge, sender).await;
        for name in [
            "hookferry-signature",
            "hookferry-url",
            "webhook-id",
            "webhook-timestamp",
        ] {
            assert!(!seen.headers.contains_key(name), "{source}: {name}");
        }
    }
}

/// A token and a secret in the URL are what a sender is known by: no message has them.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_and_a_secret_in_the_url_do_not_travel() {
    let senders = [
        "okta",
        "cloudevents",
        "gitlab_token",
        "docker_hub",
        "nextflow",
    ]
    .map(Sender::of);
    let (_setup, bridge) = with_store(&senders).await;
    for sender in &senders {
        let (source, seen) = sent(&bridge, sender).await;
        let mut headers = seen.headers.values();
        assert!(
            !headers.any(|value| value.contains(&sender.proves)),
            "{source}"
        );
        assert!(
            !seen.headers.contains_key("hookferry-signature"),
            "{source}"
        );
    }
    assert!(!bridge.log().contains(&senders[0].proves), "the log has it");
}
