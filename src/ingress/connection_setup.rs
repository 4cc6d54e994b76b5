//! The setup of an accepted connection, before HTTP is spoken on it: the PROXY header, then the TLS
//! handshake, each within a deadline from its first byte on. A connection that needs neither goes
//! straight on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::rt::net::TcpStream;
use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};

use super::connection_failure::ConnectionFailure;
use super::connection_stream::{ConnectionStream, ConnectionTimeouts};
use super::handshake::handshake;
use super::networks::{self, IpNet};
use super::open_connection::OpenConnection;
use super::peer::Peer;
use super::proxy_header;
use super::setup_error::{SetupError, peek_first_byte};
use super::tls::ServerTls;
use super::transport::Transport;
use crate::metrics::Metrics;
use crate::shutdown::Draining;

/// What a connection begins with; replaced as a whole when the configuration is reloaded. Open
/// connections go on as they began.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSetup {
    /// What connections are encrypted with, if they are.
    pub tls: Option<ServerTls>,
    /// The proxies that begin each connection with a PROXY header, where only such may connect.
    pub proxies: Option<Vec<IpNet>>,
}

/// Sets up the connections that one worker accepts.
pub(super) struct ConnectionAcceptor {
    pub setup: Arc<ArcSwap<ConnectionSetup>>,
    pub timeouts: ConnectionTimeouts,
    pub draining: Draining,
    pub metrics: Arc<Metrics>,
}

impl ConnectionAcceptor {
    /// Takes an accepted connection as far as HTTP. A failure is counted, and ends it.
    pub async fn accept(
        &self,
        socket: TcpStream,
    ) -> io::Result<(ConnectionStream, Option<SocketAddr>)> {
        // A connection that has ended already has no peer.
        let address = socket.peer_addr()?;
        let (peer, open) = (
            Peer::direct(address.ip()),
            OpenConnection::new(Arc::clone(&self.metrics)),
        );
        let setup = self.setup.load_full();
        let (transport, peer) = if setup.tls.is_none() && setup.proxies.is_none() {
            (Transport::Plain(socket), peer)
        } else {
            // On the heap, so that plain connections do not carry its size.
            Box::pin(self.set_up(setup, socket, peer)).await?
        };
        let stream = ConnectionStream::new(transport, peer, open, self.timeouts);
        Ok((stream, Some(address)))
    }

    /// A bridge that stops does not wait: there is no request yet that it could answer.
    async fn set_up(
        &self,
        setup: Arc<ConnectionSetup>,
        socket: TcpStream,
        peer: Peer,
    ) -> io::Result<(Transport, Peer)> {
        let done = tokio::select! {
            done = setup.run(socket, peer, self.timeouts) => done,
            () = self.draining.begun() => Err(SetupError::Unused),
        };
        done.map_err(|error| {
            error.count(&self.metrics);
            tracing::debug!(peer = %peer.address, ?error, "a connection ended before HTTP");
            io::ErrorKind::ConnectionAborted.into()
        })
    }
}

impl ConnectionSetup {
    async fn run(
        &self,
        mut socket: TcpStream,
        mut peer: Peer,
        timeouts: ConnectionTimeouts,
    ) -> Result<(Transport, Peer), SetupError> {
        if let Some(proxies) = &self.proxies {
            if !networks::contain(proxies, peer.address) {
                return Err(ConnectionFailure::Untrusted.into());
            }
            let (_, deadline) = first_byte(&socket, timeouts).await?;
            let named = proxy_header::read(&mut socket, deadline).await?;
            peer.client = named.unwrap_or(peer.client);
        }
        let Some(tls) = &self.tls else {
            return Ok((Transport::Plain(socket), peer));
        };
        let (first, deadline) = first_byte(&socket, timeouts).await?;
        let stream = handshake(socket, first, tls, deadline).await?;
        Ok((Transport::Tls(Box::new(stream)), peer))
    }
}

/// Waits for the first byte of what comes next, and says by when the rest of it is due. A connection
/// that was opened ahead of its use may be idle for as long as one between two requests, and is no
/// failure.
async fn first_byte(
    socket: &TcpStream,
    timeouts: ConnectionTimeouts,
) -> Result<(u8, Instant), SetupError> {
    let first = timeout(timeouts.keep_alive, peek_first_byte(socket))
        .await
        .unwrap_or(Err(SetupError::Unused))?;
    Ok((first, Instant::now() + timeouts.head_timeout))
}
