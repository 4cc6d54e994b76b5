//! The RabbitMQ sink: confirm mode, persistent messages, mandatory routing. All of lapin is used
//! in this folder.
//!
//! A [`RabbitMq`] owns one task, the supervisor, which owns the connection; a connection has a few
//! channels, each with one batch in flight. The files: `settings` what it runs on, `queue` where
//! messages wait, `supervisor`, `session` and `connection` (with its `lifeline`) the broker's coming
//! and going, `publisher` and `verdict` a batch and what it came to, `properties` a message in AMQP's
//! terms, `topology` exchanges and queues, `check` an operator's look, `follow` a consumer.

mod check;
mod connection;
mod follow;
mod lifeline;
mod properties;
mod publisher;
mod queue;
mod session;
mod settings;
mod supervisor;
mod topology;
mod verdict;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use connection::{ConnectionError, IdentityError, check_identity};
pub use follow::{FollowError, follow};
pub use settings::{Address, AddressError, Queue, Settings};

use super::{
    Finding, Health, Message, Needs, PublishError, Receipt, RefusalReason, Renewed, Sink, Stage,
};
use supervisor::Supervisor;

/// AMQP 0-9-1: exchange names and routing keys are short strings.
const MOST_NAME_BYTES: usize = 255;

/// A RabbitMQ broker as a sink.
#[derive(Debug)]
pub struct RabbitMq {
    settings: watch::Sender<Arc<Settings>>,
    queue: Arc<queue::Queue>,
    health: watch::Receiver<Health>,
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
    pub fn new(settings: Settings, needs: Needs) -> Self {
        let waiting = settings.channels * settings.max_batch * 2;
        let (settings, current) = watch::channel(Arc::new(settings));
        let queue = Arc::new(queue::Queue::shut_for(
            "not connected to RabbitMQ yet",
            waiting,
        ));
        let (sender, health) = watch::channel(Health {
            failures: Stage::ALL.map(|stage| (stage, 0)).into(),
            ..Health::default()
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
    pub fn renew(&self, settings: &Settings) -> Renewed {
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

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The message's place, checked against what AMQP and the broker allow.
    fn job(
        &self,
        message: &Message,
    ) -> Result<(queue::Job, tokio::sync::oneshot::Receiver<queue::Verdict>), PublishError> {
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
        Ok(queue::Job::new(exchange, key, message.clone()))
    }

    fn take_supervisor(&self) -> Option<JoinHandle<()>> {
        self.supervisor
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
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
    async fn publish(&self, message: &Message) -> Result<Receipt, PublishError> {
        self.queue.admit()?;
        let (job, verdict) = self.job(message)?;
        self.queue.push(job)?;
        // Every job is settled within the deadlines of connection and batch. One that was dropped
        // went down with its connection.
        verdict.await.unwrap_or_else(|_| {
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

    fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    async fn ended(&self) {
        let mut health = self.health.clone();
        // The supervisor alone can send, and only as long as it runs.
        while health.changed().await.is_ok() {}
    }

    async fn close(&self, deadline: Duration) {
        self.stop.cancel();
        self.queue.shut("the sink is closed");
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
