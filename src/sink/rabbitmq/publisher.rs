//! One channel that publishes: takes all that waits as one batch, sends it, and waits for every
//! confirm of it before it says anything about any message of it.
//!
//! The order of those two is what makes a receipt true. The broker returns an unroutable message
//! before it confirms it, but lapin hands a return to whichever confirm completes next, so a single
//! confirm says nothing of its own message. Once the whole batch is confirmed, every return of the
//! batch has been handed out with some confirm of it, and is matched by message id.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::AMQPError;
use lapin::{Channel, Confirmation};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, ConnectionError, within};
use super::properties::properties;
use super::queue::{Job, Queue};
use super::settings::Settings;
use super::topology::{Exchanges, ensure_exchange, short};
use super::verdict::{Blame, Outcome, blame, by_exchange, judge};
use crate::sink::PublishError;

/// A connection in use: what all its channels share.
#[derive(Debug)]
pub(super) struct Link {
    /// The connection.
    pub connection: Connection,
    /// What the sink is configured with.
    pub settings: Arc<Settings>,
    /// What is known of the broker's exchanges.
    pub exchanges: Exchanges,
    /// Whether the broker has asked us to stop.
    pub blocked: watch::Receiver<bool>,
    /// Says that another connection takes the place of this one.
    pub retired: CancellationToken,
}

/// The connection is of no more use, and why.
#[derive(Debug)]
pub(super) struct Lost(pub String);

/// One channel, and the work on it.
#[derive(Debug)]
pub(super) struct Publisher {
    link: Arc<Link>,
    queue: Arc<Queue>,
    channel: Option<Channel>,
}

impl Publisher {
    /// A publisher whose channel is opened when it runs.
    pub fn new(link: Arc<Link>, queue: Arc<Queue>) -> Self {
        Self {
            link,
            queue,
            channel: None,
        }
    }

    /// Publishes until the connection is lost or retired.
    pub async fn run(mut self) -> Lost {
        loop {
            if let Err(lost) = self.step().await {
                return lost;
            }
        }
    }

    /// Publishes what waits: together what is above suspicion, and each suspect exchange by itself,
    /// so that it cannot take the others down with it.
    async fn step(&mut self) -> Result<(), Lost> {
        self.unblocked().await?;
        self.ready_channel().await?;
        let jobs = self.next_batch().await?;
        self.look_for_exchanges(&jobs).await;
        if !self.link.exchanges.has_suspects() {
            return self.settle_all(jobs).await;
        }
        let (suspects, clean): (Vec<Job>, Vec<Job>) = jobs
            .into_iter()
            .partition(|job| self.link.exchanges.is_suspect(&job.exchange));
        self.settle_all(clean).await?;
        for group in by_exchange(suspects) {
            self.settle_suspects(group).await?;
        }
        Ok(())
    }

    /// What waits. A retired connection leaves it to the next one.
    async fn next_batch(&self) -> Result<Vec<Job>, Lost> {
        tokio::select! {
            biased;
            () = self.link.retired.cancelled() => Err(retired()),
            jobs = self.queue.take(self.link.settings.max_batch) => Ok(jobs),
        }
    }

    /// Sends one message ahead. Only when the exchange has taken it do the others follow: a burst
    /// into an exchange that closes the channel would still be arriving when the channel is closed,
    /// and for that the broker closes the whole connection.
    async fn settle_suspects(&mut self, mut jobs: Vec<Job>) -> Result<(), Lost> {
        while let Some(scout) = jobs.pop() {
            let exchange = scout.exchange.clone();
            self.settle_all(vec![scout]).await?;
            if let Some(reason) = self.link.exchanges.conviction(&exchange) {
                for job in jobs {
                    job.settle(Err(PublishError::Unroutable(reason.clone())));
                }
                return Ok(());
            }
            if !self.link.exchanges.is_suspect(&exchange) {
                return self.settle_all(jobs).await;
            }
        }
        Ok(())
    }

    /// Settles the jobs as one batch, or in ever smaller ones until it is clear whom the broker
    /// minds.
    async fn settle_all(&mut self, jobs: Vec<Job>) -> Result<(), Lost> {
        let mut groups = vec![jobs];
        while let Some(group) = groups.pop() {
            match self.settle(group).await {
                Ok(rest) => groups.extend(rest),
                Err(lost) => {
                    give_back(groups.into_iter().flatten(), &lost.0);
                    return Err(lost);
                }
            }
        }
        Ok(())
    }

    /// Settles the whole group, or hands back smaller ones where it cannot tell which message the
    /// broker minded.
    async fn settle(&mut self, jobs: Vec<Job>) -> Result<Vec<Vec<Job>>, Lost> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let outcome = match self.ready_channel().await {
            Ok(Some(channel)) => self.attempt(&channel, &jobs).await,
            Ok(None) => Outcome::Doubt("the broker has blocked publishers".to_owned()),
            Err(Lost(reason)) => Outcome::Lost(reason),
        };
        if !matches!(outcome, Outcome::Confirmed(_)) {
            // Whatever is still on its way on this channel must not meet the next batch.
            self.channel = None;
        }
        match outcome {
            Outcome::Confirmed(verdicts) => {
                self.forgive(&jobs);
                for (job, verdict) in jobs.into_iter().zip(verdicts) {
                    job.settle(verdict);
                }
                Ok(Vec::new())
            }
            Outcome::Doubt(reason) => {
                give_back(jobs, &reason);
                Ok(Vec::new())
            }
            Outcome::Closed(error) => Ok(self.convict(jobs, &error)),
            Outcome::Lost(reason) => {
                give_back(jobs, &reason);
                Err(Lost(reason))
            }
        }
    }

    /// Publishes all jobs and waits for all confirms.
    async fn attempt(&self, channel: &Channel, jobs: &[Job]) -> Outcome {
        let deadline = self.link.settings.publish_timeout;
        let confirms = join_all(jobs.iter().map(|job| publish(channel, job)));
        match self
            .unless_blocked(tokio::time::timeout(deadline, confirms))
            .await
        {
            None => Outcome::Doubt("the broker has blocked publishers".to_owned()),
            Some(Err(_)) => Outcome::Lost(silence(deadline)),
            Some(Ok(results)) => judge(
                jobs,
                results,
                self.link.connection.amqp().status().connected(),
            ),
        }
    }

    /// Tells those whom the broker minds, and hands back the others in groups to be tried again.
    fn convict(&self, jobs: Vec<Job>, error: &AMQPError) -> Vec<Vec<Job>> {
        match blame(jobs, error) {
            Blame::Unclear(groups) => groups,
            Blame::Exchange(jobs, reason) => {
                let exchange = jobs.first().map_or("", |job| job.exchange.as_str());
                if self.link.exchanges.convict(exchange, &reason) {
                    tracing::warn!(exchange, reason, "the exchange takes no messages");
                }
                for job in jobs {
                    job.settle(Err(PublishError::Unroutable(reason.clone())));
                }
                Vec::new()
            }
            Blame::Message(job, verdict) => {
                job.settle(Err(verdict));
                Vec::new()
            }
        }
    }

    fn forgive(&self, jobs: &[Job]) {
        if !self.link.exchanges.has_suspects() {
            return;
        }
        for job in jobs {
            if self.link.exchanges.clear(&job.exchange) {
                tracing::info!(exchange = job.exchange, "the exchange takes messages again");
            }
        }
    }

    /// Declares, or looks for, what this connection has not seen yet. What the broker says against
    /// it is told to the operator; the exchange may be there all the same, so it is tried.
    async fn look_for_exchanges(&self, jobs: &[Job]) {
        let mut last = "";
        for job in jobs {
            if job.exchange != last && !self.link.exchanges.note_declared(&job.exchange) {
                self.look_for(&job.exchange).await;
            }
            last = &job.exchange;
        }
    }

    async fn look_for(&self, exchange: &str) {
        let Link {
            connection,
            settings,
            exchanges,
            ..
        } = &*self.link;
        let looking = ensure_exchange(connection, settings.declare, exchange);
        if let Some(Err(error)) = self.unless_blocked(looking).await {
            if !exchanges.is_suspect(exchange) {
                let reason = error.to_string();
                tracing::warn!(exchange, reason, "the exchange is not as configured");
            }
            exchanges.suspect(exchange);
        }
    }

    /// The channel, opened where there is none; none while the broker has blocked us.
    async fn ready_channel(&mut self) -> Result<Option<Channel>, Lost> {
        if self.channel.is_none() {
            let Some(opened) = self.unless_blocked(open(&self.link.connection)).await else {
                return Ok(None);
            };
            self.channel = Some(opened.map_err(|error| Lost(error.to_string()))?);
        }
        Ok(self.channel.clone())
    }

    async fn unblocked(&self) -> Result<(), Lost> {
        let mut blocked = self.link.blocked.clone();
        tokio::select! {
            biased;
            () = self.link.retired.cancelled() => Err(retired()),
            free = blocked.wait_for(|blocked| !blocked) => match free {
                Ok(_) => Ok(()),
                Err(_) => Err(Lost("the connection is being closed".to_owned())),
            },
        }
    }

    /// What the doing comes to, or none as soon as the broker blocks us: it would hang until the
    /// broker has its resources back.
    async fn unless_blocked<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        let mut blocked = self.link.blocked.clone();
        tokio::select! {
            biased;
            done = doing => Some(done),
            _ = blocked.wait_for(|blocked| *blocked) => None,
        }
    }
}

fn retired() -> Lost {
    Lost("another connection has taken its place".to_owned())
}

fn give_back(jobs: impl IntoIterator<Item = Job>, reason: &str) {
    for job in jobs {
        job.give_back(reason);
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

/// Sends one message and waits for its confirm. The first poll puts it in line, so the messages of a
/// batch leave together.
async fn publish(channel: &Channel, job: &Job) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let sending = channel.basic_publish(
        short(&job.exchange),
        short(&job.routing_key),
        options,
        job.message.body(),
        properties(&job.message),
    );
    sending.await?.await
}
