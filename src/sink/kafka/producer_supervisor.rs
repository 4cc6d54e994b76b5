//! The supervisor of a producer: it replaces one that is broken, or whose credentials are out of date.
//!
//! A producer with new credentials starts beside the one in use, and takes its place when it is
//! connected. The old one gets no more messages and ends after its last report: at most one message
//! of an object is outstanding, so two producers cannot change an order, and none is in doubt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use rdkafka::error::KafkaError;

use super::client_context::KafkaProducerContext;
use super::connection_health::ConnectionHealth;
use super::delivery_report::RecordPlace;
use super::producer::{Producer, SendError};
use super::settings::{Batching, KafkaSettings};
use crate::sink::Message;

/// The least time between two producers: a fatal error that comes back at once (such as a missing
/// right) must not become a loop of new producers.
const REPLACEMENT_PAUSE: Duration = Duration::from_secs(1);

/// How long starting a producer may take; it only starts threads.
const START_DEADLINE: Duration = Duration::from_secs(5);

/// How often a new producer is asked whether it is connected; its statistics come once a second.
const POLL: Duration = Duration::from_millis(250);

/// How long a producer with new credentials may take to connect before the operator is told.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// The producer in use, and what the next one is made of.
#[derive(Debug)]
pub(super) struct ProducerSupervisor {
    settings: Arc<ArcSwap<KafkaSettings>>,
    connections: Arc<ConnectionHealth>,
    batching: Batching,
    producer: ArcSwapOption<Producer>,
    /// When the last producer was started. Whoever holds the lock may swap the producer.
    started: Mutex<Option<Instant>>,
    closed: AtomicBool,
}

impl ProducerSupervisor {
    /// Without a producer yet.
    pub(super) fn new(
        settings: &Arc<ArcSwap<KafkaSettings>>,
        connections: &Arc<ConnectionHealth>,
        batching: Batching,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings: Arc::clone(settings),
            connections: Arc::clone(connections),
            batching,
            producer: ArcSwapOption::empty(),
            started: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// The producer in use.
    pub(super) fn current(&self) -> Option<Arc<Producer>> {
        self.producer.load_full()
    }

    /// Sends one message and waits for its report.
    pub(super) async fn send(
        self: &Arc<Self>,
        topic: &str,
        message: &Message,
    ) -> Result<RecordPlace, SendError> {
        let producer = match self.usable() {
            Some(producer) => producer,
            None => self.replace().await?,
        };
        producer.send(topic, message).await
    }

    fn usable(&self) -> Option<Arc<Producer>> {
        self.current().filter(|producer| !producer.is_broken())
    }

    async fn replace(self: &Arc<Self>) -> Result<Arc<Producer>, SendError> {
        let supervisor = Arc::clone(self);
        let started = tokio::task::spawn_blocking(move || supervisor.start());
        let reason = match tokio::time::timeout(START_DEADLINE, started).await {
            Ok(Ok(Ok(()))) => match self.usable() {
                Some(producer) => return Ok(producer),
                None => "the client is closed or about to be replaced".to_owned(),
            },
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the client did not start in time".to_owned(),
        };
        Err(SendError::Unreported(reason))
    }

    /// Starts a producer where there is no usable one, unless the last one is too young. Blocks.
    pub(super) fn start(&self) -> Result<(), KafkaError> {
        let mut started = self.lock();
        let young = started.is_some_and(|at| at.elapsed() < REPLACEMENT_PAUSE);
        if self.closed.load(Ordering::Acquire) || self.usable().is_some() || young {
            return Ok(());
        }
        *started = Some(Instant::now());
        let producer = self.create()?;
        if let Some(old) = self.producer.swap(Some(Arc::new(producer))) {
            old.purge();
        }
        Ok(())
    }

    /// A producer with the settings of now. Blocks.
    fn create(&self) -> Result<Producer, KafkaError> {
        let settings = self.settings.load_full();
        let config = settings.producer(self.batching);
        let connections = Arc::clone(&self.connections);
        let context = KafkaProducerContext::new(Arc::clone(&settings), connections);
        Producer::start(&config, context, &settings)
    }

    /// Changes over to a producer with the settings of now, once it is connected. Until then the one in
    /// use goes on.
    pub(super) async fn renew(self: Arc<Self>) {
        let mut is_news = true;
        loop {
            let supervisor = Arc::clone(&self);
            let started = tokio::task::spawn_blocking(move || supervisor.create()).await;
            let reason = match started {
                Ok(Ok(candidate)) => match self.await_connection(candidate, &mut is_news).await {
                    Ok(()) => return,
                    Err(reason) => reason,
                },
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            self.log_failure(&reason, &mut is_news);
            tokio::time::sleep(CONNECT_PATIENCE).await;
        }
    }

    /// Waits until the producer is connected, and puts it to use; or says why it never will be.
    async fn await_connection(
        &self,
        candidate: Producer,
        is_news: &mut bool,
    ) -> Result<(), String> {
        let (mut poll, began) = (tokio::time::interval(POLL), Instant::now());
        while !candidate.is_connected() {
            if candidate.is_broken() {
                return Err(self.last_error());
            }
            if began.elapsed() > CONNECT_PATIENCE {
                self.log_failure(&self.last_error(), is_news);
            }
            poll.tick().await;
        }
        let _no_start_meanwhile = self.lock();
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        tracing::info!("the Kafka client with the new credentials takes over");
        if let Some(old) = self.producer.swap(Some(Arc::new(candidate)))
            && !old.is_connected()
        {
            // It would only wait for its messages to time out.
            old.purge();
        }
        Ok(())
    }

    fn last_error(&self) -> String {
        let error = self.connections.last_error().map(|error| error.reason);
        error.unwrap_or_else(|| "no broker has answered yet".to_owned())
    }

    fn log_failure(&self, reason: &str, is_news: &mut bool) {
        if std::mem::take(is_news) {
            let brokers = &self.settings.load().brokers;
            tracing::error!(%brokers, reason, "the new credentials of a Kafka sink do not work; the client with the old ones is kept");
        }
    }

    /// Drops the producer; the next message starts a new one, with the settings of then.
    pub(super) fn reset(&self) {
        let mut started = self.lock();
        *started = None;
        self.producer.store(None);
    }

    /// Waits for outstanding reports until `deadline`, fails the rest and ends the producer.
    pub(super) async fn close(self: &Arc<Self>, deadline: Duration) {
        self.closed.store(true, Ordering::Release);
        let supervisor = Arc::clone(self);
        let drained = tokio::task::spawn_blocking(move || supervisor.drain(deadline));
        let limit = deadline + START_DEADLINE;
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!("the Kafka client did not close in time and is left behind");
        }
    }

    fn drain(&self, deadline: Duration) {
        let producer = {
            let _no_start_meanwhile = self.lock();
            self.producer.swap(None)
        };
        if let Some(producer) = producer {
            producer.drain(deadline);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
