//! The listeners: where webhooks are received, where operators look, and where scrapers do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use actix_web::dev::{Server, ServerHandle};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::admin::{self, AdminServer};
use crate::config::Settings;
use crate::descriptors::{self, ConnectionLimits, MAX_INGRESS};
use crate::ingress::{self, BoundServer, ConnectionSetup, IngressServer, WebhookHandler};

/// A listener that serves.
#[derive(Debug)]
pub(super) struct Listener {
    pub address: SocketAddr,
    /// Stops it.
    pub handle: ServerHandle,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Listeners {
    pub ingress: Listener,
    pub admin: Listener,
    /// For metrics and health alone, where there is one.
    pub metrics: Option<Listener>,
    /// The servers' tasks; one that ends unasked is a failure.
    pub servers: JoinSet<anyhow::Result<()>>,
    /// Each hears once of its server that the threads are there and connections are taken.
    pub serving: Vec<oneshot::Receiver<()>>,
}

impl Listeners {
    /// Binds them and lets them serve.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn bind(
        settings: &Settings,
        limits: ConnectionLimits,
        (handler, setup): (&WebhookHandler, &Arc<ArcSwap<ConnectionSetup>>),
        admin_server: AdminServer,
    ) -> anyhow::Result<Self> {
        let metrics = settings
            .metrics
            .map(|listen| {
                let health = Arc::clone(&admin_server.health);
                admin::bind_metrics(listen, health, limits.metrics)
                    .with_context(|| format!("metrics.listen: cannot listen on {listen}"))
            })
            .transpose()?;
        let listen = settings.admin.listen;
        let server = ingress_server(settings, limits, setup);
        let ingress = ingress::bind(&server, handler)
            .with_context(|| format!("ingress.listen: cannot listen on {}", server.listen))?;
        let admin = admin::bind(admin_server, ingress.address)
            .with_context(|| format!("admin.listen: cannot listen on {listen}"))?;
        let (mut servers, mut serving) = (JoinSet::new(), Vec::new());
        let mut serve = |bound: BoundServer, what: &'static str| {
            let (told, heard) = oneshot::channel();
            serving.push(heard);
            servers.spawn(async move { run(bound.server, told).await.context(what) });
            Listener {
                address: bound.address,
                handle: bound.handle,
            }
        };
        Ok(Self {
            ingress: serve(ingress, "the public listener"),
            admin: serve(admin, "the operators' listener"),
            metrics: metrics.map(|bound| serve(bound, "the listener for metrics")),
            servers,
            serving,
        })
    }
}

/// Runs a server, and tells when it serves: its first poll makes its threads, and returns once all of
/// them take connections.
async fn run(mut server: Server, serves: oneshot::Sender<()>) -> io::Result<()> {
    if let Poll::Ready(ended) = futures_util::poll!(&mut server) {
        return ended;
    }
    // Nobody listens where the start has been given up.
    let _ = serves.send(());
    server.await
}

/// How many connections each listener may hold, within what the system allows. One worker for each
/// processor receives: more would only take turns.
pub(super) fn connection_limits(sinks: usize) -> anyhow::Result<ConnectionLimits> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let limit = descriptors::raise_limit();
    let limits = ConnectionLimits::of(limit, processors, sinks)?;
    if limits.ingress + limits.workers <= MAX_INGRESS {
        tracing::warn!(
            limit,
            connections = limits.ingress,
            "the limit on open files leaves the public listener few connections; raise it (`ulimit -n`, or `LimitNOFILE=` in a systemd unit)"
        );
    }
    Ok(limits)
}

fn ingress_server(
    settings: &Settings,
    limits: ConnectionLimits,
    setup: &Arc<ArcSwap<ConnectionSetup>>,
) -> IngressServer {
    let ingress = &settings.ingress;
    IngressServer {
        listen: ingress.listen,
        head_timeout: ingress.head_timeout,
        keep_alive: ingress.keep_alive,
        max_connections: limits.ingress,
        workers: limits.workers,
        setup: Arc::clone(setup),
        shutdown_timeout: settings.shutdown_timeout,
    }
}
