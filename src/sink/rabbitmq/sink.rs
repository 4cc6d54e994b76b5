//! The RabbitMQ sink itself: what callers of [`Sink`] see of the queue and the supervisor behind it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::check;
use super::publish_queue::{PendingPublish, PublishQueue, PublishResult};
use super::publisher::MAX_BATCH;
use super::session::CHANNELS;
use super::settings::RabbitMqSettings;
use super::supervisor::Supervisor;
use crate::sink::{
    Finding, Message, Needs, PublishError, Receipt, RefusalReason, Renewed, Sink, SinkHealth, Stage,
};

/// AMQP 0-9-1: exchange names and routing keys are short strings.
const MOST_NAME_BYTES: usize = 255;

/// The most messages that wait for a channel: as many as are in flight, so that no channel idles.
const MOST_WAITING: usize = CHANNELS * MAX_BATCH * 2;

/// A RabbitMQ broker as a sink.
#[derive(Debug)]
pub struct RabbitMq {
    settings: watch::Sender<Arc<RabbitMqSettings>>,
    queue: Arc<PublishQueue>,
    health: watch::Receiver<SinkHealth>,
    stop: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl RabbitMq {
    /// A sink that begins to connect at once, and goes on trying for as long as it lives. `needs`
    /// says which exchanges to declare or verify whenever it has connected.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(settings: RabbitMqSettings, needs: Needs) -> Self {
        let (settings, current) = watch::channel(Arc::new(settings));
        let queue = Arc::new(PublishQueue::closed_for(
            "not connected to RabbitMQ yet",
            MOST_WAITING,
        ));
        let (sender, health) = watch::channel(SinkHealth {
            failures: Stage::ALL.map(|stage| (stage, 0)).into(),
            ..SinkHealth::default()
        });
        let stop = CancellationToken::new();
        let supervisor = Supervisor {
            settings: current,
            needs,
            queue: Arc::clone(&queue),
            health: sender,
            stop: stop.clone(),
        };
        Self {
            settings,
            queue,
            health,
            stop,
            supervisor: Mutex::new(Some(tokio::spawn(supervisor.run()))),
        }
    }

    /// Takes over new credentials: connects with them, and once that has worked, lets the batches in
    /// flight on the old connection end. Returns at once.
    pub fn renew(&self, settings: &RabbitMqSettings) -> Renewed {
        let current = self.settings();
        let renewed = Renewed::of(
            *current == *settings,
            current.is_same_but_for_credentials(settings),
        );
        if renewed == Renewed::Taken {
            self.settings.send_replace(Arc::new(settings.clone()));
        }
        renewed
    }

    fn settings(&self) -> Arc<RabbitMqSettings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The message with its exchange and routing key, checked against what AMQP and the broker allow.
    fn prepare(
        &self,
        message: &Message,
    ) -> Result<(PendingPublish, oneshot::Receiver<PublishResult>), PublishError> {
        let settings = self.settings();
        let size = message.body().len() as u64;
        if size > settings.max_message_bytes {
            return Err(PublishError::Refused {
                reason: RefusalReason::TooLarge,
                detail: format!(
                    "the body has {size} bytes, and the broker takes {}",
                    settings.max_message_bytes
                ),
            });
        }
        let exchange = short("exchange name", message.name(&settings.exchange))?;
        let key = short("routing key", message.name(&settings.routing_key))?;
        Ok(PendingPublish::new(exchange, key, message.clone()))
    }

    fn take_supervisor(&self) -> Option<JoinHandle<()>> {
        self.supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

fn short(what: &str, name: String) -> Result<String, PublishError> {
    if name.len() <= MOST_NAME_BYTES {
        return Ok(name);
    }
    Err(PublishError::Refused {
        reason: RefusalReason::InvalidAddress,
        detail: format!(
            "the {what} has {} bytes, and AMQP allows {MOST_NAME_BYTES}",
            name.len()
        ),
    })
}

#[async_trait]
impl Sink for RabbitMq {
    fn kind(&self) -> &'static str {
        "rabbitmq"
    }

    async fn publish(&self, message: &Message) -> Result<Receipt, PublishError> {
        self.queue.check_open()?;
        let (publish, result) = self.prepare(message)?;
        self.queue.push(publish)?;
        // Every message is answered within the deadlines of connection and batch. One that was
        // dropped went down with its connection.
        result.await.unwrap_or_else(|_| {
            Err(PublishError::Unavailable(
                "the connection was lost before the confirm".to_owned(),
            ))
        })
    }

    fn address(&self, message: &Message) -> String {
        let settings = self.settings();
        format!(
            "exchange {}, routing key {}",
            message.shared_name(&settings.exchange),
            message.shared_name(&settings.routing_key)
        )
    }

    async fn check(&self, needs: &Needs) -> Vec<Finding> {
        check::check(&self.settings(), needs).await
    }

    fn recoveries(&self) -> watch::Receiver<u64> {
        self.queue.openings()
    }

    fn health(&self) -> SinkHealth {
        self.health.borrow().clone()
    }

    async fn ended(&self) {
        let mut health = self.health.clone();
        // The supervisor alone can send, and only as long as it runs.
        while health.changed().await.is_ok() {}
    }

    async fn close(&self, deadline: Duration) {
        self.stop.cancel();
        self.queue.close("the sink is closed");
        let Some(mut supervisor) = self.take_supervisor() else {
            return;
        };
        if tokio::time::timeout(deadline, &mut supervisor)
            .await
            .is_err()
        {
            supervisor.abort();
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let Some(supervisor) = self.take_supervisor() {
            supervisor.abort();
        }
    }
}
