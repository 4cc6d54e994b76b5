//! Reference (c): the same messages by rdkafka alone, idempotent and with `acks=all`, as many
//! outstanding as its queue takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use serde::{Deserialize, Serialize};

use super::{Groups, Limit, message};
use crate::delivery::{Delivery, Events};

/// How long the cluster may take to create the topic, and to take the last messages.
const DEADLINE: Duration = Duration::from_secs(30);

/// What to produce.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kafka {
    /// To which cluster.
    pub brokers: String,
    /// To which topic, which is created.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// How many.
    pub events: u64,
}

#[derive(Default)]
struct Confirmed(AtomicU64);

impl ClientContext for Confirmed {}

impl ProducerContext for Confirmed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Kafka {
    /// Produces it all.
    pub fn produce(self) -> anyhow::Result<Limit> {
        self.create_topic()?;
        let producer: ThreadedProducer<Confirmed> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("partitioner", "murmur2_random")
            .create_with_context(Confirmed::default())?;
        let events = Events::from_now(0);
        let mut delivery = Delivery::new(events, self.body_bytes);
        let groups = Groups::begin()?;
        for number in 0..self.events {
            let (key, headers) = (events.object(number), headers(events, number));
            let record = BaseRecord::to(&self.topic)
                .key(&key)
                .payload(delivery.body(number))
                .headers(headers);
            enqueue(&producer, record)?;
        }
        producer.flush(DEADLINE)?;
        let limit = groups.end(self.events);
        let confirmed = producer.context().0.load(Ordering::Relaxed);
        anyhow::ensure!(
            confirmed == self.events,
            "{confirmed} of {} were confirmed",
            self.events
        );
        limit
    }

    fn create_topic(&self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()?;
        let topic = NewTopic::new(&self.topic, self.partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
        let creating = admin.create_topics([&topic], &options);
        let created = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(creating)?;
        for topic in created {
            topic.map_err(|(name, code)| anyhow::anyhow!("topic {name}: {code}"))?;
        }
        Ok(())
    }
}

/// Hands the record over, once the queue has room.
fn enqueue(
    producer: &ThreadedProducer<Confirmed>,
    mut record: BaseRecord<'_, String, [u8]>,
) -> anyhow::Result<()> {
    loop {
        record = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
            Err((error, _)) => return Err(error.into()),
        };
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn headers(events: Events, number: u64) -> OwnedHeaders {
    let headers = message::headers(events, number);
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (index, (name, value)) in headers.iter().enumerate() {
        let prefixed = format!("ce_{name}");
        let key = if index < 6 { prefixed.as_str() } else { name };
        owned = owned.insert(Header {
            key,
            value: Some(value),
        });
    }
    owned
}
