//! Why a connection ended before any HTTP came over it.

use actix_web::rt::net::TcpStream;

use super::connection_failure::ConnectionFailure;
use super::handshake::HandshakeFailure;
use crate::metrics::Metrics;

/// Why no request can come over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetupError {
    /// It was closed before its first byte: load balancers look in this way whether a port is open,
    /// so it is no failure.
    Unused,
    /// What came before TLS or HTTP was wrong.
    Failed(ConnectionFailure),
    /// The TLS handshake failed.
    Handshake(HandshakeFailure),
}

impl From<ConnectionFailure> for SetupError {
    fn from(failure: ConnectionFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<HandshakeFailure> for SetupError {
    fn from(failure: HandshakeFailure) -> Self {
        Self::Handshake(failure)
    }
}

impl SetupError {
    /// Counts it by its reason.
    pub fn count(self, metrics: &Metrics) {
        match self {
            Self::Unused => {}
            Self::Failed(failure) => failure.count(metrics),
            Self::Handshake(failure) => metrics
                .tls_handshake_failures_total
                .with_label_values(&[failure.reason()])
                .inc(),
        }
    }
}

/// Waits for the first byte of a connection, and leaves it to whoever reads on.
pub(super) async fn peek_first_byte(socket: &TcpStream) -> Result<u8, SetupError> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) | Err(_) => Err(SetupError::Unused),
        Ok(_) => Ok(first[0]),
    }
}
