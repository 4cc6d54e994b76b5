//! Whatever the provider answers, and whether it answers at all: it is counted, logged without the
//! key, and the next run goes on.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    HOUR, PATIENCE, RecoverySetup, ago, assert_keeps_the_key, bodies, bodies_of, failed, lines,
    missed,
};
use crate::eventually::{eventually, eventually_within};
use crate::harness::delivery::{event, event_at};
use crate::harness::events_api::{Fault, KEY, Rights, Row};
use crate::harness::{Authority, Bridge, EventsApi, Setup};

/// Every request goes wrong until a run has ended so; then all is well, and the next run fetches what
/// is missing.
async fn fails_and_goes_on((fault, result): (Fault, &str)) {
    let recovery = RecoverySetup::store().await;
    let rows = failed(3);
    recovery.api.adds_all(rows.clone());
    recovery.api.fails(fault);
    let bridge = recovery.start().await;
    recovery.ends(&bridge, result, 1.0).await;
    assert!(recovery.found(&bridge, "recovered").await < 0.5);
    let completed = [("source", recovery.source()), ("result", "completed")];
    let metrics = bridge.metrics().await;
    assert!(metrics.sum("backfill_runs_total", &completed) < 0.5);
    recovery.api.works();
    let seen = recovery.published(&bridge, rows.len()).await;
    assert_eq!(bodies(&seen), bodies_of(&rows));
    assert_keeps_the_key(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_say_later_are_tried_again_and_then_counted_as_unavailable() {
    let faults = [
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::Cut,
    ];
    join_all(faults.map(|fault| fails_and_goes_on((fault, "unavailable")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_list_of_events_are_counted_as_invalid() {
    let faults = [
        Fault::NotJson,
        Fault::OtherShape,
        Fault::TooLarge,
        Fault::Status(404),
        Fault::Status(400),
    ];
    join_all(faults.map(|fault| fails_and_goes_on((fault, "invalid_answer")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_is_counted_as_unauthorized() {
    let faults = [Fault::Status(401), Fault::Status(403)];
    join_all(faults.map(|fault| fails_and_goes_on((fault, "unauthorized")))).await;
}

/// Pages without end must not keep a run for ever: whatever it is counted as, another one begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_never_ends_ends_the_run() {
    join_all(
        [Fault::FirstPage, Fault::CircularCursor].map(async |fault| {
            let recovery = RecoverySetup::store().await;
            recovery.api.adds_all(failed(3));
            recovery.api.fails(fault);
            let bridge = recovery.start().await;
            eventually_within(PATIENCE, "a run is over", async || {
                let source = [("source", recovery.source())];
                let runs = bridge.metrics().await;
                (runs.sum("backfill_runs_total", &source) > 0.5).then_some(())
            })
            .await;
            recovery.api.works();
            recovery.looks_again(&bridge).await;
            recovery.published(&bridge, 3).await;
        }),
    )
    .await;
}

/// One answer that goes wrong does not cost the run.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_goes_wrong_is_made_again() {
    let once = async |faults: Vec<Fault>| {
        let recovery = RecoverySetup::store().await;
        recovery.api.adds_all(failed(2));
        recovery.api.fails_next(faults);
        let bridge = recovery.start().await;
        recovery.published(&bridge, 2).await;
        for result in ["unavailable", "invalid_answer"] {
            let labels = [("source", recovery.source()), ("result", result)];
            let failed = bridge.metrics().await.sum("backfill_runs_total", &labels);
            assert!(failed < 0.5, "{result}");
        }
        assert_keeps_the_key(&bridge);
    };
    join_all([
        once(vec![Fault::Status(429), Fault::Status(503), Fault::Cut]),
        once(vec![Fault::RetryAfter(2), Fault::Status(500)]),
        once(vec![Fault::Slow(Duration::from_secs(3))]),
        // After the deadline of a request.
        once(vec![Fault::Hang]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_the_provider_asks_for_is_kept() {
    let recovery = RecoverySetup::store().await;
    recovery.api.fails_next([Fault::RetryAfter(4)]);
    let bridge = recovery.start().await;
    recovery.ends(&bridge, "completed", 1.0).await;
    let recorded = recovery.api.recorded();
    let waited = recorded[1].request.at - recorded[0].request.at;
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
}

/// A redirect would take the key elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let other = EventsApi::start().await;
    for place in [
        format!("{}/api/v1/events", other.url()),
        format!("{}/api/v1/events", other.url()).replace("https://", "//"),
    ] {
        fails_and_goes_on((Fault::RedirectTo(place), "invalid_answer")).await;
    }
    assert_eq!(other.requests(), 0, "{:#?}", other.recorded());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_prove_who_it_is_never_gets_the_key() {
    let strangers = Authority::new();
    let known = RecoverySetup::store().await;
    let known = known.with("ca_file", &format!("{:?}", strangers.certificate()));
    let elsewhere = EventsApi::calling_itself("DNS:elsewhere.example").await;
    let elsewhere = RecoverySetup::of(Setup::store(), elsewhere);
    // Without a file, the system's authorities vouch.
    let system = RecoverySetup::store().await.without("ca_file");
    join_all([known, elsewhere, system].map(async |recovery| {
        recovery.api.adds_all(failed(1));
        let bridge = recovery.start().await;
        recovery.ends(&bridge, "unavailable", 1.0).await;
        assert_eq!(recovery.api.requests(), 0);
        let shown = |log: &str| log.contains("certificate");
        eventually("the log says why", async || {
            shown(&bridge.log()).then_some(())
        })
        .await;
        assert_keeps_the_key(&bridge);
        bridge.stop().await;
    }))
    .await;
}

/// Waits until the log has so many lines of the source at a level that tells of trouble.
async fn complains(bridge: &Bridge, source: &str, least: usize) {
    eventually("the log tells of it", async || {
        (complaints(bridge, source) >= least).then_some(())
    })
    .await;
}

fn complaints(bridge: &Bridge, source: &str) -> usize {
    lines(bridge, source, "WARN") + lines(bridge, source, "ERROR")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_said_once_and_a_right_one_is_taken_over_by_a_reload() {
    let recovery = RecoverySetup::store().await;
    let wrong = "00000000000000000000000000000bad";
    std::fs::write(recovery.key(), wrong).unwrap();
    recovery.api.adds_all(failed(1));
    let bridge = recovery.start().await;
    recovery.ends(&bridge, "unauthorized", 4.0).await;
    complains(&bridge, recovery.source(), 1).await;
    assert_eq!(
        complaints(&bridge, recovery.source()),
        1,
        "{}",
        bridge.log()
    );
    std::fs::write(recovery.key(), KEY).unwrap();
    bridge.reload(true).await;
    recovery.published(&bridge, 1).await;
    // And a key may lose its rights, and get them back.
    recovery.api.knows(KEY, Rights::Nothing);
    recovery.ends(&bridge, "unauthorized", 6.0).await;
    recovery.api.knows(KEY, Rights::Events);
    recovery.looks_again(&bridge).await;
    assert!(!bridge.log().contains(wrong), "{}", bridge.log());
    assert_keeps_the_key(&bridge);
}

/// Rows that are none, between some that are.
fn broken() -> Vec<Row> {
    let event = |json: &str| Row::object(json);
    let time = ago(HOUR);
    vec![
        event("7"),
        event("null"),
        event("[]"),
        event("{}"),
        Row::text("no JSON"),
        Row::text(""),
        // Without a time, and with one that is none.
        event(&missed("a", HOUR, 0).replace("triggered_at", "sent_at")),
        event(&event_at("sample.uploaded", "a", "yesterday", 0)),
        // Another resource's, without a payload.
        Row::other(&format!(
            "{{\"$uri\":\"/api/v1/samples/7428cca4a3a04a8e\",\"created_at\":\"{time}\",\"filename\":\"SRR2352185.fastq.gz\",\"status\":\"available\"}}"
        )),
        Row::other("{}"),
        Row::other("null"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_counted_and_the_others_are_recovered() {
    let recovery = RecoverySetup::store().await.with("audit", "\"1s\"");
    let (good, broken) = (failed(2), broken());
    recovery.api.adds(good[0].clone());
    recovery.api.adds_all(broken.clone());
    recovery.api.adds(good[1].clone());
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, 2).await;
    assert_eq!(bodies(&seen), bodies_of(&good));
    let unreadable = f64::from(u32::try_from(broken.len()).unwrap());
    recovery.finds(&bridge, "unreadable", unreadable).await;
    recovery.looks_again(&bridge).await;
    recovery.published(&bridge, 2).await;
    let invalid = [("source", recovery.source()), ("result", "invalid_answer")];
    let metrics = bridge.metrics().await;
    assert!(metrics.sum("backfill_runs_total", &invalid) < 0.5);
    recovery.assert_polite(&bridge);
}

/// The API is away for some time, as a host that nobody listens at.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_the_run_fails_and_deliveries_go_on() {
    let gone = format!("\"https://127.0.0.1:{}\"", crate::harness::free_port());
    let recovery = RecoverySetup::store().await.with("url", &gone);
    let bridge = recovery.start().await;
    let mut ids = Vec::new();
    eventually_within(PATIENCE, "a run fails", async || {
        let body = crate::harness::event("sample.uploaded", "a");
        ids.push(bridge.accepted(recovery.source(), body).await);
        let labels = [("source", recovery.source()), ("result", "unavailable")];
        let failed = bridge.metrics().await.sum("backfill_runs_total", &labels);
        (failed > 0.5).then_some(())
    })
    .await;
    recovery.published(&bridge, ids.len()).await;
}

/// What is fetched can come later; deliveries cannot. So a spool that fills is left to them.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_spool_is_left_to_deliveries() {
    let away = "type = \"rabbitmq\"\nurl = \"amqp://guest:guest@127.0.0.1:1/%2f\"\n";
    let mut setup = Setup::store().spool("max_events = 20");
    setup.sinks.push(("away".to_owned(), away.to_owned()));
    let recovery = RecoverySetup::of(setup, EventsApi::start().await);
    let bridge = recovery.start().await;
    recovery.ends(&bridge, "completed", 1.0).await;
    recovery.api.adds_all(failed(30));
    recovery.ends(&bridge, "refused", 1.0).await;
    let waiting = recovery.found(&bridge, "recovered").await;
    assert!((10.0..=11.0).contains(&waiting), "{waiting}");
    for number in 0..8 {
        let body = event("sample.uploaded", &format!("delivered{number}"));
        bridge.accepted(recovery.source(), body).await;
    }
}
