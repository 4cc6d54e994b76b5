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
use crate::config::{IngressSettings, Settings};
use crate::descriptors::{self, Share};
use crate::ingress::{self, BoundServer, ConnectionSetup, IngressServer, WebhookHandler};
use crate::metrics::Metrics;

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
        share: Share,
        (handler, setup): (&WebhookHandler, &Arc<ArcSwap<ConnectionSetup>>),
        admin_server: AdminServer,
    ) -> anyhow::Result<Self> {
        let metrics = settings
            .metrics
            .map(|listen| {
                let health = Arc::clone(&admin_server.health);
                admin::bind_metrics(listen, health, share.scrapers)
                    .with_context(|| format!("metrics.listen: cannot listen on {listen}"))
            })
            .transpose()?;
        let listen = settings.admin.listen;
        let admin = admin::bind(admin_server)
            .with_context(|| format!("admin.listen: cannot listen on {listen}"))?;
        let listen = settings.ingress.listen;
        let server = ingress_server(settings, share, setup);
        let ingress = ingress::bind(&server, handler)
            .with_context(|| format!("ingress.listen: cannot listen on {listen}"))?;
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

/// Who may hold how many connections, within what the system allows.
pub(super) fn share(
    ingress: &IngressSettings,
    sinks: usize,
    metrics: &Metrics,
) -> anyhow::Result<Share> {
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

fn ingress_server(
    settings: &Settings,
    share: Share,
    setup: &Arc<ArcSwap<ConnectionSetup>>,
) -> IngressServer {
    let ingress = &settings.ingress;
    IngressServer {
        listen: ingress.listen,
        head_timeout: ingress.head_timeout,
        keep_alive: ingress.keep_alive,
        max_connections: share.senders,
        workers: ingress.workers,
        setup: Arc::clone(setup),
        shutdown_timeout: settings.shutdown_timeout,
    }
}
