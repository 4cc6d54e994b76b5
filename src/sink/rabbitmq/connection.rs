//! One connection to the broker: opened within a deadline, and closed when its owner drops it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lapin::tcp::{AsyncTcpStream, OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, ConnectionProperties, ErrorKind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::settings::RabbitMqSettings;
use super::socket::SocketGuard;
use crate::crypto;
use crate::sink::{BrokerTls, ClientIdentity, Stage};

/// AMQP's number for a login, or a right, that is refused.
const ACCESS_REFUSED: u16 = 403;
/// AMQP's number for what differs from what is there.
const PRECONDITION_FAILED: u16 = 406;
/// AMQP's number for what a user may not do, such as connect once more.
const NOT_ALLOWED: u16 = 530;
/// After an attempt at an address has ended, so that it ends by its own words.
const GRACE: Duration = Duration::from_secs(1);
/// A name with very many addresses must not leave too little time to the first ones.
const MOST_SHARES: usize = 4;

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

    /// The property of an exchange or a queue that is there in which it differs from what was
    /// declared. The broker names only the first one, and looks at `type`, `durable` and
    /// `auto_delete` before the arguments.
    pub(super) fn differs_in(&self) -> Option<String> {
        let said = self.to_string();
        let (_, behind) = said.split_once("inequivalent arg '")?;
        let (property, _) = behind.split_once('\'')?;
        (self.reply_code() == Some(PRECONDITION_FAILED)).then(|| property.to_owned())
    }

    /// Whether the broker would let us in were there fewer connections: of the user, of the virtual
    /// host, or of the node. It looks at that after the password.
    pub(super) fn is_over_limit(&self) -> bool {
        self.reply_code() == Some(NOT_ALLOWED) && self.to_string().contains("connection limit")
    }

    /// Whether the user has no right to what was asked for.
    pub(super) fn is_refused(&self) -> bool {
        self.reply_code() == Some(ACCESS_REFUSED)
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

/// An AMQP connection; dropping it closes its socket at once, whatever state it is in.
#[derive(Debug)]
pub(super) struct Connection {
    amqp: lapin::Connection,
    deadline: Duration,
    _socket: SocketGuard,
}

impl Connection {
    /// Connects and logs in. Each address of the name gets its share of the time, so that one that
    /// answers nothing, or hangs, does not keep us from the others.
    pub async fn open(settings: &RabbitMqSettings) -> Result<Self, NotConnected> {
        let began = Instant::now();
        let addresses = look_up(settings).await.map_err(|error| NotConnected {
            stage: Stage::Lookup,
            error,
        })?;
        let mut furthest: Option<NotConnected> = None;
        for (index, address) in addresses.iter().enumerate() {
            let left = settings.publish_timeout.saturating_sub(began.elapsed());
            let share = share(left, addresses.len() - index);
            match Self::open_at(settings, *address, share).await {
                Ok(connection) => return Ok(connection),
                Err(failure) => {
                    // All addresses know the same users.
                    let is_final = failure.error.is_refused();
                    let failures = furthest.into_iter().chain([failure]);
                    furthest = failures.max_by_key(|failure| failure.stage);
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(furthest.unwrap_or_else(no_address))
    }

    /// Connects to one address and logs in.
    async fn open_at(
        settings: &RabbitMqSettings,
        address: SocketAddr,
        share: Duration,
    ) -> Result<Self, NotConnected> {
        let (reached, stage) = watch::channel(Stage::Connect);
        let opening = Self::open_telling(settings, (address, share), reached);
        let opened = match tokio::time::timeout(share, opening).await {
            Ok(opened) => opened,
            // By the key that an operator knows: how it was shared out differs from time to time.
            Err(_) => Err(ConnectionError::Deadline(settings.publish_timeout)),
        };
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
        settings: &RabbitMqSettings,
        (address, share): (SocketAddr, Duration),
        reached: watch::Sender<Stage>,
    ) -> Result<Self, ConnectionError> {
        let socket_guard = SocketGuard::default();
        let slot = socket_guard.slot();
        let tls = owned(&settings.tls);
        let runtime = lapin::runtime::default_runtime()?;
        let reactor = runtime.clone();
        let connect = async move |uri: AMQPUri, _| {
            // The thread that lapin has made for the connection must not outlive the attempt for the
            // minutes that the system goes on trying.
            let connecting = AsyncTcpStream::connect(&reactor, address);
            let stream = tokio::time::timeout(share + GRACE, connecting)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if let AsyncTcpStream::Plain(socket) = &stream {
                slot.put(socket.get_ref())?;
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
            settings.address.uri(),
            runtime,
            connect,
            ConnectionProperties::default().with_connection_name("hookferry".into()),
        );
        Ok(Self {
            amqp: opening.await?,
            deadline: settings.publish_timeout,
            _socket: socket_guard,
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

    /// Closes the connection politely, if the broker can answer. A blocked one writes nothing, not even
    /// that.
    pub async fn close(&self, deadline: Duration) {
        if self.amqp.status().connected() && !self.amqp.status().blocked() {
            // Whatever comes of it, dropping the guard closes the socket.
            let _ = within(deadline, self.amqp.close(200, "goodbye".into())).await;
        }
    }
}

/// The addresses of the broker's name.
async fn look_up(settings: &RabbitMqSettings) -> Result<Vec<SocketAddr>, ConnectionError> {
    let (host, port) = (settings.address.host(), settings.address.port());
    let looking = async { Ok(tokio::net::lookup_host((host, port)).await?.collect()) };
    within(settings.publish_timeout, looking).await
}

/// What each of so many addresses gets of the time that is left.
fn share(left: Duration, addresses: usize) -> Duration {
    left / u32::try_from(addresses.clamp(1, MOST_SHARES)).unwrap_or(1)
}

fn no_address() -> NotConnected {
    let error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    NotConnected {
        stage: Stage::Lookup,
        error: lapin::Error::from(error).into(),
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
pub fn check_identity(identity: &ClientIdentity) -> Result<(), IdentityError> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.pem.as_bytes())?;
    rustls::sign::CertifiedKey::from_der(chain, key, &crypto::provider())?;
    Ok(())
}

fn owned(tls: &BrokerTls) -> OwnedTLSConfig {
    let bytes = |text: &str| text.as_bytes().to_vec();
    OwnedTLSConfig {
        identity: tls.identity.as_ref().map(|identity| OwnedIdentity::PKCS8 {
            pem: bytes(&identity.certificate.pem),
            key: bytes(&identity.key.pem),
        }),
        cert_chain: tls.authorities.as_ref().map(|file| file.pem.clone()),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn said_by_broker(code: u16, text: &str) -> ConnectionError {
        let error = AMQPError::from_id(code, text.into()).expect("one of AMQP's numbers");
        ConnectionError::Broker(ErrorKind::ProtocolError(error).into())
    }

    #[test]
    fn every_address_gets_a_share_and_the_last_one_all_that_is_left() {
        let ten = Duration::from_secs(10);
        assert_eq!(share(ten, 1), ten);
        assert_eq!(share(ten, 2), ten / 2);
        assert_eq!(share(ten, 100), ten / 4);
        assert_eq!(share(Duration::ZERO, 2), Duration::ZERO);
    }

    #[test]
    fn what_differs_is_read_off_the_brokers_words() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none";
        let error = said_by_broker(406, text);
        assert_eq!(error.differs_in().as_deref(), Some("x-queue-type"));
        for (code, text) in [
            (403, "ACCESS_REFUSED - inequivalent arg 'type'"),
            (406, "PRECONDITION_FAILED - unknown delivery tag 1"),
        ] {
            assert_eq!(said_by_broker(code, text).differs_in(), None, "{text}");
        }
    }

    #[test]
    fn only_a_limit_of_connections_is_one() {
        for text in [
            "NOT_ALLOWED - connection refused for user 'bridge': user connection limit (1) is reached",
            "NOT_ALLOWED - access to vhost '/' refused for user 'bridge': connection limit (1) is reached",
            "NOT_ALLOWED - connection refused: node connection limit (1) is reached",
        ] {
            assert!(said_by_broker(530, text).is_over_limit(), "{text}");
        }
        let none = "NOT_ALLOWED - vhost events not found";
        assert!(!said_by_broker(530, none).is_over_limit());
        assert!(!ConnectionError::Deadline(Duration::ZERO).is_over_limit());
    }
}
