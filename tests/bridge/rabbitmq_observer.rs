//! What arrived at RabbitMQ, seen by a client that shares nothing with the sink but the library.

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

/// The broker of the tests.
///
/// # Panics
/// When none is named.
pub fn broker_url() -> String {
    std::env::var("HOOKFERRY_TEST_AMQP_URL")
        .expect("HOOKFERRY_TEST_AMQP_URL names no broker: run tests/run, or set it to an AMQP URL")
}

/// A second look at the broker, and what it must clean up.
pub struct Observer {
    _connection: Connection,
    pub channel: Channel,
}

impl Observer {
    /// Connects to the broker of the tests.
    pub async fn new() -> Self {
        let connection = Connection::connect(&broker_url(), ConnectionProperties::default())
            .await
            .expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        Self {
            _connection: connection,
            channel,
        }
    }

    /// Declares a durable exchange.
    pub async fn exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        self.channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await
            .expect("declared");
    }

    /// Deletes an exchange.
    pub async fn delete_exchange(&self, name: &str) {
        self.channel
            .exchange_delete(name.into(), ExchangeDeleteOptions::default())
            .await
            .expect("deleted");
    }

    /// Declares a durable queue and binds it.
    pub async fn queue(&self, name: &str, exchange: &str, binding: &str, arguments: FieldTable) {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.channel
            .queue_declare(name.into(), options, arguments)
            .await
            .expect("declared");
        self.channel
            .queue_bind(
                name.into(),
                exchange.into(),
                binding.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("bound");
    }

    /// A topic exchange with one queue of the same name.
    pub async fn topic(&self, name: &str, binding: &str) {
        self.exchange(name, ExchangeKind::Topic).await;
        self.queue(name, name, binding, FieldTable::default()).await;
    }

    /// Takes the next message, if there is one.
    pub async fn get(&self, queue: &str) -> Option<BasicGetMessage> {
        self.channel
            .basic_get(queue.into(), BasicGetOptions { no_ack: true })
            .await
            .expect("the queue answers")
    }

    /// Takes all messages and tells their ids.
    pub async fn ids(&self, queue: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while let Some(message) = self.get(queue).await {
            let id = message.properties.message_id().clone();
            ids.push(id.expect("every message has an id").to_string());
        }
        ids
    }

    /// Deletes an exchange and the queue of the same name.
    pub async fn remove(&self, name: &str) {
        let queue = QueueDeleteOptions::default();
        let _ = self.channel.queue_delete(name.into(), queue).await;
        self.delete_exchange(name).await;
    }
}
