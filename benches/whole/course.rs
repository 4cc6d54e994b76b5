//! The course of the benchmark: what is measured, in which order. The references run between the
//! bridges, so that a machine that slows down slows them alike.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::bridge::{Bridge, Home, Sink};
use crate::delivery::SOURCE;
use crate::findings::{Away, Backlog, Cell, Closed, Findings, Ids, Large, Round, Watched};
use crate::ledger;
use crate::load::Load;
use crate::reference::Limit;
use crate::reference::disk::Disk;
use crate::reference::kafka::Kafka;
use crate::reference::rabbitmq::{Place, RabbitMq};
use crate::relay::Relay;
use crate::role::{Role, limit};
use crate::run::{self, Run, amount, usual};
use crate::server::Server;
use crate::targets::median;

/// What a record holds beside the body, in bytes; reference (d) writes as much.
const HEAD_BYTES: usize = 300;
/// As in the bridge's topics.
const PARTITIONS: i32 = 3;
/// Connections over which many events share a commit.
const MANY: usize = 256;
/// The largest body that a bridge takes by default, and connections that send such ones.
const LARGE: (usize, usize) = (1 << 20, 8);
/// Between two looks at the spool.
const LOOK: Duration = Duration::from_millis(200);
/// People who look at the page.
const VIEWERS: usize = 10;

/// A part of the course, with the references it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A closed loop over 64 connections, to each sink.
    Closed,
    /// Bytes written for an event in large groups.
    Written,
    /// Other numbers of connections and other sizes: the picture.
    Grid,
    /// A RabbitMQ that comes back.
    Backlog,
    /// Two sinks, one of them away, and a million events waiting for it.
    Away,
    /// Bodies of 1 MiB that wait for a sink that hangs.
    Large,
    /// Ten million ids of earlier events.
    Ids,
    /// 1,000 events a second while people look at the operators' page.
    Watched,
    /// 1,000 events a second: two thirds of the whole time.
    Open,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Course {
    /// A RabbitMQ.
    pub amqp_url: String,
    /// A Kafka.
    pub kafka_brokers: String,
    /// Rounds of what is compared with a target; the median counts.
    pub rounds: usize,
    /// Seconds of a load.
    pub seconds: u64,
    /// Rounds of the fixed rate.
    pub pairs: usize,
    /// Seconds of its longer loads.
    pub pair_seconds: u64,
    /// Seconds of its shorter ones, of which only the processor time counts.
    pub short_seconds: u64,
    /// Events that are to be many.
    pub million: u64,
    /// Large bodies.
    pub bodies: u64,
    /// Ids that are to be many.
    pub ids: u64,
}

impl Course {
    /// Measures one part.
    pub fn measure(&self, part: Part, findings: &mut Findings) -> anyhow::Result<()> {
        match part {
            Part::Closed => findings.closed = Some(self.closed()?),
            Part::Written => findings.written = Some(self.written()?),
            Part::Grid => findings.grid = self.grid()?,
            Part::Backlog => findings.backlog = Some(self.backlog()?),
            Part::Away => findings.away = Some(self.away()?),
            Part::Large => findings.large = Some(self.large()?),
            Part::Ids => findings.ids = Some(self.ids()?),
            Part::Watched => findings.watched = Some(self.watched()?),
            Part::Open => findings.open = self.open()?,
        }
        Ok(())
    }

    fn kafka(&self) -> Sink {
        Sink::Kafka {
            brokers: self.kafka_brokers.clone(),
            partitions: PARTITIONS,
        }
    }

    fn rabbitmq(&self, place: &Place) -> Sink {
        Sink::RabbitMq {
            url: self.amqp_url.clone(),
            exchange: place.exchange(),
        }
    }

    fn place(&self, name: &str) -> anyhow::Result<Place> {
        Place::new(&self.amqp_url, &unique(name))
    }

    fn closed(&self) -> anyhow::Result<Closed> {
        let load = usual(self.seconds);
        let (mut ingress, mut durable) = (vec![], vec![]);
        let (mut kafka, mut store, mut rabbitmq) = (vec![], vec![], vec![]);
        let (mut rdkafka, mut disk) = (vec![], vec![]);
        for round in 1..=self.rounds {
            say(&format!("the closed loop, round {round}"));
            ingress.push(run::reference(&Server::ingress()?, &load)?);
            durable.push(run::reference(&Server::durable()?, &load)?);
            let run = fresh("kafka", &self.kafka(), &load)?;
            rdkafka.push(limit(&self.rdkafka(400_000))?);
            disk.push(limit(&disk_role(run.group.unwrap_or(1.0), 200_000))?);
            kafka.push(run);
            store.push(fresh("store", &Sink::Store, &load)?);
            let place = self.place("closed")?;
            rabbitmq.push(fresh("rabbitmq", &self.rabbitmq(&place), &load)?);
        }
        Ok(Closed {
            ingress: Run::median(ingress),
            durable: Run::median(durable),
            kafka: Run::median(kafka),
            rabbitmq: Run::median(rabbitmq),
            store: Run::median(store),
            rdkafka: Limit::median(rdkafka),
            disk: Limit::median(disk),
        })
    }

    /// The second load finds the segments that the first one has made.
    fn written(&self) -> anyhow::Result<Run> {
        say(&format!("{MANY} connections, for what is written"));
        let home = Home::new("written")?;
        let bridge = Bridge::start(&home, &self.kafka())?;
        let load = Load {
            connections: MANY,
            ..usual(2 * self.seconds)
        };
        run::bridge_to_rest(&bridge, &load)?;
        let run = run::bridge_to_rest(&bridge, &load)?;
        bridge.stop()?;
        Ok(run)
    }

    fn grid(&self) -> anyhow::Result<Vec<Cell>> {
        let connections = [1, 16, 1024].map(|connections| Load {
            connections,
            ..usual(self.seconds)
        });
        let sizes = [512, 16 * 1024, 256 * 1024].map(|body_bytes| Load {
            body_bytes,
            ..usual(self.seconds)
        });
        let cell = |load: Load| {
            say(&format!(
                "{} connections, {} bytes",
                load.connections, load.body_bytes
            ));
            anyhow::Ok(Cell {
                ingress: run::reference(&Server::ingress()?, &load)?,
                durable: run::reference(&Server::durable()?, &load)?,
                kafka: fresh("kafka", &self.kafka(), &load)?,
                store: fresh("store", &Sink::Store, &load)?,
            })
        };
        connections.into_iter().chain(sizes).map(cell).collect()
    }

    /// Fills a spool while the broker is away, and lets it come back.
    #[allow(clippy::cast_precision_loss, reason = "rates to read")]
    fn backlog(&self) -> anyhow::Result<Backlog> {
        let (events, started) = (self.million / 8, self.million as f64 / 100.0);
        let (mut drained, mut lapin) = (vec![], vec![]);
        for round in 1..=self.rounds {
            say(&format!("a RabbitMQ that comes back, round {round}"));
            lapin.push(limit(&self.lapin(60_000))?);
            let (home, place) = (Home::new("backlog")?, self.place("backlog")?);
            let bridge = Bridge::start(&home, &Sink::Nowhere)?;
            run::accepting(&bridge, &amount(events))?;
            bridge.stop()?;
            let bridge = Bridge::start(&home, &self.rabbitmq(&place))?;
            bridge.deliver(started)?;
            drained.push(delivering(&bridge, || bridge.drain_to(started))?);
            bridge.stop()?;
        }
        Ok(Backlog {
            events,
            drained_rate: median(drained.into_iter()),
            lapin: Limit::median(lapin),
        })
    }

    /// All has been delivered to the one sink, and nothing to the other.
    fn away(&self) -> anyhow::Result<Away> {
        say(&format!("{} events for a sink that is away", self.million));
        let (home, sink) = (Home::new("away")?, self.kafka());
        let start = || Bridge::start_with_one_away(&home, &sink);
        let bridge = start()?;
        run::accepting(&bridge, &amount(self.million))?;
        bridge.drain_to(0.0)?;
        bridge.rest()?;
        bridge.stop()?;
        let mut ready = Vec::new();
        for _ in 1..self.rounds {
            let bridge = start()?;
            ready.push(bridge.ready_after.as_secs_f64());
            bridge.stop()?;
        }
        let bridge = start()?;
        ready.push(bridge.ready_after.as_secs_f64());
        let load = Load {
            rate: Some(1000),
            ..usual(3 * self.seconds)
        };
        let unseen = run::accepting(&bridge, &load)?;
        let seen = looking(&bridge, || run::accepting(&bridge, &load))?;
        bridge.stop()?;
        Ok(Away {
            events: self.million,
            ready_seconds: median(ready.into_iter()),
            peak_bytes: seen.usage.peak_bytes,
            unseen,
            seen,
        })
    }

    /// The broker hangs in the middle of a connection that has worked.
    fn large(&self) -> anyhow::Result<Large> {
        let (body_bytes, connections) = LARGE;
        say(&format!("{} bodies of {body_bytes} bytes", self.bodies));
        let (home, place) = (Home::new("large")?, self.place("large")?);
        let relay = Relay::before(&self.amqp_url)?;
        let sink = Sink::RabbitMq {
            url: relay.url.clone(),
            exchange: place.exchange(),
        };
        let bridge = Bridge::start(&home, &sink)?;
        run::bridge(&bridge, &amount(1))?;
        relay.hold();
        let load = Load {
            connections,
            body_bytes,
            ..amount(self.bodies)
        };
        let run = run::accepting_to_rest(&bridge, &load)?;
        Ok(Large {
            events: run.events,
            body_bytes,
            peak_bytes: run.usage.peak_bytes,
        })
    }

    /// Two spools in turn, which differ in their ids alone.
    fn ids(&self) -> anyhow::Result<Ids> {
        say(&format!("{} ids", self.ids));
        let (without, with) = (Home::new("without-ids")?, Home::new("with-ids")?);
        Bridge::start(&with, &Sink::Nowhere)?.stop()?;
        ledger::fill(&with.ids(), self.ids)?;
        let cpu = |home: &Home| {
            let bridge = Bridge::start(home, &Sink::Nowhere)?;
            let cpu = run::accepting_to_rest(&bridge, &usual(self.seconds))?.cpu();
            bridge.stop()?;
            anyhow::Ok(cpu)
        };
        let (mut costs_without, mut costs) = (vec![], vec![]);
        for _ in 0..self.rounds {
            costs_without.push(cpu(&without)?);
            costs.push(cpu(&with)?);
        }
        Ok(Ids {
            ids: self.ids,
            cpu: median(costs.into_iter()),
            cpu_without: median(costs_without.into_iter()),
        })
    }

    /// Nobody and several people look at the page in turn.
    fn watched(&self) -> anyhow::Result<Watched> {
        let home = Home::new("watched")?;
        let bridge = warm(&home, &Sink::Store)?;
        let load = Load {
            rate: Some(1000),
            ..usual(self.short_seconds)
        };
        let (mut unseen, mut seen) = (vec![], vec![]);
        for round in 1..=self.pairs {
            say(&format!("{VIEWERS} people look at the page, round {round}"));
            unseen.push(run::bridge(&bridge, &load)?);
            let _viewers = bridge.viewers(VIEWERS)?;
            seen.push(run::bridge(&bridge, &load)?);
        }
        bridge.stop()?;
        Ok(Watched {
            viewers: VIEWERS,
            unseen,
            seen,
        })
    }

    /// Everybody is started once and has worked before, so that segments and connections are there;
    /// who is not measured has nothing to do.
    fn open(&self) -> anyhow::Result<Vec<Round>> {
        let place = self.place("open")?;
        let homes = (
            Home::new("open-kafka")?,
            Home::new("open-store")?,
            Home::new("open-rabbitmq")?,
        );
        let durable = Server::durable()?;
        let kafka = warm(&homes.0, &self.kafka())?;
        let store = warm(&homes.1, &Sink::Store)?;
        let rabbitmq = warm(&homes.2, &self.rabbitmq(&place))?;
        let lasting = |seconds| Load {
            rate: Some(1000),
            ..usual(seconds)
        };
        let (long, short) = (lasting(self.pair_seconds), lasting(self.short_seconds));
        let round = |number: usize| {
            say(&format!("1,000 events a second, round {number}"));
            anyhow::Ok(Round {
                durable: run::reference(&durable, &long)?,
                kafka: run::bridge(&kafka, &long)?,
                store: run::bridge(&store, &short)?,
                rabbitmq: run::bridge(&rabbitmq, &short)?,
            })
        };
        let rounds: anyhow::Result<Vec<Round>> = (1..=self.pairs).map(round).collect();
        for bridge in [kafka, store, rabbitmq] {
            bridge.stop()?;
        }
        rounds
    }

    fn rdkafka(&self, events: u64) -> Role {
        Role::Kafka(Kafka {
            brokers: self.kafka_brokers.clone(),
            topic: unique("reference"),
            partitions: PARTITIONS,
            body_bytes: 1024,
            events,
        })
    }

    fn lapin(&self, messages: u64) -> Role {
        Role::RabbitMq(RabbitMq {
            url: self.amqp_url.clone(),
            name: unique("reference"),
            channels: 4,
            batch: 256,
            body_bytes: 1024,
            messages,
        })
    }
}

/// A bridge of its own under this load.
fn fresh(name: &str, sink: &Sink, load: &Load) -> anyhow::Result<Run> {
    let home = Home::new(name)?;
    let bridge = Bridge::start(&home, sink)?;
    let run = run::bridge(&bridge, load)?;
    bridge.stop()?;
    Ok(run)
}

/// A bridge that has worked and has nothing to do.
fn warm(home: &Home, sink: &Sink) -> anyhow::Result<Bridge> {
    let bridge = Bridge::start(home, sink)?;
    run::bridge_to_rest(&bridge, &usual(2))?;
    Ok(bridge)
}

/// Events delivered a second while something is done.
fn delivering(bridge: &Bridge, doing: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let delivered = || bridge.metric("events_delivered_total");
    let (before, begun) = (delivered()?, Instant::now());
    doing()?;
    Ok((delivered()? - before) / begun.elapsed().as_secs_f64())
}

/// Does something while the spool is looked at, page by page and again from its beginning.
fn looking<T>(bridge: &Bridge, doing: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut after = 0;
            while !is_done.load(Ordering::Relaxed) {
                after = bridge.look(after)?;
                thread::sleep(LOOK);
            }
            anyhow::Ok(())
        });
        let done = doing();
        is_done.store(true, Ordering::Relaxed);
        let looked = looker.join();
        looked.map_err(|_| anyhow::anyhow!("a look at the spool has panicked"))??;
        done
    })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a group is a few hundred events"
)]
fn disk_role(group: f64, events: usize) -> Role {
    let group = group.round().max(1.0) as usize;
    Role::Disk(Disk {
        // On the disk that the spools are on.
        file: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-reference"),
        event_bytes: 1024 + HEAD_BYTES,
        group,
        groups: events / group,
    })
}

/// A name that no run before has used.
fn unique(name: &str) -> String {
    let now = jiff::Timestamp::now().as_microsecond();
    format!("{SOURCE}-{name}-{now}")
}

fn say(what: &str) {
    eprintln!("whole: {what}");
}
