//! Backpressure of a producer: the limit on messages in flight, and on the bytes of their bodies.
//! Whoever finds the queue full waits: that says nothing against the cluster. librdkafka's own limits,
//! which would refuse with `QueueFull`, are wider and never met.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most messages in flight: enough for full batches to many partitions, at little memory.
pub(super) const MAX_MESSAGES: u32 = 20_000;
/// The most bytes of bodies in flight: twice what any `max_body` may be at most, so every body fits.
pub(super) const MAX_BODY_BYTES: u32 = 128 << 20;

/// The limit of one producer.
#[derive(Debug)]
pub(super) struct QueueLimit {
    messages: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
    max_body_bytes: u32,
    released: Arc<AtomicU64>,
}

/// The place of one message in the queue, which dropping it releases.
#[derive(Debug)]
pub(super) struct QueuePermit {
    _message: OwnedSemaphorePermit,
    _body_bytes: OwnedSemaphorePermit,
    released: Arc<AtomicU64>,
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }
}

impl QueueLimit {
    pub(super) fn new(max_messages: u32, max_body_bytes: u32) -> Self {
        let semaphore = |permits: u32| Arc::new(Semaphore::new(permits as usize));
        Self {
            messages: semaphore(max_messages),
            body_bytes: semaphore(max_body_bytes),
            max_body_bytes,
            released: Arc::default(),
        }
    }

    /// How many permits were released so far: whether delivery reports come at all.
    pub(super) fn released(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }

    /// Waits for a place in the queue, in the order of asking. A body larger than the limit has the
    /// queue for itself.
    pub(super) async fn acquire(&self, body_bytes: usize) -> QueuePermit {
        let body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        let body_bytes = body_bytes.min(self.max_body_bytes);
        let message = Arc::clone(&self.messages).acquire_owned().await;
        let body_bytes = Arc::clone(&self.body_bytes).acquire_many_owned(body_bytes);
        QueuePermit {
            _message: message.expect("the semaphore is never closed"),
            _body_bytes: body_bytes.await.expect("the semaphore is never closed"),
            released: Arc::clone(&self.released),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// A permit, if there is one now.
    fn now(queue: &QueueLimit, bytes: usize) -> Option<QueuePermit> {
        queue.acquire(bytes).now_or_never()
    }

    #[test]
    fn the_queue_takes_so_many_messages_and_so_many_bytes_until_they_are_gone() {
        let queue = QueueLimit::new(2, 10 * 1024);
        let first = now(&queue, 4000).expect("the queue is not full");
        let second = now(&queue, 0).expect("an empty body takes a message's place alone");
        assert!(now(&queue, 0).is_none(), "two at most");
        drop(second);
        assert!(now(&queue, 7000).is_none(), "4 and 7 KB of 10");
        let third = now(&queue, 6000).expect("4 and 6 KB of 10");
        assert_eq!(queue.released(), 1);
        drop((first, third));
        assert_eq!(queue.released(), 3);
        assert!(now(&queue, 10_000).is_some());
    }

    #[test]
    fn a_body_larger_than_the_limit_has_the_queue_for_itself() {
        let queue = QueueLimit::new(100, 8 * 1024);
        let small = now(&queue, 1).expect("the queue is not full");
        assert!(now(&queue, 1 << 20).is_none());
        drop(small);
        let large = now(&queue, 1 << 20).expect("nothing else is there");
        assert!(now(&queue, 1).is_none());
        drop(large);
        assert!(now(&queue, 1).is_some());
    }
}
