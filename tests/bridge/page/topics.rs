//! The topics of the store: browsed, followed, read with their JSON folded, and copied as a command that
//! works.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Bridge, Setup, amqp_url, event};

use super::{assert_content, look_at};

/// A bridge with so many events on one topic.
async fn with_events(setup: &Setup, count: usize) -> (Bridge, Vec<String>) {
    let bridge = setup.start().await;
    let mut ids = Vec::new();
    for number in 0..count {
        let body = event("sample.uploaded", &format!("object{number}"));
        ids.push(bridge.accepted(&setup.source, body).await);
    }
    bridge.drained().await;
    (bridge, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_are_browsed_and_a_body_is_fetched_once_it_is_asked_for() {
    let setup = Setup::store();
    let (bridge, ids) = with_events(&setup, 3).await;
    let topic = format!("{}.sample.uploaded", setup.source);
    let (_browser, tab) = look_at(&bridge).await;
    tab.shows("#topics", &[&topic]).await;
    tab.fill_in("#topics", "Topic", &topic).await;
    tab.shows("#topics", &[&ids[0], &ids[1], &ids[2]]).await;
    // Nobody has asked for a body yet, and none was fetched.
    let document = tab.evaluate("document.documentElement.outerHTML").await;
    assert!(!document.to_string().contains("/api/v1/samples/"));
    let of_bodies = |url: &String| url.contains("/events?") && !url.contains("bodies=false");
    let asked = tab.requests();
    assert!(!asked.iter().any(of_bodies), "{asked:?}");

    tab.click_in("#topics", "button", "Show body").await;
    tab.shows(
        "#topics",
        &["event_type: \"sample.uploaded\"", "/api/v1/samples/object"],
    )
    .await;
    // A part of it is folded away.
    tab.evaluate("document.querySelector('#topics .tree details details').open = false")
        .await;
    tab.hides("#topics", "/api/v1/samples/object").await;
    tab.click_in("#topics", "button", "Hide body").await;
    tab.hides("#topics", "/api/v1/samples/object").await;
    let document = tab.evaluate("document.documentElement.outerHTML").await;
    assert!(!document.to_string().contains("/api/v1/samples/"));
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_back_to_its_beginning_and_followed_at_its_end() {
    let setup = Setup::store();
    let (bridge, ids) = with_events(&setup, 130).await;
    let topic = format!("{}.sample.uploaded", setup.source);
    let (_browser, tab) = look_at(&bridge).await;
    tab.fill_in("#topics", "Topic", &topic).await;
    tab.shows("#topics", &[&ids[129]]).await;
    crate::eventually::eventually("the first of them is there", async || {
        if tab.text("#topics").await.contains(&ids[0]) {
            return Some(());
        }
        if tab.has("button", "Older").await {
            tab.click_in("#topics", "button", "Older").await;
        }
        None
    })
    .await;
    tab.click_in("#topics", "button", "Follow").await;
    let body = event("sample.uploaded", "the-next-one");
    let next = bridge.accepted(&setup.source, body).await;
    tab.shows("#topics", &[&next]).await;
    tab.click_in("#topics", "button", "Stop following").await;
    tab.hides("#topic-note", "following").await;
    let body = event("sample.uploaded", "another");
    let another = bridge.accepted(&setup.source, body).await;
    bridge.drained().await;
    tab.shows("#deliveries", &["another"]).await;
    assert!(!tab.text("#topics").await.contains(&another));
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_copied_as_a_command_that_works() {
    let setup = Setup::store();
    let (bridge, ids) = with_events(&setup, 1).await;
    let topic = format!("{}.sample.uploaded", setup.source);
    let (_browser, tab) = look_at(&bridge).await;
    tab.fill_in("#topics", "Topic", &topic).await;
    tab.shows("#topics", &[&ids[0]]).await;
    tab.click_in("#topics", "button", "Copy as curl").await;
    tab.shows("#topics", &["copied"]).await;
    let command = tab.copied().await;
    assert!(command.starts_with("curl "), "{command}");
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    let answered = String::from_utf8(output.stdout).unwrap();
    let event: Value = serde_json::from_str(answered.lines().next().unwrap()).unwrap();
    assert_eq!(event["id"], ids[0].as_str(), "{command}");
    assert!(event["body"].as_str().unwrap().contains("object0"));
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_there_are_no_topics_to_see() {
    let setup = Setup::rabbitmq(&amqp_url());
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.shows("#verdict", &["well"]).await;
    assert_eq!(tab.text("#topics").await, "");
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
