//! Names: how a sender's event types become topics, what becomes of objects that fit none, and that a
//! type no signature covers is a topic only where the operator has named it.

use sha2::{Digest as _, Sha256};

use super::senders::{Delivery, JSON, Sender, Values, add, with_store};
use crate::harness::{Bridge, Outlet, Seen, Setup};

/// What a delivery becomes on the store.
async fn becomes(bridge: &Bridge, sender: &Sender, delivery: &Delivery) -> Seen {
    let answer = sender.sends(bridge, delivery, "accepted").await;
    let id = answer.id();
    Outlet::Store.has_one(bridge, sender.source(), &id).await
}

fn hashed(text: &str) -> String {
    format!("h-{}", &hex::encode(Sha256::digest(text))[..16])
}

/// Another body for each event, because GitHub's are told apart by their bytes.
fn push(event: &str, repository: &str) -> Delivery {
    let body = format!(r#"{{"ref":{event:?},"repository":{{"id":{repository:?}}}}}"#);
    let delivery = hashed(&body);
    Delivery::new(JSON, body)
        .with("x-github-event", event)
        .with("x-github-delivery", &delivery)
}

#[tokio::test(flavor = "multi_thread")]
async fn slashes_colons_and_spaces_become_dots() {
    let senders = [
        Sender::of("shopify").with("event_types = [\"orders.create\"]"),
        Sender::of("bitbucket").with("event_types = [\"repo.push\"]"),
        Sender::of("gitlab_token")
            .of_table("older_gitlab")
            .with("event_types = [\"Push.Hook\"]"),
    ];
    let mut setup = Setup::store();
    setup.more.push_str(
        "[provider.older_gitlab]\nextends = \"gitlab_token\"\n[provider.older_gitlab.event]\ntype = \"{header.x-gitlab-event}\"\n",
    );
    add(&mut setup, &senders);
    let bridge = setup.start().await;
    for (sender, topic) in senders
        .iter()
        .zip(["orders.create", "repo.push", "Push.Hook"])
    {
        let sample = sender.sample(&Values::new());
        let seen = becomes(&bridge, sender, &sample).await;
        let source = sender.source();
        assert_eq!(seen.header("ce_type"), topic, "{source}");
        assert_eq!(seen.address, format!("{source}.{topic}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_or_an_object_that_fits_nothing_is_known_by_its_hash() {
    let senders = [Sender::of("github")];
    let (_setup, bridge) = with_store(&senders).await;
    for object in ["plate 7.fastq", "a.b", "größe", &"x".repeat(65), "*#"] {
        let seen = becomes(&bridge, &senders[0], &push("push", object)).await;
        assert_eq!(seen.key, hashed(object));
        assert_eq!(seen.header("ce_subject"), hashed(object));
        assert_eq!(seen.header("ce_type"), "push");
    }
    for event in ["a..b", "push*", &"x".repeat(101)] {
        let seen = becomes(&bridge, &senders[0], &push(event, "42")).await;
        assert_eq!(seen.header("ce_type"), hashed(event));
        assert_eq!(
            (seen.key.as_str(), seen.address.as_str()),
            ("42", "github.other")
        );
    }
}

/// GitHub names its types in a header alone, which whoever has one delivery can write anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_type_is_a_topic_only_where_it_is_named() {
    let senders = [Sender::of("github").with("event_types = [\"push\"]")];
    let (_setup, bridge) = with_store(&senders).await;
    for (event, topic) in [("push", "github.push"), ("fork", "github.other")] {
        let seen = becomes(&bridge, &senders[0], &push(event, "42")).await;
        assert_eq!(seen.address, topic);
        assert_eq!(seen.header("ce_type"), event);
        assert_eq!(seen.header("hookferry-unsigned"), "id,type");
    }
    let opened = Delivery::new(JSON, r#"{"action":"opened","repository":{"id":42}}"#)
        .with("x-github-event", "issues")
        .with("x-github-delivery", "opened");
    let seen = becomes(&bridge, &senders[0], &opened).await;
    assert_eq!(seen.header("ce_type"), "issues.opened");
    assert_eq!(seen.address, "github.other");
}
