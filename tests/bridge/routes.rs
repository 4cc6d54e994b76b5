//! Where an event goes: templates, the catch-all, filters, conditions, what is dropped, several
//! sources.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::eventually::eventually;
use crate::harness::delivery::{event, now};
use crate::harness::outlet::store_topic;
use crate::harness::setup::SECRET;
use crate::harness::{Bridge, Outlet, Post, Setup, amqp_url};

async fn lies_on(bridge: &Bridge, topic: &str, id: &str) {
    eventually(&format!("{id} lies on {topic}"), async || {
        let seen = store_topic(bridge, topic).await;
        seen.iter().any(|one| one.id == id).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_type_has_its_topic_and_the_others_share_one() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for (event_type, topic) in [
        ("sample.uploaded", "sample.uploaded"),
        ("analysis.succeeded", "analysis.succeeded"),
        ("analysis.failed", "analysis.failed"),
        ("report.published", "other"),
        ("Sample.Uploaded", "other"),
    ] {
        let id = bridge.accepted(&setup.source, event(event_type, "a")).await;
        lies_on(&bridge, &format!("{}.{topic}", setup.source), &id).await;
        bridge
            .counts("events_delivered_total", &[("event_type", topic)], 1.0)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configured_types_are_the_ones_with_topics() {
    let setup = Setup::store().source_keys("event_types = [\"report.published\"]");
    let bridge = setup.start().await;
    for (event_type, topic) in [
        ("report.published", "report.published"),
        ("sample.uploaded", "other"),
    ] {
        let id = bridge.accepted(&setup.source, event(event_type, "a")).await;
        lies_on(&bridge, &format!("{}.{topic}", setup.source), &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_follow_their_templates() {
    let mut setup = Setup::store();
    setup.sinks[0]
        .1
        .push_str("topic = \"all.{event_type}.{object_id}\"\n");
    let bridge = setup.start().await;
    for (body, topic) in [
        (event("sample.uploaded", "obj1"), "all.sample.uploaded.obj1"),
        (event("report.published", "obj1"), "all.other.obj1"),
        ("odd".to_owned(), "all.quarantine."),
    ] {
        let id = bridge.post(&Post::signed(&setup.source, body)).await.id();
        let object = if topic.ends_with('.') { &id } else { "" };
        lies_on(&bridge, &format!("{topic}{object}"), &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routing_keys_and_exchanges_follow_their_templates() {
    let mut setup = Setup::rabbitmq(&amqp_url());
    let exchange = format!("{}.events", setup.source);
    setup.sinks[0]
        .1
        .push_str("exchange = \"{source}.events\"\nrouting_key = \"x.{object_id}.{event_type}\"\n");
    let mut outlet = Outlet::bound(&exchange, "#").await;
    let bridge = setup.start().await;
    let typed = bridge
        .accepted(&setup.source, event("sample.uploaded", "obj1"))
        .await;
    let other = bridge
        .accepted(&setup.source, event("report.published", "obj1"))
        .await;
    let seen = outlet
        .has(&bridge, &setup.source, &[typed.clone(), other])
        .await;
    for one in seen {
        let expected = if one.id == typed {
            "x.obj1.sample.uploaded"
        } else {
            "x.obj1.other"
        };
        assert_eq!(one.address, expected);
    }
}

/// Two stores are refused, so the second sink is a RabbitMQ.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_event_types_takes_only_those() {
    let mut setup = Setup::store().and_rabbitmq(&amqp_url());
    let source = setup.source.clone();
    setup.routes = Some(format!(
        "[[route]]\nsource = \"{source}\"\nsinks = [\"store\"]\n[[route]]\nsource = \"{source}\"\nsinks = [\"rabbitmq\"]\nevent_types = [\"analysis.failed\"]\n"
    ));
    let mut queue = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let failed = bridge
        .accepted(&source, event("analysis.failed", "a"))
        .await;
    let uploaded = bridge
        .accepted(&source, event("sample.uploaded", "a"))
        .await;
    let odd = bridge.post(&Post::signed(&source, "odd")).await.id();
    Outlet::Store
        .has(&bridge, &source, &[failed.clone(), uploaded, odd])
        .await;
    let seen = queue
        .has(&bridge, &source, std::slice::from_ref(&failed))
        .await;
    bridge.drained().await;
    assert_eq!(seen.len(), 1);
    assert_eq!(
        queue.read(&bridge, &source).await.len(),
        1,
        "nothing else came"
    );
    let spooled = bridge
        .metrics()
        .await
        .sum("events_spooled_total", &[("sink", "rabbitmq")]);
    assert!((spooled - 1.0).abs() < f64::EPSILON);
}

/// The table of a route of this source with these keys.
fn route(source: &str, keys: &str) -> String {
    format!("[[route]]\nsource = \"{source}\"\n{keys}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_conditions_takes_what_equals_them() {
    let mut setup = Setup::store().and_rabbitmq(&amqp_url());
    let source = setup.source.clone();
    let when = r#"when = { "{/object/$uri}" = ["/api/v1/analysiss/a", "/api/v1/analysiss/b"], "{query.lab}-{header.x-room}" = ["west-7"] }"#;
    let conditional =
        format!("sinks = [\"rabbitmq\"]\nevent_types = [\"analysis.failed\"]\n{when}");
    setup.routes = Some(
        [
            route(&source, "sinks = [\"store\"]"),
            route(&source, &conditional),
        ]
        .concat(),
    );
    let mut queue = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let path = format!("/webhooks/{source}?lab=west");
    let post = |event_type, object, room: &str| {
        let post = Post::signed(&source, event(event_type, object)).path(&path);
        post.with("x-room", room)
    };
    let mut ids = Vec::new();
    for right in [
        post("analysis.failed", "a", "7"),
        post("analysis.failed", "b", "7"),
    ] {
        ids.push(bridge.post(&right).await.id());
    }
    let mut all = ids.clone();
    for wrong in [
        post("analysis.failed", "c", "7"),
        post("analysis.failed", "a", "8"),
        post("analysis.failed", "a", "7").with("x-room", "7"),
        post("analysis.failed", "a", "7").path(&format!("/webhooks/{source}?lab=east")),
        post("analysis.succeeded", "a", "7"),
        Post::signed(&source, event("analysis.failed", "a")),
        Post::signed(&source, "odd").path(&path).with("x-room", "7"),
    ] {
        let answer = bridge.post(&wrong).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        all.push(answer.id());
    }
    Outlet::Store.has(&bridge, &source, &all).await;
    queue.has(&bridge, &source, &ids).await;
    bridge.drained().await;
    let seen = queue.read(&bridge, &source).await;
    let seen: Vec<&str> = seen.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(seen, ids, "nothing else came");
}

/// A delivery as GitHub sends and signs it.
fn github(source: &str, event_type: &str, delivery: &str, body: &str) -> Post {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    Post::unsigned(source, body)
        .with("x-github-event", event_type)
        .with("x-github-delivery", delivery)
        .with("x-hub-signature-256", &signature)
}

/// A push to a repository.
fn push_to(source: &str, repository: u64, delivery: &str) -> Post {
    let body = format!("{{\"repository\":{{\"id\":{repository}}},\"of\":\"{delivery}\"}}");
    github(source, "push", delivery, &body)
}

/// A store with a GitHub source, of which two repositories' pushes are kept and the rest is dropped.
fn dropping() -> (Setup, String) {
    let mut setup = Setup::store();
    let hub = crate::harness::unique("hub");
    let kept = "sinks = [\"store\"]\nevent_types = [\"push\"]\nwhen = { \"{/repository/id}\" = [\"42\", \"43\"] }";
    setup.more = format!(
        "[source.{hub}]\nprovider = \"github\"\nevent_types = [\"push\"]\nsecrets = [{{ file = {:?} }}]\n{}{}",
        setup.path("secret"),
        route(&hub, kept),
        route(&hub, "drop = true")
    );
    (setup, hub)
}

async fn is_answered(bridge: &Bridge, post: &Post, status: &str) -> String {
    let answer = bridge.post(post).await;
    assert_eq!(
        (answer.status, answer.outcome()),
        (200, status.to_owned()),
        "{answer:?}"
    );
    answer.id()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_takes_to_a_sink_is_dropped_and_counted() {
    let (setup, hub) = dropping();
    let bridge = setup.start().await;
    let dropped = async |label: &str, count: f64| {
        let labels = [("source", hub.as_str()), ("event_type", label)];
        bridge.shows("events_dropped_total", &labels, count).await;
    };
    dropped("push", 0.0).await;
    dropped("other", 0.0).await;
    let mut kept = Vec::new();
    for (repository, delivery) in [(42, "1"), (43, "2")] {
        let post = push_to(&hub, repository, delivery);
        kept.push(is_answered(&bridge, &post, "accepted").await);
    }
    let ping = github(&hub, "ping", "3", "{\"repository\":{\"id\":42}}");
    for unwanted in [&ping, &push_to(&hub, 44, "4"), &push_to(&hub, 4, "5")] {
        // Not remembered, so never a duplicate.
        let id = is_answered(&bridge, unwanted, "dropped").await;
        assert_eq!(is_answered(&bridge, unwanted, "dropped").await, id);
    }
    // What nobody can read is never dropped.
    kept.push(is_answered(&bridge, &github(&hub, "ping", "6", "{"), "quarantined").await);
    dropped("push", 4.0).await;
    dropped("other", 2.0).await;
    Outlet::Store.has(&bridge, &hub, &kept).await;
    bridge.drained().await;
    let mut seen = Outlet::Store.read(&bridge, &hub).await;
    seen.sort_by_key(|one| kept.iter().position(|id| *id == one.id));
    let seen: Vec<String> = seen.into_iter().map(|one| one.id).collect();
    assert_eq!(seen, kept, "nothing else came");
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("store");
    for (name, value) in [("events_accepted_total", 3.0), ("http_requests_total", 9.0)] {
        let counted = metrics.sum(name, &[("source", hub.as_str())]);
        assert!((counted - value).abs() < f64::EPSILON, "{name}: {counted}");
    }
    let duplicates = metrics.sum("events_duplicate_total", &[("source", hub.as_str())]);
    assert!(duplicates.abs() < f64::EPSILON, "{duplicates} duplicates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_over_conditions_with_what_their_source_looks_at() {
    let (setup, hub) = dropping();
    let bridge = setup.start().await;
    let wanted = push_to(&hub, 42, "1");
    let unwanted = push_to(&hub, 50, "2").with("x-lab", "west");
    let kept = is_answered(&bridge, &wanted, "accepted").await;
    let dropped = is_answered(&bridge, &unwanted, "dropped").await;
    let next = setup.text().replace(
        "when = { \"{/repository/id}\" = [\"42\", \"43\"] }",
        "when = { \"{/of}\" = [\"2\", \"3\"], \"{/repository/id}\" = [\"50\"], \"{header.x-lab}\" = [\"west\"] }",
    );
    assert_ne!(next, setup.text());
    std::fs::write(setup.path("hookferry.toml"), next).expect("writable");
    bridge.reload(true).await;
    // It was not remembered, and so is no duplicate now that somebody wants it.
    assert_eq!(is_answered(&bridge, &unwanted, "accepted").await, dropped);
    assert_eq!(is_answered(&bridge, &wanted, "dropped").await, kept);
    is_answered(&bridge, &push_to(&hub, 50, "3"), "dropped").await;
    Outlet::Store.has(&bridge, &hub, &[kept, dropped]).await;
    bridge.metrics().await.assert_balanced("store");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_leave_an_event_without_a_way_are_refused() {
    let (setup, hub) = dropping();
    for (old, new, said) in [
        ("drop = true\n", "drop = false\n", "route[2].drop"),
        ("drop = true\n", "drop = true\nwhen = {}\n", "route[2].when"),
        (
            "\"{/repository/id}\" =",
            "\"{body}\" =",
            "route[1].when.{body}",
        ),
        (
            "event_types = [\"push\"]\nwhen = {",
            "drop = false\n# {",
            "route[2].drop",
        ),
    ] {
        let text = setup.text().replace(old, new);
        assert_ne!(text, setup.text(), "{old}");
        let path = setup.path("hookferry.toml");
        std::fs::write(&path, text).expect("writable");
        let (code, log) = crate::harness::setup::ends(&path).await;
        assert_eq!(code, Some(2), "{new} of {hub}: {log}");
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_have_their_own_secrets_and_topics() {
    let mut setup = Setup::store();
    let secret = setup.path("second");
    std::fs::write(&secret, "second secret\n").unwrap();
    setup.more = format!(
        "[source.second]\nprovider = \"onecodex\"\nuri = \"https://eu.example.org\"\nsecrets = [{{ file = {secret:?} }}]\n[[route]]\nsource = \"second\"\nsinks = [\"store\"]\n"
    );
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    // The first source's secret proves nothing to the second.
    let wrong = bridge.post(&Post::signed("second", body.as_str())).await;
    assert_eq!(
        (wrong.status, wrong.reason().as_str()),
        (401, "signature_mismatch")
    );
    let right = Post::signed_with("second", body.as_str(), "second secret", now());
    let id = bridge.post(&right).await.id();
    lies_on(&bridge, "second.sample.uploaded", &id).await;
    let seen = store_topic(&bridge, "second.sample.uploaded").await;
    assert_eq!(seen[0].header("ce_source"), "https://eu.example.org");
    let first = bridge.accepted(&setup.source, body).await;
    lies_on(
        &bridge,
        &format!("{}.sample.uploaded", setup.source),
        &first,
    )
    .await;
    bridge
        .shows("events_accepted_total", &[("source", "second")], 1.0)
        .await;
}
