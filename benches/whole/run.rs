//! One measurement: somebody under one load.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bridge::Bridge;
use crate::load::{Latency, Load};
use crate::role::{Role, hear, send};
use crate::usage::Usage;

/// What became of a load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Under what load.
    pub connections: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Deliveries a second in the open loop.
    pub rate: Option<u32>,
    /// Answered 200, altogether.
    pub events: u64,
    /// Answered 200 a second.
    pub accepted_rate: f64,
    /// Delivered a second, from the first delivery to the last event's receipt.
    pub delivered_rate: f64,
    /// Of an answer.
    pub latency: Latency,
    /// What it used until all was delivered.
    pub usage: Usage,
    /// Events of a commit, on average.
    pub group: f64,
}

impl Run {
    /// Microseconds of processor time an event, from its arrival to its receipt.
    #[allow(clippy::cast_precision_loss, reason = "microseconds to read")]
    pub fn cpu(&self) -> f64 {
        self.usage.cpu_seconds * 1e6 / self.events as f64
    }

    /// Bytes written to the disk for an event.
    #[allow(clippy::cast_precision_loss, reason = "bytes to read")]
    pub fn written(&self) -> f64 {
        self.usage.written_bytes as f64 / self.events as f64
    }

    /// Of several runs under the same load, the one whose rate is the median.
    pub fn median(mut runs: Vec<Self>) -> Self {
        runs.sort_by(|one, other| one.accepted_rate.total_cmp(&other.accepted_rate));
        runs.swap_remove(runs.len() / 2)
    }
}

/// Reference (a) under this load.
pub fn ingress(load: &Load) -> anyhow::Result<Run> {
    let mut server = Role::Ingress.begin()?;
    let address = hear(&mut server)?;
    let run = observe(
        &Load {
            address,
            ..load.clone()
        },
        || Usage::of(server.id()),
        || Ok(()),
    );
    server.kill()?;
    server.wait()?;
    run
}

/// The bridge under this load, until it has delivered all of it.
pub fn bridge(bridge: &Bridge, load: &Load) -> anyhow::Result<Run> {
    let commits = || bridge.metric("spool_commit_duration_seconds_count");
    let before = commits()?;
    let load = Load {
        address: bridge.address,
        ..load.clone()
    };
    let mut run = observe(&load, || bridge.usage(), || bridge.drain_to(0.0))?;
    #[allow(clippy::cast_precision_loss, reason = "an average to read")]
    let events = run.events as f64;
    run.group = events / (commits()? - before);
    Ok(run)
}

/// The bridge under this load, which it cannot deliver.
pub fn accepting(bridge: &Bridge, load: &Load) -> anyhow::Result<Run> {
    let load = Load {
        address: bridge.address,
        ..load.clone()
    };
    observe(&load, || bridge.usage(), || Ok(()))
}

#[allow(clippy::cast_precision_loss, reason = "rates to read")]
fn observe(
    load: &Load,
    usage: impl Fn() -> anyhow::Result<Usage>,
    drained: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Run> {
    let (before, begun) = (usage()?, Instant::now());
    let sent = send(load)?;
    anyhow::ensure!(
        sent.refused == 0,
        "{} deliveries were refused",
        sent.refused
    );
    drained()?;
    let took = begun.elapsed().as_secs_f64();
    Ok(Run {
        connections: load.connections,
        body_bytes: load.body_bytes,
        rate: load.rate,
        events: sent.accepted,
        accepted_rate: sent.counted as f64 / sent.seconds,
        delivered_rate: sent.accepted as f64 / took,
        latency: sent.latency,
        usage: usage()? - before,
        group: 1.0,
    })
}

/// A closed loop of 1 KiB events over 128 connections, from which others differ in something.
pub fn usual(seconds: u64) -> Load {
    Load {
        address: ([127, 0, 0, 1], 0).into(),
        connections: 128,
        body_bytes: 1024,
        objects: 0,
        rate: None,
        warm_up: Duration::from_secs(1),
        lasting: Duration::from_secs(seconds),
        most: u64::MAX,
    }
}
