//! Clocks that are off: the sender's, the provider's record of when something happened, ours.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::bystander::Bystander;
use crate::eventually::eventually;
use crate::harness::delivery::{SIGNATURE, event, event_at, now, tag};
use crate::harness::setup::SECRET;
use crate::harness::{Bridge, Clock, Outlet, Post, Program, Report, Setup};

const MIB: f64 = 1024.0 * 1024.0;

/// A delivery whose signature is right for the digits, whatever they mean.
fn at(source: &str, digits: &str) -> Post {
    let body = event("sample.uploaded", "clock");
    let value = format!("t={digits} v1={}", tag(SECRET, digits, body.as_bytes()));
    Post::unsigned(source, body).with(SIGNATURE, &value)
}

async fn rejected(bridge: &Bridge, post: &Post, status: u16, reason: &str) {
    let answer = bridge.post(post).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (status, reason),
        "{:?}",
        post.headers
    );
}

async fn ages(bridge: &Bridge, source: &str, bucket: &str) -> f64 {
    let labels = [("source", source), ("le", bucket)];
    let metrics = bridge.metrics().await;
    metrics.sum_or_zero("signature_age_seconds_bucket", &labels)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_19_times_that_nobody_means_are_turned_away_and_seen() {
    let bystander = Bystander::start(Setup::store()).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    let old = ["0", "1", "000000000000", "999999999", "0000001"];
    for digits in old {
        let value = at(&source, digits);
        rejected(bridge, &value, 401, "timestamp_stale").await;
    }
    // The last second of the year 9999, and the last of 12 digits.
    for digits in ["253402300799", "999999999999"] {
        rejected(bridge, &at(&source, digits), 401, "timestamp_future").await;
    }
    let malformed = [
        "-1",
        "-0",
        "12345678901234567890",
        "1000000000000",
        "1e9",
        "1.5",
        "",
        "٣",
    ];
    for digits in malformed {
        rejected(bridge, &at(&source, digits), 400, "signature_malformed").await;
    }
    // The honest deliveries are seconds old at most; these are further away than any bucket.
    assert!((ages(bridge, &source, "-300").await - 2.0).abs() < f64::EPSILON);
    let (near, all) = (
        ages(bridge, &source, "86400").await,
        ages(bridge, &source, "+Inf").await,
    );
    assert!(all - near >= 5.0, "{all} in all, {near} within a day");
    bystander
        .unharmed(32.0 * MIB)
        .await
        .report(19, "signed for t = 0, negative, 20 digits, the year 9999");
}

/// When something happened is not when it was sent: a late event is an event.
#[tokio::test(flavor = "multi_thread")]
async fn row_19_events_of_any_time_are_taken() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let mut ids = Vec::new();
    for time in [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.001Z",
        "2001-09-09T01:46:40+14:00",
        "2100-02-28T23:59:60Z",
        "9999-12-30T22:00:00Z",
    ] {
        let body = event_at("sample.uploaded", "clock", time, 0);
        ids.push(bridge.accepted(&setup.source, body.clone()).await);
        let again = bridge.post(&Post::signed(&setup.source, body)).await;
        assert_eq!(again.outcome(), "duplicate", "{time}");
    }
    let sorted = {
        let mut sorted = ids.clone();
        sorted.sort();
        sorted
    };
    assert_eq!(ids, sorted, "ids are ordered by time");
    let seen = Outlet::Store.has(&bridge, &setup.source, &ids).await;
    assert_eq!(seen.len(), ids.len());
    bridge.shows("panics_total", &[], 0.0).await;
}

/// The bridge's own clock is set: each way by an hour, and back.
#[tokio::test(flavor = "multi_thread")]
async fn row_19_the_bridges_own_clock_is_set_and_set_back() {
    let setup = Setup::store();
    let clock = Clock::compile();
    let command = clock.load_into(Program::Released.command());
    let bridge = Bridge::start_by(command, &setup.write()).await;
    let source = setup.source.as_str();
    let send = || Post::signed(source, event("sample.uploaded", "clock"));
    let mut ids = vec![
        bridge
            .accepted(source, event("sample.uploaded", "clock"))
            .await,
    ];
    for skew in [3600, -3600] {
        clock.shift(SignedDuration::from_secs(skew));
        if skew > 0 {
            // What looks late is let in, as long as events are remembered.
            let answer = bridge.post(&send()).await;
            assert_eq!(answer.outcome(), "accepted", "{answer:?}");
            ids.push(answer.id());
            let labels = [("source", source)];
            bridge.shows("deliveries_late_total", &labels, 1.0).await;
        } else {
            rejected(&bridge, &send(), 401, "timestamp_future").await;
            let labels = [("source", source), ("reason", "timestamp_future")];
            bridge
                .shows("deliveries_rejected_total", &labels, 1.0)
                .await;
        }
        // What a sender with the same clock has signed is good.
        let body = event("sample.uploaded", "clock");
        let answer = bridge
            .post(&Post::signed_with(source, body, SECRET, now() + skew))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        ids.push(answer.id());
        clock.shift(SignedDuration::ZERO);
        ids.push(
            bridge
                .accepted(source, event("sample.uploaded", "clock"))
                .await,
        );
    }
    assert!((ages(&bridge, source, "-300").await - 1.0).abs() < f64::EPSILON);
    let seen = Outlet::Store.has(&bridge, source, &ids).await;
    assert_eq!(seen.len(), ids.len());
    bridge.shows("events_unaccounted", &[], 0.0).await;
    eventually("it is ready all the while", async || {
        (bridge.ask("/readyz").await.status == 200).then_some(())
    })
    .await;
    bridge.stop().await;
    Report::row(19)
        .sink("store")
        .did("the bridge's clock an hour ahead and back, an hour behind and back")
        .held();
}

/// Longer than an id is remembered for.
const TWO_DAYS: i64 = 2 * 24 * 60 * 60;

/// Signed by a sender whose clock is as far off.
fn signed(source: &str, body: &str, skew: i64) -> Post {
    Post::signed_with(source, body, SECRET, now() + skew)
}

/// Every one of these was accepted before, and is known.
async fn all_are_known(bridge: &Bridge, source: &str, sent: &[(String, String)], skew: i64) {
    for (body, id) in sent {
        let answer = bridge.post(&signed(source, body, skew)).await;
        assert_eq!(
            (answer.status, answer.outcome().as_str(), &answer.id()),
            (200, "duplicate", id),
            "{answer:?}"
        );
    }
}

/// The clock jumps two days ahead, events come, the bridge is started once more, and the clock is set
/// back: ids that a day's window would have forgotten by then are known all the same. Between two
/// steps the bridge has so much time to look for old ids.
async fn a_jump_forgets_no_id(while_ahead: Duration) {
    let setup = Setup::store().top("duplicate_window = \"24h\"");
    let source = setup.source.as_str();
    let clock = Clock::compile();
    let start = async || {
        let command = clock.load_into(Program::Released.command());
        Bridge::start_by(command, &setup.write()).await
    };
    let bridge = start().await;
    let mut sent = Vec::new();
    for number in 0..20 {
        let body = event("sample.uploaded", &format!("o{number}"));
        let id = bridge.accepted(source, body.as_str()).await;
        sent.push((body, id));
    }
    // From here on their ids are in the index, where old ones are forgotten.
    bridge.stop().await;
    let mut bridge = start().await;
    for is_restarted in [false, true] {
        clock.shift(SignedDuration::from_secs(TWO_DAYS));
        if is_restarted {
            bridge.stop().await;
            bridge = start().await;
        }
        let body = event("sample.uploaded", "ahead");
        let answer = bridge.post(&signed(source, &body, TWO_DAYS)).await;
        assert_eq!(answer.outcome(), "accepted", "{answer:?}");
        sent.push((body, answer.id()));
        tokio::time::sleep_until((Instant::now() + while_ahead).into()).await;
        all_are_known(&bridge, source, &sent, TWO_DAYS).await;
        clock.shift(SignedDuration::ZERO);
        all_are_known(&bridge, source, &sent, 0).await;
    }
    bridge.shows("spool_forgotten_ids_total", &[], 0.0).await;
    let ids: Vec<String> = sent.into_iter().map(|(_, id)| id).collect();
    let seen = Outlet::Store.has(&bridge, source, &ids).await;
    assert_eq!(seen.len(), ids.len(), "each once");
    bridge.metrics().await.assert_balanced("store");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_45_a_clock_two_days_ahead_and_back_forgets_no_id() {
    a_jump_forgets_no_id(Duration::ZERO).await;
}

/// Old ids are looked for once a minute.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: more than a minute, twice"]
async fn row_45_a_clock_that_stays_two_days_ahead_forgets_no_id() {
    a_jump_forgets_no_id(Duration::from_secs(65)).await;
    Report::row(45)
        .sink("store")
        .did("the bridge's clock two days ahead for a minute, twice, once from its start on, and back: every id is still known")
        .held();
}
