//! The composition root: the only place that names every concrete type. It builds the bridge from
//! its settings, owns its tasks, and stops them in order.
//!
//! Stopping: new deliveries are refused; requests under way are answered; dispatchers let their
//! publishes end; sinks close; the spool commits what waits and closes; the operators' listener goes
//! last. A crash anywhere in between is as safe, only less polite.

mod labels;
mod vitals;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Operators, Watch};
use crate::config::{
    IngressSettings, RouteSettings, Settings, SinkKind, SinkSettings, SourceSettings,
};
use crate::descriptors::{self, Share};
use crate::event::SinkIndex;
use crate::ingress::{self, Door, Entrance, Limits, Public, Sources};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::pipeline::{Dispatcher, Pipeline, Pulse, Served};
use crate::route::{Route, Router};
use crate::shutdown::Draining;
use crate::sink::kafka::Kafka;
use crate::sink::rabbitmq::RabbitMq;
use crate::sink::store::{Store, TopicLog};
use crate::sink::{Needs, Sink};
use crate::spool::{Place, Spool, Stopped};
use crate::telemetry;

pub use vitals::Vitals;

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    ingress: SocketAddr,
    admin: SocketAddr,
    ingress_handle: ServerHandle,
    admin_handle: ServerHandle,
    draining: Draining,
    pipeline: Arc<Pipeline>,
    sources: Arc<ArcSwap<Sources>>,
    metrics: Arc<Metrics>,
    dispatchers: JoinSet<anyhow::Result<()>>,
    pulses: Vec<(SinkName, Pulse)>,
    stop_dispatchers: CancellationToken,
    servers: JoinSet<anyhow::Result<()>>,
    sinks: Vec<(SinkName, Arc<dyn Sink>)>,
    spool: Spool,
    spool_stopped: Stopped,
    shutdown_timeout: Duration,
}

impl Bridge {
    /// Builds and starts the bridge. Brokers need not be there.
    ///
    /// # Errors
    /// When the spool cannot be opened or an address cannot be bound.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new().context("the metrics cannot be registered")?);
        telemetry::count_panics(Arc::clone(&metrics));
        let names: Vec<SinkName> = settings
            .sinks
            .iter()
            .map(|sink| sink.name.clone())
            .collect();
        labels::show(&metrics, &settings, &names);
        let share = share(&settings.ingress, names.len(), &metrics)?;
        let (spool, spool_stopped) =
            Spool::open(settings.spool.clone(), &names, Arc::clone(&metrics))?;
        let draining = Draining::default();
        let pipeline = Arc::new(pipeline(&settings, &spool, &draining, &metrics)?);
        let needs = needs(&settings);
        let outlets = Outlets::open(settings.sinks, &needs, &spool, &metrics)?;
        let sources = Arc::new(ArcSwap::from_pointee(entrances(settings.sources)));
        let door = Door {
            sources: Arc::clone(&sources),
            limits: limits(&settings.ingress),
            pipeline: Arc::clone(&pipeline),
            metrics: Arc::clone(&metrics),
        };
        let operators = Operators {
            listen: settings.admin,
            watch: Watch {
                pipeline: Arc::clone(&pipeline),
                sinks: outlets.sinks.clone(),
                metrics: Arc::clone(&metrics),
            },
            topics: outlets.topics,
            max_connections: share.operators,
            served: names,
        };
        let operators = admin::bind(operators)
            .with_context(|| format!("admin.listen: cannot listen on {}", settings.admin))?;
        let public = ingress::bind(
            &public(&settings.ingress, share, settings.shutdown_timeout),
            Arc::new(door),
        )
        .with_context(|| {
            format!(
                "ingress.listen: cannot listen on {}",
                settings.ingress.listen
            )
        })?;
        let mut servers = JoinSet::new();
        servers.spawn(async move { public.server.await.context("the public listener") });
        servers.spawn(async move { operators.server.await.context("the operators' listener") });
        Ok(Self {
            ingress: public.address,
            admin: operators.address,
            ingress_handle: public.handle,
            admin_handle: operators.handle,
            draining,
            pipeline,
            sources,
            metrics,
            dispatchers: outlets.dispatchers,
            pulses: outlets.pulses,
            stop_dispatchers: outlets.stop,
            servers,
            sinks: outlets.sinks,
            spool,
            spool_stopped,
            shutdown_timeout: settings.shutdown_timeout,
        })
    }

    /// Where webhooks are received.
    #[must_use]
    pub fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    /// Where operators look.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The parts that show whether the bridge works.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        Vitals {
            spool: self.spool.clone(),
            dispatchers: self.pulses.clone(),
        }
    }

    /// Takes over the sources and routes of a new configuration: secrets, tolerances, rate limits,
    /// event types. Requests under way keep the old ones. Everything else needs a restart.
    ///
    /// # Errors
    /// When a route leads to a sink that is not running; the old configuration then stays.
    pub fn reload(&self, settings: Settings) -> anyhow::Result<()> {
        let running = |name: &SinkName| self.sinks.iter().any(|(known, _)| known == name);
        if let Some(new) = settings.sinks.iter().find(|sink| !running(&sink.name)) {
            return Err(anyhow!(
                "sink.{}: this sink is new; a restart is needed to open it",
                new.name
            ));
        }
        self.pipeline
            .router
            .store(Arc::new(router(&settings, &self.spool)?));
        self.sources.store(Arc::new(entrances(settings.sources)));
        self.show_reload(true);
        Ok(())
    }

    /// Notes that a new configuration is not taken over; the old one stays.
    pub fn reload_failed(&self) {
        self.show_reload(false);
    }

    fn show_reload(&self, worked: bool) {
        self.metrics
            .config_last_reload_successful
            .set(i64::from(worked));
        if worked {
            self.metrics
                .config_last_reload_timestamp_seconds
                .set(Timestamp::now().as_second());
        }
    }

    /// Waits for a part that ends although nobody stopped it.
    pub async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            Some(ended) = self.dispatchers.join_next() => unexpected(ended),
            Some(ended) = self.servers.join_next() => unexpected(ended),
            _ = &mut self.spool_stopped => anyhow!("the spool's thread has ended"),
            name = ended(&self.sinks) => anyhow!("a task of sink {name} has ended"),
        }
    }

    /// Stops in order, within the deadline. What has not been delivered by then stays in the spool.
    ///
    /// # Errors
    /// When a part failed on the way.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.shutdown_timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.draining.begin();
        // Half of the time for requests under way, so that a stuck one leaves some for the rest.
        if tokio::time::timeout(left() / 2, self.ingress_handle.stop(true))
            .await
            .is_err()
        {
            tracing::warn!("some requests did not end in time");
        }
        self.stop_dispatchers.cancel();
        let publishes = async { while self.dispatchers.join_next().await.is_some() {} };
        if tokio::time::timeout(left() / 2, publishes).await.is_err() {
            tracing::warn!(
                "some publishes did not end in time; their events are published again after the next start"
            );
        }
        self.dispatchers.shutdown().await;
        let closing = self.sinks.iter().map(|(_, sink)| sink.close(left() / 2));
        futures_util::future::join_all(closing).await;
        let closed =
            tokio::time::timeout(left().max(Duration::from_millis(500)), self.spool.close()).await;
        self.admin_handle.stop(false).await;
        closed.context("the spool did not close in time; the next start recovers it")
    }
}

/// The sinks, each with its dispatcher.
struct Outlets {
    sinks: Vec<(SinkName, Arc<dyn Sink>)>,
    topics: Option<TopicLog>,
    dispatchers: JoinSet<anyhow::Result<()>>,
    pulses: Vec<(SinkName, Pulse)>,
    stop: CancellationToken,
}

impl Outlets {
    fn open(
        settings: Vec<SinkSettings>,
        needs: &Needs,
        spool: &Spool,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let mut outlets = Self {
            sinks: Vec::new(),
            topics: None,
            dispatchers: JoinSet::new(),
            pulses: Vec::new(),
            stop: CancellationToken::new(),
        };
        for SinkSettings { name, pace, kind } in settings {
            let (sink, topics) = open_sink(kind, needs).with_context(|| format!("sink {name}"))?;
            outlets.topics = outlets.topics.or(topics);
            let served = Served {
                name: name.clone(),
                index: index(spool, &name)?,
                sink: Arc::clone(&sink),
            };
            let dispatcher = Dispatcher::new(served, spool.clone(), pace, Arc::clone(metrics));
            outlets.pulses.push((name.clone(), dispatcher.pulse()));
            let (stop, of) = (outlets.stop.clone(), name.clone());
            let run = async move {
                dispatcher
                    .run(stop)
                    .await
                    .with_context(|| format!("the dispatcher of sink {of}"))
            };
            outlets.dispatchers.spawn(run);
            outlets.sinks.push((name, sink));
        }
        Ok(outlets)
    }
}

fn index(spool: &Spool, name: &SinkName) -> anyhow::Result<SinkIndex> {
    spool
        .sink(name)
        .ok_or_else(|| anyhow!("the spool does not know sink {name}"))
}

fn pipeline(
    settings: &Settings,
    spool: &Spool,
    draining: &Draining,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Pipeline> {
    Ok(Pipeline {
        router: ArcSwap::from_pointee(router(settings, spool)?),
        spool: spool.clone(),
        milestone: settings.milestone,
        keeps_dead_letters: settings.spool.place != Place::Memory,
        deadline: settings.acknowledge_timeout,
        // Half of what the listener gets.
        grace: settings.shutdown_timeout / 4,
        draining: draining.clone(),
        metrics: Arc::clone(metrics),
    })
}

fn limits(ingress: &IngressSettings) -> Limits {
    Limits {
        max_body_bytes: ingress.max_body_bytes,
        body_timeout: ingress.body_timeout,
    }
}

/// Who may hold how many connections, within what the system allows.
fn share(ingress: &IngressSettings, sinks: usize, metrics: &Metrics) -> anyhow::Result<Share> {
    let limit = descriptors::raise_limit();
    let wanted = ingress.max_connections;
    let share = Share::of(limit, (ingress.workers, sinks), wanted)?;
    if share.senders < wanted {
        tracing::warn!(
            limit,
            wanted,
            given = share.senders,
            "ingress.max_connections: the limit on open files leaves fewer connections; raise it (`ulimit -n`, or `LimitNOFILE=` in a systemd unit), or ask for fewer"
        );
    }
    metrics
        .http_max_connections
        .set(i64::try_from(share.senders).unwrap_or(i64::MAX));
    Ok(share)
}

fn public(ingress: &IngressSettings, share: Share, shutdown_timeout: Duration) -> Public {
    Public {
        listen: ingress.listen,
        head_timeout: ingress.head_timeout,
        keep_alive: ingress.keep_alive,
        max_connections: share.senders,
        workers: ingress.workers,
        shutdown_timeout,
    }
}

/// Returns the first sink that has ended.
async fn ended(sinks: &[(SinkName, Arc<dyn Sink>)]) -> &SinkName {
    let mut ends: FuturesUnordered<_> = sinks
        .iter()
        .map(async |(name, sink)| {
            sink.ended().await;
            name
        })
        .collect();
    match ends.next().await {
        Some(name) => name,
        None => std::future::pending().await,
    }
}

fn unexpected(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("a part of the bridge has ended"),
        Ok(Err(error)) => error,
        Err(error) => anyhow!(error),
    }
}

/// Opens a sink; a store also has topics to show.
///
/// # Errors
/// When a store's file cannot be opened or a client library refuses its settings.
pub fn open_sink(
    kind: SinkKind,
    needs: &Needs,
) -> anyhow::Result<(Arc<dyn Sink>, Option<TopicLog>)> {
    Ok(match kind {
        SinkKind::Kafka(settings) => (Arc::new(Kafka::new(*settings, needs)?), None),
        SinkKind::RabbitMq(settings) => (Arc::new(RabbitMq::new(*settings, needs.clone())), None),
        SinkKind::Store(settings) => {
            let store = Store::open(settings)?;
            let log = store.log();
            (Arc::new(store), Some(log))
        }
    })
}

/// What the configured sources will send.
#[must_use]
pub fn needs(settings: &Settings) -> Needs {
    let of = |source: &SourceSettings| (source.source.name.clone(), source.event_types.clone());
    Needs {
        sources: settings.sources.iter().map(of).collect(),
    }
}

fn entrances(sources: Vec<SourceSettings>) -> Sources {
    let entrance = |settings: SourceSettings| {
        (
            settings.source.name.to_string(),
            Entrance::new(settings.source, settings.rate_limit),
        )
    };
    sources.into_iter().map(entrance).collect()
}

fn router(settings: &Settings, spool: &Spool) -> anyhow::Result<Router> {
    let route = |route: &RouteSettings| -> anyhow::Result<Route> {
        let sinks = route
            .sinks
            .iter()
            .map(|name| index(spool, name))
            .collect::<anyhow::Result<_>>()?;
        Ok(Route {
            source: route.source.clone(),
            event_types: route.event_types.clone(),
            sinks,
        })
    };
    let routes = settings
        .routes
        .iter()
        .map(route)
        .collect::<anyhow::Result<_>>()?;
    let known: HashMap<_, _> = settings
        .sources
        .iter()
        .map(|source| {
            (
                source.source.name.clone(),
                source.event_types.iter().cloned().collect(),
            )
        })
        .collect();
    Ok(Router::new(routes, known))
}
