//! What a cluster of several brokers does when one of them is in trouble, and a network that swallows
//! answers: on librdkafka's cluster in memory, where each is brought about at will.

use rdkafka::types::RDKafkaRespErr::{
    RD_KAFKA_RESP_ERR_INVALID_RECORD as BAD_RECORD,
    RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP as BAD_TIME,
    RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR as STORAGE_ERROR,
    RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as NO_LEADER,
    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as TOO_FEW,
    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
};

use super::KAFKA;
use crate::eventually::eventually;
use crate::faults::scene::Scene;
use crate::harness::{Copies, MockKafka, Report, Setup, event};

#[tokio::test(flavor = "multi_thread")]
async fn row_05_leaders_that_change_under_load_keep_the_order() {
    let (scene, mock) = Scene::at_mock(3).await;
    for round in 0..10 {
        mock.elects(round);
        mock.refuses(&[NOT_LEADER, NO_LEADER, STORAGE_ERROR, TOO_FEW]);
        scene.goes_on(40).await;
    }
    mock.takes_all();
    let recovered = scene.recovers().await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(5)
        .sink("kafka")
        .did("all leaders change 10 times under load, on librdkafka's mock cluster")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_05_what_too_few_replicas_have_is_not_confirmed() {
    let (scene, mock) = Scene::at_mock(3).await;
    mock.refuses(&[TOO_FEW; 100_000]);
    // The cluster answers: each topic waits for itself.
    scene.attempts("unroutable", 1.0).await;
    scene.says("too few replicas").await;
    let before = scene.value("events_delivered_total").await;
    scene.goes_on(200).await;
    assert!(
        (scene.value("events_delivered_total").await - before).abs() < 0.5,
        "nothing is confirmed that the broker does not confirm"
    );
    mock.takes_all();
    let recovered = scene.recovers().await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(5)
        .sink("kafka")
        .did("not enough replicas, on librdkafka's mock cluster")
        .recovered_in(recovered)
        .write(&verdict);
}

/// The events of one topic come first, and fill what may be in flight; the others come behind them.
#[tokio::test(flavor = "multi_thread")]
async fn row_44_a_topic_without_a_leader_holds_back_itself_alone() {
    let setup = Setup::store();
    let mock = MockKafka::with_topics_of(&setup.source, 3);
    let setup = setup.and_kafka(&mock.brokers(), "max_in_flight = 20\n");
    mock.has_no_leaders(&format!("{}.sample.uploaded", setup.source));
    let bridge = setup.start().await;
    for number in 0..30 {
        let body = event("sample.uploaded", &format!("sick{number}"));
        bridge.accepted(&setup.source, body).await;
    }
    for number in 0..60 {
        let body = event("analysis.failed", &format!("well{number}"));
        bridge.accepted(&setup.source, body).await;
    }
    let well = [("sink", "kafka"), ("event_type", "analysis.failed")];
    bridge.counts("events_delivered_total", &well, 60.0).await;
    bridge.shows("events_unroutable", &KAFKA, 30.0).await;
    bridge.shows("sink_paused", &KAFKA, 0.0).await;
    eventually("the log says why", async || {
        bridge.log().contains("has no leader").then_some(())
    })
    .await;
    mock.elects(0);
    bridge.shows("events_unroutable", &KAFKA, 0.0).await;
    bridge.counts("events_delivered_total", &KAFKA, 90.0).await;
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("kafka");
    Report::row(44)
        .sink("kafka")
        .did("30 events of a topic without a leader before 60 of another, in a window of 20, on librdkafka's mock cluster")
        .held();
}

/// A clock that is wrong is not for one message: nothing becomes a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn row_45_a_time_that_is_refused_is_tried_again_once_the_clocks_agree() {
    let setup = Setup::store();
    let mock = MockKafka::with_topics_of(&setup.source, 1);
    let setup = setup.and_kafka(&mock.brokers(), "");
    let bridge = setup.start().await;
    bridge.shows("sink_connected", &KAFKA, 1.0).await;
    let errors: Vec<_> = (0..10_000).map(|n| [BAD_RECORD, BAD_TIME][n % 2]).collect();
    mock.refuses(&errors);
    for number in 0..20 {
        let body = event("sample.uploaded", &format!("object{number}"));
        bridge.accepted(&setup.source, body).await;
    }
    bridge.shows("events_unroutable", &KAFKA, 20.0).await;
    eventually("the log says why", async || {
        let log = bridge.log();
        log.contains("the clock of this machine").then_some(())
    })
    .await;
    mock.takes_all();
    bridge.counts("events_delivered_total", &KAFKA, 20.0).await;
    bridge.drained().await;
    bridge.shows("spool_dead_letters", &[], 0.0).await;
    bridge.metrics().await.assert_balanced("kafka");
    Report::row(45)
        .sink("kafka")
        .did("20 events whose time the broker refuses, until it takes it, on librdkafka's mock cluster")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_06_what_was_written_without_an_answer_is_sent_again_under_its_id() {
    let (scene, mock) = Scene::at_mock(1).await;
    mock.falls_silent();
    scene.is_paused().await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(100).await;
    mock.speaks();
    let recovered = scene.recovers().await;
    scene.counts("sink_reconnects_total", 1.0).await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    assert!(verdict.duplicates > 0, "nothing was written unconfirmed");
    Report::row(6)
        .sink("kafka")
        .did("answers swallowed after publishes, on librdkafka's mock cluster")
        .recovered_in(recovered)
        .write(&verdict);
}
