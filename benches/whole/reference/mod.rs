//! What the machine can do without a bridge: each part of the path by itself, as fast as its library
//! goes. A figure of the bridge means little alone; its ratio to these carries over to other machines.

pub mod disk;
pub mod durable;
pub mod ingress;
pub mod kafka;
mod message;
pub mod rabbitmq;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::load::{self, Latency};
use crate::usage::Usage;

/// What a reference has come to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limit {
    /// Events.
    pub events: u64,
    /// Seconds they took.
    pub seconds: f64,
    /// What the process used for them.
    pub usage: Usage,
    /// Of one group, where groups are waited for.
    pub latency: Latency,
}

impl Limit {
    /// Events a second.
    #[allow(clippy::cast_precision_loss, reason = "a rate to read")]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    /// Of several, the one whose rate is the median.
    pub fn median(mut limits: Vec<Self>) -> Self {
        limits.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
        limits.swap_remove(limits.len() / 2)
    }

    /// Microseconds of processor time an event.
    #[allow(clippy::cast_precision_loss, reason = "microseconds to read")]
    pub fn cpu(&self) -> f64 {
        self.usage.cpu_seconds * 1e6 / self.events as f64
    }
}

/// Groups of events, each waited for.
struct Groups {
    begun: Instant,
    before: Usage,
    latency: hdrhistogram::Histogram<u64>,
}

impl Groups {
    fn begin() -> anyhow::Result<Self> {
        Ok(Self {
            before: Usage::own()?,
            latency: load::nanoseconds(),
            begun: Instant::now(),
        })
    }

    fn note(&mut self, took: Duration) {
        load::note(&mut self.latency, took);
    }

    fn end(self, events: u64) -> anyhow::Result<Limit> {
        Ok(Limit {
            events,
            seconds: self.begun.elapsed().as_secs_f64(),
            usage: Usage::own()? - self.before,
            latency: Latency::of(&self.latency),
        })
    }
}
