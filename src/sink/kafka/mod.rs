//! The Kafka sink: an idempotent producer whose delivery reports are the receipts.
//!
//! librdkafka keeps the only clock that matters: `message.timeout.ms` is the publish timeout, and a
//! publish ends when the delivery report says so. Were an own timer to give up first, the message
//! would still lie in the client's queue and could be sent after a later one of the same key. A
//! second, later deadline only notices a producer that reports nothing at all; such a one is purged
//! and replaced as a whole, like one that stopped with a fatal error.
//!
//! A message waits for its place in the queue (`queue_limit`), becomes a `record`, and comes back with a
//! `delivery_report` (`producer`, replaced by its `producer_supervisor`), whose `error_code` names the
//! reaction. What else librdkafka tells comes through its callbacks (`client_context`): its
//! `statistics`, from which the `cluster_health` follows, and each `client_error`.
//!
//! rdkafka is imported in this folder only.

mod check;
mod client_config;
mod client_context;
mod client_error;
mod cluster_health;
mod connection_health;
mod delivery_report;
mod error_code;
mod producer;
mod producer_supervisor;
mod properties;
mod queue_limit;
mod record;
mod sasl;
mod settings;
mod statistics;
mod tail;
mod topic_check;
mod topic_creation;
mod topic_names;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::task::AbortHandle;

use self::check::ClusterCheck;
use self::connection_health::ConnectionHealth;
use self::delivery_report::{DeliveryError, RecordPlace};
use self::producer::SendError;
use self::producer_supervisor::ProducerSupervisor;
use self::settings::Batching;
use self::topic_creation::TopicCreation;
use super::{
    Destination, Finding, Message, Needs, PublishError, Receipt, Renewed, Sink, SinkHealth,
};

pub use self::client_config::KafkaStartError;
pub use self::properties::{ClientProperties, PropertyError};
pub use self::sasl::{SaslCredentials, SaslMechanism, SaslPassword, TokenSource};
pub use self::settings::{Compression, KafkaSettings, TopicShape};
pub use self::tail::{KafkaTailError, tail};
pub use self::topic_names::colliding_topics;

/// How long a check may take altogether.
const CHECK_DEADLINE: Duration = Duration::from_secs(30);

/// A Kafka cluster as a sink.
#[derive(Debug)]
pub struct Kafka {
    settings: Arc<ArcSwap<KafkaSettings>>,
    connections: Arc<ConnectionHealth>,
    /// Sends every message, in batches.
    batched: Arc<ProducerSupervisor>,
    /// Sends what was refused as too large within a batch, one message a request: a broker judges the
    /// batch as a whole, and only a message refused alone is itself too large. Started when needed.
    single: Arc<ProducerSupervisor>,
    creation: Option<TopicCreation>,
    /// The task that changes over to new credentials.
    renewal: Mutex<Option<AbortHandle>>,
}

impl Kafka {
    /// Starts the producer. It connects by itself, now or later: a broker that is away is no error.
    /// With `create_topics`, the topics that `needs` names are created as soon as a broker answers.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings, such as a file without a certificate in it.
    pub fn new(settings: KafkaSettings, needs: &Needs) -> Result<Self, KafkaStartError> {
        let (shape, topics) = (
            settings.create_topics,
            topic_names::topic_names(&settings, needs),
        );
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let connections = Arc::new(ConnectionHealth::default());
        topic_names::warn_of_collisions(&topics);
        let batched = ProducerSupervisor::new(&settings, &connections, Batching::Many);
        batched.start()?;
        let single = ProducerSupervisor::new(&settings, &connections, Batching::Single);
        let creation = shape.map(|shape| TopicCreation::start(&settings, shape, topics));
        Ok(Self {
            settings,
            connections,
            batched,
            single,
            creation,
            renewal: Mutex::default(),
        })
    }

    /// Takes over new credentials: a producer with them takes the place of the one in use once it is
    /// connected, and the old one ends after its last report. Returns at once. Must be called within
    /// a tokio runtime.
    pub fn renew(&self, settings: &KafkaSettings) -> Renewed {
        let current = self.settings.load();
        let renewed = Renewed::of(
            **current == *settings,
            current.is_same_but_for_credentials(settings),
        );
        if renewed != Renewed::Taken {
            return renewed;
        }
        self.settings.store(Arc::new(settings.clone()));
        self.single.reset();
        let renewal = tokio::spawn(Arc::clone(&self.batched).renew()).abort_handle();
        if let Some(former) = self.renewal().replace(renewal) {
            former.abort();
        }
        renewed
    }

    fn renewal(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_renewal(&self) {
        if let Some(renewal) = self.renewal().take() {
            renewal.abort();
        }
    }

    async fn send(&self, topic: &str, message: &Message) -> Result<RecordPlace, SendError> {
        match self.batched.send(topic, message).await {
            Err(SendError::Reported(DeliveryError { code, .. }))
                if error_code::is_of_batch(code) =>
            {
                self.single.send(topic, message).await
            }
            outcome => outcome,
        }
    }

    fn publish_error(&self, topic: &str, error: SendError) -> PublishError {
        let DeliveryError {
            code,
            partition_fault,
        } = match error {
            SendError::Reported(error) => error,
            SendError::Unreported(detail) => return PublishError::Unavailable(detail),
        };
        if error_code::is_missing(code)
            && let Some(creation) = &self.creation
        {
            creation.request(topic);
        }
        // Only what goes to this topic has to wait, whatever else goes through the cluster.
        if let Some(fault) = partition_fault {
            return PublishError::Unroutable(format!("topic {topic}: {code}; {fault}"));
        }
        let last_error = self.connections.last_error().map(|error| error.reason);
        error_code::publish_error(code, topic, last_error.as_deref())
    }
}

#[async_trait]
impl Sink for Kafka {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    async fn publish(&self, message: &Message) -> Result<Receipt, PublishError> {
        let topic = message.name(&self.settings.load().topic);
        match self.send(&topic, message).await {
            Ok(RecordPlace { partition, offset }) => Ok(message.receipt(Destination::Kafka {
                topic,
                partition,
                offset,
            })),
            Err(error) => Err(self.publish_error(&topic, error)),
        }
    }

    fn address(&self, message: &Message) -> String {
        message.shared_name(&self.settings.load().topic)
    }

    async fn check(&self, needs: &Needs) -> Vec<Finding> {
        let settings = self.settings.load_full();
        let Some(producer) = self.batched.current() else {
            return vec![check::unreachable(&settings, "the client is closed", None)];
        };
        let check = ClusterCheck {
            producer,
            settings: Arc::clone(&settings),
            connections: Arc::clone(&self.connections),
        };
        let needs = needs.clone();
        let checked = tokio::task::spawn_blocking(move || check.run(&needs));
        match tokio::time::timeout(CHECK_DEADLINE, checked).await {
            Ok(Ok(findings)) => findings,
            Ok(Err(error)) => vec![check::unreachable(&settings, &error.to_string(), None)],
            Err(_) => vec![check::unreachable(
                &settings,
                "no answer in time",
                self.connections.last_error().as_ref(),
            )],
        }
    }

    fn health(&self) -> SinkHealth {
        SinkHealth {
            connected: self
                .batched
                .current()
                .is_some_and(|producer| producer.is_connected()),
            blocked: false,
            reconnects: self.connections.reconnects(),
            failures: self.connections.failures(),
        }
    }

    /// Producers are replaced where they end; the one task is the one that creates topics.
    async fn ended(&self) {
        match &self.creation {
            Some(creation) => creation.ended().await,
            None => std::future::pending().await,
        }
    }

    async fn close(&self, deadline: Duration) {
        if let Some(creation) = &self.creation {
            creation.stop();
        }
        self.stop_renewal();
        tokio::join!(self.batched.close(deadline), self.single.close(deadline));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.stop_renewal();
    }
}
