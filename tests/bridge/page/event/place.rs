//! Where an event lies in Kafka, as a consumer finds it.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::harness::unique;

const DEADLINE: Duration = Duration::from_secs(20);

/// The partition and the offset of an event on a topic.
pub async fn place(brokers: &str, topic: &str, id: &str) -> (i32, i64) {
    let (brokers, topic, id) = (brokers.to_owned(), topic.to_owned(), id.to_owned());
    let looked_up = tokio::task::spawn_blocking(move || look_up(&brokers, &topic, &id));
    looked_up.await.expect("no panic inside")
}

fn look_up(brokers: &str, topic: &str, id: &str) -> (i32, i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", unique("reader"))
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE);
    let metadata = metadata.expect("the broker answers");
    let mut whole = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        whole
            .add_partition_offset(topic, partition.id(), Offset::Beginning)
            .expect("valid");
    }
    consumer.assign(&whole).expect("assigned");
    loop {
        let message = consumer.poll(DEADLINE).expect("it is on the topic");
        let message = message.expect("readable");
        let headers = message.headers().expect("headers");
        let mut headers = headers.iter();
        if headers.any(|header| header.key == "ce_id" && header.value == Some(id.as_bytes())) {
            return (message.partition(), message.offset());
        }
    }
}
