//! One connection to the broker: opened within a deadline, and cut when its owner lets go of it.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, ConnectionProperties, ErrorKind};

use tokio::sync::watch;

use super::lifeline::Lifeline;
use super::settings::{Settings, Tls};
use crate::sink::Stage;

/// Why the broker could not be reached, or did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No answer within the deadline.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Deadline(Duration),
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
            Self::Deadline(_) => None,
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
        Self::open_telling(settings, reached)
            .await
            .map_err(|error| NotConnected {
                stage: *stage.borrow(),
                error,
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

fn owned(tls: &Tls) -> OwnedTLSConfig {
    let identity = tls
        .identity
        .clone()
        .map(|(pem, key)| OwnedIdentity::PKCS8 { pem, key });
    OwnedTLSConfig {
        identity,
        cert_chain: tls.authorities.clone(),
    }
}
