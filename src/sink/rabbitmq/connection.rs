//! One connection to the broker: opened within a deadline, and cut when its owner lets go of it.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, ConnectionProperties, ErrorKind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::lifeline::Lifeline;
use super::settings::Settings;
use crate::crypto;
use crate::sink::{Identity, Stage, Tls};

/// Why the broker could not be reached, or did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No answer within the deadline.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Deadline(Duration),
    /// The broker hung up when TLS seemed to be through.
    #[error("{}; the broker does not take the client certificate, or wants one", said(.0))]
    Unwelcome(#[source] lapin::Error),
    /// What the broker, the network or the system said.
    #[error("{}", said(.0))]
    Broker(#[from] lapin::Error),
}

impl ConnectionError {
    /// AMQP's number for what the broker said, where the broker said it.
    pub(super) fn reply_code(&self) -> Option<u16> {
        match self {
            Self::Broker(error) => match error.kind() {
                ErrorKind::ProtocolError(error) => Some(error.get_id()),
                _ => None,
            },
            Self::Deadline(_) | Self::Unwelcome(_) => None,
        }
    }

    /// Whether the connection itself broke.
    fn is_of_the_network(&self) -> bool {
        matches!(self, Self::Broker(error) if matches!(error.kind(), ErrorKind::IOError(_)))
    }

    fn after_tls(self) -> Self {
        match self {
            Self::Broker(error) => Self::Unwelcome(error),
            other => other,
        }
    }
}

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct NotConnected {
    /// What was under way.
    pub stage: Stage,
    /// Why it went wrong.
    #[source]
    pub error: ConnectionError,
}

/// A connection with its lifeline: dropping it ends it at once, whatever state it is in.
#[derive(Debug)]
pub(super) struct Connection {
    amqp: lapin::Connection,
    deadline: Duration,
    _lifeline: Lifeline,
}

impl Connection {
    /// Connects and logs in.
    pub async fn open(settings: &Settings) -> Result<Self, NotConnected> {
        let (reached, stage) = watch::channel(Stage::Lookup);
        let opened = Self::open_telling(settings, reached).await;
        opened.map_err(|error| {
            let stage = *stage.borrow();
            // With TLS 1.3 a broker refuses our certificate only when we believe to be through; one
            // that refuses a user says so.
            let is_tls =
                stage == Stage::Login && settings.address.is_tls() && error.is_of_the_network();
            NotConnected {
                stage: if is_tls { Stage::Tls } else { stage },
                error: if is_tls { error.after_tls() } else { error },
            }
        })
    }

    /// Connects, and tells how far it has got.
    async fn open_telling(
        settings: &Settings,
        reached: watch::Sender<Stage>,
    ) -> Result<Self, ConnectionError> {
        let lifeline = Lifeline::default();
        let hold = lifeline.hold();
        let tls = owned(&settings.tls);
        let deadline = settings.connect_timeout;
        let runtime = lapin::runtime::default_runtime()?;
        let reactor = runtime.clone();
        let connect = async move |uri: AMQPUri, _| {
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((uri.authority.host.as_str(), uri.authority.port))
                    .await?
                    .collect();
            reached.send_replace(Stage::Connect);
            let stream = AsyncTcpStream::connect(&reactor, addresses).await?;
            if let AsyncTcpStream::Plain(socket) = &stream {
                hold.take(socket.get_ref())?;
            }
            let stream = match uri.scheme {
                AMQPScheme::AMQP => stream,
                AMQPScheme::AMQPS => {
                    reached.send_replace(Stage::Tls);
                    stream.into_tls(&uri.authority.host, tls.as_ref()).await?
                }
            };
            reached.send_replace(Stage::Login);
            Ok(stream)
        };
        let opening = lapin::Connection::connector(
            settings.address.uri(settings.heartbeat),
            runtime,
            connect,
            ConnectionProperties::default().with_connection_name("hookferry".into()),
        );
        Ok(Self {
            amqp: within(deadline, opening).await?,
            deadline,
            _lifeline: lifeline,
        })
    }

    /// A fresh channel.
    pub async fn channel(&self) -> Result<Channel, ConnectionError> {
        within(self.deadline, self.amqp.create_channel()).await
    }

    /// The time any one answer may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What lapin calls the connection.
    pub fn amqp(&self) -> &lapin::Connection {
        &self.amqp
    }

    /// Says goodbye, if the broker can hear it. A blocked connection writes nothing, not even that.
    pub async fn close(&self, deadline: Duration) {
        if self.amqp.status().connected() && !self.amqp.status().blocked() {
            // Whatever comes of it, dropping the lifeline closes the socket.
            let _ = within(deadline, self.amqp.close(200, "goodbye".into())).await;
        }
    }
}

/// Waits for the broker, but not for ever.
pub(super) async fn within<T>(
    deadline: Duration,
    doing: impl Future<Output = lapin::Result<T>>,
) -> Result<T, ConnectionError> {
    match tokio::time::timeout(deadline, doing).await {
        Ok(result) => result.map_err(ConnectionError::Broker),
        Err(_) => Err(ConnectionError::Deadline(deadline)),
    }
}

/// The broker's own words where it had some, without the library's names around them.
pub(super) fn said(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// Why a client's certificate is of no use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no key in the text, or not one that TLS can use.
    #[error("the key cannot be read: {0}")]
    Key(#[from] rustls::pki_types::pem::Error),
    /// Certificate and key do not go together.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// Whether TLS can be spoken with this certificate and its key: by the code that will speak it.
///
/// # Errors
/// When it cannot.
pub fn check_identity(identity: &Identity) -> Result<(), IdentityError> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.pem.as_bytes())?;
    rustls::sign::CertifiedKey::from_der(chain, key, &crypto::provider())?;
    Ok(())
}

fn owned(tls: &Tls) -> OwnedTLSConfig {
    let bytes = |text: &str| text.as_bytes().to_vec();
    OwnedTLSConfig {
        identity: tls.identity.as_ref().map(|identity| OwnedIdentity::PKCS8 {
            pem: bytes(&identity.certificate.pem),
            key: bytes(&identity.key.pem),
        }),
        cert_chain: tls.authorities.as_ref().map(|file| file.pem.clone()),
    }
}
