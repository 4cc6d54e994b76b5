//! Where an event goes: templates, the catch-all, filters, several sources.

use crate::eventually::eventually;
use crate::harness::delivery::{event, now};
use crate::harness::outlet::store_topic;
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
