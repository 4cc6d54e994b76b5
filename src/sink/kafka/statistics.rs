//! The part of librdkafka's statistics that is read (`STATISTICS.md`, "brokers" and "topics"). It
//! tells them once a second.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Statistics {
    #[serde(default)]
    pub brokers: HashMap<String, Broker>,
    #[serde(default)]
    pub topics: HashMap<String, Topic>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Topic {
    /// Partition -1 is where messages wait until theirs is known.
    #[serde(default)]
    pub partitions: HashMap<String, Partition>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Partition {
    pub partition: i32,
    /// The broker that leads it; -1 for none.
    pub leader: i32,
    /// The last message that was confirmed; it rises with each.
    #[serde(default)]
    pub acked_msgid: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Broker {
    state: String,
    source: String,
    pub connects: u64,
    pub nodeid: Option<i32>,
    /// Responses received so far.
    #[serde(default)]
    pub rx: u64,
    /// What requests took of late.
    pub rtt: Option<RoundTrips>,
}

/// Round trips since the statistics before.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct RoundTrips {
    /// How many there were.
    #[serde(rename = "cnt")]
    count: i64,
    /// The longest, in microseconds.
    #[serde(rename = "max")]
    longest_us: i64,
}

impl RoundTrips {
    /// The longest, where there was one.
    pub(super) fn longest(&self) -> Option<Duration> {
        let longest = u64::try_from(self.longest_us).ok()?;
        (self.count > 0).then(|| Duration::from_micros(longest))
    }
}

impl Broker {
    /// The client's own "internal" broker is always up and means nothing.
    pub(super) fn is_up(&self) -> bool {
        self.state == "UP" && matches!(self.source.as_str(), "learned" | "configured")
    }
}
