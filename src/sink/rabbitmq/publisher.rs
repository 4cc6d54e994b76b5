//! One channel that publishes: takes all that waits as one batch, sends it, and waits for every
//! publisher confirm of it before it answers for any message of it.
//!
//! That order is what makes a receipt true. The broker returns an unroutable message before it
//! confirms it, but lapin hands a return to whichever confirm completes next, so a single confirm
//! says nothing of its own message. Once the whole batch is confirmed, every return of the batch has
//! been handed out with some confirm of it, and is matched by message id.
//!
//! A message or an exchange that the broker does not take makes it close the channel, without saying
//! which message of the batch it was. Then the messages of that batch are published one by one, in
//! order, each awaiting its confirm, until one closes the channel again: that one is to blame, and
//! those behind it are a batch again.

use std::collections::VecDeque;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::AMQPError;
use lapin::{Channel, Confirmation};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::confirms::{BatchOutcome, ChannelFault, fault, judge};
use super::connection::{Connection, ConnectionError, within};
use super::properties::properties;
use super::publish_queue::{PendingPublish, PublishQueue};
use super::settings::RabbitMqSettings;
use super::topology::{KnownExchanges, ensure_exchange, short};
use crate::sink::PublishError;

/// The most messages in flight on one channel: more make no batch faster, and all of a batch are in
/// doubt when its connection is lost.
pub(super) const MAX_BATCH: usize = 256;

/// What is said of messages that a search has left no time for.
const OUT_OF_TIME: &str = "messages were published one by one, and no time was left for this one";

/// A connection in use: what all its channels share.
#[derive(Debug)]
pub(super) struct SharedConnection {
    /// The connection.
    pub connection: Connection,
    /// What the sink is configured with.
    pub settings: Arc<RabbitMqSettings>,
    /// What is known of the broker's exchanges.
    pub exchanges: KnownExchanges,
    /// Whether the broker has asked us to stop (`connection.blocked`).
    pub blocked: watch::Receiver<bool>,
    /// Cancelled when another connection takes the place of this one.
    pub retired: CancellationToken,
}

/// The connection is of no more use, and why.
#[derive(Debug)]
pub(super) struct ConnectionLost(pub String);

/// One channel in confirm mode, and the work on it.
#[derive(Debug)]
pub(super) struct Publisher {
    shared: Arc<SharedConnection>,
    queue: Arc<PublishQueue>,
    channel: Option<Channel>,
}

impl Publisher {
    /// A publisher whose channel is opened when it runs.
    pub fn new(shared: Arc<SharedConnection>, queue: Arc<PublishQueue>) -> Self {
        Self {
            shared,
            queue,
            channel: None,
        }
    }

    /// Publishes until the connection is lost or retired.
    pub async fn run(mut self) -> ConnectionLost {
        loop {
            if let Err(lost) = self.step().await {
                return lost;
            }
        }
    }

    /// Publishes what waits: as one batch, except for exchanges that refuse, whose messages are
    /// published one by one. A burst into an exchange that closes the channel would still be arriving
    /// when the channel is closed, and for that the broker closes the whole connection.
    async fn step(&mut self) -> Result<(), ConnectionLost> {
        self.unblocked().await?;
        self.ready_channel().await?;
        let batch = self.next_batch().await?;
        self.look_for_exchanges(&batch).await;
        // A search that takes longer is broken off: what is left of the batch is in doubt then.
        let until = Instant::now() + self.shared.settings.publish_timeout;
        let (refusing, batch) = self.split_off_refusing(batch);
        self.publish_batch(batch, until).await?;
        self.publish_to_refusing(refusing, until).await
    }

    /// The messages for exchanges that refuse, and the others.
    fn split_off_refusing(
        &self,
        messages: impl IntoIterator<Item = PendingPublish>,
    ) -> (VecDeque<PendingPublish>, VecDeque<PendingPublish>) {
        let exchanges = &self.shared.exchanges;
        messages
            .into_iter()
            .partition(|publish| exchanges.is_refusing(&publish.exchange))
    }

    /// What waits. A retired connection leaves it to the next one.
    async fn next_batch(&self) -> Result<Vec<PendingPublish>, ConnectionLost> {
        tokio::select! {
            biased;
            () = self.shared.retired.cancelled() => Err(retired()),
            batch = self.queue.take(MAX_BATCH) => Ok(batch),
        }
    }

    /// Publishes all together, again without each message that closed the channel.
    async fn publish_batch(
        &mut self,
        mut batch: VecDeque<PendingPublish>,
        until: Instant,
    ) -> Result<(), ConnectionLost> {
        while !batch.is_empty() {
            if let Ok(outcome) = self.attempt(batch.make_contiguous()).await {
                return self.settle(batch, outcome);
            }
            while !batch.is_empty() && !self.publish_first(&mut batch, until).await? {}
            if Instant::now() >= until {
                give_back(batch.drain(..), OUT_OF_TIME);
            }
        }
        Ok(())
    }

    /// Publishes to exchanges that refuse, one message ahead: once the exchange takes it, the rest is a
    /// batch again.
    async fn publish_to_refusing(
        &mut self,
        mut refusing: VecDeque<PendingPublish>,
        until: Instant,
    ) -> Result<(), ConnectionLost> {
        while !refusing.is_empty() {
            self.publish_first(&mut refusing, until).await?;
            let (still_refusing, taking) = self.split_off_refusing(refusing);
            self.publish_batch(taking, until).await?;
            refusing = still_refusing;
        }
        Ok(())
    }

    /// Publishes the first of these alone and answers for it; whether it closed the channel. Where no
    /// time is left, none is published, and all are in doubt.
    async fn publish_first(
        &mut self,
        messages: &mut VecDeque<PendingPublish>,
        until: Instant,
    ) -> Result<bool, ConnectionLost> {
        if Instant::now() >= until {
            give_back(messages.drain(..), OUT_OF_TIME);
        }
        let Some(first) = messages.pop_front() else {
            return Ok(false);
        };
        match self.attempt(slice::from_ref(&first)).await {
            Ok(outcome) => self
                .settle(VecDeque::from([first]), outcome)
                .map(|()| false),
            Err(error) => {
                self.blame(first, messages, &error);
                Ok(true)
            }
        }
    }

    /// Publishes all messages and waits for all confirms.
    ///
    /// # Errors
    /// When the broker closed the channel over something in the batch.
    async fn attempt(&mut self, batch: &[PendingPublish]) -> Result<BatchOutcome, AMQPError> {
        let outcome = match self.ready_channel().await {
            Ok(Some(channel)) => self.attempt_on(&channel, batch).await,
            Ok(None) => Ok(blocked()),
            Err(ConnectionLost(reason)) => Ok(BatchOutcome::Lost(reason)),
        };
        if !matches!(outcome, Ok(BatchOutcome::Confirmed(_))) {
            // Whatever is still on its way on this channel must not meet the next batch.
            self.channel = None;
        }
        outcome
    }

    async fn attempt_on(
        &self,
        channel: &Channel,
        batch: &[PendingPublish],
    ) -> Result<BatchOutcome, AMQPError> {
        let deadline = self.shared.settings.publish_timeout;
        let confirms = join_all(batch.iter().map(|one| publish(channel, one)));
        match self
            .unless_blocked(tokio::time::timeout(deadline, confirms))
            .await
        {
            None => Ok(blocked()),
            Some(Err(_)) => Ok(BatchOutcome::Lost(silence(deadline))),
            Some(Ok(results)) => judge(
                batch,
                results,
                self.shared.connection.amqp().status().connected(),
            ),
        }
    }

    /// Answers for all messages of a batch that did not close the channel.
    fn settle(
        &self,
        batch: VecDeque<PendingPublish>,
        outcome: BatchOutcome,
    ) -> Result<(), ConnectionLost> {
        match outcome {
            BatchOutcome::Confirmed(verdicts) => {
                self.note_taken(&batch);
                for (publish, verdict) in batch.into_iter().zip(verdicts) {
                    publish.settle(verdict);
                }
                Ok(())
            }
            BatchOutcome::Doubt(reason) => {
                give_back(batch, &reason);
                Ok(())
            }
            BatchOutcome::Lost(reason) => {
                give_back(batch, &reason);
                Err(ConnectionLost(reason))
            }
        }
    }

    /// Answers for the message that closed the channel, and where it is the exchange that refuses, for
    /// all others to it, which are taken out.
    fn blame(
        &self,
        publish: PendingPublish,
        others: &mut VecDeque<PendingPublish>,
        error: &AMQPError,
    ) {
        let reason = match fault(error) {
            ChannelFault::Message(refusal) => return publish.settle(Err(refusal)),
            ChannelFault::Exchange(reason) => reason,
        };
        let exchange = publish.exchange.clone();
        if self.shared.exchanges.note_refusal(&exchange, &reason) {
            tracing::warn!(exchange, reason, "the exchange takes no messages");
        }
        let (same, left): (Vec<_>, _) = std::mem::take(others)
            .into_iter()
            .partition(|other| other.exchange == exchange);
        *others = left.into();
        for publish in [publish].into_iter().chain(same) {
            publish.settle(Err(PublishError::Unroutable(reason.clone())));
        }
    }

    fn note_taken(&self, batch: &VecDeque<PendingPublish>) {
        if !self.shared.exchanges.has_refusing() {
            return;
        }
        for publish in batch {
            let exchange = &publish.exchange;
            if self.shared.exchanges.note_taken(exchange) {
                tracing::info!(exchange, "the exchange takes messages again");
            }
        }
    }

    /// Declares, or looks for, what this connection has not seen yet. What the broker says against
    /// it is told to the operator; the exchange may be there all the same, so it is tried.
    async fn look_for_exchanges(&self, batch: &[PendingPublish]) {
        let mut last = "";
        for publish in batch {
            let exchange = &publish.exchange;
            if exchange != last && !self.shared.exchanges.note_declared(exchange) {
                self.look_for(exchange).await;
            }
            last = exchange;
        }
    }

    async fn look_for(&self, exchange: &str) {
        let SharedConnection {
            connection,
            settings,
            exchanges,
            ..
        } = &*self.shared;
        let looking = ensure_exchange(connection, settings.declare, exchange);
        if let Some(Err(error)) = self.unless_blocked(looking).await {
            if !exchanges.is_refusing(exchange) {
                let reason = error.to_string();
                tracing::warn!(exchange, reason, "the exchange is not as configured");
            }
            exchanges.expect_refusal(exchange);
        }
    }

    /// The channel, opened where there is none; none while the broker has blocked us.
    async fn ready_channel(&mut self) -> Result<Option<Channel>, ConnectionLost> {
        if self.channel.is_none() {
            let Some(opened) = self.unless_blocked(open(&self.shared.connection)).await else {
                return Ok(None);
            };
            self.channel = Some(opened.map_err(|error| ConnectionLost(error.to_string()))?);
        }
        Ok(self.channel.clone())
    }

    async fn unblocked(&self) -> Result<(), ConnectionLost> {
        let mut blocked = self.shared.blocked.clone();
        tokio::select! {
            biased;
            () = self.shared.retired.cancelled() => Err(retired()),
            free = blocked.wait_for(|blocked| !blocked) => match free {
                Ok(_) => Ok(()),
                Err(_) => Err(ConnectionLost("the connection is being closed".to_owned())),
            },
        }
    }

    /// The result, or none as soon as the broker blocks us: it would hang until the broker has its
    /// resources back.
    async fn unless_blocked<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        let mut blocked = self.shared.blocked.clone();
        tokio::select! {
            biased;
            done = doing => Some(done),
            _ = blocked.wait_for(|blocked| *blocked) => None,
        }
    }
}

fn retired() -> ConnectionLost {
    ConnectionLost("another connection has taken its place".to_owned())
}

fn blocked() -> BatchOutcome {
    BatchOutcome::Doubt("the broker has blocked publishers".to_owned())
}

fn give_back(batch: impl IntoIterator<Item = PendingPublish>, reason: &str) {
    for publish in batch {
        publish.give_back(reason);
    }
}

fn silence(deadline: Duration) -> String {
    format!("no confirm within {} s", deadline.as_secs_f32())
}

async fn open(connection: &Connection) -> Result<Channel, ConnectionError> {
    let channel = connection.channel().await?;
    let selecting = channel.confirm_select(ConfirmSelectOptions::default());
    within(connection.deadline(), selecting).await?;
    Ok(channel)
}

/// Sends one message and waits for its confirm. The first poll hands it to lapin, so the messages of
/// a batch leave together.
async fn publish(channel: &Channel, publish: &PendingPublish) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let sending = channel.basic_publish(
        short(&publish.exchange),
        short(&publish.routing_key),
        options,
        publish.message.body(),
        properties(&publish.message),
    );
    sending.await?.await
}
