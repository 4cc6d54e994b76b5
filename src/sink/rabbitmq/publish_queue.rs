//! The queue between the callers of `publish` and the channels: bounded, and open only while a
//! broker is there to take what waits. Closing it answers everybody at once; because one lock guards
//! its state and the messages, none can slip in behind the answer and wait for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot, watch};

use crate::sink::{Destination, Message, PublishError, Receipt};

/// The broker's verdict on one message.
pub(super) type PublishVerdict = Result<(), PublishError>;

/// What the caller is told of one message.
pub(super) type PublishResult = Result<Receipt, PublishError>;

/// One message on its way, and who waits for its confirm.
#[derive(Debug)]
pub(super) struct PendingPublish {
    /// The exchange, at most 255 bytes.
    pub exchange: String,
    /// The routing key, at most 255 bytes.
    pub routing_key: String,
    /// The message.
    pub message: Message,
    result: oneshot::Sender<PublishResult>,
}

impl PendingPublish {
    /// A message to publish, and where the answer to it will appear.
    pub fn new(
        exchange: String,
        routing_key: String,
        message: Message,
    ) -> (Self, oneshot::Receiver<PublishResult>) {
        let (result, receiver) = oneshot::channel();
        let publish = Self {
            exchange,
            routing_key,
            message,
            result,
        };
        (publish, receiver)
    }

    /// Tells the caller. One that has gone away does not want to know.
    pub fn settle(self, verdict: PublishVerdict) {
        let receipt = |()| {
            self.message.receipt(Destination::RabbitMq {
                exchange: self.exchange,
                routing_key: self.routing_key,
            })
        };
        let _ = self.result.send(verdict.map(receipt));
    }

    /// Tells the caller that the outcome is in doubt.
    pub fn give_back(self, reason: &str) {
        self.settle(Err(PublishError::Unavailable(reason.to_owned())));
    }

    fn is_given_up(&self) -> bool {
        self.result.is_closed()
    }
}

/// The waiting messages, shared by all callers and all channels.
#[derive(Debug)]
pub(super) struct PublishQueue {
    inner: Mutex<Inner>,
    ready: Notify,
    capacity: usize,
    /// How often it has been opened.
    openings: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<PendingPublish>,
    /// Why nothing is taken now; none while it is open.
    closed: Option<Arc<str>>,
}

impl PublishQueue {
    /// An empty queue, closed for `reason`.
    pub fn closed_for(reason: &str, capacity: usize) -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            closed: Some(reason.into()),
        };
        Self {
            inner: Mutex::new(inner),
            ready: Notify::new(),
            capacity,
            openings: watch::Sender::new(0),
        }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// `Unavailable` when the queue is closed or full.
    pub fn push(&self, publish: PendingPublish) -> Result<(), PublishError> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.closed {
            return Err(PublishError::Unavailable(reason.to_string()));
        }
        if inner.waiting.len() >= self.capacity {
            return Err(PublishError::Unavailable(format!(
                "{} messages already wait for the broker",
                self.capacity
            )));
        }
        inner.waiting.push_back(publish);
        drop(inner);
        self.ready.notify_one();
        Ok(())
    }

    /// Whether it is open, asked before the work of rendering a message is done.
    ///
    /// # Errors
    /// `Unavailable` with the reason why it is not.
    pub fn check_open(&self) -> Result<(), PublishError> {
        match &self.lock().closed {
            Some(reason) => Err(PublishError::Unavailable(reason.to_string())),
            None => Ok(()),
        }
    }

    /// Waits for messages and takes all there are, `most` at most.
    pub async fn take(&self, most: usize) -> Vec<PendingPublish> {
        loop {
            let taken = self.drain(most);
            if !taken.is_empty() {
                return taken;
            }
            self.ready.notified().await;
        }
    }

    fn drain(&self, most: usize) -> Vec<PendingPublish> {
        let mut inner = self.lock();
        let count = inner.waiting.len().min(most);
        let taken = inner.waiting.drain(..count);
        let taken = taken.filter(|publish| !publish.is_given_up()).collect();
        if !inner.waiting.is_empty() {
            // One permit can stand for many messages, so whoever leaves some wakes the next.
            self.ready.notify_one();
        }
        taken
    }

    /// Opens it.
    pub fn open(&self) {
        if self.lock().closed.take().is_some() {
            self.openings.send_modify(|openings| *openings += 1);
        }
    }

    /// Changes whenever it is opened.
    pub fn openings(&self) -> watch::Receiver<u64> {
        self.openings.subscribe()
    }

    /// Closes it and gives back what waits, all for the same reason.
    pub fn close(&self, reason: &str) {
        let waiting = {
            let mut inner = self.lock();
            inner.closed = Some(reason.into());
            std::mem::take(&mut inner.waiting)
        };
        for publish in waiting {
            publish.give_back(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock; were it so, the queue is still whole.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
