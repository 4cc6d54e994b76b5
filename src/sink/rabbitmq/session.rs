//! A session: a connection in use with its channels, from the moment it can publish until its last
//! confirm.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use lapin::Event;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, ConnectionError};
use super::publish_queue::PublishQueue;
use super::publisher::{ConnectionLost, Publisher, SharedConnection};
use super::settings::{BrokerAddress, RabbitMqSettings};
use super::topology::{self, KnownExchanges};
use crate::sink::Needs;

/// How many channels publish: one waits for its confirms while another sends.
pub(super) const CHANNELS: usize = 4;

/// A session; dropping it cuts the connection.
pub(super) struct Session {
    shared: Arc<SharedConnection>,
    /// What the broker says.
    pub events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    blocked: watch::Sender<bool>,
    /// The channels at work; each ends when the connection is of no more use.
    pub publishers: JoinSet<ConnectionLost>,
}

impl Session {
    /// Makes, or verifies, what the settings ask for, and starts to publish what waits.
    pub async fn begin(
        connection: Connection,
        settings: Arc<RabbitMqSettings>,
        needs: &Needs,
        queue: &Arc<PublishQueue>,
    ) -> Result<Self, ConnectionError> {
        let events = Box::pin(connection.amqp().events_listener());
        let (blocked, receiver) = watch::channel(connection.amqp().status().blocked());
        let shared = Arc::new(SharedConnection {
            connection,
            settings,
            exchanges: KnownExchanges::default(),
            blocked: receiver,
            retired: CancellationToken::new(),
        });
        set_up(&shared, needs).await?;
        let mut publishers = JoinSet::new();
        for _ in 0..CHANNELS {
            publishers.spawn(Publisher::new(Arc::clone(&shared), Arc::clone(queue)).run());
        }
        Ok(Self {
            shared,
            events,
            blocked,
            publishers,
        })
    }

    /// Whether the connection is there, as far as lapin knows.
    pub fn is_connected(&self) -> bool {
        self.shared.connection.amqp().status().connected()
    }

    /// Whether the broker has asked us to stop.
    pub fn is_blocked(&self) -> bool {
        *self.blocked.borrow()
    }

    /// Notes that the broker has asked us to stop, or to go on.
    pub fn block(&self, blocked: bool) {
        self.blocked.send_replace(blocked);
    }

    /// What it was made with.
    pub fn settings(&self) -> &Arc<RabbitMqSettings> {
        &self.shared.settings
    }

    /// Where it is connected to, and as whom.
    pub fn address(&self) -> &BrokerAddress {
        &self.shared.settings.address
    }

    /// Ends the channels. What they had not settled is in doubt.
    pub async fn end(&mut self) {
        self.publishers.shutdown().await;
    }

    /// Closes the connection.
    pub async fn close(&mut self, deadline: Duration) {
        self.shared.connection.close(deadline).await;
    }

    /// Takes no more batches, settles those under way, each within its own deadline, and closes the
    /// connection.
    pub async fn retire(mut self, deadline: Duration) {
        self.shared.retired.cancel();
        while self.publishers.join_next().await.is_some() {}
        self.close(deadline).await;
        tracing::info!(broker = %self.address(), "a connection to RabbitMQ with former credentials has ended");
    }
}

async fn set_up(shared: &SharedConnection, needs: &Needs) -> Result<(), ConnectionError> {
    let wrong = topology::set_up(
        &shared.connection,
        &shared.settings,
        needs,
        &shared.exchanges,
    )
    .await?;
    for reason in wrong {
        tracing::warn!(reason, "RabbitMQ is not set up as configured");
    }
    Ok(())
}
