//! What the page is made of, as anybody else may ask for it: the state as a stream, deliveries, and an
//! event's whole way.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::delivery::now;
use crate::harness::{Bridge, EventStream, Outlet, Post, Setup, amqp_url, event};

use super::{dead_letters, history_of, large, narrow, steps};

async fn live(bridge: &Bridge, filter: &str) -> EventStream {
    let request = bridge.operators_request("GET", &format!("/live{filter}"));
    EventStream::open(bridge.admin, &request).await.unwrap()
}

/// The outcomes that were told, oldest first.
fn outcomes(deliveries: &Value) -> Vec<&str> {
    let deliveries = deliveries.as_array().unwrap().iter();
    deliveries
        .map(|delivery| delivery["outcome"].as_str().unwrap())
        .collect()
}

/// Sends one of each that is quickly sent.
async fn deliver(bridge: &Bridge, source: &str) -> String {
    let body = event("sample.uploaded", "a");
    let id = bridge.accepted(source, body.as_str()).await;
    bridge.post(&Post::signed(source, body.as_str())).await;
    bridge.post(&Post::signed(source, "odd")).await;
    let forged = Post::signed_with(source, body, "another secret", now());
    assert_eq!(bridge.post(&forged).await.status, 401);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_told_at_once_and_every_second_with_what_is_new() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    deliver(&bridge, &setup.source).await;
    bridge.drained().await;
    let mut stream = live(&bridge, "").await;
    let first = stream.next().await.unwrap();
    assert_eq!(first["token_demanded"], false);
    let listener = &first["listener"];
    assert_eq!(listener["address"], bridge.ingress.to_string());
    assert_eq!(listener["accepts"], true);
    for (key, count) in [
        // What is quarantined is accepted too.
        ("accepted", 2),
        ("duplicates", 1),
        ("quarantined", 1),
        ("rejected", 1),
        ("requests", 4),
        ("dropped", 0),
        ("refused", 0),
    ] {
        assert_eq!(listener[key], count, "{key}: {listener}");
    }
    let source = &first["sources"][0];
    assert_eq!(source["source"], setup.source.as_str());
    assert_eq!(source["rejected"], 1);
    let sink = &first["sinks"][0];
    let (kind, delivered) = (&sink["kind"], &sink["delivered"]);
    assert_eq!((kind, delivered), (&json!("store"), &json!(2)), "{sink}");
    assert_eq!(
        (&sink["pending"], &sink["served"]),
        (&json!(0), &json!(true))
    );
    let told = ["accepted", "duplicate", "quarantined", "rejected"];
    assert_eq!(outcomes(&first["deliveries"]), told);
    let time = first["at"].as_str().unwrap();
    assert!(
        time.parse::<Timestamp>().is_ok() && time.ends_with('Z'),
        "{time}"
    );

    // Only what is new, and only once.
    bridge
        .accepted(&setup.source, event("sample.uploaded", "b"))
        .await;
    let next = stream
        .first("the new delivery is told", |state| {
            !state["deliveries"].as_array().unwrap().is_empty()
        })
        .await;
    assert_eq!(next["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(next["deliveries"][0]["object_id"], "b");
    let after = stream
        .first("a good delivery makes up for a forged one", |state| {
            state["verdict"]["level"] == "good"
        })
        .await;
    assert_eq!(after["deliveries"], json!([]));
    assert_eq!(after["verdict"]["findings"], json!([]));
    drop(stream);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_filtered_alike_in_the_list_and_in_the_stream() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let id = deliver(&bridge, &setup.source).await;
    let (source, id) = (format!("source={}", setup.source), format!("id={id}"));
    for (filter, expected) in [
        ("", vec!["accepted", "duplicate", "quarantined", "rejected"]),
        (
            &source,
            vec!["accepted", "duplicate", "quarantined", "rejected"],
        ),
        ("source=nobody", vec![]),
        ("outcome=duplicate", vec!["duplicate"]),
        ("event_type=sample.uploaded", vec!["accepted", "duplicate"]),
        ("object=a", vec!["accepted", "duplicate"]),
        (&id, vec!["accepted", "duplicate"]),
        ("object=a&outcome=accepted", vec!["accepted"]),
    ] {
        let listed = bridge.ask(&format!("/deliveries?limit=50&{filter}")).await;
        let listed = listed.json();
        let mut newest_first = outcomes(&listed["deliveries"]);
        newest_first.reverse();
        assert_eq!(newest_first, expected, "{filter}");
        assert!(listed["since"].is_string(), "{listed}");
        let first = live(&bridge, &format!("?{filter}")).await.next().await;
        let first = first.unwrap();
        assert_eq!(outcomes(&first["deliveries"]), expected, "{filter}");
    }
    let limited = bridge.ask("/deliveries?limit=1").await.json();
    assert_eq!(outcomes(&limited["deliveries"]), ["rejected"]);
    for wrong in [
        "/deliveries?outcome=lost",
        "/deliveries?limit=many",
        "/live?outcome=lost",
    ] {
        let answer = bridge.ask(wrong).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(!answer.reason().is_empty(), "{wrong}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_tells_its_whole_way_in_order() {
    let setup = narrow(&amqp_url());
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let body = large(&event("sample.uploaded", "a"));
    let id = bridge.accepted(&setup.source, body).await;
    bridge
        .counts("events_dead_lettered_total", &[("sink", "rabbitmq")], 1.0)
        .await;
    bridge.drained().await;
    let history = history_of(&bridge, &id).await;
    assert_eq!(
        (&history["id"], &history["known"]),
        (&json!(id), &json!("memory"))
    );
    assert_eq!(history["object_id"], "a");
    let told = steps(&history);
    assert_eq!(told[..2], ["received", "verified"], "{told:?}");
    for step in [
        "spooled",
        "answered",
        "published",
        "confirmed",
        "dead_lettered",
    ] {
        assert!(told.contains(&step), "{step}: {told:?}");
    }
    let steps = history["steps"].as_array().unwrap().iter();
    let times: Vec<Timestamp> = steps
        .filter_map(|step| step["at"].as_str()?.parse().ok())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(history["waiting"], json!([]));
    let letter = &history["dead_letters"][0];
    assert_eq!(letter["name"], dead_letters(&bridge).await[0].as_str());
    assert_eq!(letter["reason"], "too_large");
    let of_object = bridge.ask("/events?object=a").await.json();
    assert_eq!(of_object["events"][0]["id"], id.as_str(), "{of_object}");
    assert!(!history.to_string().contains("api_version"), "no body");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_nobody_knows_is_said_to_be_unknown_and_no_id_is_refused() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    let (most, last) = id.split_at(id.len() - 1);
    let other = format!("{most}{}", if last == "0" { "1" } else { "0" });
    let history = history_of(&bridge, &other).await;
    let known = history["known"].as_str().unwrap();
    assert!(["never", "unknown"].contains(&known), "{history}");
    assert_eq!(history["steps"], json!([]));
    assert!(
        !history["notes"].as_array().unwrap().is_empty(),
        "{history}"
    );
    for wrong in ["no-id", "1", "%3Cscript%3E"] {
        let answer = bridge.ask(&format!("/events/{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(!answer.text().contains("<script>"), "{}", answer.text());
    }
    let nothing = bridge.ask("/events?object=nobody").await.json();
    assert_eq!(nothing["events"], json!([]));
    assert_eq!(bridge.ask("/events").await.status, 400);
    bridge.stop().await;
}
