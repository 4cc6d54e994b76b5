//! One idempotent producer of librdkafka: messages in, delivery reports out. It is never repaired: one
//! that stopped with a fatal error or gives no reports is replaced as a whole.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{Producer as _, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;

use super::client_config::start_client;
use super::client_context::KafkaProducerContext;
use super::delivery_report::{DeliveryError, DeliveryReport, InFlightMessage, RecordPlace};
use super::error_code::code_of;
use super::queue_limit::{MAX_BODY_BYTES, MAX_MESSAGES, QueueLimit, QueuePermit};
use super::record::record;
use super::settings::KafkaSettings;
use crate::sink::Message;

/// How long after `message.timeout.ms` the report may come: librdkafka looks for expired messages
/// once a second, and a request in flight is first taken off its connection.
const REPORT_GRACE: Duration = Duration::from_secs(5);

/// Why sending a message failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SendError {
    /// The client or the broker said so.
    Reported(DeliveryError),
    /// There is no report, or no producer.
    Unreported(String),
}

/// A running producer.
pub(super) struct Producer {
    /// None only while it is being dropped.
    client: Option<ThreadedProducer<KafkaProducerContext>>,
    context: Arc<KafkaProducerContext>,
    queue_limit: QueueLimit,
    report_deadline: Duration,
    /// Whether it was purged: what comes later must not wait for a broker either.
    purged: AtomicBool,
}

impl Producer {
    /// Starts a client; it connects in the background.
    pub(super) fn start(
        config: &ClientConfig,
        context: KafkaProducerContext,
        settings: &KafkaSettings,
    ) -> Result<Self, KafkaError> {
        let client: ThreadedProducer<KafkaProducerContext> = start_client(config, context)?;
        let context = Arc::clone(client.client().context());
        Ok(Self {
            client: Some(client),
            context,
            queue_limit: QueueLimit::new(MAX_MESSAGES, MAX_BODY_BYTES),
            report_deadline: settings.publish_timeout + REPORT_GRACE,
            purged: AtomicBool::new(false),
        })
    }

    /// Waits for a place in the queue, hands the message over and waits for its delivery report.
    pub(super) async fn send(
        &self,
        topic: &str,
        message: &Message,
    ) -> Result<RecordPlace, SendError> {
        let permit = self.acquire(message).await?;
        let report = self.enqueue(topic, message, permit)?;
        match tokio::time::timeout(self.report_deadline, report).await {
            Ok(Ok(report)) => report.map_err(SendError::Reported),
            Ok(Err(_)) => Err(SendError::Unreported(
                "the client ended without a report".to_owned(),
            )),
            Err(_) => {
                self.context
                    .give_up("a message got no delivery report in time");
                Err(SendError::Unreported(format!(
                    "topic {topic}: no delivery report within {:?}",
                    self.report_deadline
                )))
            }
        }
    }

    /// Waits while the queue is full. As long as reports come, however many messages are in front of
    /// this one, that is backpressure; without any, the producer hangs.
    async fn acquire(&self, message: &Message) -> Result<QueuePermit, SendError> {
        let mut permit = pin!(self.queue_limit.acquire(message.body().len()));
        loop {
            let before = self.queue_limit.released();
            if let Ok(permit) = tokio::time::timeout(self.report_deadline, permit.as_mut()).await {
                return Ok(permit);
            }
            if self.queue_limit.released() == before {
                return Err(SendError::Unreported(format!(
                    "the queue is full, and no delivery report came within {:?}",
                    self.report_deadline
                )));
            }
        }
    }

    fn enqueue(
        &self,
        topic: &str,
        message: &Message,
        permit: QueuePermit,
    ) -> Result<oneshot::Receiver<DeliveryReport>, SendError> {
        let (reported, report) = oneshot::channel();
        let in_flight = InFlightMessage {
            report: reported,
            permit,
        };
        let key = message.key();
        let record = record(topic, &key, message, Box::new(in_flight));
        self.threaded().send(record).map_err(|(error, _)| {
            let code = code_of(&error);
            if code == RDKafkaErrorCode::Fatal {
                self.context
                    .give_up("the client refuses messages after a fatal error");
            }
            SendError::Reported(code.into())
        })?;
        // Looked at behind the message, and set before the purge: one of the two sees the other.
        if self.purged.load(Ordering::SeqCst) {
            self.purge();
        }
        Ok(report)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.context.is_connected()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.context.is_broken()
    }

    /// The client, for questions about the cluster.
    pub(super) fn client(&self) -> &Client<KafkaProducerContext> {
        self.threaded().client()
    }

    /// Waits for outstanding reports until `deadline`, then fails the rest. Blocks.
    pub(super) fn drain(&self, deadline: Duration) {
        if self.threaded().flush(deadline).is_err() {
            tracing::warn!(
                outstanding = self.threaded().in_flight_count(),
                "the Kafka client closes with messages outstanding"
            );
        }
        self.purge();
    }

    /// Fails everything outstanding; the reports follow.
    pub(super) fn purge(&self) {
        self.purged.store(true, Ordering::SeqCst);
        self.threaded().purge(outstanding());
    }

    fn threaded(&self) -> &ThreadedProducer<KafkaProducerContext> {
        self.client
            .as_ref()
            .expect("the client is there until it is dropped")
    }
}

/// All that has no report yet. Without waiting: librdkafka would wait for each of its threads to have
/// purged its own, and one that looks up a name does so for as long as that takes.
fn outstanding() -> PurgeConfig {
    PurgeConfig::default().queue().inflight().non_blocking()
}

impl Drop for Producer {
    /// Ends the client on a thread of its own: librdkafka joins its threads, and one of them may be
    /// in the middle of looking up a name.
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        client.purge(outstanding());
        let end = std::thread::Builder::new().name("kafka-end".to_owned());
        if let Err(error) = end.spawn(move || drop(client)) {
            tracing::warn!(%error, "no thread to end the Kafka client on; it was ended in place");
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("connected", &self.is_connected())
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}
