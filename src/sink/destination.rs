//! Where a confirmed message went, as its broker names the place.

use serde::Serialize;

/// The place of a confirmed message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Destination {
    /// A record of a Kafka partition.
    Kafka {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset; negative where the broker has not told it.
        offset: i64,
    },
    /// What RabbitMQ routed the message by. It has no place in a queue that anybody could name.
    RabbitMq {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// An entry of a topic of the store.
    Store {
        /// The topic.
        topic: String,
        /// The position in it.
        position: u64,
    },
}
