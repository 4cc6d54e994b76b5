//! What the bridge is meant to reach, as ratios to references that were measured beside it, and
//! whether it does.

use crate::findings::{Away, Backlog, Closed, Findings, Ids, Large, Round, Watched};
use crate::load::Latency;
use crate::run::Run;

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

/// The unit of ratios.
const TIMES: &str = "×";

impl Target {
    fn least(what: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self {
            what: what.into(),
            measured,
            bound: Bound::Least(bound),
            unit: TIMES,
        }
    }

    fn most(what: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self {
            bound: Bound::Most(bound),
            ..Self::least(what, measured, bound)
        }
    }

    fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// Whether it is reached.
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::Least(bound) => self.measured >= bound,
            Bound::Most(bound) => self.measured <= bound,
        }
    }
}

/// The targets of all that was measured.
pub fn of(findings: &Findings) -> Vec<Target> {
    let mut targets = Vec::new();
    targets.extend(findings.closed.iter().flat_map(closed));
    targets.extend(open(&findings.open));
    targets.extend(findings.written.iter().map(written));
    targets.extend(findings.away.iter().flat_map(away));
    targets.extend(findings.large.iter().map(large));
    targets.extend(findings.ids.iter().map(ids));
    targets.extend(findings.backlog.iter().map(backlog));
    targets.extend(findings.watched.iter().flat_map(watched));
    targets
}

fn closed(closed: &Closed) -> Vec<Target> {
    let (ingress, durable) = (&closed.ingress, &closed.durable);
    let rate = |run: &Run, limit: &Run| run.accepted_rate / limit.accepted_rate;
    let cpu = |run: &Run| run.cpu() / ingress.cpu();
    let parts = durable.cpu() + closed.rdkafka.cpu();
    vec![
        Target::least(
            "closed loop to Kafka, events/s ÷ (a)",
            rate(&closed.kafka, ingress),
            0.60,
        ),
        Target::least(
            "closed loop to Kafka, events/s ÷ (e)",
            rate(&closed.kafka, durable),
            0.80,
        ),
        Target::most("closed loop to Kafka, CPU ÷ (a)", cpu(&closed.kafka), 2.3),
        Target::most(
            "closed loop to Kafka, CPU ÷ ((e) + (c))",
            closed.kafka.cpu() / parts,
            1.15,
        ),
        Target::least(
            "closed loop to the store, events/s ÷ (a)",
            rate(&closed.store, ingress),
            0.55,
        ),
        Target::most(
            "closed loop to the store, CPU ÷ (a)",
            cpu(&closed.store),
            2.5,
        ),
        Target::least(
            "closed loop to RabbitMQ, events/s ÷ (a)",
            rate(&closed.rabbitmq, ingress),
            0.27,
        ),
        Target::most(
            "closed loop to RabbitMQ, CPU ÷ (a)",
            cpu(&closed.rabbitmq),
            3.6,
        ),
    ]
}

/// Each ratio is the median of the rounds' own: what makes one round slow makes its reference slow.
fn open(rounds: &[Round]) -> Vec<Target> {
    if rounds.is_empty() {
        return Vec::new();
    }
    let latency = |at: fn(&Latency) -> f64| {
        median(
            rounds
                .iter()
                .map(|round| at(&round.kafka.latency) / at(&round.durable.latency)),
        )
    };
    let cpu = |who: fn(&Round) -> &Run| {
        median(
            rounds
                .iter()
                .map(|round| who(round).cpu() / round.durable.cpu()),
        )
    };
    let written = median(rounds.iter().map(|round| round.kafka.written() / 1000.0));
    vec![
        Target::most(
            "1,000/s to Kafka, p50 ÷ p50 of (e)",
            latency(|latency| latency.p50),
            1.15,
        ),
        Target::most(
            "1,000/s to Kafka, p99 ÷ p99 of (e)",
            latency(|latency| latency.p99),
            1.3,
        ),
        Target::most(
            "1,000/s to the store, CPU ÷ (e)",
            cpu(|round| &round.store),
            2.2,
        ),
        Target::most(
            "1,000/s to Kafka, CPU ÷ (e)",
            cpu(|round| &round.kafka),
            1.7,
        ),
        Target::most(
            "1,000/s to RabbitMQ, CPU ÷ (e)",
            cpu(|round| &round.rabbitmq),
            1.8,
        ),
        Target::most("1,000/s to Kafka, written an event of 1 KiB", written, 5.0).unit(" kB"),
    ]
}

fn written(run: &Run) -> Target {
    let group = run.group.unwrap_or_default();
    let what = format!("closed loop to Kafka in groups of {group:.0}, written an event of 1 KiB");
    Target::most(what, run.written() / 1000.0, 1.6).unit(" kB")
}

fn away(away: &Away) -> Vec<Target> {
    let with = |what: &str| {
        let events = count(away.events);
        format!("two sinks, one away, {events} waiting: {what}")
    };
    vec![
        Target::most(with("ready"), away.ready_seconds, 0.3).unit(" s"),
        Target::most(with("peak memory"), mebibytes(away.peak_bytes), 96.0).unit(" MiB"),
        Target::most(
            with("longest stall of an answer while the spool is looked at"),
            away.seen.latency.longest / 1000.0,
            20.0,
        )
        .unit(" ms"),
    ]
}

fn large(large: &Large) -> Target {
    let (events, each) = (count(large.events), large.body_bytes >> 20);
    let what = format!("{events} bodies of {each} MiB waiting for a sink that hangs: peak memory");
    Target::most(what, mebibytes(large.peak_bytes), 192.0).unit(" MiB")
}

fn ids(ids: &Ids) -> Target {
    let what = format!("{} ids, CPU an event ÷ with none", count(ids.ids));
    Target::most(what, ids.cpu / ids.cpu_without, 1.1)
}

fn watched(watched: &Watched) -> Vec<Target> {
    let with = |what: &str| {
        format!(
            "1,000/s to the store, {} viewers of the page: {what}",
            watched.viewers
        )
    };
    let rounds = || watched.seen.iter().zip(&watched.unseen);
    let later = |at: fn(&Latency) -> f64| {
        median(rounds().map(|(seen, unseen)| at(&seen.latency) - at(&unseen.latency))) / 1000.0
    };
    let cpu = median(rounds().map(|(seen, unseen)| seen.cpu() / unseen.cpu()));
    vec![
        Target::most(
            with("p99.9 of an answer, beyond that without"),
            later(|it| it.p999),
            5.0,
        )
        .unit(" ms"),
        Target::most(
            with("longest answer, beyond that without"),
            later(|it| it.longest),
            5.0,
        )
        .unit(" ms"),
        Target::most(with("CPU ÷ without"), cpu, 1.2),
    ]
}

fn backlog(backlog: &Backlog) -> Target {
    Target::least(
        "a RabbitMQ backlog drains, events/s ÷ (b)",
        backlog.drained_rate / backlog.lapin.rate(),
        0.90,
    )
}

#[allow(clippy::cast_precision_loss, reason = "mebibytes to read")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", count(number / 1000), number % 1000)
    }
}

/// The upper one of the two in the middle, where there are two.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
