//! The thread that owns the log: it commits whatever waits together, takes retention's steps in
//! between, and after an error opens the file anew before anything is confirmed again.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::log::{Appended, Limits, Log, MAX_TOPICS, is_spoilt};
use super::row::Row;
use super::shared::Shared;
use super::{Clock, StoreError};
use crate::seeded::{self, Bug};
use crate::sink::PublishError;
use crate::sqlite::{Claim, OpenError};

/// The most messages in one commit.
const MAX_GROUP: usize = 512;

/// A group is closed once its rows have these bytes: a commit must not take long.
const MAX_GROUP_BYTES: usize = 4 << 20;

/// How often retention looks while nothing is published.
const TICK: Duration = Duration::from_secs(1);

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// Write a row, and answer after the commit.
    Append(Row, oneshot::Sender<Result<(), PublishError>>),
    /// Write to the disk to see whether that works; the answer is the bytes in use.
    Probe(oneshot::Sender<Result<u64, String>>),
    /// Give the file back.
    Close(oneshot::Sender<()>),
}

type Waiting = (Row, oneshot::Sender<Result<(), PublishError>>);

/// The owner of the log.
#[derive(Debug)]
pub(super) struct Owner {
    claim: Claim,
    limits: Limits,
    clock: Clock,
    /// None from an error to the next opening.
    log: Option<Log>,
    /// Whether the error was one that opening anew does not cure.
    spoilt: bool,
    shared: Arc<Shared>,
}

impl Owner {
    /// Opens the log. What is no log of ours, or damaged, is moved aside for a new one.
    pub fn open(
        claim: Claim,
        limits: Limits,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> Result<Self, StoreError> {
        let mut owner = Self {
            claim,
            limits,
            clock,
            log: None,
            spoilt: false,
            shared,
        };
        owner.log()?;
        Ok(owner)
    }

    /// Works until it is told to close, or nobody is left who could tell it.
    pub fn run(mut self, mut orders: mpsc::Receiver<Order>, runtime: &Runtime) {
        let mut pause = TICK;
        loop {
            let next = runtime.block_on(async { tokio::time::timeout(pause, orders.recv()).await });
            pause = match next {
                Ok(Some(order)) => match self.work(order, &mut orders) {
                    Some(done) => return self.close(orders, Some(done)),
                    None => TICK,
                },
                Ok(None) => return self.close(orders, None),
                // More to delete is deleted at once, though a publish may come in between.
                Err(_) if self.expire() => Duration::ZERO,
                Err(_) => TICK,
            };
        }
    }

    /// Does what is asked, and all publishes that wait with it; the asker, if it is to close.
    fn work(
        &mut self,
        first: Order,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Option<oneshot::Sender<()>> {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        let mut closing = None;
        while let Some(order) = next {
            match order {
                Order::Append(row, reply) => {
                    seeded::stumble(Bug::PanicInStore, &row.body);
                    bytes += row.bytes();
                    group.push((row, reply));
                }
                // The receiver may have given up; there is nobody else to tell.
                Order::Probe(reply) => drop(reply.send(self.probe())),
                Order::Close(done) => closing = Some(done),
            }
            let full = closing.is_some() || group.len() >= MAX_GROUP || bytes >= MAX_GROUP_BYTES;
            next = if full { None } else { orders.try_recv().ok() };
        }
        if !group.is_empty() {
            self.commit(group);
        }
        closing
    }

    fn commit(&mut self, group: Vec<Waiting>) {
        let now = self.now_ms();
        let rows: Vec<&Row> = group.iter().map(|(row, _)| row).collect();
        let written = match self.log() {
            Ok(log) => log.append(&rows, now).map_err(|error| self.fail(&error)),
            Err(error) => Err(error.to_string()),
        };
        match written {
            Ok(outcomes) => self.confirm(group, &outcomes),
            Err(text) => {
                self.shared.commit_failed(&text);
                let error = PublishError::Unavailable(text);
                for (_, reply) in group {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Readers hear of the commit first, so that whoever gets a receipt can read the entry.
    fn confirm(&self, group: Vec<Waiting>, outcomes: &[Appended]) {
        if let Some(log) = &self.log {
            let topics = group.iter().map(|(row, _)| row.topic.as_str());
            self.shared
                .committed(topics.map(|topic| (topic, log.last_position(topic))));
        }
        for ((row, reply), outcome) in group.into_iter().zip(outcomes) {
            let result = match outcome {
                Appended::Stored => Ok(()),
                Appended::TooManyTopics => Err(PublishError::Unroutable(format!(
                    "{} would be one topic more than the {MAX_TOPICS} a store keeps: use a topic template that names fewer",
                    row.topic
                ))),
            };
            // Whoever dropped the publish gave the message up; it is stored all the same.
            let _ = reply.send(result);
        }
    }

    fn expire(&mut self) -> bool {
        let now = self.now_ms();
        // Without an open log there is nothing to do until the next publish opens it.
        let Some(log) = &mut self.log else {
            return false;
        };
        match log.expire(now) {
            Ok(more) => more,
            Err(error) => {
                let text = self.fail(&error);
                self.shared.commit_failed(&text);
                false
            }
        }
    }

    fn probe(&mut self) -> Result<u64, String> {
        let log = self.log().map_err(|error| error.to_string())?;
        match log.probe().and_then(|()| log.used_bytes()) {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Drops the log, for no commit may stand upon one that failed; what to tell the publishers.
    fn fail(&mut self, error: &rusqlite::Error) -> String {
        self.log = None;
        self.spoilt = is_spoilt(error);
        format!("cannot write {}: {error}", self.claim.path().display())
    }

    /// The log, opened anew where it had to be dropped.
    fn log(&mut self) -> Result<&mut Log, StoreError> {
        let log = match self.log.take() {
            Some(log) => log,
            None => self.reopen()?,
        };
        Ok(self.log.insert(log))
    }

    fn reopen(&mut self) -> Result<Log, StoreError> {
        if self.spoilt {
            self.move_aside("it could not be written")?;
        }
        let log = match Log::open(&self.claim, self.limits) {
            Err(error @ (OpenError::Damaged { .. } | OpenError::Foreign { .. })) => {
                self.move_aside(&error.to_string())?;
                Log::open(&self.claim, self.limits)?
            }
            opened => opened?,
        };
        self.shared.opened(log.positions());
        Ok(log)
    }

    fn move_aside(&mut self, reason: &str) -> Result<(), StoreError> {
        let path = self.claim.path();
        let seconds = (self.clock)().as_second();
        let aside = self
            .claim
            .move_aside(seconds)
            .map_err(|cause| StoreError::Aside {
                path: path.to_owned(),
                cause,
            })?;
        self.spoilt = false;
        tracing::error!(
            path = %path.display(),
            moved_to = %aside.display(),
            reason,
            "The topic log cannot be used and was moved aside; a new, empty one begins, and its positions begin at 1 again"
        );
        Ok(())
    }

    fn close(self, mut orders: mpsc::Receiver<Order>, done: Option<oneshot::Sender<()>>) {
        orders.close();
        // What still waits is dropped, and its publishers are told by that.
        while orders.try_recv().is_ok() {}
        self.shared.closed();
        if let Some(Err(error)) = self.log.map(Log::close) {
            tracing::warn!(%error, "The topic log was not closed in order; the next start makes up for it");
        }
        drop(self.claim);
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    fn now_ms(&self) -> i64 {
        (self.clock)().as_millisecond()
    }
}
