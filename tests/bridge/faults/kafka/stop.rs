//! The bridge is told to stop on its way to Kafka.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::KAFKA;
use crate::eventually::eventually;
use crate::faults::scene::Scene;
use crate::harness::{Copies, Journal, MockKafka, Node, Post, Report, Setup, event, kafka_brokers};

/// The default of `shutdown_timeout`, and what the end of a process takes.
const STOP: Duration = Duration::from_secs(11);

/// Tells the bridge to stop and starts it again when it has: when that was, and how long it took.
async fn stops_and_starts(scene: &mut Scene) -> (Instant, Duration) {
    let told = Instant::now();
    scene.bridge.signal("TERM");
    let status = scene.bridge.ended().await;
    assert_eq!(status.code(), Some(0), "{}", scene.bridge.log());
    let took = told.elapsed();
    scene.restarts().await;
    (told, took)
}

/// Every request that was under way when the bridge was told to stop has its answer.
fn assert_answered(journal: &Journal, told: Instant) {
    let attempts = journal.0.iter().flat_map(|sent| &sent.attempts);
    let cut: Vec<_> = attempts
        .filter(|attempt| attempt.began < told && attempt.status.is_none())
        .collect();
    assert!(cut.is_empty(), "cut off: {cut:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_03_a_stop_on_the_way_to_kafka_loses_nothing() {
    let mut scene = Scene::at_kafka(&kafka_brokers()).await;
    let (told, _) = stops_and_starts(&mut scene).await;
    scene.goes_on(100).await;
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends(Copies::InDoubt).await;
    assert_answered(&journal, told);
    Report::row(3)
        .sink("kafka")
        .did("SIGTERM under load")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_03_a_stop_while_kafka_is_silent_is_bounded_and_loses_nothing() {
    let (mut scene, mock) = Scene::at_mock(1).await;
    mock.falls_silent();
    scene.is_paused().await;
    scene.goes_on(50).await;
    let (told, _) = stops_and_starts(&mut scene).await;
    scene.goes_on(50).await;
    mock.speaks();
    let recovered = scene.recovers().await;
    scene.counts("events_recovered_total", 50.0).await;
    let (journal, verdict) = scene.ends(Copies::InDoubt).await;
    assert_answered(&journal, told);
    Report::row(3)
        .sink("kafka")
        .did("SIGTERM with a broker that does not answer")
        .recovered_in(recovered)
        .write(&verdict);
}

/// With `"delivered"`, requests wait for Kafka's confirm: who waits in vain is told so.
#[tokio::test(flavor = "multi_thread")]
async fn row_03_requests_that_wait_for_a_silent_kafka_are_answered_503_at_a_stop() {
    let setup = Setup::store();
    let mock = MockKafka::with_topics_of(&setup.source, 1);
    let setup = setup
        .and_kafka(&mock.brokers(), "")
        .top("acknowledge = \"delivered\"");
    let mut bridge = setup.start().await;
    bridge.shows("sink_connected", &KAFKA, 1.0).await;
    mock.falls_silent();
    let posts: Vec<Post> = (0..5)
        .map(|number| {
            Post::signed(
                &setup.source,
                event("sample.uploaded", &format!("o{number}")),
            )
        })
        .collect();
    let answers = join_all(posts.iter().map(|post| bridge.post(post)));
    let (answers, ()) = tokio::join!(answers, async {
        bridge.shows("spool_events", &KAFKA, 5.0).await;
        bridge.signal("TERM");
        eventually("no longer ready", async || {
            (bridge.ask("/readyz").await.status == 503).then_some(())
        })
        .await;
    });
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [503; 5]);
    assert_eq!(bridge.ended().await.code(), Some(0), "{}", bridge.log());
    mock.speaks();
    let bridge = setup.start().await;
    bridge.counts("events_delivered_total", &KAFKA, 5.0).await;
    bridge.drained().await;
    Report::row(3)
        .sink("kafka")
        .did("SIGTERM with requests that wait for a confirm: 503, and delivered later")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_03_a_stop_while_kafka_is_frozen_takes_ten_seconds_at_most() {
    let node = Node::kafka().await;
    let mut scene = Scene::at_kafka(&node.brokers()).await;
    node.signal("STOP");
    scene.is_paused().await;
    let (told, took) = stops_and_starts(&mut scene).await;
    assert!(took < STOP, "{took:?}");
    scene.goes_on(50).await;
    node.signal("CONT");
    let recovered = scene.recovers().await;
    let (journal, verdict) = scene.ends(Copies::InDoubt).await;
    assert_answered(&journal, told);
    Report::row(3)
        .sink("kafka")
        .did(format!(
            "SIGTERM with the broker frozen: gone after {:.1} s",
            took.as_secs_f64()
        ))
        .recovered_in(recovered)
        .write(&verdict);
}
