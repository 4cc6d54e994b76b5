//! Waiting and set aside: what waits for each sink, and the dead letters, which are requeued or dropped
//! once somebody has read what that will do.

use serde_json::json;

use crate::eventually::eventually;
use crate::harness::{Bridge, Outlet, Setup, amqp_url, event};
use crate::order::proxied;

use super::{assert_content, dead_letters, find, history_of, large, look_at, narrow, steps};

/// The dead letters that are listed.
const LIST: &str = "#dead-letter-list";

/// A bridge that has set so many events aside, and their ids.
async fn with_dead_letters(setup: &Setup, count: usize) -> (Bridge, Vec<String>) {
    let bridge = setup.start().await;
    let mut ids = Vec::new();
    for number in 0..count {
        let body = large(&event("sample.uploaded", &format!("object{number}")));
        ids.push(bridge.accepted(&setup.source, body).await);
    }
    let sink = [("sink", "rabbitmq")];
    let all = count as f64;
    bridge.shows("spool_dead_letters", &sink, all).await;
    bridge.drained().await;
    (bridge, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_requeued_once_somebody_has_confirmed_it() {
    let mut setup = narrow(&amqp_url());
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let (bridge, ids) = with_dead_letters(&setup, 2).await;
    bridge.stop().await;
    // The cause is gone now.
    let keys = &mut setup.sinks[1].1;
    *keys = keys.replace("max_message_size = \"1KiB\"", "max_message_size = \"1MiB\"");
    let bridge = setup.start().await;
    let names = dead_letters(&bridge).await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.shows(LIST, &[&names[0], &names[1], "too_large"]).await;

    tab.click("button", &format!("Requeue {}", names[0])).await;
    tab.shows("dialog[open]", &["rabbitmq", &names[0]]).await;
    tab.click_in("dialog[open]", "button", "Cancel").await;
    tab.comes_to("document.querySelector('dialog[open]') === null")
        .await;
    assert_eq!(dead_letters(&bridge).await, names);

    tab.click("button", &format!("Requeue {}", names[0])).await;
    tab.click_in("dialog[open]", "button", "Requeue it").await;
    let seen = outlet.has_one(&bridge, &setup.source, &ids[0]).await;
    assert!(seen.body.ends_with(b"  "));
    tab.shows("#change-result", &[&names[0], "requeued"]).await;
    tab.hides(LIST, &names[0]).await;
    tab.shows(LIST, &[&names[1]]).await;
    assert_eq!(dead_letters(&bridge).await, names[1..]);
    find(&tab, &ids[0]).await;
    tab.shows(
        "#event",
        &["requeued for rabbitmq", "confirmed by rabbitmq"],
    )
    .await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_dropped_once_somebody_has_confirmed_it() {
    let setup = narrow(&amqp_url());
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let (bridge, ids) = with_dead_letters(&setup, 2).await;
    let names = dead_letters(&bridge).await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.click("button", &format!("Drop {}", names[1])).await;
    // It says what is lost, and for whom.
    tab.shows("dialog[open]", &["rabbitmq", &names[1], "for good"])
        .await;
    tab.click_in("dialog[open]", "button", "Cancel").await;
    tab.comes_to("document.querySelector('dialog[open]') === null")
        .await;
    assert_eq!(dead_letters(&bridge).await, names);
    tab.click("button", &format!("Drop {}", names[1])).await;
    tab.click_in("dialog[open]", "button", "Drop it").await;
    tab.shows("#change-result", &[&names[1], "dropped"]).await;
    tab.hides(LIST, &names[1]).await;
    assert_eq!(dead_letters(&bridge).await, names[..1]);
    find(&tab, &ids[1]).await;
    tab.shows("#event", &["dropped for rabbitmq"]).await;
    let history = history_of(&bridge, &ids[1]).await;
    assert!(steps(&history).contains(&"discarded"), "{history}");
    assert_eq!(history["dead_letters"], json!([]));
    // That another sink has it is not all that is said of where it is.
    tab.shows("#event .badge", &["dropped", "rabbitmq"]).await;

    // Somebody else was faster: the page says so, and does not show it any more.
    tab.click("button", &format!("Drop {}", names[0])).await;
    tab.shows("dialog[open]", &[&names[0]]).await;
    let path = format!("/dead-letters/{}", names[0]);
    change(&bridge, "DELETE", &path).await;
    tab.click_in("dialog[open]", "button", "Drop it").await;
    tab.shows("dialog[open]", &["there is no"]).await;
    tab.click_in("dialog[open]", "button", "Cancel").await;
    tab.hides(LIST, &names[0]).await;
    assert!(outlet.read(&bridge, &setup.source).await.is_empty());
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

/// Asks for a change as a command does.
async fn change(bridge: &Bridge, method: &str, path: &str) {
    let mut connection = crate::harness::Connection::open(bridge.admin)
        .await
        .unwrap();
    let request = bridge.operators_request(method, path);
    connection.send(request.as_bytes()).await.unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_told_by_sink_and_dropped_for_one_that_is_gone() {
    let (proxy, url) = proxied().await;
    let mut setup = Setup::store().and_rabbitmq(&url);
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    proxy.cut();
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 0.0)
        .await;
    for _ in 0..3 {
        bridge
            .accepted(&setup.source, event("sample.uploaded", "a"))
            .await;
    }
    bridge
        .counts("events_delivered_total", &[("sink", "store")], 3.0)
        .await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.shows("#sink-rows", &["rabbitmq not connected", "3"])
        .await;
    // Its events are on their way: they are not to be dropped.
    assert!(!tab.has("button", "Drop all of rabbitmq").await);
    bridge.stop().await;

    setup.sinks.truncate(1);
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.shows("#verdict", &["rabbitmq"]).await;
    tab.shows("#sink-rows", &["rabbitmq not configured any more 3"])
        .await;
    tab.click("button", "Drop all of rabbitmq").await;
    tab.shows("dialog[open]", &["3 events wait for rabbitmq", "for good"])
        .await;
    tab.click_in("dialog[open]", "button", "Drop all").await;
    eventually("nothing waits any more", async || {
        let spool = bridge.ask("/spool").await.json();
        let sinks = spool["sinks"].as_array()?.iter();
        let waiting = sinks.filter_map(|sink| sink["pending"].as_u64());
        (waiting.sum::<u64>() == 0).then_some(())
    })
    .await;
    tab.shows("#change-result", &["rabbitmq", "dropped"]).await;
    tab.hides("#sink-rows", "Drop all").await;
    tab.shows("#verdict", &["All is well"]).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
