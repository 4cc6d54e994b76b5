//! What happens on a connection before HTTP is spoken on it: the PROXY header, then the TLS
//! handshake, each within a deadline from its first byte on. A connection that needs neither goes
//! straight on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::rt::net::TcpStream;
use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};

use super::caller::Caller;
use super::handshake::{HandshakeFailure, handshake};
use super::networks::Networks;
use super::open::Open;
use super::proxy_header;
use super::stream::{Stream, Waits};
use super::tls::Tls;
use super::unheard::Unheard;
use super::wire::Wire;
use crate::metrics::Metrics;
use crate::shutdown::Draining;

/// How new connections are received; replaced as a whole when the configuration is reloaded. Those
/// that are open go on as they began.
#[derive(Debug, Clone, Default)]
pub struct Reception {
    /// What they are encrypted with, if they are.
    pub tls: Option<Tls>,
    /// The proxies that begin each connection with a PROXY header, where only such may connect.
    pub proxies: Option<Networks>,
}

impl Reception {
    fn is_plain(&self) -> bool {
        self.tls.is_none() && self.proxies.is_none()
    }
}

/// Receives the connections of one worker.
pub(super) struct Arrivals {
    pub reception: Arc<ArcSwap<Reception>>,
    pub waits: Waits,
    pub draining: Draining,
    pub metrics: Arc<Metrics>,
}

/// Why no request can come over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreceived {
    /// It was closed without a word: load balancers look in this way whether a port is open, so it
    /// is no failure.
    Silent,
    /// What came before TLS or HTTP was wrong.
    Unheard(Unheard),
    /// TLS was.
    Handshake(HandshakeFailure),
}

impl From<Unheard> for Unreceived {
    fn from(unheard: Unheard) -> Self {
        Self::Unheard(unheard)
    }
}

impl From<HandshakeFailure> for Unreceived {
    fn from(failure: HandshakeFailure) -> Self {
        Self::Handshake(failure)
    }
}

impl Unreceived {
    fn count(self, metrics: &Metrics) {
        match self {
            Self::Silent => {}
            Self::Unheard(unheard) => unheard.count(metrics),
            Self::Handshake(failure) => metrics
                .tls_handshake_failures_total
                .with_label_values(&[failure.reason()])
                .inc(),
        }
    }
}

impl Arrivals {
    /// Takes a connection as far as HTTP. Whatever is wrong is counted, and ends it.
    pub async fn receive(&self, socket: TcpStream) -> io::Result<(Stream, Option<SocketAddr>)> {
        // One that has ended already has no peer.
        let peer = socket.peer_addr()?;
        let (caller, open) = (
            Caller::direct(peer.ip()),
            Open::new(Arc::clone(&self.metrics)),
        );
        let (wire, caller) = if self.reception.load().is_plain() {
            (Wire::Plain(socket), caller)
        } else {
            // On the heap, so that plain connections do not carry its size.
            Box::pin(self.prepare(socket, caller)).await?
        };
        let stream = Stream::new(wire, caller, open, self.waits);
        Ok((stream, Some(peer)))
    }

    /// A bridge that stops does not wait: there is no request yet that it could answer.
    async fn prepare(&self, socket: TcpStream, caller: Caller) -> io::Result<(Wire, Caller)> {
        let reception = self.reception.load_full();
        let prepared = tokio::select! {
            prepared = reception.prepare(socket, caller, self.waits) => prepared,
            () = self.draining.begun() => Err(Unreceived::Silent),
        };
        prepared.map_err(|unreceived| {
            unreceived.count(&self.metrics);
            tracing::debug!(peer = %caller.peer, ?unreceived, "a connection came to nothing");
            io::ErrorKind::ConnectionAborted.into()
        })
    }
}

impl Reception {
    async fn prepare(
        &self,
        mut socket: TcpStream,
        mut caller: Caller,
        waits: Waits,
    ) -> Result<(Wire, Caller), Unreceived> {
        if let Some(proxies) = &self.proxies {
            if !proxies.contain(caller.peer) {
                return Err(Unheard::Untrusted.into());
            }
            let deadline = begun(&socket, waits).await?;
            let told = proxy_header::read(&mut socket, deadline).await?;
            caller.client = told.unwrap_or(caller.client);
        }
        let wire = match &self.tls {
            Some(tls) => {
                let deadline = begun(&socket, waits).await?;
                Wire::Tls(Box::new(handshake(socket, tls, deadline).await?))
            }
            None => Wire::Plain(socket),
        };
        Ok((wire, caller))
    }
}

/// Waits for the first byte of what comes next: when the rest of it is overdue. A connection that was
/// opened ahead of its use may say nothing for as long as an idle one, and is no failure.
async fn begun(socket: &TcpStream, waits: Waits) -> Result<Instant, Unreceived> {
    timeout(waits.keep_alive, has_begun(socket))
        .await
        .unwrap_or(Err(Unreceived::Silent))?;
    Ok(Instant::now() + waits.head_timeout)
}

/// Waits for the first byte, and leaves it where it is.
pub(super) async fn has_begun(socket: &TcpStream) -> Result<u8, Unreceived> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) | Err(_) => Err(Unreceived::Silent),
        Ok(_) => Ok(first[0]),
    }
}
