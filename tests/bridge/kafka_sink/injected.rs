//! Errors that a healthy broker does not give, injected by librdkafka's mock cluster.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

/// A mock cluster with one topic for `source`, and a sink on it.
fn mock(source: &SourceName) -> (MockCluster<'static, DefaultProducerContext>, Kafka) {
    let cluster = MockCluster::new(3).expect("a mock cluster");
    cluster.create_topic(&topic(source), 2, 3).expect("created");
    let mut settings = KafkaSettings::new(&cluster.bootstrap_servers());
    settings.publish_timeout = Duration::from_secs(3);
    let kafka = kafka(settings, source);
    (cluster, kafka)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_the_right_to_write_is_unroutable_until_granted() {
    let source = unique_source();
    let (cluster, kafka) = mock(&source);
    kafka
        .publish(&message(&source, "o", 0, 0))
        .await
        .expect("confirmed");
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
    );
    let error = kafka
        .publish(&message(&source, "o", 1, 0))
        .await
        .expect_err("no right");
    assert!(matches!(error, PublishError::Unroutable(_)), "{error:?}");
    eventually(Duration::from_secs(10), "the right is noticed", || async {
        kafka.publish(&message(&source, "o", 1, 0)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stopped_for_good_is_replaced() {
    let source = unique_source();
    let (cluster, kafka) = mock(&source);
    kafka
        .publish(&message(&source, "o", 0, 0))
        .await
        .expect("confirmed");
    // Nothing is outstanding before this one, so a gap in the sequence cannot be explained: fatal.
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
    );
    let error = kafka
        .publish(&message(&source, "o", 1, 0))
        .await
        .expect_err("fatal");
    assert!(matches!(error, PublishError::Unavailable(_)), "{error:?}");
    let before = kafka.health().reconnects;
    eventually(
        Duration::from_secs(10),
        "a new client publishes",
        || async { kafka.publish(&message(&source, "o", 1, 0)).await.is_ok() },
    )
    .await;
    eventually(
        Duration::from_secs(5),
        "it counts as a reconnect",
        || async { kafka.health().reconnects > before },
    )
    .await;
}

/// A full queue says nothing against the cluster: nobody fails, all wait for their turn.
#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_room_in_the_client() {
    let source = unique_source();
    let (cluster, _) = mock(&source);
    for broker in 1..=3 {
        let pause = Duration::from_millis(100);
        let set = cluster.broker_round_trip_time(broker, pause);
        set.expect("a broker of ours");
    }
    let kafka = kafka(KafkaSettings::new(&cluster.bootstrap_servers()), &source);
    // The queue of the producer holds 20,000.
    let messages: Vec<Message> = (0..22_000)
        .map(|number| message(&source, &format!("object{number}"), number, 0))
        .collect();
    let publishes = messages.iter().map(|message| kafka.publish(message));
    for outcome in join_all(publishes).await {
        outcome.expect("confirmed");
    }
}
