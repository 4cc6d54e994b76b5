//! The RabbitMQ sink: publisher confirms, persistent messages, mandatory routing. All of lapin is used
//! in this folder.
//!
//! A [`RabbitMq`] (`sink`) owns one task, the `supervisor`, which owns the connection; a `session` is a
//! connection in use, with a few channels, each with one batch in flight. The files: `settings` what
//! it is configured with, `publish_queue` the messages that wait, `connection` (with its `socket`) one
//! connection, `publisher` one channel, `confirms` what the broker answered to a batch, `properties`
//! a message in AMQP's terms, `topology` exchanges and queues, `check` the checks of the broker,
//! `follow` a consumer.

mod check;
mod confirms;
mod connection;
mod follow;
mod properties;
mod publish_queue;
mod publisher;
mod session;
mod settings;
mod sink;
mod socket;
mod supervisor;
mod topology;

pub use connection::{ConnectionError, IdentityError, check_identity};
pub use follow::{RabbitMqFollowError, follow};
pub use settings::{BrokerAddress, BrokerAddressError, DeclaredQueue, RabbitMqSettings};
pub use sink::RabbitMq;
