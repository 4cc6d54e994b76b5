//! The Kafka sink: an idempotent producer whose delivery reports are the receipts.
//!
//! librdkafka keeps the only clock that matters: `message.timeout.ms` is the publish timeout, and a
//! publish ends when the delivery report says so. Were an own timer to give up first, the message
//! would still lie in the client's queue and could be sent after a later one of the same key. A
//! second, later guard only notices a client that reports nothing at all; such a client is purged
//! and replaced as a whole, like one that stopped with a fatal error.
//!
//! A message waits for its `room` in the client, becomes a `record`, and comes back with a report
//! (`producer`, on a `line`), whose code is judged in `verdict`. What else the client tells is heard in
//! `watch`: its `statistics`, from which the `progress` of each partition follows, and its `trouble`.
//!
//! rdkafka is imported in this folder only.

mod check;
mod creation;
mod follow;
mod line;
mod login;
mod producer;
mod progress;
mod property;
mod record;
mod room;
mod settings;
mod statistics;
mod trouble;
mod verdict;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rdkafka::error::KafkaError;
use tokio::task::AbortHandle;

use self::creation::Creation;
use self::line::{Batching, Line};
use self::producer::Failure;
use self::verdict::verdict;
use self::watch::{Record, Undelivered};
use super::{Finding, Message, Needs, PublishError, Receipt, Renewed, Sink, SinkHealth};

pub use self::check::colliding_topics;
pub use self::follow::{FollowError, follow};
pub use self::login::{Login, Mechanism, Password, ReadToken};
pub use self::property::{Properties, PropertyError};
pub use self::settings::{Compression, Settings, TlsError, TopicShape};

/// How long a check may take altogether.
const CHECK_DEADLINE: Duration = Duration::from_secs(30);

/// Why no Kafka client could be made from the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Kafka client cannot start: {0}")]
pub struct StartError(String);

impl StartError {
    fn of(error: &KafkaError) -> Self {
        Self(match error {
            KafkaError::ClientCreation(reason) => reason.clone(),
            error => error.to_string(),
        })
    }
}

/// A Kafka cluster as a sink.
#[derive(Debug)]
pub struct Kafka {
    settings: Arc<ArcSwap<Settings>>,
    record: Arc<Record>,
    /// Carries every message, in batches.
    line: Arc<Line>,
    /// Carries what was refused as too large within a batch, one message a request: a broker judges
    /// the batch as a whole, and only a message refused alone is itself too large. Made when needed.
    single: Arc<Line>,
    creation: Option<Creation>,
    /// The change to new credentials that is under way.
    renewal: Mutex<Option<AbortHandle>>,
}

impl Kafka {
    /// Starts the client. It connects by itself, now or later: a broker that is away is no error.
    /// With `create_topics`, the topics that `needs` names are created as soon as a broker answers.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings, such as a file without a certificate in it.
    pub fn new(settings: Settings, needs: &Needs) -> Result<Self, StartError> {
        let (shape, topics) = (settings.create_topics, check::topic_names(&settings, needs));
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let record = Arc::new(Record::default());
        check::warn_of_collisions(&topics);
        let line = Line::new(&settings, &record, Batching::Many);
        line.start().map_err(|error| StartError::of(&error))?;
        let single = Line::new(&settings, &record, Batching::Single);
        let creation = shape.map(|shape| Creation::start(&settings, shape, topics));
        Ok(Self {
            settings,
            record,
            line,
            single,
            creation,
            renewal: Mutex::default(),
        })
    }

    /// Takes over new credentials: a client with them takes the place of the one in use once it is
    /// connected, and the old one ends after its last report. Returns at once. Must be called within
    /// a tokio runtime.
    pub fn renew(&self, settings: &Settings) -> Renewed {
        let current = self.settings.load();
        let renewed = Renewed::of(
            **current == *settings,
            current.is_same_but_for_credentials(settings),
        );
        if renewed != Renewed::Taken {
            return renewed;
        }
        self.settings.store(Arc::new(settings.clone()));
        self.single.renew_when_needed();
        let renewal = tokio::spawn(Arc::clone(&self.line).renew()).abort_handle();
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

    async fn send(&self, topic: &str, message: &Message) -> Result<(), Failure> {
        match self.line.send(topic, message).await {
            Err(Failure::Reported(Undelivered { code, .. })) if verdict::is_of_batch(code) => {
                self.single.send(topic, message).await
            }
            outcome => outcome,
        }
    }

    fn error(&self, topic: &str, failure: Failure) -> PublishError {
        let Undelivered { code, blame } = match failure {
            Failure::Reported(undelivered) => undelivered,
            Failure::Silent(detail) => return PublishError::Unavailable(detail),
        };
        if verdict::is_missing(code)
            && let Some(creation) = &self.creation
        {
            creation.want(topic);
        }
        // Only what goes to this topic has to wait, whatever else goes through the cluster.
        if let Some(blame) = blame {
            return PublishError::Unroutable(format!("topic {topic}: {code}; {blame}"));
        }
        let trouble = self.record.trouble().map(|trouble| trouble.reason);
        verdict(code, topic, trouble.as_deref())
    }
}

#[async_trait]
impl Sink for Kafka {
    async fn publish(&self, message: &Message) -> Result<Receipt, PublishError> {
        let topic = message.name(&self.settings.load().topic);
        match self.send(&topic, message).await {
            Ok(()) => Ok(message.receipt()),
            Err(failure) => Err(self.error(&topic, failure)),
        }
    }

    fn address(&self, message: &Message) -> String {
        message.shared_name(&self.settings.load().topic)
    }

    async fn check(&self, needs: &Needs) -> Vec<Finding> {
        let settings = self.settings.load_full();
        let Some(producer) = self.line.current() else {
            return vec![check::unreachable(&settings, "the client is closed", None)];
        };
        let examination = check::Examination {
            producer,
            settings: Arc::clone(&settings),
            record: Arc::clone(&self.record),
        };
        let needs = needs.clone();
        let examined = tokio::task::spawn_blocking(move || examination.examine(&needs));
        let trouble = || self.record.trouble();
        match tokio::time::timeout(CHECK_DEADLINE, examined).await {
            Ok(Ok(findings)) => findings,
            Ok(Err(error)) => vec![check::unreachable(&settings, &error.to_string(), None)],
            Err(_) => vec![check::unreachable(
                &settings,
                "no answer in time",
                trouble().as_ref(),
            )],
        }
    }

    fn health(&self) -> SinkHealth {
        SinkHealth {
            connected: self
                .line
                .current()
                .is_some_and(|producer| producer.is_connected()),
            blocked: false,
            reconnects: self.record.reconnects(),
            failures: self.record.failures(),
        }
    }

    /// Clients are replaced where they end; the one task of ours is the one that creates topics.
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
        tokio::join!(self.line.close(deadline), self.single.close(deadline));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.stop_renewal();
    }
}
