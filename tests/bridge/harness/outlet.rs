//! What a consumer sees: everything of one source, from whichever broker.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;

use super::{Bridge, Post, Setup, amqp_url, unique};
use crate::eventually::eventually;

const DEADLINE: Duration = Duration::from_secs(20);

/// One message.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The topic, or the routing key.
    pub address: String,
    pub key: String,
    pub id: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A place to read a source's messages from.
pub enum Outlet {
    Store,
    Kafka { brokers: String },
    Rabbit(Box<Queue>),
    Durable(Box<DurableQueue>),
}

/// A queue that takes everything an exchange gets, and goes with its connection.
pub struct Queue {
    _connection: Connection,
    channel: Channel,
    name: String,
    seen: Vec<Seen>,
}

/// A quorum queue that takes everything an exchange gets and outlives its broker's end.
pub struct DurableQueue {
    url: String,
    name: String,
    seen: Vec<Seen>,
}

impl Outlet {
    pub fn kafka(brokers: &str) -> Self {
        Self::Kafka {
            brokers: brokers.to_owned(),
        }
    }

    /// Binds a queue to the source's exchange, which is declared here as the bridge will declare it:
    /// to be called before the first delivery.
    pub async fn rabbitmq(setup: &Setup) -> Self {
        Self::bound(&setup.source, "#").await
    }

    /// Binds a queue to an exchange.
    pub async fn bound(exchange: &str, binding: &str) -> Self {
        Self::own(exchange, binding, FieldTable::default()).await
    }

    /// As [`Self::rabbitmq`], with a queue that takes so many messages and rejects more.
    pub async fn full_at(setup: &Setup, most: i32) -> Self {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(most));
        arguments.insert(
            "x-overflow".into(),
            AMQPValue::LongString("reject-publish".into()),
        );
        Self::own(&setup.source, "#", arguments).await
    }

    async fn own(exchange: &str, binding: &str, arguments: FieldTable) -> Self {
        let connection = connect(&amqp_url()).await.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        // Exclusive: the broker removes it with this connection.
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let name = bind(&channel, exchange, binding, options, arguments).await;
        Self::Rabbit(Box::new(Queue {
            _connection: connection,
            channel,
            name,
            seen: Vec::new(),
        }))
    }

    /// As [`Self::rabbitmq`], with a queue that is still there after the broker at `url` was
    /// restarted or killed.
    pub async fn durable(url: &str, setup: &Setup) -> Self {
        let connection = connect(url).await.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let name = bind(&channel, &setup.source, "#", options, arguments).await;
        Self::Durable(Box::new(DurableQueue {
            url: url.to_owned(),
            name,
            seen: Vec::new(),
        }))
    }

    /// Binds the queue once more.
    pub async fn bind(&self, exchange: &str, binding: &str) {
        let Self::Rabbit(queue) = self else {
            panic!("only an exchange has bindings");
        };
        let name = queue.name.as_str().into();
        bind_queue(&queue.channel, name, exchange, binding).await;
    }

    /// Takes a binding of the queue away.
    pub async fn unbind(&self, exchange: &str, binding: &str) {
        let Self::Rabbit(queue) = self else {
            panic!("only an exchange has bindings");
        };
        let name = queue.name.as_str().into();
        let none = FieldTable::default();
        let unbinding = queue
            .channel
            .queue_unbind(name, exchange.into(), binding.into(), none);
        unbinding.await.expect("unbound");
    }

    /// Everything of the source so far, per topic in order.
    pub async fn read(&mut self, bridge: &Bridge, source: &str) -> Vec<Seen> {
        match self {
            Self::Store => read_store(bridge, source).await,
            Self::Rabbit(queue) => queue.read().await,
            Self::Durable(queue) => {
                // A broker that is away on purpose: nothing more can be seen of it.
                let _ = queue.read_on().await;
                queue.seen.clone()
            }
            Self::Kafka { brokers } => {
                let (brokers, source) = (brokers.clone(), source.to_owned());
                tokio::task::spawn_blocking(move || read_kafka(&brokers, &source))
                    .await
                    .expect("no panic inside")
            }
        }
    }

    /// Waits until all these ids are there, and returns everything.
    pub async fn has(&mut self, bridge: &Bridge, source: &str, ids: &[String]) -> Vec<Seen> {
        let what = format!("{} events of {source} are on their topics", ids.len());
        eventually(&what, async || {
            let seen = self.read(bridge, source).await;
            let there: HashSet<&str> = seen.iter().map(|one| one.id.as_str()).collect();
            ids.iter()
                .all(|id| there.contains(id.as_str()))
                .then_some(seen)
        })
        .await
    }

    /// Waits until this id is there, and returns its first message.
    pub async fn has_one(&mut self, bridge: &Bridge, source: &str, id: &str) -> Seen {
        let seen = self.has(bridge, source, &[id.to_owned()]).await;
        let mut seen = seen.into_iter();
        seen.find(|one| one.id == id).expect("has was asked")
    }

    /// Sends a delivery, which the bridge takes, and returns what it becomes here.
    pub async fn gets(&mut self, bridge: &Bridge, source: &str, post: &Post) -> Seen {
        let answer = bridge.post(post).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.has_one(bridge, source, &answer.id()).await
    }
}

async fn connect(url: &str) -> lapin::Result<Connection> {
    Connection::connect(url, ConnectionProperties::default()).await
}

/// Declares the exchange as the bridge does, and a queue of its own bound to it; returns its name.
async fn bind(
    channel: &Channel,
    exchange: &str,
    binding: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> String {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    channel
        .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, none())
        .await
        .expect("declared");
    let name = unique("queue");
    channel
        .queue_declare(name.as_str().into(), options, arguments)
        .await
        .expect("declared");
    bind_queue(channel, name.as_str().into(), exchange, binding).await;
    name
}

async fn bind_queue(channel: &Channel, name: ShortString, exchange: &str, binding: &str) {
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let binding = channel.queue_bind(name, exchange.into(), binding.into(), options, none);
    binding.await.expect("bound");
}

/// One topic of the store.
pub async fn store_topic(bridge: &Bridge, topic: &str) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    let mut after = 0;
    loop {
        let answer = bridge
            .ask(&format!("/topics/{topic}/events?after={after}&limit=1000"))
            .await;
        if answer.status == 404 {
            return seen;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = answer.text();
        if text.is_empty() {
            return seen;
        }
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            let position = line["position"].as_u64().expect("a position");
            assert_eq!(position, after + 1, "positions have no gaps");
            after = position;
            seen.push(store_line(topic, &line));
        }
    }
}

fn store_line(topic: &str, line: &Value) -> Seen {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let body = match (&line["body"], &line["body_base64"]) {
        (Value::String(text), Value::Null) => text.clone().into_bytes(),
        (Value::Null, Value::String(text)) => STANDARD.decode(text).expect("base64"),
        _ => panic!("one body is expected: {line}"),
    };
    let headers = line["headers"].as_object().expect("headers").iter();
    Seen {
        address: topic.to_owned(),
        key: text("key"),
        id: text("id"),
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
            .collect(),
        body,
    }
}

async fn read_store(bridge: &Bridge, source: &str) -> Vec<Seen> {
    let topics = bridge.ask("/topics").await.json();
    let names: Vec<String> = topic_names(&topics);
    let mut seen = Vec::new();
    for name in names
        .iter()
        .filter(|name| name.starts_with(&format!("{source}.")))
    {
        seen.extend(store_topic(bridge, name).await);
    }
    seen
}

fn topic_names(topics: &Value) -> Vec<String> {
    let list = topics.as_array().expect("a list of topics");
    list.iter()
        .map(|topic| {
            topic["topic"]
                .as_str()
                .or(topic["name"].as_str())
                .expect("a name")
                .to_owned()
        })
        .collect()
}

impl Queue {
    async fn read(&mut self) -> Vec<Seen> {
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self
            .channel
            .basic_get(self.name.as_str().into(), options)
            .await
            .expect("the queue answers")
        {
            self.seen.push(rabbit_message(&message));
        }
        self.seen.clone()
    }
}

impl DurableQueue {
    /// Takes what is there, and lets go of it in the queue only once it has been written down: what
    /// a broken connection interrupts is read again, in its order.
    async fn read_on(&mut self) -> lapin::Result<()> {
        let connection = connect(&self.url).await?;
        let channel = connection.create_channel().await?;
        let (name, none) = (self.name.as_str(), FieldTable::default);
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare(name.into(), passive, none()).await?;
        let waiting = queue.message_count() as usize;
        channel.basic_qos(1000, BasicQosOptions::default()).await?;
        let mut consumer = channel
            .basic_consume(
                name.into(),
                "".into(),
                BasicConsumeOptions::default(),
                none(),
            )
            .await?;
        let mut fresh = Vec::new();
        for left in (0..waiting).rev() {
            let Some(delivery) = consumer.next().await else {
                break;
            };
            let delivery = delivery?;
            fresh.push(rabbit_message(&delivery));
            if left % 500 == 0 {
                self.seen.append(&mut fresh);
                delivery.ack(BasicAckOptions { multiple: true }).await?;
            }
        }
        connection.close(200, "read".into()).await
    }
}

fn rabbit_message(message: &Delivery) -> Seen {
    let properties = &message.properties;
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let headers = properties.headers().as_ref().expect("headers").into_iter();
    let address = message.routing_key.to_string();
    Seen {
        key: address.rsplit('.').next().unwrap_or_default().to_owned(),
        address,
        id: properties.message_id().as_ref().expect("an id").to_string(),
        headers: headers
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: message.data.clone(),
    }
}

/// Reads every topic of the source up to its end.
fn read_kafka(brokers: &str, source: &str) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", unique("reader"))
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let Ok(metadata) = consumer.fetch_metadata(None, DEADLINE) else {
        // A broker that is away on purpose: nothing can be seen of it.
        return Vec::new();
    };
    let mut wanted = TopicPartitionList::new();
    let mut left = 0;
    let prefix = format!("{source}.");
    for topic in metadata
        .topics()
        .iter()
        .filter(|topic| topic.name().starts_with(&prefix))
    {
        for partition in topic.partitions() {
            let Ok((low, high)) = consumer.fetch_watermarks(topic.name(), partition.id(), DEADLINE)
            else {
                return Vec::new();
            };
            if high > low {
                wanted
                    .add_partition_offset(topic.name(), partition.id(), Offset::Beginning)
                    .expect("valid");
                left += high - low;
            }
        }
    }
    let mut seen = Vec::new();
    if left == 0 {
        return seen;
    }
    consumer.assign(&wanted).expect("assigned");
    while left > 0 {
        let message = consumer
            .poll(DEADLINE)
            .expect("the rest of the topic")
            .expect("readable");
        seen.push(kafka_message(&message));
        left -= 1;
    }
    seen
}

fn kafka_message(message: &BorrowedMessage<'_>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let headers: BTreeMap<String, String> = message
        .headers()
        .expect("headers")
        .iter()
        .map(|header| {
            (
                header.key.to_owned(),
                text(header.value.unwrap_or_default()),
            )
        })
        .collect();
    Seen {
        address: message.topic().to_owned(),
        key: text(message.key().expect("a key")),
        id: headers.get("ce_id").expect("an id").clone(),
        headers,
        body: message
            .payload()
            .expect("never a null value: it would delete on a compacted topic")
            .to_vec(),
    }
}
