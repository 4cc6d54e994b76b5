//! The TLS handshake of a connection, and why it may fail.

use std::io;

use actix_web::rt::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{AlertDescription, Error};
use tokio_rustls::server::TlsStream;

use super::tls::ServerTls;

/// The first byte of every TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Why a handshake failed. The reasons are a closed set, because they are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It did not end in time.
    Timeout,
    /// The sender does not speak TLS.
    NotTls,
    /// No version, cipher suite or protocol that both sides speak.
    Incompatible,
    /// The sender's certificate is missing, unknown, expired, or not its own.
    ClientCertificate,
    /// The sender does not trust this bridge's certificate.
    ServerCertificate,
    /// The sender hung up in the middle.
    Abandoned,
    /// Whatever else breaks the protocol.
    Other,
}

impl HandshakeFailure {
    /// Every reason, so that each has a series from the first scrape on.
    pub const ALL: [Self; 7] = [
        Self::Timeout,
        Self::NotTls,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::ServerCertificate,
        Self::Abandoned,
        Self::Other,
    ];

    /// The stable name of the reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::ServerCertificate => "server_certificate",
            Self::Abandoned => "abandoned",
            Self::Other => "other",
        }
    }

    fn of(error: &io::Error) -> Self {
        let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        match of_tls {
            None => Self::Abandoned,
            Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => {
                Self::ClientCertificate
            }
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Self::Incompatible,
            Some(Error::AlertReceived(alert)) => Self::of_alert(*alert),
            Some(_) => Self::Other,
        }
    }

    /// What the other side says about us.
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => Self::ServerCertificate,
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                Self::Incompatible
            }
            AlertDescription::UserCanceled => Self::Abandoned,
            _ => Self::Other,
        }
    }
}

/// Encrypts the connection, whose `first` byte is known and not yet read.
pub(super) async fn handshake(
    socket: TcpStream,
    first: u8,
    tls: &ServerTls,
    deadline: Instant,
) -> Result<TlsStream<TcpStream>, HandshakeFailure> {
    if first != HANDSHAKE {
        return Err(HandshakeFailure::NotTls);
    }
    let peer = socket.peer_addr().ok();
    let accepting = TlsAcceptor::from(tls.config()).accept(socket);
    let Ok(accepted) = timeout_at(deadline, accepting).await else {
        return Err(HandshakeFailure::Timeout);
    };
    accepted.map_err(|error| {
        // A level that is off by default: anybody can make as many as they like.
        tracing::debug!(?peer, %error, "a TLS handshake failed");
        HandshakeFailure::of(&error)
    })
}
