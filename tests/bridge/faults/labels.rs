//! Names that senders choose, and what a scrape shows of them: nothing.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::bystander::Bystander;
use crate::harness::delivery::event;
use crate::harness::{Bridge, Connection, Post, Setup};

const MIB: f64 = 1024.0 * 1024.0;
/// The most series of a bridge with one source and one sink, whatever anybody sends.
const SERIES: usize = 400;
/// The longest that a scrape may take while the bridge is stuck elsewhere.
const SCRAPE: Duration = Duration::from_millis(50);

/// Names that differ each time: types that could be topics, types and objects that could not, and
/// sources that are not there.
fn hostile(source: &str, number: usize) -> Post {
    let good = || {
        event(
            &format!("hostile.type{number}"),
            &format!("hostile{number}"),
        )
    };
    match number % 8 {
        0 => Post::signed(source, good().replace("hostile.", "\\n{label=\\\"")),
        1 => Post::signed(source, good().replace("/hostile", "/ho/st#*")),
        2 => Post::signed(&format!("nobody{number}"), good()),
        3 => Post::unsigned(source, good()).method(&format!("HOSTILE{number}")),
        _ => Post::signed(source, good()),
    }
}

/// Sends hostile names one after the other, and returns how many were answered 200.
async fn sends(
    to: std::net::SocketAddr,
    source: &str,
    numbers: impl Iterator<Item = usize>,
) -> usize {
    let (mut connection, mut accepted) = (None, 0);
    for number in numbers {
        let mut used = match connection.take() {
            Some(kept) => kept,
            None => Connection::open(to).await.expect("there is room"),
        };
        let post = hostile(source, number);
        used.send(&post.bytes()).await.expect("it listens");
        let answer = used.answer().await.expect("readable").expect("an answer");
        let expected = match number % 8 {
            2 => 404,
            3 => 405,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{answer:?}");
        if answer.status == 200 {
            accepted += 1;
            connection = Some(used);
        }
    }
    accepted
}

async fn assert_few_series(bridge: &Bridge) {
    let metrics = bridge.metrics().await;
    println!("{} series", metrics.len());
    assert!(metrics.len() <= SERIES, "{} series", metrics.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_hostile_names_make_no_series() {
    let bystander = Bystander::start(Setup::store()).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    sends(bridge.ingress, &source, 0..8).await;
    bridge
        .counts("events_delivered_total", &[("event_type", "other")], 6.0)
        .await;
    let before = bridge.metrics().await.len();
    let accepted = sends(bridge.ingress, &source, 8..408).await;
    assert_eq!(accepted, 300);
    bridge
        .counts("events_accepted_total", &[("event_type", "other")], 306.0)
        .await;
    let after = bridge.metrics().await.len();
    assert_eq!(after, before, "hostile names have made series");
    assert_few_series(bridge).await;
    bystander
        .unharmed(48.0 * MIB)
        .await
        .report(34, "408 hostile names");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a minute of hostile names"]
async fn row_34_a_minute_of_hostile_names_makes_no_series() {
    const MILLION: usize = 1_000_000;
    const SENDERS: usize = 32;
    let setup = Setup::store();
    let bridge = setup.start().await;
    let until = Instant::now() + Duration::from_secs(60);
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (to, source) = (bridge.ingress, setup.source.clone());
        let numbers = (sender..MILLION)
            .step_by(SENDERS)
            .take_while(move |_| Instant::now() < until);
        senders.spawn(async move { sends(to, &source, numbers).await });
    }
    let mut accepted = 0;
    while let Some(ended) = senders.join_next().await {
        accepted += ended.expect("no panic inside");
    }
    println!("{accepted} deliveries with hostile names accepted");
    #[allow(clippy::cast_precision_loss, reason = "at most a million")]
    bridge
        .shows("events_accepted_total", &[], accepted as f64)
        .await;
    bridge.shows("panics_total", &[], 0.0).await;
    assert_few_series(&bridge).await;
}

/// Every sync of the spool's disk takes a second; whoever scrapes must not wait for it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: strace, and the time of a scrape"]
async fn row_34_a_scrape_during_a_stall_is_quick() {
    let setup = Setup::store();
    let slow = "inject=fdatasync,fsync:delay_enter=1s";
    let before = ["strace", "-D", "-f", "-o", "/dev/null", "-e", slow];
    let bridge = Bridge::start_through(&before, &setup.write()).await;
    let mut waiting = JoinSet::new();
    for number in 0..20 {
        let (to, post) = (bridge.ingress, hostile(&setup.source, 4 + 8 * number));
        waiting.spawn(async move { post.to(to).await.expect("an answer").status });
    }
    let (mut slowest, mut scrapes) = (Duration::ZERO, 0);
    while !waiting.is_empty() {
        let began = Instant::now();
        bridge.metrics().await;
        slowest = slowest.max(began.elapsed());
        scrapes += 1;
        while let Some(ended) = waiting.try_join_next() {
            assert_eq!(ended.expect("no panic inside"), 200);
        }
    }
    println!("{scrapes} scrapes, the slowest in {slowest:?}");
    assert!(scrapes > 10, "there was a stall to scrape in");
    assert!(slowest <= SCRAPE, "a scrape took {slowest:?}");
}
