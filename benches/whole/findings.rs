//! What the benchmark has found: each part by itself, with its references measured beside it, so
//! that parts of several runs can stand together.

use serde::{Deserialize, Serialize};

use crate::reference::Limit;
use crate::run::Run;

/// All of it, as far as it has been measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// A closed loop of 1 KiB events over 64 connections.
    pub closed: Option<Closed>,
    /// Other numbers of connections and other sizes, each by everybody.
    pub grid: Vec<Cell>,
    /// To Kafka, in large groups and with segments that are used again.
    pub written: Option<Run>,
    /// A RabbitMQ that comes back.
    pub backlog: Option<Backlog>,
    /// Two sinks, of which one is away, and much that waits for it.
    pub away: Option<Away>,
    /// Large bodies that wait for a sink that hangs.
    pub large: Option<Large>,
    /// Many ids of earlier events.
    pub ids: Option<Ids>,
    /// 1,000 events a second while people look at the page.
    pub watched: Option<Watched>,
    /// 1,000 events a second, whatever the answers do.
    pub open: Vec<Round>,
}

impl Findings {
    /// Whether every part has been measured.
    pub fn are_whole(&self) -> bool {
        let is_there = [
            self.closed.is_some(),
            !self.grid.is_empty(),
            self.written.is_some(),
            self.backlog.is_some(),
            self.away.is_some(),
            self.large.is_some(),
            self.ids.is_some(),
            self.watched.is_some(),
            !self.open.is_empty(),
        ];
        is_there.iter().all(|part| *part)
    }
}

/// Everybody under the usual load, and the limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Closed {
    /// Reference (a).
    pub ingress: Run,
    /// Reference (e).
    pub durable: Run,
    /// The bridge to Kafka.
    pub kafka: Run,
    /// The bridge to RabbitMQ.
    pub rabbitmq: Run,
    /// The bridge to its store.
    pub store: Run,
    /// Reference (c).
    pub rdkafka: Limit,
    /// Reference (d), in groups of the bridge's size.
    pub disk: Limit,
}

/// One load, by everybody.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// Reference (a).
    pub ingress: Run,
    /// Reference (e).
    pub durable: Run,
    /// The bridge to Kafka.
    pub kafka: Run,
    /// The bridge to its store.
    pub store: Run,
}

/// What waits is delivered to a RabbitMQ that comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backlog {
    /// Events waiting.
    pub events: u64,
    /// Delivered a second.
    pub drained_rate: f64,
    /// Reference (b).
    pub lapin: Limit,
}

/// Two sinks, of which one is away.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Away {
    /// Events waiting for it.
    pub events: u64,
    /// From the start until ready.
    pub ready_seconds: f64,
    /// Resident at most after that start.
    pub peak_bytes: u64,
    /// 1,000 events a second while nobody looks at the spool.
    pub unseen: Run,
    /// The same while somebody does.
    pub seen: Run,
}

/// Large bodies that wait for a sink that hangs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Large {
    /// Bodies.
    pub events: u64,
    /// Bytes of each.
    pub body_bytes: usize,
    /// Resident at most.
    pub peak_bytes: u64,
}

/// Microseconds of processor time an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ids {
    /// How many ids there are.
    pub ids: u64,
    /// With so many.
    pub cpu: f64,
    /// With none.
    pub cpu_without: f64,
}

/// 1,000 events a second to the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watched {
    /// How many people look at the page.
    pub viewers: usize,
    /// While nobody does, in each round.
    pub unseen: Vec<Run>,
    /// While they do.
    pub seen: Vec<Run>,
}

/// One round of the fixed rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Reference (e).
    pub durable: Run,
    /// The bridge to Kafka, for as long.
    pub kafka: Run,
    /// The bridge to its store, for a shorter time.
    pub store: Run,
    /// The bridge to RabbitMQ, for a shorter time.
    pub rabbitmq: Run,
}
