//! A line to the cluster: the producer of the moment, and its replacement when it is of no more use
//! or its credentials are out of date.
//!
//! A producer with new credentials starts beside the one in use, and takes its place when it is
//! connected. The old one gets no more messages and ends after its last report: at most one message
//! of an object is outstanding, so two producers cannot change an order, and none is in doubt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use rdkafka::error::KafkaError;

use super::producer::{Failure, Producer};
use super::settings::Settings;
use super::watch::{Record, Watch};
use crate::sink::Message;

/// The least time between two clients: a fatal error that comes back at once (such as a missing
/// right) must not become a loop of new clients.
const REPLACEMENT_PAUSE: Duration = Duration::from_secs(1);

/// How long the making of a client may take; it only reads files and starts threads.
const START_DEADLINE: Duration = Duration::from_secs(5);

/// How often a new client is looked at, which tells of itself once a second.
const LOOK: Duration = Duration::from_millis(250);

/// How long a new client may take to connect before that is told to the operator.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How many messages a request may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batching {
    /// As many as wait.
    Many,
    /// One.
    Single,
}

/// The line.
#[derive(Debug)]
pub(super) struct Line {
    settings: Arc<ArcSwap<Settings>>,
    record: Arc<Record>,
    batching: Batching,
    producer: ArcSwapOption<Producer>,
    started: Mutex<Option<Instant>>,
    closed: AtomicBool,
}

impl Line {
    /// A line without a client yet.
    pub(super) fn new(
        settings: &Arc<ArcSwap<Settings>>,
        record: &Arc<Record>,
        batching: Batching,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings: Arc::clone(settings),
            record: Arc::clone(record),
            batching,
            producer: ArcSwapOption::empty(),
            started: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// The client of the moment.
    pub(super) fn current(&self) -> Option<Arc<Producer>> {
        self.producer.load_full()
    }

    /// Sends one message and waits for its report.
    pub(super) async fn send(
        self: &Arc<Self>,
        topic: &str,
        message: &Message,
    ) -> Result<(), Failure> {
        let producer = match self.usable() {
            Some(producer) => producer,
            None => self.replace().await?,
        };
        producer.send(topic, message).await
    }

    fn usable(&self) -> Option<Arc<Producer>> {
        self.current().filter(|producer| !producer.is_broken())
    }

    async fn replace(self: &Arc<Self>) -> Result<Arc<Producer>, Failure> {
        let line = Arc::clone(self);
        let started = tokio::task::spawn_blocking(move || line.start());
        match tokio::time::timeout(START_DEADLINE, started).await {
            Ok(Ok(Ok(()))) => self.usable().ok_or_else(|| {
                Failure::Silent("the client is closed or about to be replaced".to_owned())
            }),
            Ok(Ok(Err(error))) => Err(Failure::Silent(error.to_string())),
            Ok(Err(error)) => Err(Failure::Silent(error.to_string())),
            Err(_) => Err(Failure::Silent(
                "the client did not start in time".to_owned(),
            )),
        }
    }

    /// Starts a client where there is no usable one, unless the last one is too young. Blocks.
    pub(super) fn start(&self) -> Result<(), KafkaError> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let young = started.is_some_and(|at| at.elapsed() < REPLACEMENT_PAUSE);
        if self.closed.load(Ordering::Acquire) || self.usable().is_some() || young {
            return Ok(());
        }
        *started = Some(Instant::now());
        let producer = self.client()?;
        if let Some(old) = self.producer.swap(Some(Arc::new(producer))) {
            old.purge();
        }
        Ok(())
    }

    /// A client with the settings of now. Blocks.
    fn client(&self) -> Result<Producer, KafkaError> {
        let settings = self.settings.load_full();
        let config = settings.producer(self.batching);
        let watch = Watch::new(Arc::clone(&settings), Arc::clone(&self.record));
        Producer::start(&config, watch, &settings)
    }

    /// Changes over to a client with the settings of now, once it is connected. Until then the one
    /// in use goes on.
    pub(super) async fn renew(self: Arc<Self>) {
        let mut is_news = true;
        loop {
            let line = Arc::clone(&self);
            let started = tokio::task::spawn_blocking(move || line.client()).await;
            let reason = match started {
                Ok(Ok(candidate)) => match self.await_connection(candidate, &mut is_news).await {
                    Ok(()) => return,
                    Err(reason) => reason,
                },
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            self.complain(&reason, &mut is_news);
            tokio::time::sleep(CONNECT_PATIENCE).await;
        }
    }

    /// Waits until the client is connected, and puts it to use; or tells that it never will be.
    async fn await_connection(
        &self,
        candidate: Producer,
        is_news: &mut bool,
    ) -> Result<(), String> {
        let (mut look, began) = (tokio::time::interval(LOOK), Instant::now());
        while !candidate.is_connected() {
            if candidate.is_broken() {
                return Err(self.trouble());
            }
            if began.elapsed() > CONNECT_PATIENCE {
                self.complain(&self.trouble(), is_news);
            }
            look.tick().await;
        }
        let _no_start_meanwhile = self.started.lock().unwrap_or_else(PoisonError::into_inner);
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

    fn trouble(&self) -> String {
        let trouble = self.record.trouble().map(|trouble| trouble.reason);
        trouble.unwrap_or_else(|| "no broker has answered yet".to_owned())
    }

    fn complain(&self, reason: &str, is_news: &mut bool) {
        if std::mem::take(is_news) {
            let brokers = &self.settings.load().brokers;
            tracing::error!(%brokers, reason, "the new credentials of a Kafka sink do not work; the client with the old ones is kept");
        }
    }

    /// Lets go of a client that is made when it is needed: the next message makes a new one.
    pub(super) fn renew_when_needed(&self) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        *started = None;
        self.producer.store(None);
    }

    /// Waits for outstanding reports until `deadline`, fails the rest and ends the client.
    pub(super) async fn close(self: &Arc<Self>, deadline: Duration) {
        self.closed.store(true, Ordering::Release);
        let line = Arc::clone(self);
        let drained = tokio::task::spawn_blocking(move || line.drain(deadline));
        let limit = deadline + START_DEADLINE;
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!("the Kafka client did not close in time and is left behind");
        }
    }

    fn drain(&self, deadline: Duration) {
        let producer = {
            let _no_start_meanwhile = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            self.producer.swap(None)
        };
        if let Some(producer) = producer {
            producer.drain(deadline);
        }
    }
}
