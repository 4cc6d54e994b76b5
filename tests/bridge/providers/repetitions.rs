//! Deliveries that come again: a retry, the same bytes under another delivery id, and One Codex's letter.

use jiff::{SignedDuration, Timestamp};

use super::expected::EXPECTED;
use super::senders::{Sender, Values, assert_outcome, with_store};
use crate::harness::Outlet;

/// Signed anew at a later time, as senders do.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_any_provider_is_a_duplicate() {
    let senders: Vec<Sender> = EXPECTED
        .iter()
        .map(|expected| Sender::of(expected.provider))
        .collect();
    let (_setup, bridge) = with_store(&senders).await;
    for sender in &senders {
        let values = Values::new();
        let sample = sender.sample(&values);
        let earlier = Timestamp::now() - SignedDuration::from_secs(60);
        let first = bridge.post(&sender.post_at(&sample, earlier)).await;
        assert_outcome(sender.source(), &first, "accepted");
        let again = sender.sends(&bridge, &sample, "duplicate").await;
        assert_eq!(again.id(), first.id(), "{}", sender.source());
        let other = sender.sample(&Values {
            time: values.time + SignedDuration::from_secs(1),
            ..Values::new()
        });
        let other = sender.sends(&bridge, &other, "accepted").await;
        assert_ne!(other.id(), first.id(), "{}", sender.source());
    }
}

/// The header that holds a provider's delivery id, and what the same bytes under another one are. Where
/// the time is signed, a captured delivery is too old soon; where nothing but the body is, it would do
/// for ever.
const DELIVERY_IDS: [(&str, &str, &str); 8] = [
    ("bitbucket", "x-request-uuid", "duplicate"),
    ("github", "x-github-delivery", "duplicate"),
    ("jira", "x-atlassian-webhook-identifier", "duplicate"),
    ("sentry", "request-id", "duplicate"),
    ("shopify", "x-shopify-webhook-id", "duplicate"),
    ("shopify_events", "shopify-webhook-id", "duplicate"),
    ("linear", "linear-delivery", "accepted"),
    ("zendesk", "x-zendesk-webhook-invocation-id", "accepted"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_under_another_delivery_id_are_a_duplicate_where_they_alone_are_signed() {
    let senders = DELIVERY_IDS.map(|(provider, ..)| Sender::of(provider));
    let (_setup, bridge) = with_store(&senders).await;
    for (sender, (provider, header, outcome)) in senders.iter().zip(DELIVERY_IDS) {
        let sample = sender.sample(&Values::new());
        let is_sent = sample.headers.iter().any(|(name, _)| name == header);
        assert!(is_sent, "{provider} sends no {header}");
        sender.sends(&bridge, &sample, "accepted").await;
        let other = Values::new().uuid;
        let under_another = sample.clone().with(header, &other);
        sender.sends(&bridge, &under_another, outcome).await;
        bridge.drained().await;
        let lying = Outlet::Store.read(&bridge, provider).await.len();
        let expected = if outcome == "accepted" { 2 } else { 1 };
        assert_eq!(lying, expected, "{provider}");
    }
}

/// As in its documented header; the letter is not signed, and the message has the header as it came.
#[tokio::test(flavor = "multi_thread")]
async fn the_stray_letter_of_one_codex_is_taken_with_the_header_and_not_with_the_time() {
    let senders = [Sender::of("onecodex")];
    let (_setup, bridge) = with_store(&senders).await;
    let sample = senders[0].sample(&Values::new());
    let mut post = senders[0].post(&sample);
    let header = post.headers.iter_mut();
    let mut header = header.filter(|(name, _)| name == "x-onecodex-signature");
    let (_, signature) = header.next().expect("it is signed");
    *signature = signature.replacen(" v1=", "c v1=", 1);
    let signature = signature.clone();
    assert!(signature.contains("c v1="), "{signature}");
    let answer = bridge.post(&post).await;
    assert_outcome("onecodex", &answer, "accepted");
    let seen = Outlet::Store
        .has_one(&bridge, "onecodex", &answer.id())
        .await;
    assert_eq!(seen.header("hookferry-signature"), signature);
    senders[0].sends(&bridge, &sample, "duplicate").await;
}
