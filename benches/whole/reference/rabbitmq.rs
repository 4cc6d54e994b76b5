//! Reference (b): the same messages by lapin alone, persistent and confirmed, in large batches on few
//! channels, which is its fastest way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{join_all, try_join_all};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use serde::{Deserialize, Serialize};

use super::{Groups, Limit, message};
use crate::delivery::{Delivery, Events};

/// What to publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RabbitMq {
    /// To which broker.
    pub url: String,
    /// To which exchange and queue, which are declared.
    pub name: String,
    /// Over how many channels.
    pub channels: usize,
    /// Messages on a channel before their confirms are waited for.
    pub batch: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// How many.
    pub messages: u64,
}

impl RabbitMq {
    /// Publishes it all.
    pub fn publish(self) -> anyhow::Result<Limit> {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(self.run())
    }

    async fn run(self) -> anyhow::Result<Limit> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let control = connection.create_channel().await?;
        declare(&control, &self.name).await?;
        let (events, next) = (Events::from_now(0), Arc::new(AtomicU64::new(0)));
        let mut publishers = Vec::new();
        for _ in 0..self.channels {
            let channel = connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            publishers.push(publisher(channel, self.clone(), events, Arc::clone(&next)));
        }
        let groups = Groups::begin()?;
        let tasks = publishers.into_iter().map(tokio::spawn);
        for published in try_join_all(tasks.collect::<Vec<_>>()).await? {
            published?;
        }
        let limit = groups.end(self.messages);
        delete(&control, &self.name).await?;
        limit
    }
}

/// What a bridge publishes to: see [`declare`]. The queue goes when this is dropped, with all that is
/// in it: a broker that keeps the messages of earlier runs is slower for the later ones.
#[derive(Debug)]
pub struct Place {
    url: String,
    name: String,
}

impl Place {
    /// An exchange and a queue of this name.
    pub fn new(url: &str, name: &str) -> anyhow::Result<Self> {
        let place = Self {
            url: url.to_owned(),
            name: name.to_owned(),
        };
        on_channel(url, async |channel| declare(channel, name).await)?;
        Ok(place)
    }

    /// The exchange.
    pub fn exchange(&self) -> String {
        self.name.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A queue that stays only makes what follows slower.
        let _ = on_channel(&self.url, async |channel| delete(channel, &self.name).await);
    }
}

/// Does something on a channel of a connection of its own.
fn on_channel(
    url: &str,
    doing: impl AsyncFnOnce(&Channel) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await?;
            doing(&connection.create_channel().await?).await
        })
}

async fn delete(channel: &Channel, queue: &str) -> anyhow::Result<()> {
    channel
        .queue_delete(short(queue), QueueDeleteOptions::default())
        .await?;
    Ok(())
}

/// A durable topic exchange, and a durable queue that gets everything from it.
async fn declare(channel: &Channel, name: &str) -> anyhow::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            short(name),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(short(name), options, FieldTable::default())
        .await?;
    channel
        .queue_bind(
            short(name),
            short(name),
            short("#"),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok(())
}

async fn publisher(
    channel: Channel,
    reference: RabbitMq,
    events: Events,
    next: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut delivery = Delivery::new(events, reference.body_bytes);
    loop {
        let first = next.fetch_add(reference.batch, Ordering::Relaxed);
        let numbers = first..(first + reference.batch).min(reference.messages);
        if numbers.is_empty() {
            return Ok(());
        }
        let bodies: Vec<(u64, Vec<u8>)> = numbers
            .map(|number| (number, delivery.body(number).to_vec()))
            .collect();
        let confirms = bodies
            .iter()
            .map(|(number, body)| confirmed(&channel, &reference.name, (events, *number), body));
        for confirmation in join_all(confirms).await {
            anyhow::ensure!(confirmation? == Confirmation::Ack(None), "not taken");
        }
    }
}

async fn confirmed(
    channel: &Channel,
    exchange: &str,
    (events, number): (Events, u64),
    body: &[u8],
) -> lapin::Result<Confirmation> {
    let key = format!("sample.uploaded.{}", events.object(number));
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    channel
        .basic_publish(
            short(exchange),
            short(&key),
            options,
            body,
            properties(events, number),
        )
        .await?
        .await
}

fn properties(events: Events, number: u64) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (index, (name, value)) in message::headers(events, number).into_iter().enumerate() {
        let prefix = if index < 6 { "cloudEvents_" } else { "" };
        headers.insert(
            short(&format!("{prefix}{name}")),
            AMQPValue::LongString(value.into()),
        );
    }
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type(short("application/json"))
        .with_message_id(short(&message::id(events, number).to_string()))
        .with_type(short("sample.uploaded"))
        .with_app_id(short("hookferry"))
        .with_headers(headers)
}

fn short(text: &str) -> ShortString {
    ShortString::from(text)
}
