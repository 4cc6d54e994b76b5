//! The two listeners: where webhooks are received, and where operators look.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use crate::admin::{self, Operators};
use crate::config::{IngressSettings, Settings};
use crate::descriptors::{self, Share};
use crate::ingress::{self, Door, Listening, Public, Reception};
use crate::metrics::Metrics;

/// A listener that serves.
#[derive(Debug)]
pub(super) struct Listener {
    pub address: SocketAddr,
    /// Stops it.
    pub handle: ServerHandle,
}

/// Both of them.
#[derive(Debug)]
pub(super) struct Listeners {
    pub ingress: Listener,
    pub admin: Listener,
    /// The servers' tasks; one that ends unasked is a failure.
    pub servers: JoinSet<anyhow::Result<()>>,
}

impl Listeners {
    /// Binds both and lets them serve.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn bind(
        settings: &Settings,
        share: Share,
        (door, reception): (&Door, &Arc<ArcSwap<Reception>>),
        operators: Operators,
    ) -> anyhow::Result<Self> {
        let admin = admin::bind(operators)
            .with_context(|| format!("admin.listen: cannot listen on {}", settings.admin))?;
        let listen = settings.ingress.listen;
        let public = public(settings, share, reception);
        let ingress = ingress::bind(&public, door)
            .with_context(|| format!("ingress.listen: cannot listen on {listen}"))?;
        let mut servers = JoinSet::new();
        Ok(Self {
            ingress: serve(&mut servers, ingress, "the public listener"),
            admin: serve(&mut servers, admin, "the operators' listener"),
            servers,
        })
    }
}

fn serve(
    servers: &mut JoinSet<anyhow::Result<()>>,
    bound: Listening,
    what: &'static str,
) -> Listener {
    servers.spawn(async move { bound.server.await.context(what) });
    Listener {
        address: bound.address,
        handle: bound.handle,
    }
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

fn public(settings: &Settings, share: Share, reception: &Arc<ArcSwap<Reception>>) -> Public {
    let ingress = &settings.ingress;
    Public {
        listen: ingress.listen,
        head_timeout: ingress.head_timeout,
        keep_alive: ingress.keep_alive,
        max_connections: share.senders,
        workers: ingress.workers,
        reception: Arc::clone(reception),
        shutdown_timeout: settings.shutdown_timeout,
    }
}
