//! Where is my event? Its whole way, from the address it came from to the place it got to at each sink,
//! with what went wrong in between, as far back as is known.

mod place;

use std::net::{IpAddr, Ipv4Addr};

use crate::harness::delivery::now;
use crate::harness::outlet::store_topic;
use crate::harness::{Bridge, Outlet, Post, Setup, amqp_url, event, kafka_brokers};
use crate::order::proxied;
use place::place;

use super::{assert_content, every_sink, find, large, look_at, narrow};

const NEXT: &str = "whsec_the_next_secret";

/// A bridge whose source has two secrets.
async fn with_two_secrets(setup: &Setup) -> Bridge {
    std::fs::write(setup.path("next"), NEXT).unwrap();
    let one = format!(
        "secrets = [{{ file = \"{}\" }}]",
        setup.path("secret").display()
    );
    let both = format!(
        "secrets = [{{ file = {:?} }}, {{ file = {:?} }}]",
        setup.path("secret"),
        setup.path("next")
    );
    let text = setup.text();
    assert!(text.contains(&one), "{text}");
    let config = setup.path("hookferry.toml");
    std::fs::write(&config, text.replace(&one, &both)).unwrap();
    Bridge::start(&config).await
}

/// An id that is as good as this one, and nobody's.
fn like(id: &str) -> String {
    let (most, last) = id.split_at(id.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    format!("{most}{other}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_followed_to_every_sink_by_its_id_and_by_its_object() {
    let setup = every_sink(&amqp_url());
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = with_two_secrets(&setup).await;
    let object = "7428cca4a3a04a8e";
    let body = event("sample.uploaded", object);
    let post = Post::signed_with(&setup.source, body, NEXT, now() - 7);
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let answer = post.sent_from(from, bridge.ingress).await.unwrap();
    assert_eq!(answer.outcome(), "accepted");
    let id = answer.id();
    let other = event("analysis.succeeded", object);
    let other = bridge.accepted(&setup.source, other).await;
    bridge.drained().await;
    let queued = outlet.has_one(&bridge, &setup.source, &id).await;
    let topic = format!("{}.sample.uploaded", setup.source);
    let (partition, offset) = place(&kafka_brokers(), &topic, &id).await;
    let stored = store_topic(&bridge, &topic).await;
    let position = 1 + stored.iter().position(|one| one.id == id).unwrap();

    let (_browser, tab) = look_at(&bridge).await;
    for wanted in [id.as_str(), object] {
        find(&tab, wanted).await;
        if wanted == object {
            // There is another one, to choose between.
            tab.shows("#event", &[&id, &other]).await;
            tab.click_in("#event", "button", &id).await;
        }
        tab.shows(
            "#event",
            &["received from 127.0.0.9", "on the disk", "answered 200"],
        )
        .await;
        tab.reads(
            "#event",
            "how old its signature was, and the secret",
            |text| {
                let mut ages = (7..20).map(|age| format!("signature was {age} s old"));
                ages.any(|age| text.contains(&age)) && text.contains("secret number 1")
            },
        )
        .await;
        tab.shows(
            "#event",
            &[
                "handed to kafka",
                "confirmed by kafka",
                &format!("topic {topic}, partition {partition}, offset {offset}"),
            ],
        )
        .await;
        let place = format!("exchange {}, routing key {}", setup.source, queued.address);
        tab.shows("#event", &["confirmed by rabbitmq", &place])
            .await;
        let place = format!("topic {topic}, position {position}");
        tab.shows("#event", &["confirmed by store", &place]).await;
        // Another search begins with nothing.
        find(&tab, "0000000000000000").await;
        tab.hides("#event", "127.0.0.9").await;
    }
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_outage_tells_its_attempts_with_what_went_wrong() {
    let (proxy, url) = proxied().await;
    let setup = Setup::store().and_rabbitmq(&url);
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 1.0)
        .await;
    proxy.cut();
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 0.0)
        .await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    let (_browser, tab) = look_at(&bridge).await;
    find(&tab, &id).await;
    tab.shows(
        "#event",
        &["attempt failed at rabbitmq", "waits for rabbitmq"],
    )
    .await;
    let said = tab.shows("#event", &["confirmed by store"]).await;
    assert!(!said.contains("exchange"), "{said}");
    proxy.restore();
    bridge.drained().await;
    tab.shows(
        "#event",
        &[
            "attempt failed at rabbitmq",
            "confirmed by rabbitmq",
            "exchange",
            "routing key",
        ],
    )
    .await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_says_why() {
    let setup = narrow(&amqp_url());
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let body = large(&event("sample.uploaded", "a"));
    let refused = bridge.accepted(&setup.source, body).await;
    let odd = bridge.post(&Post::signed(&setup.source, "odd")).await;
    assert_eq!(odd.outcome(), "quarantined");
    bridge
        .counts("events_dead_lettered_total", &[("sink", "rabbitmq")], 1.0)
        .await;
    let letters = bridge.ask("/dead-letters").await.json();
    let detail = letters[0]["detail"].as_str().unwrap();

    let (_browser, tab) = look_at(&bridge).await;
    find(&tab, &refused).await;
    tab.shows("#event", &["dead letter of rabbitmq", "too_large", detail])
        .await;
    tab.shows("#event", &["confirmed by store"]).await;
    find(&tab, &odd.id()).await;
    tab.shows("#event", &["quarantined", "invalid_json"]).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_it_says_what_is_no_longer_known() {
    let (proxy, url) = proxied().await;
    let setup = Setup::store().and_rabbitmq(&url);
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let gone = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    proxy.cut();
    let waits = bridge
        .accepted(&setup.source, event("sample.uploaded", "b"))
        .await;
    bridge
        .counts("events_delivered_total", &[("sink", "store")], 2.0)
        .await;
    bridge.stop().await;

    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    // It still waits, and the spool knows what it is.
    find(&tab, &waits).await;
    tab.shows("#event", &["sample.uploaded", "waits for rabbitmq"])
        .await;
    tab.shows("#event", &["memory reaches back to"]).await;
    // Its way is forgotten; that it was there is not.
    find(&tab, &gone).await;
    let said = tab
        .shows(
            "#event",
            &["this id was accepted", "memory reaches back to"],
        )
        .await;
    assert!(!said.contains("127.0.0.1"), "{said}");
    // Nobody has ever sent this one.
    find(&tab, &like(&gone)).await;
    let said = tab.shows("#event", &["no event", "of this id"]).await;
    assert!(!said.contains("sample.uploaded"), "{said}");
    find(&tab, "no-id-and-no-object").await;
    tab.shows("#event", &["no event of this object is known"])
        .await;
    proxy.restore();
    bridge.drained().await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
