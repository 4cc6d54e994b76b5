//! An event's whole way, as it is told to anybody who asks: in order under load, out of a full spool
//! after a crash, of what was refused, of what was recovered, and of what came twice.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::harness::delivery::{event_at, fresh_time};
use crate::harness::events_api::Row;
use crate::harness::{Bridge, Load, Outlet, Post, Setup, Target, event};
use crate::order::proxied;
use crate::recovery::{RecoverySetup, missed};

use super::{assert_content, find, history_of, look_at, steps};

/// The steps of one kind.
fn of_kind<'a>(history: &'a Value, kind: &str) -> Vec<&'a Value> {
    let steps = history["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["step"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_too_the_steps_are_told_in_the_order_in_which_they_happened() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 40, 5);
    let ids = load.finish().await.ids();
    bridge.drained().await;
    assert_eq!(ids.len(), 200);
    for id in ids.iter().step_by(4) {
        let history = history_of(&bridge, id).await;
        let mut told = steps(&history);
        // The answer is on its way while the event is.
        told.retain(|step| *step != "answered");
        let expected = ["received", "verified", "spooled", "published", "confirmed"];
        assert_eq!(told, expected, "{history}");
        let all = history["steps"].as_array().unwrap().iter();
        let time = |step: &Value| -> Timestamp { step["at"].as_str().unwrap().parse().unwrap() };
        let times: Vec<Timestamp> = all.map(time).collect();
        assert!(times.is_sorted(), "{history}");
    }
    bridge.stop().await;
}

/// The sequence with which an event waits for RabbitMQ. It is found by its id, and by its object too.
async fn sequence(bridge: &Bridge, id: &str, known: &str) -> u64 {
    let history = history_of(bridge, id).await;
    assert_eq!(history["known"], known, "{history}");
    let waiting = &history["waiting"][0];
    assert_eq!(waiting["sinks"], json!(["rabbitmq"]), "{history}");
    let sequence = waiting["sequence"].as_u64().unwrap();
    let copy = bridge.ask(&format!("/spool/events/{sequence}")).await;
    assert_eq!(copy.json()["event"]["id"], id);
    let of_object = bridge.ask("/events?object=object0").await.json();
    assert_eq!(of_object["events"][0]["id"], id, "{of_object}");
    sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_behind_thousands_that_wait_is_found_by_id_and_object_after_a_crash_too() {
    let setup = Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f");
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 50, 60);
    assert_eq!(load.finish().await.ids().len(), 3_000);
    // Behind others of its object, so that it is not tried, by which a bridge would remember it.
    let body = event("sample.uploaded", "object0");
    let id = bridge.accepted(&setup.source, body).await;
    let before = sequence(&bridge, &id, "memory").await;
    bridge.kill();
    let bridge = setup.start().await;
    assert_eq!(sequence(&bridge, &id, "spool").await, before);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_refused_for_an_outage_is_said_to_be_delivered_afterwards() {
    let (proxy, url) = proxied().await;
    let setup =
        Setup::rabbitmq(&url).top("acknowledge = \"delivered\"\nacknowledge_timeout = \"1s\"");
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let sink = [("sink", "rabbitmq")];
    bridge.shows("sink_connected", &sink, 1.0).await;
    proxy.cut();
    bridge.shows("sink_connected", &sink, 0.0).await;
    let (_browser, tab) = look_at(&bridge).await;
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let answer = bridge.post(&post).await;
    let told = (answer.status, answer.reason());
    assert_eq!(told, (503, "not_in_time".into()));
    tab.shows("#verdict", &["deliveries were refused", "not_in_time"])
        .await;
    let listed = bridge.ask("/deliveries?outcome=refused").await.json();
    let id = listed["deliveries"][0]["id"].as_str().unwrap();
    let history = history_of(&bridge, id).await;
    let answered = of_kind(&history, "answered")[0];
    assert_eq!(
        [
            &answered["status"],
            &answered["outcome"],
            &answered["reason"]
        ],
        [&json!(503), &json!("refused"), &json!("not_in_time")]
    );
    assert_eq!(history["waiting"][0]["sinks"], json!(["rabbitmq"]));

    proxy.restore();
    outlet.has_one(&bridge, &setup.source, id).await;
    bridge.drained().await;
    let history = history_of(&bridge, id).await;
    assert_eq!(steps(&history).last(), Some(&"confirmed"), "{history}");
    assert_eq!(history["waiting"], json!([]));
    find(&tab, id).await;
    tab.shows("#event", &["503", "not_in_time", "confirmed by rabbitmq"])
        .await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_event_is_received_and_confirmed_and_nobody_was_answered() {
    let recovery = RecoverySetup::store().await;
    recovery.api.adds(Row::object(&missed("a", 60, 0)));
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, 1).await;
    let history = eventually("its whole way is told", async || {
        let history = history_of(&bridge, &seen[0].id).await;
        (steps(&history).len() >= 4).then_some(history)
    })
    .await;
    let expected = ["received", "spooled", "published", "confirmed"];
    assert_eq!(steps(&history), expected, "{history}");
    let received = &history["steps"][0];
    assert_eq!(received["origin"], "backfill", "{received}");
    assert_eq!(received["address"], Value::Null, "{received}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_with_another_body_is_received_and_confirmed_twice_in_one_history() {
    let setup = Setup::store().top("duplicates = \"forward\"");
    let bridge = setup.start().await;
    let time = fresh_time().to_string();
    let [one, other] = [0, 1].map(|number| event_at("sample.uploaded", "a", &time, number));
    let id = bridge.accepted(&setup.source, one).await;
    assert_eq!(bridge.accepted(&setup.source, other).await, id);
    bridge.drained().await;
    let history = history_of(&bridge, &id).await;
    for kind in ["received", "verified", "answered"] {
        assert_eq!(of_kind(&history, kind).len(), 2, "{kind}: {history}");
    }
    let confirmed = of_kind(&history, "confirmed").into_iter();
    let positions: Vec<&Value> = confirmed
        .map(|step| &step["destination"]["position"])
        .collect();
    assert_eq!(positions, [1, 2], "{history}");
    bridge.stop().await;
}
