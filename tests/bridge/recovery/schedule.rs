//! When the record is asked for, and what that may not delay.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use super::{
    HOUR, RecoverySetup, assert_backfilled, assert_keeps_the_key, bodies, bodies_of, failed, idle,
    is_audited, missed,
};
use crate::eventually::{eventually, eventually_within};
use crate::harness::events_api::{Fault, KEY, Recorded, Rights, Row};
use crate::harness::{Bridge, EventsApi, Load, Outlet, Post, Seen, Target, event};

/// So long as a request may take, and more than a stop may.
const STOP: Duration = Duration::from_secs(8);
/// A key that takes another's place.
const NEXT_KEY: &str = "another-key-of-the-tests";
/// Enough that a kill finds the run in the middle.
const MISSED: usize = 400;

/// Waits for a request, answered or not.
async fn is_asked(recovery: &RecoverySetup) {
    eventually("the record is asked for", async || {
        (recovery.api.requests() > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_api_hangs_ends_in_time() {
    let recovery = RecoverySetup::store().await;
    for fault in [Fault::Hang, Fault::Slow(Duration::from_secs(20))] {
        recovery.api.fails(fault);
        recovery.api.records_anew();
        let bridge = recovery.start().await;
        is_asked(&recovery).await;
        let began = Instant::now();
        bridge.stop().await;
        assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_it_waits_for_the_next_try_ends_in_time() {
    let recovery = RecoverySetup::store().await;
    recovery.api.fails(Fault::RetryAfter(50));
    let bridge = recovery.start().await;
    eventually("the first try is over", async || {
        (!recovery.api.recorded().is_empty()).then_some(())
    })
    .await;
    let began = Instant::now();
    bridge.stop().await;
    assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
}

/// Sends 320 deliveries, of which none may wait as long as a request to the provider may.
async fn deliveries_are_answered(bridge: &Bridge, source: &str) {
    let target = Target::new(bridge.ingress);
    let began = Instant::now();
    let load = Load::paced(&target, source, (8, 40), Duration::from_millis(20));
    let journal = load.finish().await;
    let p99 = journal.p99(began, Instant::now());
    assert!(p99 < Duration::from_secs(5), "{p99:?}");
    assert_eq!(journal.statuses().into_keys().collect::<Vec<_>>(), [200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_do_not_wait_for_the_provider() {
    let recovery = RecoverySetup::store().await;
    recovery.api.fails(Fault::Hang);
    let bridge = recovery.start().await;
    is_asked(&recovery).await;
    deliveries_are_answered(&bridge, recovery.source()).await;
    recovery.published(&bridge, 320).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_do_not_wait_for_what_is_recovered() {
    let recovery = RecoverySetup::store().await;
    recovery.api.adds_all(failed(MISSED));
    let bridge = recovery.start().await;
    deliveries_are_answered(&bridge, recovery.source()).await;
    let seen = recovery.published(&bridge, MISSED + 320).await;
    let fetched = seen.iter();
    let fetched = fetched.filter(|one| one.header("hookferry-origin") == "backfill");
    assert_eq!(fetched.count(), MISSED);
    bridge.metrics().await.assert_balanced("store");
}

/// How many of these asked for events of every status.
fn of_all(recorded: &[Recorded]) -> usize {
    recorded.iter().filter(|one| one.is_of_all()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_not_repeated_at_each_start() {
    let recovery = RecoverySetup::store().await;
    let bridge = recovery.start().await;
    is_audited(&recovery).await;
    recovery.looks_again(&bridge).await;
    bridge.stop().await;
    for is_killed in [false, true, false] {
        recovery.api.records_anew();
        let bridge = recovery.start().await;
        recovery.looks_again(&bridge).await;
        if is_killed {
            bridge.kill();
        } else {
            bridge.stop().await;
        }
        let recorded = recovery.api.recorded();
        assert!(
            !recorded.is_empty() && of_all(&recorded) == 0,
            "{recorded:#?}"
        );
    }
    // It comes when its time has come, with all the time without a bridge in it.
    let recovery = recovery.with("audit", "\"1s\"");
    recovery.api.records_anew();
    let bridge = recovery.start().await;
    is_audited(&recovery).await;
    recovery.assert_polite(&bridge);
}

/// An audit that did not come to its end has not been made.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_was_interrupted_is_made_at_the_next_start() {
    let recovery = RecoverySetup::store().await.with("look_back", "\"1d\"");
    recovery.api.adds_all(super::old(1600));
    let bridge = recovery.start().await;
    is_audited(&recovery).await;
    let pages = of_all(&recovery.api.recorded());
    assert!(pages < 4, "it is under way: {pages}");
    bridge.kill();
    recovery.api.records_anew();
    let bridge = recovery.start().await;
    is_audited(&recovery).await;
    recovery.assert_polite(&bridge);
}

/// A damaged file of the last audit costs an audit at most.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_the_last_audit_may_be_damaged() {
    let (recovery, bridge) = idle().await;
    bridge.stop().await;
    let folder = recovery.setup.spool_folder.join("recovery");
    let file = folder.join(format!("{}.json", recovery.source()));
    assert!(file.exists(), "{file:?}");
    for text in ["", "{", "[]", "{\"audited_at\":\"soon\"}"] {
        fs::write(&file, text).unwrap();
        recovery.api.records_anew();
        let bridge = recovery.start().await;
        is_audited(&recovery).await;
        recovery.ends(&bridge, "completed", 1.0).await;
        bridge.stop().await;
    }
}

/// Each of these bodies is on a topic, none of them as two events.
fn assert_each(seen: &[Seen], rows: &[Row]) {
    let ids: HashSet<(&str, &[u8])> = seen
        .iter()
        .map(|one| (one.id.as_str(), one.body.as_slice()))
        .collect();
    assert_eq!(ids.len(), rows.len());
    let mut found: Vec<&[u8]> = ids.into_iter().map(|(_, body)| body).collect();
    found.sort_unstable();
    assert_eq!(found, bodies_of(rows));
    seen.iter().for_each(assert_backfilled);
}

/// Waits until something is accepted, or a run has found nothing to do.
async fn is_under_way(recovery: &RecoverySetup, bridge: &Bridge) {
    eventually("a run is under way, or all is known", async || {
        let metrics = bridge.metrics().await;
        let source = [("source", recovery.source())];
        let accepted = metrics.sum("events_accepted_total", &source);
        let known = recovery.found(bridge, "known").await;
        (accepted + known > 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_run_loses_and_doubles_nothing() {
    let recovery = RecoverySetup::store().await;
    let rows = failed(MISSED);
    recovery.api.adds_all(rows.clone());
    let mut bridge = recovery.start().await;
    for _ in 0..3 {
        is_under_way(&recovery, &bridge).await;
        bridge.kill();
        bridge = recovery.start().await;
    }
    recovery.looks_again(&bridge).await;
    bridge.drained().await;
    let seen = Outlet::Store.read(&bridge, recovery.source()).await;
    assert_each(&seen, &rows);
    bridge.metrics().await.assert_balanced("store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_run_ends_in_time_and_the_next_start_goes_on() {
    let recovery = RecoverySetup::store().await;
    let rows = failed(MISSED);
    recovery.api.adds_all(rows.clone());
    let bridge = recovery.start().await;
    is_under_way(&recovery, &bridge).await;
    let began = Instant::now();
    bridge.stop().await;
    assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, MISSED).await;
    assert_eq!(bodies(&seen), bodies_of(&rows));
    recovery.assert_polite(&bridge);
}

/// The provider gives up while nothing can be kept; nobody waits for the next hour then.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_listener_is_followed_by_a_run() {
    let (recovery, bridge) = idle().await;
    bridge.limit_files(Some(0));
    let body = missed("a", HOUR, 0);
    let refused = bridge
        .post(&Post::signed(recovery.source(), body.as_str()))
        .await;
    assert_eq!(refused.status, 503, "{refused:?}");
    recovery.api.adds(Row::object(&body));
    bridge.limit_files(None);
    eventually("deliveries are taken again", async || {
        let post = Post::signed(recovery.source(), event("sample.uploaded", "b"));
        (bridge.post(&post).await.status == 200).then_some(())
    })
    .await;
    recovery.ends(&bridge, "completed", 2.0).await;
    let source = recovery.source().to_owned();
    eventually_within(
        Duration::from_secs(60),
        "what was missed is there",
        async || {
            let seen = Outlet::Store.read(&bridge, &source).await;
            let trimmed = body.trim_end().as_bytes();
            seen.iter().any(|one| one.body == trimmed).then_some(())
        },
    )
    .await;
    bridge.metrics().await.assert_balanced("store");
}

/// What the bridge cannot keep is not lost: the run says so, and the next one fetches it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_no_space_is_counted_as_refused_and_goes_on_later() {
    let recovery = RecoverySetup::store().await;
    let bridge = recovery.start().await;
    recovery.ends(&bridge, "completed", 1.0).await;
    bridge.limit_files(Some(0));
    let rows = failed(20);
    recovery.api.adds_all(rows.clone());
    recovery.ends(&bridge, "refused", 1.0).await;
    bridge.limit_files(None);
    let seen = recovery.published(&bridge, rows.len()).await;
    assert_eq!(bodies(&seen), bodies_of(&rows));
    bridge.metrics().await.assert_balanced("store");
}

/// The series of a source's recovery.
async fn series(bridge: &Bridge, source: &str) -> Vec<String> {
    let text = bridge.ask("/metrics").await.text();
    let lines = text.lines();
    let lines = lines.filter(|line| line.starts_with("hookferry_backfill_"));
    let of_it = lines.filter(|line| line.contains(source));
    of_it.map(str::to_owned).collect()
}

/// Whether somebody who looks at the source is told to expect runs.
async fn is_expected(bridge: &Bridge, source: &str) -> bool {
    let series = series(bridge, source).await;
    series.iter().any(|line| line.contains("_seconds"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_begins_changes_and_ends_the_recovery_of_a_source() {
    let mut recovery = RecoverySetup::store().await;
    let keys = std::mem::take(&mut recovery.setup.source_keys);
    recovery.api.adds_all(failed(2));
    let bridge = recovery.start().await;
    assert!(series(&bridge, recovery.source()).await.is_empty());
    recovery.setup.source_keys = keys;
    recovery.setup.write();
    bridge.reload(true).await;
    recovery.published(&bridge, 2).await;
    for name in ["runs", "events"] {
        let name = format!("backfill_{name}_total");
        let source = [("source", recovery.source())];
        bridge.counts(&name, &source, 1.0).await;
    }
    // From another place now, with another key, and not as often.
    let other = EventsApi::start().await;
    let rows = (0..3).map(|number| Row::text(&missed("elsewhere", 600 - number, 7)));
    other.adds_all(rows);
    other.revokes(KEY);
    other.knows(NEXT_KEY, Rights::All);
    fs::write(recovery.key(), NEXT_KEY).unwrap();
    let mut recovery = recovery.asking(other).with("every", "\"2s\"");
    recovery.setup.write();
    bridge.reload(true).await;
    let source = recovery.source().to_owned();
    bridge
        .shows("backfill_interval_seconds", &[("source", &source)], 2.0)
        .await;
    recovery.published(&bridge, 5).await;
    bridge.shows("config_restart_required", &[], 0.0).await;
    // No more.
    let keys = std::mem::take(&mut recovery.setup.source_keys);
    recovery.setup.write();
    bridge.reload(true).await;
    eventually("nothing is expected of it", async || {
        (!is_expected(&bridge, &source).await).then_some(())
    })
    .await;
    recovery.api.records_anew();
    recovery.api.adds_all(failed(1));
    let ended = Instant::now();
    eventually("it would have looked twice", async || {
        (ended.elapsed() > Duration::from_secs(5)).then_some(())
    })
    .await;
    assert_eq!(recovery.api.requests(), 0);
    recovery.published(&bridge, 5).await;
    // A mistake leaves it as it is.
    recovery.setup.source_keys = keys.replace("https://", "http://");
    recovery.setup.write();
    bridge.reload(false).await;
    assert!(!is_expected(&bridge, &source).await);
    assert!(!bridge.log().contains(NEXT_KEY), "{}", bridge.log());
    assert_keeps_the_key(&bridge);
}
