//! The part of librdkafka's statistics that is read (`STATISTICS.md`, "brokers" and "topics"), as its
//! statistics callback gets them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Statistics {
    #[serde(default)]
    pub brokers: HashMap<String, BrokerStatistics>,
    #[serde(default)]
    pub topics: HashMap<String, TopicStatistics>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TopicStatistics {
    /// By number; -1 stands for messages whose partition is not chosen yet.
    #[serde(default)]
    pub partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PartitionStatistics {
    pub partition: i32,
    /// The broker that leads it; -1 for none.
    pub leader: i32,
    /// The number of the last message that was confirmed.
    #[serde(default)]
    pub acked_msgid: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct BrokerStatistics {
    state: String,
    source: String,
    pub connects: u64,
    pub nodeid: Option<i32>,
    /// Responses received so far.
    #[serde(default)]
    pub rx: u64,
    /// The round trips of late.
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

impl BrokerStatistics {
    /// Whether it is connected. librdkafka's own "internal" broker is always up and means nothing.
    pub(super) fn is_up(&self) -> bool {
        self.state == "UP" && matches!(self.source.as_str(), "learned" | "configured")
    }
}
