//! What was missed is found in the record, and published as it would have come; what need not be
//! fetched is left alone.

use serde_json::Value;

use super::{
    DAY, HOUR, RecoverySetup, ago, assert_backfilled, assert_delivered, bodies, bodies_of, failed,
    is_audited, missed, says,
};
use crate::harness::delivery::event_at;
use crate::harness::events_api::{EventStatus, Recorded, Row};
use crate::harness::{Seen, event};

const OBJECTS: [&str; 3] = ["a", "b", "c"];

/// The numbers of an object's events, as they stand on the topic.
fn numbers(seen: &[Seen], object: &str) -> Vec<u64> {
    let of_it = seen.iter().filter(|one| one.key == object);
    let number = |one: &Seen| {
        let body: Value = serde_json::from_slice(&one.body).expect("JSON");
        body["object"]["number"].as_u64().expect("a number")
    };
    of_it.map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_while_the_bridge_was_down_is_published_in_order_as_backfill() {
    let recovery = RecoverySetup::store().await;
    let mut rows = Vec::new();
    for number in 0..6 {
        for object in OBJECTS {
            let minutes = 60 - i64::try_from(number).unwrap();
            let body = missed(object, minutes * 60, number);
            rows.push(if number % 2 == 0 {
                Row::object(&body)
            } else {
                Row::text(&body).status(EventStatus::Retryable)
            });
        }
    }
    // The record is in no order; here in the worst.
    rows.reverse();
    recovery.api.adds_all(rows.clone());
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, rows.len()).await;
    assert_eq!(bodies(&seen), bodies_of(&rows));
    seen.iter().for_each(assert_backfilled);
    for object in OBJECTS {
        assert_eq!(numbers(&seen, object), [0, 1, 2, 3, 4, 5]);
    }
    let source = [("source", recovery.source())];
    let metrics = bridge.metrics().await;
    let accepted = metrics.sum("events_accepted_total", &source);
    assert!((accepted - 18.0).abs() < 0.5, "{accepted}");
    metrics.assert_balanced("store");
    assert!((recovery.found(&bridge, "recovered").await - 18.0).abs() < 0.5);
    let last = metrics.sum("backfill_last_success_timestamp_seconds", &source);
    assert!(last > 1_700_000_000.0, "{last}");
    let every = metrics.sum("backfill_interval_seconds", &source);
    assert!((every - 1.0).abs() < f64::EPSILON, "{every}");
    // Webhooks are being lost, and somebody should know.
    says(&bridge, recovery.source(), "WARN").await;
    // Once is enough.
    recovery.looks_again(&bridge).await;
    recovery.published(&bridge, rows.len()).await;
    recovery.assert_polite(&bridge);
}

/// An event as no serialiser would write it.
fn odd(object: &str) -> String {
    let time = ago(HOUR);
    format!(
        "{{\t\"api_version\" :\"v1\",\r\n \"event_type\":\"sample.uploaded\",\"object_type\":\"sample\",\
         \"triggered_at\":\"{time}\" , \"object\":{{ \"$uri\":\"\\/api\\/v1\\/samples\\/{object}\",\
         \"numbers\":[1E+2,-0.0,0.10,123456789012345678901234567890],\
         \"text\":\"gr\\u00FCn ü \\ud83d\\ude00 😀 \\u0000\" }} }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payloads_own_bytes_are_published() {
    let recovery = RecoverySetup::store().await;
    let rows = [
        Row::object(&odd("object")),
        Row::text(&odd("string")),
        Row::text(&format!("{}\r\n\n", odd("lines"))),
    ];
    recovery.api.adds_all(rows.clone());
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, rows.len()).await;
    assert_eq!(bodies(&seen), bodies_of(&rows));
    for one in &seen {
        assert_eq!(
            one.address,
            format!("{}.sample.uploaded", recovery.source())
        );
    }
    recovery.assert_polite(&bridge);
}

/// Another subscriber may have failed to take what came here.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_is_known_by_its_id_and_not_published_again() {
    let recovery = RecoverySetup::store().await;
    let bridge = recovery.start().await;
    for object in OBJECTS {
        let body = event("sample.uploaded", object);
        bridge.accepted(recovery.source(), body.as_str()).await;
        // In other bytes: without the line's end, and with other white space.
        recovery.api.adds(Row::object(&body.replace("  ", "")));
    }
    let young = missed("d", 0, 0);
    bridge.accepted(recovery.source(), young.as_str()).await;
    recovery.api.adds(Row::text(&young));
    recovery.finds(&bridge, "known", 4.0).await;
    recovery.looks_again(&bridge).await;
    let seen = recovery.published(&bridge, 4).await;
    seen.iter().for_each(assert_delivered);
    assert!(recovery.found(&bridge, "recovered").await < 0.5);
    // Still, after a restart.
    bridge.stop().await;
    let bridge = recovery.start().await;
    recovery.finds(&bridge, "known", 4.0).await;
    recovery.published(&bridge, 4).await;
    recovery.assert_polite(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_young_is_left_to_the_provider_and_what_is_too_old_is_left_alone() {
    let recovery = RecoverySetup::store().await;
    let recovery = recovery
        .with("younger_than", "\"1h\"")
        .with("look_back", "\"1d\"");
    let young = Row::object(&missed("young", HOUR / 2, 0)).status(EventStatus::Retryable);
    let due = Row::object(&missed("due", 2 * HOUR, 0));
    let old = Row::object(&missed("old", 2 * DAY, 0));
    recovery.api.adds_all([young, due.clone(), old]);
    let bridge = recovery.start().await;
    recovery.finds(&bridge, "too_young", 1.0).await;
    recovery.looks_again(&bridge).await;
    let seen = recovery.published(&bridge, 1).await;
    assert_eq!(seen[0].body, due.body());
    recovery.assert_polite(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_event_types_that_are_named_are_recovered() {
    let recovery = RecoverySetup::store().await;
    let recovery = recovery.with("event_types", "[\"analysis.succeeded\"]");
    let of = |event_type: &str| Row::object(&event_at(event_type, "a", &ago(HOUR), 0));
    let wanted = of("analysis.succeeded");
    recovery
        .api
        .adds_all([of("sample.uploaded"), wanted.clone(), of("analysis.failed")]);
    let bridge = recovery.start().await;
    recovery.looks_again(&bridge).await;
    let seen = recovery.published(&bridge, 1).await;
    assert_eq!(seen[0].body, wanted.body());
}

/// The provider may add types at any time.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_type_that_nobody_knows_goes_to_the_catch_all() {
    let recovery = RecoverySetup::store().await;
    let row = Row::object(&event_at("project.shared", "a", &ago(HOUR), 0));
    recovery.api.adds(row.clone());
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, 1).await;
    assert_eq!(seen[0].address, format!("{}.other", recovery.source()));
    assert_eq!(seen[0].body, row.body());
    assert_backfilled(&seen[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_drops_is_counted_and_not_published() {
    let mut recovery = RecoverySetup::store().await;
    let source = recovery.source();
    let routes = format!(
        "[[route]]\nsource = \"{source}\"\nsinks = [\"store\"]\nevent_types = [\"sample.uploaded\"]\n\
         [[route]]\nsource = \"{source}\"\ndrop = true\n"
    );
    recovery.setup.routes = Some(routes);
    let dropped = event_at("analysis.failed", "a", &ago(HOUR), 0);
    recovery.api.adds(Row::object(&dropped));
    recovery.api.adds_all(failed(2));
    let bridge = recovery.start().await;
    recovery.finds(&bridge, "dropped", 1.0).await;
    recovery.published(&bridge, 2).await;
    assert!((recovery.found(&bridge, "recovered").await - 2.0).abs() < 0.5);
}

/// Neither the broker's receipt nor copies that are wanted make a difference to what is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_published_once_whenever_deliveries_are_answered_and_whatever_becomes_of_copies() {
    for key in ["acknowledge = \"delivered\"", "duplicates = \"forward\""] {
        let mut recovery = RecoverySetup::store().await;
        recovery.setup.top = format!("{}\n{key}", recovery.setup.top);
        recovery.api.adds_all(failed(3));
        let bridge = recovery.start().await;
        recovery.finds(&bridge, "recovered", 3.0).await;
        recovery.looks_again(&bridge).await;
        recovery.published(&bridge, 3).await;
        bridge.stop().await;
        let bridge = recovery.start().await;
        recovery.finds(&bridge, "known", 3.0).await;
        recovery.published(&bridge, 3).await;
    }
}

/// A run holds so many bytes of events at most; what is dropped is never known, and comes first here.
#[tokio::test(flavor = "multi_thread")]
async fn however_much_a_route_drops_what_is_behind_it_is_recovered() {
    let mut recovery = RecoverySetup::store().await;
    let source = recovery.source();
    recovery.setup.routes = Some(format!(
        "[[route]]\nsource = \"{source}\"\nsinks = [\"store\"]\nevent_types = [\"sample.uploaded\"]\n\
         [[route]]\nsource = \"{source}\"\ndrop = true\n"
    ));
    let large = |event_type: &str, hours: i64, number: usize| {
        let note = format!("\"note\":\"{}", "x".repeat(900 << 10));
        let body = event_at(event_type, "a", &ago(hours * HOUR), number);
        Row::object(&body.replace("\"note\":\"", &note))
    };
    let dropped = (0..90).map(|number| large("analysis.failed", 2, number));
    recovery.api.adds_all(dropped);
    let wanted = large("sample.uploaded", 1, 0);
    recovery.api.adds(wanted.clone());
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, 1).await;
    assert!(seen[0].body == wanted.body(), "byte for byte");
    recovery.ends(&bridge, "completed", 1.0).await;
}

/// The provider's `success` does not say that it is still here.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_what_the_provider_calls_a_success_and_the_spool_never_had() {
    let recovery = RecoverySetup::store().await.with("audit", "\"24h\"");
    let bridge = recovery.start().await;
    is_audited(&recovery).await;
    recovery.looks_again(&bridge).await;
    let row = Row::object(&event("sample.uploaded", "a")).status(EventStatus::Success);
    recovery.api.adds(row.clone());
    // It is not asked for as long as only failures are looked for.
    recovery.api.records_anew();
    recovery.looks_again(&bridge).await;
    assert!(!recovery.api.recorded().iter().any(Recorded::is_of_all));
    recovery.published(&bridge, 0).await;
    bridge.stop().await;
    let recovery = recovery.with("audit", "\"1s\"");
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, 1).await;
    assert_eq!(seen[0].body, row.body());
    assert_backfilled(&seen[0]);
    recovery.assert_polite(&bridge);
}
