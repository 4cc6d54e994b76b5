//! What a cluster of several brokers does when one of them is in trouble, and a network that swallows
//! answers: on librdkafka's cluster in memory, where each is brought about at will.

use rdkafka::types::RDKafkaRespErr::{
    RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR as STORAGE_ERROR,
    RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as NO_LEADER,
    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as TOO_FEW,
    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
};

use crate::faults::scene::Scene;
use crate::harness::{Copies, Report};

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
    scene.is_paused().await;
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
