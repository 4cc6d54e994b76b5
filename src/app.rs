//! The composition root: the only place that names every concrete type. It builds the bridge from
//! its settings, owns its tasks, and stops them in order.
//!
//! Stopping: gap recovery ends where it stands; new deliveries are answered 503 for a moment, then
//! not at all; requests under way are answered; dispatchers let their publishes end; sinks close; the spool commits what waits and
//! closes; the operators' listener goes last. A crash anywhere in between is as safe, only less
//! polite.

mod certificates;
mod connection_setup;
mod labels;
mod listeners;
mod liveness;
mod offline_backfill;
mod reload;
mod running_recovery;
mod running_sinks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;

use crate::admin::{AccessRules, AdminServer, HealthState};
use crate::backfill::RecoveryHandle;
use crate::config::{KeyHashes, Settings};
use crate::descriptors::ConnectionLimits;
use crate::ingress::{ConnectionSetup, HandlerRules, InFlight, WebhookHandler};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::pipeline::{LoggedObjects, Pipeline};
use crate::shutdown::Draining;
use crate::sink::Needs;
use crate::spool::{Spool, SpoolLocation, SpoolStopped};
use crate::telemetry;
use crate::threads;
use crate::trace::Tracer;
use listeners::Listeners;
pub use liveness::Liveness;
pub use offline_backfill::OfflineBackfill;
pub use reload::Reloaded;
use running_recovery::RunningRecovery;
use running_sinks::RunningSinks;
pub use running_sinks::{needs, open_sink};

/// How long the last spans may take to the collector, once everything else has stopped.
const TRACE_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the listener goes on after the stop was asked for, at most, answering 503.
///
/// A request that was sent just before may still wait in the system's queue of new connections, or on
/// a connection that was kept alive; a listener that closed at once would leave both unanswered.
const LAME_DUCK: Duration = Duration::from_millis(500);

/// How long the operators' listener may take to end, in which nothing is kept.
const ADMIN_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Threads of the spool, of the listeners, and those that wait for a disk.
const OWN_THREADS: usize = 10;
/// Those of a sink's client library, with a few brokers.
const THREADS_PER_SINK: usize = 6;

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    listeners: Listeners,
    draining: Draining,
    /// What the webhook handler goes by.
    rules: Arc<ArcSwap<HandlerRules>>,
    /// What connections begin with.
    connection_setup: Arc<ArcSwap<ConnectionSetup>>,
    /// Who may ask the operators' listener.
    access: Arc<ArcSwap<AccessRules>>,
    metrics: Arc<Metrics>,
    sinks: RunningSinks,
    recovery: RunningRecovery,
    spool: Spool,
    spool_stopped: SpoolStopped,
    tracer: Tracer,
    /// What the settings were read from: the rest of it stays as it is until the next start.
    started_as: KeyHashes,
    /// What the sinks were opened for.
    started_for: Needs,
    /// The folders of the spool and of the store, which it holds.
    folders: Vec<PathBuf>,
    shutdown_timeout: Duration,
}

impl Bridge {
    /// Builds and starts the bridge. Brokers need not be there.
    ///
    /// # Errors
    /// When the spool cannot be opened or an address cannot be bound.
    pub fn start(mut settings: Settings) -> anyhow::Result<Self> {
        let limits = listeners::connection_limits(settings.sinks.len())?;
        threads::can_be_made(
            OWN_THREADS + limits.workers + THREADS_PER_SINK * settings.sinks.len(),
        )?;
        let metrics = Arc::new(Metrics::new().context("the metrics cannot be registered")?);
        metrics
            .http_max_connections
            .set(i64::try_from(limits.ingress).unwrap_or(i64::MAX));
        telemetry::count_in(Arc::clone(&metrics));
        let names: Vec<SinkName> = settings.sinks.iter().map(|it| it.name.clone()).collect();
        labels::show(&metrics, &settings, &names);
        let (spool, spool_stopped) =
            Spool::open(settings.spool.clone(), &names, Arc::clone(&metrics))?;
        let tracer = Tracer::start(settings.trace.as_ref(), &metrics)?;
        let draining = Draining::default();
        let folders = settings.folders();
        let started_for = needs(&settings);
        let sinks = std::mem::take(&mut settings.sinks);
        let pipeline = pipeline(&settings, &spool, &draining, &metrics);
        let observers = (&tracer, &pipeline.recorder, &metrics);
        let sinks = RunningSinks::open(sinks, &started_for, &spool, observers)?;
        let handler = WebhookHandler {
            rules: Arc::new(ArcSwap::from_pointee(reload::rules(
                &settings, &spool, None, &metrics,
            )?)),
            in_flight: Arc::new(InFlight::shown_by(
                metrics.http_requests_in_flight.clone(),
                metrics.http_body_bytes_in_flight.clone(),
            )),
            pipeline,
            tracer: tracer.clone(),
            refusals: Arc::default(),
            metrics: Arc::clone(&metrics),
        };
        let connection_setup = connection_setup::first(&settings.ingress);
        let connection_setup = Arc::new(ArcSwap::from_pointee(connection_setup));
        let terms = Arc::clone(&handler.rules.load().terms);
        let recovery = RunningRecovery::start(&settings, &terms, &handler.pipeline);
        let parts = (&sinks, &handler, &recovery.handle);
        let admin = admin(&settings, parts, (&limits, &metrics));
        Ok(Self {
            rules: Arc::clone(&handler.rules),
            access: Arc::clone(&admin.rules),
            listeners: Listeners::bind(&settings, limits, (&handler, &connection_setup), admin)?,
            draining,
            connection_setup,
            metrics,
            sinks,
            recovery,
            spool,
            spool_stopped,
            tracer,
            started_for,
            folders,
            started_as: settings.key_hashes,
            shutdown_timeout: settings.shutdown_timeout,
        })
    }

    /// Where webhooks are received.
    #[must_use]
    pub fn ingress(&self) -> SocketAddr {
        self.listeners.ingress.address
    }

    /// Where operators look.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.listeners.admin.address
    }

    /// Where scrapers and probes look, if they have a listener of their own.
    #[must_use]
    pub fn metrics_listener(&self) -> Option<SocketAddr> {
        let listener = self.listeners.metrics.as_ref();
        listener.map(|listener| listener.address)
    }

    /// Returns once every listener takes connections.
    ///
    /// # Errors
    /// When a part fails before, such as for want of a thread.
    pub async fn serving(&mut self) -> anyhow::Result<()> {
        for serves in std::mem::take(&mut self.listeners.serving) {
            tokio::select! {
                Ok(()) = serves => {}
                error = self.failed() => return Err(error),
            }
        }
        Ok(())
    }

    /// The folders that it holds for as long as it runs.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The parts whose answers show that the bridge works.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        Liveness {
            spool: self.spool.clone(),
            dispatchers: self.sinks.probes.clone(),
        }
    }

    /// Waits for a part that ends although nobody stopped it.
    pub async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            Some(ended) = self.sinks.dispatchers.join_next() => unexpected(ended),
            Some(ended) = self.listeners.servers.join_next() => unexpected(ended),
            Some(ended) = self.recovery.task.join_next() => unexpected(ended),
            _ = &mut self.spool_stopped => anyhow!("the spool's thread has ended"),
            name = running_sinks::ended(&self.sinks.open) => anyhow!("a task of sink {name} has ended"),
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
        self.recovery.stop().await;
        tokio::time::sleep(LAME_DUCK.min(left() / 8)).await;
        // Half of the time for requests under way, so that a stuck one leaves some for the rest.
        if tokio::time::timeout(left() / 2, self.listeners.ingress.handle.stop(true))
            .await
            .is_err()
        {
            tracing::warn!("some requests did not end in time");
        }
        self.sinks.stop.cancel();
        let publishes = async { while self.sinks.dispatchers.join_next().await.is_some() {} };
        if tokio::time::timeout(left() / 2, publishes).await.is_err() {
            tracing::warn!(
                "some publishes did not end in time; their events are published again after the next start"
            );
        }
        self.sinks.dispatchers.shutdown().await;
        let closing = self
            .sinks
            .open
            .iter()
            .map(|(_, sink)| sink.close(left() / 2));
        futures_util::future::join_all(closing).await;
        let closed =
            tokio::time::timeout(left().max(Duration::from_millis(500)), self.spool.close()).await;
        let closing = [Some(&self.listeners.admin), self.listeners.metrics.as_ref()];
        let closing = closing.into_iter().flatten();
        let closing = futures_util::future::join_all(closing.map(|it| it.handle.stop(false)));
        // A page that an operator is waiting for does not matter any more.
        let _ = tokio::time::timeout(ADMIN_STOP_TIMEOUT, closing).await;
        let tracer = self.tracer.clone();
        let flush = tokio::task::spawn_blocking(move || tracer.close(TRACE_FLUSH_TIMEOUT));
        // What the collector has not taken by then is lost, and nothing else is.
        let _ = tokio::time::timeout(TRACE_FLUSH_TIMEOUT, flush).await;
        closed.context("the spool did not close in time; the next start recovers it")
    }
}

/// The operators' listener and what it shows.
fn admin(
    settings: &Settings,
    (sinks, handler, recovery): (&RunningSinks, &WebhookHandler, &RecoveryHandle),
    (limits, metrics): (&ConnectionLimits, &Arc<Metrics>),
) -> AdminServer {
    AdminServer {
        listen: settings.admin.listen,
        rules: Arc::new(ArcSwap::from_pointee(settings.admin.rules.clone())),
        health: Arc::new(HealthState::new(
            handler.pipeline.clone(),
            sinks.open.clone(),
            Arc::clone(metrics),
        )),
        topics: sinks.topics.clone(),
        max_connections: limits.admin,
        max_waiting: limits.waiting_readers,
        max_viewers: limits.viewers,
        served: sinks.names(),
        recovery: recovery.clone(),
        handler: Arc::clone(&handler.rules),
    }
}

fn pipeline(
    settings: &Settings,
    spool: &Spool,
    draining: &Draining,
    metrics: &Arc<Metrics>,
) -> Pipeline {
    Pipeline {
        spool: spool.clone(),
        milestone: settings.milestone,
        keeps_dead_letters: settings.spool.location != SpoolLocation::Memory,
        // Half of what the listener gets.
        grace: settings.shutdown_timeout / 4,
        draining: draining.clone(),
        metrics: Arc::clone(metrics),
        logged: LoggedObjects::default(),
        recorder: Arc::default(),
    }
}

fn unexpected(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("a part of the bridge has ended"),
        Ok(Err(error)) => error,
        Err(error) => anyhow!(error),
    }
}
