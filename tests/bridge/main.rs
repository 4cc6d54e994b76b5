//! The bridge's promises, held against real parts: one binary, one module per promise.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should say where"
)]

mod cli;
mod eventually;
mod kafka_sink;
mod message;
mod proxy;
mod rabbitmq_observer;
mod rabbitmq_sink;
mod spool;
mod store_sink;
