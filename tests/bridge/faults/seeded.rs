//! The oracle itself is tested: it looks at bridges with a bug on purpose, and must say which clause
//! of the promise the bug breaks.
//!
//! Each scenario is brought about twice, for the released program and for the one with the bug, and
//! only the latter may break anything. What happens in a scenario does not depend on luck: the disk
//! takes nothing or all, the broker is away or there, the kill comes when all has been written.

use crate::eventually::eventually;
use crate::harness::{
    Bridge, Copies, Journal, Load, Outlet, Program, Setup, Target, Verdict, amqp_url,
};
use crate::order::proxied;

/// The scenario keeps the promise with the released program, even where that is asked for the bug,
/// and breaks these clauses with the bug.
async fn caught(
    bug: &'static str,
    scenario: impl AsyncFn(Program) -> Verdict,
    clauses: &[&'static str],
) {
    let (released, seeded) = tokio::join!(
        scenario(Program::Asked(bug)),
        scenario(Program::Seeded(bug))
    );
    released.assert_kept(Copies::InDoubt);
    assert_eq!(seeded.broken(), clauses, "{bug}: {seeded:?}");
}

/// Lets everything arrive that will, and holds it against the journal.
async fn judge(journal: &Journal, bridge: &Bridge, setup: &Setup, outlet: &mut Outlet) -> Verdict {
    bridge.drained().await;
    let seen = outlet.read(bridge, &setup.source).await;
    Verdict::of(journal, &seen)
}

/// The spool's disk takes nothing for a while in the middle of a load. So it is a batch with events
/// that fails first: without a load it could be one of the spool's own, and nothing would be at stake.
async fn a_disk_that_fails(program: Program) -> Verdict {
    let setup = Setup::rabbitmq(&amqp_url());
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start_as(program).await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 4, 100);
    load.reaches(20).await;
    bridge.limit_files(Some(0));
    bridge.shows("spool_writable", &[], 0.0).await;
    bridge.limit_files(None);
    judge(&load.finish().await, &bridge, &setup, &mut outlet).await
}

#[tokio::test]
async fn an_answer_before_the_commit_is_caught() {
    caught("acknowledge-before-commit", a_disk_that_fails, &["lost"]).await;
}

#[tokio::test]
async fn an_id_kept_although_its_commit_failed_is_caught() {
    caught("keep-id-of-failed-commit", a_disk_that_fails, &["lost"]).await;
}

#[tokio::test]
async fn blame_for_the_sender_is_caught() {
    caught("blame-sender", a_disk_that_fails, &["misanswered"]).await;
}

/// Kills the bridge while the broker is away, once the file says all that the spool has done.
async fn a_kill_before_the_confirm(program: Program) -> Verdict {
    let (proxy, url) = proxied().await;
    proxy.cut();
    let setup = Setup::rabbitmq(&url);
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start_as(program).await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 4, 2);
    let journal = load.finish().await;
    let commits = "spool_commit_duration_seconds_count";
    let so_far = bridge.metrics().await.sum(commits, &[]);
    // Within a second an empty batch, or what has been settled, shows that the last one is durable.
    bridge.counts(commits, &[], so_far + 1.0).await;
    bridge.kill();
    proxy.restore();
    let bridge = setup.start().await;
    judge(&journal, &bridge, &setup, &mut outlet).await
}

#[tokio::test]
async fn a_record_forgotten_before_its_receipt_is_caught() {
    caught(
        "forget-before-receipt",
        a_kill_before_the_confirm,
        &["lost"],
    )
    .await;
}

/// An outage, and behind it batches in which three of seven messages have no queue to go to until all
/// have been tried. Seven shares no factor with the usual numbers of workers, among which the senders
/// are dealt out in turn: none of them brings only messages without a queue, one behind the other.
async fn a_batch_with_returns(program: Program) -> Verdict {
    const OBJECTS: usize = 200;
    let (proxy, url) = proxied().await;
    proxy.cut();
    let setup = Setup::rabbitmq(&url);
    let mut outlet = Outlet::bound(&setup.source, "sample.uploaded.object0").await;
    for object in (1..OBJECTS).filter(|object| object % 7 < 4) {
        let key = format!("sample.uploaded.object{object}");
        outlet.bind(&setup.source, &key).await;
    }
    let bridge = setup.start_as(program).await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, OBJECTS, 1);
    let journal = load.finish().await;
    proxy.restore();
    eventually("every message has been tried", async || {
        let metrics = bridge.metrics().await;
        let of = |result| metrics.sum_or_zero("publish_attempts_total", &[("result", result)]);
        (of("confirmed") + of("unroutable") >= OBJECTS as f64).then_some(())
    })
    .await;
    outlet.bind(&setup.source, "#").await;
    judge(&journal, &bridge, &setup, &mut outlet).await
}

#[tokio::test]
async fn a_return_that_is_ignored_is_caught() {
    caught("ignore-return", a_batch_with_returns, &["lost"]).await;
}

#[tokio::test]
async fn a_confirm_taken_for_another_message_is_caught() {
    caught("take-anothers-confirm", a_batch_with_returns, &["lost"]).await;
}

/// Starts with many events of each object waiting, and a broker that comes back after they have
/// been tried.
async fn a_backlog_in_an_outage(program: Program) -> Verdict {
    let (proxy, url) = proxied().await;
    proxy.cut();
    let setup = Setup::rabbitmq(&url);
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 3, 6);
    let journal = load.finish().await;
    bridge.kill();
    let bridge = setup.start_as(program).await;
    let unavailable = [("result", "unavailable")];
    bridge
        .counts("publish_attempts_total", &unavailable, 3.0)
        .await;
    proxy.restore();
    judge(&journal, &bridge, &setup, &mut outlet).await
}

#[tokio::test]
async fn two_events_of_one_object_on_their_way_at_once_are_caught() {
    caught("bypass-key-order", a_backlog_in_an_outage, &["inversions"]).await;
}

/// Every routing key is longer than AMQP allows.
async fn refusals(program: Program) -> Verdict {
    let mut setup = Setup::rabbitmq(&amqp_url());
    let long = "x".repeat(250);
    let key = format!("routing_key = \"{long}.{{object_id}}\"\n");
    setup.sinks[0].1.push_str(&key);
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start_as(program).await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 3, 2);
    let journal = load.finish().await;
    bridge.drained().await;
    bridge.kill();
    // A dead letter is there for good, so another program finds it.
    let bridge = setup.start().await;
    let letters = bridge.ask("/dead-letters").await.json();
    let ids: Vec<String> = letters
        .as_array()
        .expect("a list")
        .iter()
        .map(|letter| letter["event"]["id"].as_str().expect("an id").to_owned())
        .collect();
    let seen = outlet.read(&bridge, &setup.source).await;
    Verdict::with_set_aside(&journal, &seen, &ids)
}

#[tokio::test]
async fn a_refused_event_that_is_dropped_is_caught() {
    caught("drop-dead-letter", refusals, &["lost"]).await;
}

/// Answers come after the confirm, and the broker is away until every sender has asked twice. Then
/// the bridge crashes, where it has a spool that a crash takes with it.
async fn a_broker_that_is_away(program: Program, in_memory: bool) -> Verdict {
    const SENDERS: usize = 4;
    let (proxy, url) = proxied().await;
    proxy.cut();
    let setup =
        Setup::rabbitmq(&url).top("acknowledge = \"delivered\"\nacknowledge_timeout = \"300ms\"");
    let setup = if in_memory { setup.in_memory() } else { setup };
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let mut bridge = setup.start_as(program).await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, SENDERS, 1);
    eventually("every sender has been answered twice", async || {
        (load.statuses().values().sum::<usize>() >= 2 * SENDERS).then_some(())
    })
    .await;
    if in_memory {
        bridge.kill();
        bridge = setup.start_as(program).await;
        target.moves_to(bridge.ingress);
    }
    proxy.restore();
    judge(&load.finish().await, &bridge, &setup, &mut outlet).await
}

#[tokio::test]
async fn an_early_answer_to_a_duplicate_is_caught() {
    let scenario = async |program| a_broker_that_is_away(program, true).await;
    caught("answer-duplicate-early", scenario, &["lost"]).await;
}

#[tokio::test]
async fn another_id_for_each_copy_is_caught() {
    let scenario = async |program| a_broker_that_is_away(program, false).await;
    caught("make-random-ids", scenario, &["renamed"]).await;
}

/// Nothing happens at all; the second delivery is one that the bridge does not understand.
async fn a_quiet_day(program: Program) -> Verdict {
    let setup = Setup::store();
    let bridge = setup.start_as(program).await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, 3, 2);
    let mut journal = load.finish().await;
    let odd = Load::once(&target, &setup.source, "odd", "no JSON, but signed").await;
    journal.0.push(odd);
    judge(&journal, &bridge, &setup, &mut Outlet::Store).await
}

#[tokio::test]
async fn a_body_encoded_again_is_caught() {
    caught("encode-body-again", a_quiet_day, &["lost", "changed"]).await;
}

#[tokio::test]
async fn an_odd_delivery_that_is_thrown_away_is_caught() {
    caught("drop-quarantined", a_quiet_day, &["lost"]).await;
}

#[tokio::test]
async fn a_delivery_that_is_not_counted_is_caught() {
    const BUG: &str = "miss-count";
    for (program, caught) in [(Program::Asked(BUG), false), (Program::Seeded(BUG), true)] {
        let setup = Setup::store();
        let bridge = setup.start_as(program).await;
        let load = Load::start(&Target::new(bridge.ingress), &setup.source, 3, 2);
        let journal = load.finish().await;
        let verdict = judge(&journal, &bridge, &setup, &mut Outlet::Store).await;
        verdict.assert_kept(Copies::Once);
        let wrong = bridge.metrics().await.unbalanced("store");
        assert_eq!(wrong.is_some(), caught, "{wrong:?}");
    }
}

/// A program that was meant to have a bug and has none would let its test pass for the wrong reason.
/// What it says lists the bugs, and each of them has a test.
#[tokio::test]
async fn an_unknown_bug_does_not_start_and_every_known_one_is_tested() {
    let (code, said) = Setup::store()
        .fails_as(Program::Seeded("no-such-bug"))
        .await;
    assert_eq!(code, Some(2), "{said}");
    let (_, names) = said.split_once("there are ").expect("a list");
    let tests = [
        include_str!("seeded.rs"),
        include_str!("panics.rs"),
        include_str!("../systemd.rs"),
    ]
    .concat();
    let names: Vec<&str> = names.trim().split(", ").collect();
    assert!(names.len() >= 8, "{names:?}");
    let simulated = include_str!("../../../src/spool/simulation/bugs.rs");
    for name in names {
        let is_tested = tests.contains(&format!("\"{name}\"")) || simulated.contains(&camel(name));
        assert!(is_tested, "{name} has no test");
    }
}

/// The name as the code writes it.
fn camel(name: &str) -> String {
    let words = name
        .split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}
