//! Everything one run of the benchmark has found.

use serde::{Deserialize, Serialize};

use crate::reference::Limit;
use crate::run::Run;

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Findings {
    /// A closed loop of 1 KiB events over 128 connections.
    pub usual: Usual,
    /// Other numbers of connections and other sizes, each by everybody.
    pub grid: Vec<Cell>,
    /// 1,000 events a second, whatever the answers do.
    pub open: Open,
    /// A RabbitMQ that comes back.
    pub backlog: Backlog,
    /// Idle, and with much in the file.
    pub size: Size,
    /// What an event costs with more of something.
    pub growth: Vec<Growth>,
}

/// Everybody under the usual load, and the limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Usual {
    /// Reference (a).
    pub ingress: Run,
    /// The bridge to Kafka.
    pub kafka: Run,
    /// The bridge to RabbitMQ.
    pub rabbitmq: Run,
    /// The bridge to its store.
    pub store: Run,
    /// Reference (b).
    pub lapin: Limit,
    /// Reference (c).
    pub rdkafka: Limit,
    /// Reference (d), in groups of the bridge's size.
    pub disk: Limit,
    /// Committing in groups of that size.
    pub sqlite: Limit,
}

/// One load, by everybody.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// Reference (a).
    pub ingress: Run,
    /// The bridge to Kafka.
    pub kafka: Run,
    /// The bridge to its store.
    pub store: Run,
}

/// A fixed rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Open {
    /// Reference (a).
    pub ingress: Run,
    /// The bridge to Kafka.
    pub kafka: Run,
    /// Single events, appended and synced.
    pub disk: Limit,
}

/// What waits is delivered, in events a second.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Backlog {
    /// Delivered while nothing comes in.
    pub alone: f64,
    /// Delivered while more comes in.
    pub under_load: f64,
    /// Accepted meanwhile.
    pub accepted: f64,
}

/// Memory in bytes, and seconds from the start until ready.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Size {
    /// Resident with nothing to do.
    pub idle_bytes: u64,
    /// Resident at most, under the usual load.
    pub loaded_bytes: u64,
    /// Resident after a start with a million events.
    pub million_bytes: u64,
    /// Until an empty bridge is ready.
    pub ready_seconds: f64,
    /// Until one with a million events is.
    pub ready_million_seconds: f64,
}

/// What an event costs where there is more of something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Growth {
    /// Of what there is how much.
    pub with: String,
    /// Microseconds of processor time an event.
    pub cpu: f64,
    /// The same with the least of it.
    pub least: f64,
}
