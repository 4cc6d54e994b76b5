//! The course of the benchmark: what is measured, in which order. The references run between the
//! bridges, so that a machine that slows down slows them alike.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bridge::{Bridge, Home, Sink};
use crate::delivery::SOURCE;
use crate::findings::{Backlog, Cell, Findings, Growth, Open, Size, Usual};
use crate::ledger;
use crate::load::Load;
use crate::reference::Limit;
use crate::reference::disk::Disk;
use crate::reference::kafka::Kafka;
use crate::reference::rabbitmq::{Place, RabbitMq};
use crate::reference::sqlite::Sqlite;
use crate::role::{Role, limit};
use crate::run::{self, Run, usual};

/// What a record holds beside the body, in bytes; the references write as much.
const HEAD_BYTES: usize = 550;
/// As in the bridge's topics.
const PARTITIONS: i32 = 3;

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
    /// Events that are to be many.
    pub million: u64,
    /// Ids that are to be many.
    pub ids: u64,
}

impl Course {
    /// Runs all of it.
    pub fn run(&self) -> anyhow::Result<Findings> {
        let mut size = Size::default();
        let mut growth = Vec::new();
        let usual = self.usual(&mut size)?;
        let grid = self.grid()?;
        let open = self.open()?;
        let backlog = self.backlog()?;
        for cell in grid.iter().filter(|cell| cell.kafka.body_bytes == 1024) {
            growth.push(Growth {
                with: format!("{} connections", cell.kafka.connections),
                cpu: cell.kafka.cpu(),
                least: usual.kafka.cpu(),
            });
        }
        self.million(&mut size, &mut growth)?;
        self.ids(&mut growth)?;
        self.objects(&usual, &mut growth)?;
        Ok(Findings {
            usual,
            grid,
            open,
            backlog,
            size,
            growth,
        })
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

    fn usual(&self, size: &mut Size) -> anyhow::Result<Usual> {
        let load = usual(self.seconds);
        let (mut ingress, mut kafka, mut store, mut rabbitmq) = (vec![], vec![], vec![], vec![]);
        let (mut lapin, mut rdkafka, mut disk, mut sqlite) = (vec![], vec![], vec![], vec![]);
        for round in 1..=self.rounds {
            say(&format!("the usual load, round {round}"));
            ingress.push(run::ingress(&load)?);
            kafka.push(self.kafka_under_usual(&load, size)?);
            rdkafka.push(limit(&self.rdkafka(400_000))?);
            store.push(fresh("store", &Sink::Store, &load)?);
            let group = kafka.last().map_or(64.0, |run| run.group);
            disk.push(limit(&disk_role(group, 200_000)?)?);
            sqlite.push(limit(&sqlite_role(group, 200_000)?)?);
            lapin.push(limit(&self.lapin(60_000))?);
            let place = self.place("usual")?;
            rabbitmq.push(fresh("rabbitmq", &self.rabbitmq(&place), &load)?);
        }
        Ok(Usual {
            ingress: Run::median(ingress),
            kafka: Run::median(kafka),
            rabbitmq: Run::median(rabbitmq),
            store: Run::median(store),
            lapin: Limit::median(lapin),
            rdkafka: Limit::median(rdkafka),
            disk: Limit::median(disk),
            sqlite: Limit::median(sqlite),
        })
    }

    fn kafka_under_usual(&self, load: &Load, size: &mut Size) -> anyhow::Result<Run> {
        let home = Home::new("kafka")?;
        let bridge = Bridge::start(&home, &self.kafka())?;
        let idle = bridge.usage()?;
        let run = run::bridge(&bridge, load)?;
        size.idle_bytes = size.idle_bytes.max(idle.resident_bytes);
        size.loaded_bytes = size.loaded_bytes.max(run.usage.peak_bytes);
        size.ready_seconds = size.ready_seconds.max(bridge.ready_after.as_secs_f64());
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
            Ok(Cell {
                ingress: run::ingress(&load)?,
                kafka: fresh("kafka", &self.kafka(), &load)?,
                store: fresh("store", &Sink::Store, &load)?,
            })
        };
        connections.into_iter().chain(sizes).map(cell).collect()
    }

    fn open(&self) -> anyhow::Result<Open> {
        let load = Load {
            rate: Some(1000),
            ..usual(2 * self.seconds)
        };
        let (mut ingress, mut kafka, mut disk) = (vec![], vec![], vec![]);
        for round in 1..=self.rounds {
            say(&format!("1,000 events a second, round {round}"));
            ingress.push(run::ingress(&load)?);
            disk.push(limit(&disk_role(1.0, 4_000)?)?);
            kafka.push(fresh("kafka", &self.kafka(), &load)?);
        }
        let by_p99 = |runs: &mut Vec<Run>| {
            runs.sort_by(|one, other| one.latency.p99.total_cmp(&other.latency.p99));
            runs.swap_remove(runs.len() / 2)
        };
        Ok(Open {
            ingress: by_p99(&mut ingress),
            kafka: by_p99(&mut kafka),
            disk: Limit::median(disk),
        })
    }

    /// Fills a spool while the broker is away, and lets it come back.
    #[allow(clippy::cast_precision_loss, reason = "rates to read")]
    fn backlog(&self) -> anyhow::Result<Backlog> {
        say("a RabbitMQ that comes back");
        let (home, place) = (Home::new("backlog")?, self.place("backlog")?);
        let (waiting, started) = (self.million / 8, self.million as f64 / 100.0);
        fill(&home, waiting)?;
        let bridge = Bridge::start(&home, &self.rabbitmq(&place))?;
        bridge.deliver(started)?;
        let alone = delivering(&bridge, || bridge.drain_to(started))?;
        bridge.stop()?;

        drop(place);
        let place = self.place("backlog")?;
        fill(&home, 2 * waiting)?;
        let bridge = Bridge::start(&home, &self.rabbitmq(&place))?;
        bridge.deliver(started)?;
        let mut accepted = 0.0;
        let under_load = delivering(&bridge, || {
            accepted = run::accepting(&bridge, &usual(self.seconds))?.accepted_rate;
            Ok(())
        })?;
        Ok(Backlog {
            alone,
            under_load,
            accepted,
        })
    }

    fn million(&self, size: &mut Size, growth: &mut Vec<Growth>) -> anyhow::Result<()> {
        say(&format!("{} events in the spool", self.million));
        let home = Home::new("million")?;
        let bridge = Bridge::start(&home, &Sink::Nowhere)?;
        let least = run::accepting(&bridge, &usual(self.seconds))?.cpu();
        bridge.stop()?;
        fill(&home, self.million)?;
        let bridge = Bridge::start(&home, &Sink::Nowhere)?;
        let run = run::accepting(&bridge, &usual(self.seconds))?;
        size.ready_million_seconds = bridge.ready_after.as_secs_f64();
        size.million_bytes = run.usage.peak_bytes;
        growth.push(Growth {
            with: format!("{} events in the spool", self.million),
            cpu: run.cpu(),
            least,
        });
        bridge.stop()
    }

    fn ids(&self, growth: &mut Vec<Growth>) -> anyhow::Result<()> {
        say(&format!("{} ids in the ledger", self.ids));
        let home = Home::new("ids")?;
        let bridge = Bridge::start(&home, &Sink::Nowhere)?;
        let least = run::accepting(&bridge, &usual(self.seconds))?.cpu();
        bridge.stop()?;
        ledger::fill(&home.spool(), self.ids)?;
        let bridge = Bridge::start(&home, &Sink::Nowhere)?;
        growth.push(Growth {
            with: format!("{} ids in the ledger", self.ids),
            cpu: run::accepting(&bridge, &usual(self.seconds))?.cpu(),
            least,
        });
        bridge.stop()
    }

    /// With few objects most events wait for the one before them; each such turn takes the broker's
    /// time, so that the load ends sooner.
    fn objects(&self, usual_runs: &Usual, growth: &mut Vec<Growth>) -> anyhow::Result<()> {
        for (objects, most) in [(1, 1_000), (100, 20_000), (100_000, u64::MAX)] {
            say(&format!("{objects} objects"));
            let load = Load {
                objects,
                most,
                ..usual(self.seconds)
            };
            growth.push(Growth {
                with: format!("{objects} distinct objects"),
                cpu: fresh("kafka", &self.kafka(), &load)?.cpu(),
                least: usual_runs.kafka.cpu(),
            });
        }
        Ok(())
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

/// Puts so many events into a spool.
fn fill(home: &Home, events: u64) -> anyhow::Result<()> {
    let bridge = Bridge::start(home, &Sink::Nowhere)?;
    let load = Load {
        most: events,
        warm_up: Duration::ZERO,
        ..usual(600)
    };
    run::accepting(&bridge, &load)?;
    bridge.stop()
}

/// Events delivered a second while something is done.
fn delivering(bridge: &Bridge, doing: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let delivered = || bridge.metric("events_delivered_total");
    let (before, begun) = (delivered()?, Instant::now());
    doing()?;
    Ok((delivered()? - before) / begun.elapsed().as_secs_f64())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a group is a few hundred events"
)]
fn whole(group: f64) -> usize {
    group.round().max(1.0) as usize
}

fn disk_role(group: f64, events: usize) -> anyhow::Result<Role> {
    let group = whole(group);
    Ok(Role::Disk(Disk {
        file: reference_file()?,
        event_bytes: 1024 + HEAD_BYTES,
        group,
        groups: events / group,
    }))
}

fn sqlite_role(group: f64, events: usize) -> anyhow::Result<Role> {
    let group = whole(group);
    Ok(Role::Sqlite(Sqlite {
        file: reference_file()?,
        head_bytes: HEAD_BYTES,
        body_bytes: 1024,
        group,
        groups: events / group,
    }))
}

/// On the disk that the spools are on.
fn reference_file() -> anyhow::Result<PathBuf> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-reference.db");
    hookferry::sqlite::remove_database(&file)?;
    Ok(file)
}

/// A name that no run before has used.
fn unique(name: &str) -> String {
    let now = jiff::Timestamp::now().as_microsecond();
    format!("{SOURCE}-{name}-{now}")
}

fn say(what: &str) {
    eprintln!("whole: {what}");
}
