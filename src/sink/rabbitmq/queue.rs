//! The queue between the callers of `publish` and the channels: bounded, and open only while a
//! broker is there to take what waits. Shutting it answers everybody at once, and because the gate
//! and the queue share one lock, no job can slip in behind the answer and wait for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot, watch};

use crate::sink::{Message, PublishError, Receipt};

/// What became of a message.
pub(super) type Verdict = Result<Receipt, PublishError>;

/// One message on its way, and who waits for the verdict.
#[derive(Debug)]
pub(super) struct Job {
    /// The exchange, at most 255 bytes.
    pub exchange: String,
    /// The routing key, at most 255 bytes.
    pub routing_key: String,
    /// The message.
    pub message: Message,
    verdict: oneshot::Sender<Verdict>,
}

impl Job {
    /// A job, and where its verdict will appear.
    pub fn new(
        exchange: String,
        routing_key: String,
        message: Message,
    ) -> (Self, oneshot::Receiver<Verdict>) {
        let (verdict, receiver) = oneshot::channel();
        let job = Self {
            exchange,
            routing_key,
            message,
            verdict,
        };
        (job, receiver)
    }

    /// Tells the caller. One that has gone away does not want to know.
    pub fn settle(self, verdict: Verdict) {
        let _ = self.verdict.send(verdict);
    }

    /// Tells the caller that the outcome is in doubt.
    pub fn give_back(self, reason: &str) {
        self.settle(Err(PublishError::Unavailable(reason.to_owned())));
    }

    fn is_given_up(&self) -> bool {
        self.verdict.is_closed()
    }
}

/// The waiting jobs, shared by all callers and all channels.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    ready: Notify,
    capacity: usize,
    /// How often the gate has been opened.
    openings: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    jobs: VecDeque<Job>,
    /// Why nothing is taken now; none while the gate is open.
    shut: Option<Arc<str>>,
}

impl Queue {
    /// An empty queue, shut for `reason`.
    pub fn shut_for(reason: &str, capacity: usize) -> Self {
        let inner = Inner {
            jobs: VecDeque::new(),
            shut: Some(reason.into()),
        };
        Self {
            inner: Mutex::new(inner),
            ready: Notify::new(),
            capacity,
            openings: watch::Sender::new(0),
        }
    }

    /// Puts a job in line.
    ///
    /// # Errors
    /// `Unavailable` when the gate is shut or the queue is full.
    pub fn push(&self, job: Job) -> Result<(), PublishError> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.shut {
            return Err(PublishError::Unavailable(reason.to_string()));
        }
        if inner.jobs.len() >= self.capacity {
            return Err(PublishError::Unavailable(format!(
                "{} messages already wait for the broker",
                self.capacity
            )));
        }
        inner.jobs.push_back(job);
        drop(inner);
        self.ready.notify_one();
        Ok(())
    }

    /// Whether the gate is open, before the work of making a job is done.
    ///
    /// # Errors
    /// `Unavailable` with the reason why it is not.
    pub fn admit(&self) -> Result<(), PublishError> {
        match &self.lock().shut {
            Some(reason) => Err(PublishError::Unavailable(reason.to_string())),
            None => Ok(()),
        }
    }

    /// Waits for jobs and takes all there are, `most` at most.
    pub async fn take(&self, most: usize) -> Vec<Job> {
        loop {
            let jobs = self.drain(most);
            if !jobs.is_empty() {
                return jobs;
            }
            self.ready.notified().await;
        }
    }

    fn drain(&self, most: usize) -> Vec<Job> {
        let mut inner = self.lock();
        let count = inner.jobs.len().min(most);
        let jobs = inner.jobs.drain(..count);
        let jobs = jobs.filter(|job| !job.is_given_up()).collect();
        if !inner.jobs.is_empty() {
            // One permit can stand for many jobs, so whoever leaves some wakes the next.
            self.ready.notify_one();
        }
        jobs
    }

    /// Opens the gate.
    pub fn open(&self) {
        if self.lock().shut.take().is_some() {
            self.openings.send_modify(|openings| *openings += 1);
        }
    }

    /// Changes whenever the gate is opened.
    pub fn openings(&self) -> watch::Receiver<u64> {
        self.openings.subscribe()
    }

    /// Shuts the gate and gives back what waits, all for the same reason.
    pub fn shut(&self, reason: &str) {
        let waiting = {
            let mut inner = self.lock();
            inner.shut = Some(reason.into());
            std::mem::take(&mut inner.jobs)
        };
        for job in waiting {
            job.give_back(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock; were it so, the queue is still whole.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
