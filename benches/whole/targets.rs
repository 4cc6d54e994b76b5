//! What the bridge is meant to reach, as ratios to the references of the same run, and whether it
//! does.

use crate::findings::{Findings, Growth};

/// One target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What is compared.
    pub what: String,
    /// What was measured, in the unit of `bound`.
    pub measured: f64,
    /// What it is measured against.
    pub bound: Bound,
    /// The unit, after the number.
    pub unit: &'static str,
}

/// A bound, inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// No less than this.
    Least(f64),
    /// No more than this.
    Most(f64),
}

impl Target {
    fn least(what: &str, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            measured,
            bound: Bound::Least(bound),
            unit,
        }
    }

    fn most(what: &str, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            measured,
            bound: Bound::Most(bound),
            unit,
        }
    }

    /// Whether it is reached.
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::Least(bound) => self.measured >= bound,
            Bound::Most(bound) => self.measured <= bound,
        }
    }
}

/// All targets.
pub fn of(findings: &Findings) -> Vec<Target> {
    let groups = [speed, latency, room];
    let mut targets: Vec<Target> = groups.iter().flat_map(|group| group(findings)).collect();
    targets.extend(findings.growth.iter().map(growth));
    targets
}

fn speed(findings: &Findings) -> Vec<Target> {
    let (usual, backlog) = (&findings.usual, &findings.backlog);
    let (limit, parts) = (
        usual.ingress.accepted_rate,
        usual.ingress.cpu() + usual.sqlite.cpu() + usual.rdkafka.cpu(),
    );
    vec![
        Target::least(
            "to Kafka, events/s ÷ (a)",
            usual.kafka.accepted_rate / limit,
            0.45,
            "×",
        ),
        Target::most(
            "to Kafka, CPU ÷ (a)",
            usual.kafka.cpu() / usual.ingress.cpu(),
            2.2,
            "×",
        ),
        Target::most(
            "to Kafka, CPU ÷ ((a) + SQLite + (c))",
            usual.kafka.cpu() / parts,
            1.25,
            "×",
        ),
        Target::least(
            "to the store, events/s ÷ (a)",
            usual.store.accepted_rate / limit,
            0.45,
            "×",
        ),
        Target::least(
            "a RabbitMQ backlog drains, events/s ÷ (b)",
            backlog.alone / usual.lapin.rate(),
            0.85,
            "×",
        ),
        Target::least(
            "accepting meanwhile, events/s ÷ (a)",
            backlog.accepted / limit,
            0.35,
            "×",
        ),
    ]
}

fn latency(findings: &Findings) -> Vec<Target> {
    let open = &findings.open;
    let (bridge, limit, sync) = (open.kafka.latency, open.ingress.latency, open.disk.latency);
    vec![
        Target::most(
            "1,000 events/s, p50 − (p50 of (a) + 1.5 fdatasync)",
            bridge.p50 - (limit.p50 + 1.5 * sync.p50),
            0.0,
            " µs",
        ),
        Target::most(
            "1,000 events/s, p99 ÷ (p99 of (a) + p99 of fdatasync)",
            bridge.p99 / (limit.p99 + sync.p99),
            2.0,
            "×",
        ),
    ]
}

fn room(findings: &Findings) -> Vec<Target> {
    let size = &findings.size;
    #[allow(clippy::cast_precision_loss, reason = "mebibytes to read")]
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    vec![
        Target::most("resident, idle", mebibytes(size.idle_bytes), 24.0, " MiB"),
        Target::most(
            "resident, under the closed loop",
            mebibytes(size.loaded_bytes),
            64.0,
            " MiB",
        ),
        Target::most(
            "resident, with 10⁶ events in the spool",
            mebibytes(size.million_bytes),
            128.0,
            " MiB",
        ),
        Target::most(
            "from start to ready",
            size.ready_seconds * 1000.0,
            200.0,
            " ms",
        ),
        Target::most(
            "from start to ready, with 10⁶ events",
            size.ready_million_seconds * 1000.0,
            2000.0,
            " ms",
        ),
        Target::most(
            "written to disk an event of 1 KiB",
            findings.usual.kafka.written() / 1000.0,
            5.0,
            " kB",
        ),
    ]
}

fn growth(growth: &Growth) -> Target {
    let what = format!("CPU an event with {}, ÷ with the least", growth.with);
    Target::most(&what, growth.cpu / growth.least, 1.15, "×")
}
