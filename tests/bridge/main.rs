//! The promises, tested through the front door and against real brokers.

mod eventually;
mod message;
mod proxy;
mod rabbitmq_observer;
mod rabbitmq_sink;
