//! One librdkafka producer: messages in, delivery reports out. It is never repaired: a client that
//! stopped with a fatal error or fell silent is replaced by a new one.

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

use super::record::record;
use super::room::{Queue, Room};
use super::settings::Settings;
use super::verdict::code_of;
use super::watch::{Report, Undelivered, Waiting, Watch};
use crate::sink::Message;

/// How long after `message.timeout.ms` the report may come: librdkafka looks for expired messages
/// once a second, and a request in flight is first taken off its connection.
const REPORT_GRACE: Duration = Duration::from_secs(5);

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The client or the broker said so.
    Reported(Undelivered),
    /// Nobody said anything, or there is no client to say it.
    Silent(String),
}

/// A running client.
pub(super) struct Producer {
    /// Taken only when it is dropped.
    client: Option<ThreadedProducer<Watch>>,
    watch: Arc<Watch>,
    queue: Queue,
    deadline: Duration,
    /// Whether it was purged: what comes later must not wait for a broker either.
    purged: AtomicBool,
}

impl Producer {
    /// Starts a client; it connects in the background.
    pub(super) fn start(
        config: &ClientConfig,
        watch: Watch,
        settings: &Settings,
    ) -> Result<Self, KafkaError> {
        let client: ThreadedProducer<Watch> = config.create_with_context(watch)?;
        let watch = Arc::clone(client.client().context());
        Ok(Self {
            client: Some(client),
            watch,
            queue: Queue::of(settings.max_queued_messages, settings.max_queued_bytes),
            deadline: settings.publish_timeout + REPORT_GRACE,
            purged: AtomicBool::new(false),
        })
    }

    /// Waits for room, hands the message over and waits for its delivery report.
    pub(super) async fn send(&self, topic: &str, message: &Message) -> Result<(), Failure> {
        let room = self.room(message).await?;
        let report = self.enqueue(topic, message, room)?;
        match tokio::time::timeout(self.deadline, report).await {
            Ok(Ok(report)) => report.map_err(Failure::Reported),
            Ok(Err(_)) => Err(Failure::Silent(
                "the client ended without a report".to_owned(),
            )),
            Err(_) => {
                self.watch
                    .give_up("a message got no delivery report in time");
                Err(Failure::Silent(format!(
                    "topic {topic}: no delivery report within {:?}",
                    self.deadline
                )))
            }
        }
    }

    /// What lies before the message makes room when it is reported. As long as reports come, however
    /// many lie before it, it is waited for.
    async fn room(&self, message: &Message) -> Result<Room, Failure> {
        let mut room = pin!(self.queue.room(message.body().len()));
        loop {
            let before = self.queue.given_back();
            if let Ok(room) = tokio::time::timeout(self.deadline, room.as_mut()).await {
                return Ok(room);
            }
            if self.queue.given_back() == before {
                return Err(Failure::Silent(format!(
                    "no room in the client, and no delivery report within {:?}",
                    self.deadline
                )));
            }
        }
    }

    fn enqueue(
        &self,
        topic: &str,
        message: &Message,
        room: Room,
    ) -> Result<oneshot::Receiver<Report>, Failure> {
        let (waiting, report) = oneshot::channel();
        let waiting = Waiting {
            report: waiting,
            room,
        };
        let key = message.key();
        let record = record(topic, &key, message, Box::new(waiting));
        self.threaded().send(record).map_err(|(error, _)| {
            let code = code_of(&error);
            if code == RDKafkaErrorCode::Fatal {
                self.watch
                    .give_up("the client refuses messages after a fatal error");
            }
            Failure::Reported(code.into())
        })?;
        // Looked at behind the message, and set before the purge: one of the two sees the other.
        if self.purged.load(Ordering::SeqCst) {
            self.purge();
        }
        Ok(report)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.watch.is_connected()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.watch.is_broken()
    }

    /// The client, for questions about the cluster.
    pub(super) fn client(&self) -> &Client<Watch> {
        self.threaded().client()
    }

    /// Waits until everything is reported, then fails the rest. Blocks for `deadline` and a little.
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

    fn threaded(&self) -> &ThreadedProducer<Watch> {
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
