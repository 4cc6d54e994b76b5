//! One measurement: somebody under one load.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bridge::Bridge;
use crate::load::{Latency, Load};
use crate::role::send;
use crate::server::Server;
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
    /// Delivered a second, from the first delivery to the last event's receipt; none of somebody
    /// who does not deliver.
    pub delivered_rate: Option<f64>,
    /// Of an answer.
    pub latency: Latency,
    /// What it used until all was delivered.
    pub usage: Usage,
    /// Events of a commit of the bridge, on average.
    pub group: Option<f64>,
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
    pub fn median(runs: Vec<Self>) -> Self {
        Self::median_by(runs, |run| run.accepted_rate)
    }

    /// Of several runs under the same load, the one of which this is the median.
    pub fn median_by(mut runs: Vec<Self>, of: impl Fn(&Self) -> f64) -> Self {
        runs.sort_by(|one, other| of(one).total_cmp(&of(other)));
        runs.swap_remove(runs.len() / 2)
    }
}

/// A reference under this load.
pub fn reference(server: &Server, load: &Load) -> anyhow::Result<Run> {
    let (run, _) = observe(&load.to(server.address), || server.usage(), || Ok(()))?;
    Ok(run)
}

/// The bridge under this load, until it has delivered all of it.
pub fn bridge(bridge: &Bridge, load: &Load) -> anyhow::Result<Run> {
    commits(bridge, load, || bridge.drain_to(0.0))
}

/// As [`bridge`], and until all that follows is done as well.
pub fn bridge_to_rest(bridge: &Bridge, load: &Load) -> anyhow::Result<Run> {
    commits(bridge, load, || {
        bridge.drain_to(0.0)?;
        bridge.rest()
    })
}

/// The bridge under this load, which it cannot deliver.
pub fn accepting(bridge: &Bridge, load: &Load) -> anyhow::Result<Run> {
    let (run, _) = observe(&load.to(bridge.address), || bridge.usage(), || Ok(()))?;
    Ok(run)
}

/// As [`accepting`], and until all that follows is done as well.
pub fn accepting_to_rest(bridge: &Bridge, load: &Load) -> anyhow::Result<Run> {
    let (run, _) = observe(
        &load.to(bridge.address),
        || bridge.usage(),
        || bridge.rest(),
    )?;
    Ok(run)
}

#[allow(clippy::cast_precision_loss, reason = "averages to read")]
fn commits(
    bridge: &Bridge,
    load: &Load,
    delivered: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Run> {
    let commits = || bridge.metric("spool_commit_duration_seconds_count");
    let before = commits()?;
    let (run, took) = observe(&load.to(bridge.address), || bridge.usage(), delivered)?;
    let events = run.events as f64;
    Ok(Run {
        delivered_rate: Some(events / took.as_secs_f64()),
        group: Some(events / (commits()? - before)),
        ..run
    })
}

/// What became of the load, and how long it took until it had ended.
#[allow(clippy::cast_precision_loss, reason = "rates to read")]
fn observe(
    load: &Load,
    usage: impl Fn() -> anyhow::Result<Usage>,
    ended: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Run, Duration)> {
    let (before, begun) = (usage()?, Instant::now());
    let sent = send(load)?;
    anyhow::ensure!(
        sent.refused == 0,
        "{} deliveries were refused",
        sent.refused
    );
    ended()?;
    let took = begun.elapsed();
    let run = Run {
        connections: load.connections,
        body_bytes: load.body_bytes,
        rate: load.rate,
        events: sent.accepted,
        accepted_rate: sent.counted as f64 / sent.seconds,
        delivered_rate: None,
        latency: sent.latency,
        usage: usage()? - before,
        group: None,
    };
    Ok((run, took))
}

/// A closed loop of 1 KiB events over 64 connections, from which others differ in something.
pub fn usual(seconds: u64) -> Load {
    Load {
        address: ([127, 0, 0, 1], 0).into(),
        connections: 64,
        body_bytes: 1024,
        objects: 0,
        rate: None,
        warm_up: Duration::from_secs(1),
        lasting: Duration::from_secs(seconds),
        most: u64::MAX,
    }
}

/// So many of those events, as fast as they go.
pub fn amount(events: u64) -> Load {
    Load {
        warm_up: Duration::ZERO,
        most: events,
        ..usual(600)
    }
}
