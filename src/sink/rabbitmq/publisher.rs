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
use lapin::{Channel, Confirmation};
use tokio::sync::watch;

use super::connection::{Connection, ConnectionError, within};
use super::properties::properties;
use super::queue::{Job, Queue};
use super::settings::Settings;
use super::topology::{Exchanges, declare_exchange, short};
use super::verdict::{Blame, Outcome, blame, judge};
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

    /// Publishes until the connection is lost.
    pub async fn run(mut self) -> Lost {
        loop {
            if let Err(lost) = self.step().await {
                return lost;
            }
        }
    }

    /// Publishes one batch. A message for an exchange that closed a channel lately goes apart from
    /// the others, so that it cannot take them down with it again.
    async fn step(&mut self) -> Result<(), Lost> {
        self.unblocked().await?;
        self.ready_channel().await?;
        let jobs = self.queue.take(self.link.settings.max_batch).await;
        let mut groups = self.groups(jobs);
        while let Some(group) = groups.pop() {
            match self.settle(group).await {
                Ok(rest) => groups.extend(rest),
                Err(lost) => {
                    for job in groups.into_iter().flatten() {
                        job.give_back(&lost.0);
                    }
                    return Err(lost);
                }
            }
        }
        Ok(())
    }

    /// Settles the whole group, or hands back smaller ones where it cannot tell which message the
    /// broker minded.
    async fn settle(&mut self, jobs: Vec<Job>) -> Result<Vec<Vec<Job>>, Lost> {
        self.declare(&jobs).await;
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
            Outcome::Closed(error) => Ok(self.convict(jobs, blame, &error)),
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

    /// Lets those go who have no part in it, and tells those who do.
    fn convict(
        &self,
        jobs: Vec<Job>,
        blame: fn(Vec<Job>, &lapin::protocol::AMQPError) -> Blame,
        error: &lapin::protocol::AMQPError,
    ) -> Vec<Vec<Job>> {
        match blame(jobs, error) {
            Blame::Unclear(groups) => groups,
            Blame::Found(jobs, verdict) => {
                for job in jobs {
                    if let PublishError::Unroutable(reason) = &verdict {
                        self.suspect(&job.exchange, reason);
                    }
                    job.settle(Err(verdict.clone()));
                }
                Vec::new()
            }
        }
    }

    fn suspect(&self, exchange: &str, reason: &str) {
        if self.link.exchanges.suspect(exchange, reason) {
            tracing::warn!(exchange, reason, "the exchange takes no messages");
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

    /// All that is above suspicion, and each suspect exchange by itself. The last is published first.
    fn groups(&self, jobs: Vec<Job>) -> Vec<Vec<Job>> {
        if !self.link.exchanges.has_suspects() {
            return vec![jobs];
        }
        let (suspects, clean): (Vec<Job>, Vec<Job>) = jobs
            .into_iter()
            .partition(|job| self.link.exchanges.is_suspect(&job.exchange));
        let mut groups = super::verdict::by_exchange(suspects);
        if !clean.is_empty() {
            groups.push(clean);
        }
        groups
    }

    /// Declares what this connection has not declared yet. A refusal is told to the operator; the
    /// exchange may be there all the same, so the messages are tried.
    async fn declare(&self, jobs: &[Job]) {
        if !self.link.settings.declare {
            return;
        }
        let mut last = "";
        for job in jobs {
            if job.exchange == last || self.link.exchanges.note_declared(&job.exchange) {
                last = &job.exchange;
                continue;
            }
            let declaring = declare_exchange(&self.link.connection, &job.exchange);
            if let Some(Err(error)) = self.unless_blocked(declaring).await {
                self.suspect(&job.exchange, &error.to_string());
                self.link.exchanges.note_declared(&job.exchange);
            }
            last = &job.exchange;
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
        match blocked.wait_for(|blocked| !blocked).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Lost("the connection is being closed".to_owned())),
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

fn give_back(jobs: Vec<Job>, reason: &str) {
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
