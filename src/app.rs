//! The composition root: the only place that names every concrete type. It builds the bridge from
//! its settings, owns its tasks, and stops them in order.
//!
//! Stopping: new deliveries are refused; requests under way are answered; dispatchers let their
//! publishes end; sinks close; the spool commits what waits and closes; the operators' listener goes
//! last. A crash anywhere in between is as safe, only less polite.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Operators, Watch};
use crate::config::{RouteSettings, Settings, SinkKind, SinkSettings, SourceSettings};
use crate::event::{QuarantineReason, SinkIndex};
use crate::ingress::{self, Door, Entrance, Limits, Problem, Public, Sources};
use crate::metrics::Metrics;
use crate::name::{EventType, SinkName};
use crate::pipeline::{Dispatcher, Pipeline, Refusal};
use crate::route::{Route, Router};
use crate::shutdown::Draining;
use crate::sink::kafka::Kafka;
use crate::sink::rabbitmq::RabbitMq;
use crate::sink::store::{Store, TopicLog};
use crate::sink::{Needs, RefusalReason, Sink};
use crate::source::Rejection;
use crate::spool::{Place, Spool, Stopped};
use crate::telemetry;

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    ingress: SocketAddr,
    admin: SocketAddr,
    ingress_handle: ServerHandle,
    admin_handle: ServerHandle,
    draining: Draining,
    sources: Arc<ArcSwap<Sources>>,
    metrics: Arc<Metrics>,
    dispatchers: JoinSet<anyhow::Result<()>>,
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
        show_labels(&metrics, &settings, &names);
        let keeps_dead_letters = settings.spool.place != Place::Memory;
        let (spool, spool_stopped) =
            Spool::open(settings.spool.clone(), &names, Arc::clone(&metrics))?;
        let index = |name: &SinkName| {
            spool
                .sink(name)
                .ok_or_else(|| anyhow!("the spool does not know sink {name}"))
        };
        let needs = needs(&settings);
        let draining = Draining::default();
        let pipeline = Arc::new(Pipeline {
            router: router(&settings, &index)?,
            spool: spool.clone(),
            milestone: settings.milestone,
            keeps_dead_letters,
            deadline: settings.acknowledge_timeout,
            draining: draining.clone(),
            metrics: Arc::clone(&metrics),
        });
        let stop_dispatchers = CancellationToken::new();
        let mut dispatchers = JoinSet::new();
        let (mut sinks, mut topics) = (Vec::new(), None);
        for SinkSettings { name, pace, kind } in settings.sinks {
            let (sink, log) = open_sink(kind, &needs).with_context(|| format!("sink {name}"))?;
            topics = topics.or(log);
            let dispatcher = Dispatcher::new(
                name.clone(),
                index(&name)?,
                Arc::clone(&sink),
                spool.clone(),
                pace,
                Arc::clone(&metrics),
            );
            let stop = stop_dispatchers.clone();
            let of = name.clone();
            dispatchers.spawn(async move {
                dispatcher
                    .run(stop)
                    .await
                    .with_context(|| format!("the dispatcher of sink {of}"))
            });
            sinks.push((name, sink));
        }
        let sources = Arc::new(ArcSwap::from_pointee(entrances(settings.sources)));
        let public = Public {
            listen: settings.ingress.listen,
            head_timeout: settings.ingress.head_timeout,
            keep_alive: settings.ingress.keep_alive,
            max_connections: settings.ingress.max_connections,
            workers: settings.ingress.workers,
            shutdown_timeout: settings.shutdown_timeout,
        };
        let limits = Limits {
            max_body_bytes: settings.ingress.max_body_bytes,
            body_timeout: settings.ingress.body_timeout,
        };
        let door = Door {
            sources: Arc::clone(&sources),
            limits,
            pipeline: Arc::clone(&pipeline),
            metrics: Arc::clone(&metrics),
        };
        let watch = Watch {
            pipeline,
            sinks: sinks.clone(),
            metrics: Arc::clone(&metrics),
        };
        let operators = admin::bind(Operators {
            listen: settings.admin,
            watch,
            topics,
            served: names,
        })
        .with_context(|| format!("admin.listen: cannot listen on {}", settings.admin))?;
        let public = ingress::bind(&public, Arc::new(door)).with_context(|| {
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
            sources,
            metrics,
            dispatchers,
            stop_dispatchers,
            servers,
            sinks,
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

    /// Takes over the sources of a new configuration: secrets, tolerances and rate limits. Requests
    /// under way keep the old ones.
    pub fn reload_sources(&self, sources: Vec<SourceSettings>) {
        self.sources.store(Arc::new(entrances(sources)));
        self.show_reload(true);
    }

    /// Notes that a new configuration could not be read; the old one stays.
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

fn router(
    settings: &Settings,
    index: &dyn Fn(&SinkName) -> anyhow::Result<SinkIndex>,
) -> anyhow::Result<Router> {
    let route = |route: &RouteSettings| -> anyhow::Result<Route> {
        let sinks = route
            .sinks
            .iter()
            .map(index)
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

/// Gives every closed-set label its series from the first scrape on, so that a rate over a counter
/// that starts with its first event misses nothing.
fn show_labels(metrics: &Metrics, settings: &Settings, sinks: &[SinkName]) {
    metrics
        .build_info
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
    metrics.config_last_reload_successful.set(1);
    metrics
        .config_last_reload_timestamp_seconds
        .set(Timestamp::now().as_second());
    let reasons = || {
        Problem::REJECTIONS
            .map(Problem::reason)
            .into_iter()
            .chain(Rejection::ALL.map(Rejection::reason))
    };
    for reason in Refusal::ALL {
        metrics
            .deliveries_refused_total
            .with_label_values(&[reason.reason()]);
    }
    for reason in QuarantineReason::ALL {
        metrics
            .events_quarantined_total
            .with_label_values(&[reason.as_str()]);
    }
    metrics
        .deliveries_rejected_total
        .with_label_values(&["unknown", Problem::UnknownSource.reason()]);
    for SourceSettings {
        source,
        event_types,
        ..
    } in &settings.sources
    {
        let labels = || {
            event_types
                .iter()
                .map(EventType::as_str)
                .chain(["other", "quarantine"])
        };
        for reason in reasons() {
            metrics
                .deliveries_rejected_total
                .with_label_values(&[source.name.as_str(), reason]);
        }
        metrics
            .events_duplicate_total
            .with_label_values(&[source.name.as_str()]);
        for label in labels() {
            metrics
                .events_accepted_total
                .with_label_values(&[source.name.as_str(), label]);
            for sink in sinks {
                metrics
                    .events_delivered_total
                    .with_label_values(&[sink.as_str(), label]);
            }
        }
    }
    for sink in sinks {
        for reason in RefusalReason::ALL {
            metrics
                .events_dead_lettered_total
                .with_label_values(&[sink.as_str(), reason.as_str()]);
        }
        for result in ["confirmed", "unavailable", "unroutable", "refused"] {
            metrics
                .publish_attempts_total
                .with_label_values(&[sink.as_str(), result]);
        }
        metrics
            .last_delivery_timestamp_seconds
            .with_label_values(&[sink.as_str()])
            .set(0);
    }
}
