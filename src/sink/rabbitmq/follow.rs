//! A consumer for `hookferry tail`: every message that an exchange routes from now on, until nobody
//! looks.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;

use super::connection::{Connection, ConnectionError, said, within};
use super::settings::RabbitMqSettings;
use super::topology::short;
use crate::sink::FollowedMessage;

/// Why an exchange cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RabbitMqFollowError {
    /// The broker could not be reached, or refused.
    #[error("cannot follow exchange {exchange}: {error}")]
    Refused {
        /// The exchange.
        exchange: String,
        /// What the broker said.
        error: ConnectionError,
    },
    /// The connection ended.
    #[error("the broker ended the subscription: {0}")]
    Ended(String),
}

/// Sends what `exchange` routes by `binding` until the receiver is dropped. The queue is our own and
/// goes with the connection; nothing is taken away from anybody.
///
/// # Errors
/// When the broker cannot be reached, the exchange is not there, or the connection ends.
pub async fn follow(
    settings: &RabbitMqSettings,
    exchange: &str,
    binding: &str,
    seen: mpsc::Sender<FollowedMessage>,
) -> Result<(), RabbitMqFollowError> {
    let refused = |error| RabbitMqFollowError::Refused {
        exchange: exchange.to_owned(),
        error,
    };
    let connection = Connection::open(settings)
        .await
        .map_err(|failure| refused(failure.error))?;
    let channel = connection.channel().await.map_err(refused)?;
    let consumer = subscribe(&connection, &channel, exchange, binding)
        .await
        .map_err(refused)?;
    let result = forward(consumer, &seen).await;
    connection.close(settings.publish_timeout).await;
    result
}

async fn subscribe(
    connection: &Connection,
    channel: &Channel,
    exchange: &str,
    binding: &str,
) -> Result<Consumer, ConnectionError> {
    let deadline = connection.deadline();
    let own = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declaring = channel.queue_declare("".into(), own, FieldTable::default());
    let queue = within(deadline, declaring).await?.name().clone();
    let binding = channel.queue_bind(
        queue.clone(),
        short(exchange),
        short(binding),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    within(deadline, binding).await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consuming = channel.basic_consume(queue, "".into(), options, FieldTable::default());
    within(deadline, consuming).await
}

async fn forward(
    mut consumer: Consumer,
    seen: &mpsc::Sender<FollowedMessage>,
) -> Result<(), RabbitMqFollowError> {
    loop {
        let delivery = tokio::select! {
            () = seen.closed() => return Ok(()),
            delivery = consumer.next() => delivery,
        };
        match delivery {
            Some(Ok(delivery)) => {
                if seen.send(view(delivery)).await.is_err() {
                    return Ok(());
                }
            }
            Some(Err(error)) => {
                return Err(RabbitMqFollowError::Ended(said(&error)));
            }
            None => return Err(RabbitMqFollowError::Ended("it was cancelled".to_owned())),
        }
    }
}

fn view(delivery: Delivery) -> FollowedMessage {
    let properties = &delivery.properties;
    let mut headers = Vec::new();
    let mut note = |name: &str, value: Option<String>| {
        headers.extend(value.map(|value| (name.to_owned(), value)));
    };
    note(
        "message_id",
        properties.message_id().as_ref().map(ToString::to_string),
    );
    note("type", properties.kind().as_ref().map(ToString::to_string));
    note(
        "content_type",
        properties.content_type().as_ref().map(ToString::to_string),
    );
    note(
        "app_id",
        properties.app_id().as_ref().map(ToString::to_string),
    );
    note(
        "timestamp",
        properties.timestamp().map(|seconds| seconds.to_string()),
    );
    for (name, value) in properties.headers().iter().flatten() {
        note(name.as_str(), Some(text(value)));
    }
    FollowedMessage {
        address: format!("{}/{}", delivery.exchange, delivery.routing_key),
        position: None,
        key: None,
        headers,
        body: delivery.data.into(),
    }
}

fn text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortString(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}
