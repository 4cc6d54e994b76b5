//! The room for messages in a client: so many, and so many bytes of bodies. Whoever finds none waits
//! for it: a full queue says nothing against the cluster. librdkafka's own limits are wider, and are
//! never met.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies are counted in pieces of so many bytes, because a message takes no more of them at once than
/// a `u32` counts.
const PIECE_BYTES: u64 = 1024;

/// The room of one client.
#[derive(Debug)]
pub(super) struct Queue {
    messages: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
    most_pieces: u32,
    given_back: Arc<AtomicU64>,
}

/// The room of one message, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _message: OwnedSemaphorePermit,
    _pieces: OwnedSemaphorePermit,
    given_back: Arc<AtomicU64>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.given_back.fetch_add(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn of(most_messages: u32, most_bytes: u64) -> Self {
        let most_pieces = u32::try_from(most_bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let most_pieces = most_pieces.max(1);
        let semaphore = |permits: u32| Arc::new(Semaphore::new(permits as usize));
        Self {
            messages: semaphore(most_messages),
            pieces: semaphore(most_pieces),
            most_pieces,
            given_back: Arc::default(),
        }
    }

    /// How many messages have given their room back: whether anything goes on.
    pub(super) fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Relaxed)
    }

    /// Waits for room, in the order of asking. A body that is larger than all of it, because it was
    /// accepted under other limits, has it for itself.
    pub(super) async fn room(&self, body_bytes: usize) -> Room {
        let pieces = (body_bytes as u64).div_ceil(PIECE_BYTES);
        let pieces = u32::try_from(pieces).map_or(self.most_pieces, |it| it.min(self.most_pieces));
        let message = Arc::clone(&self.messages).acquire_owned().await;
        let pieces = Arc::clone(&self.pieces).acquire_many_owned(pieces).await;
        Room {
            _message: message.expect("the room is never closed"),
            _pieces: pieces.expect("the room is never closed"),
            given_back: Arc::clone(&self.given_back),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// The room, if there is some now.
    fn now(queue: &Queue, bytes: usize) -> Option<Room> {
        queue.room(bytes).now_or_never()
    }

    #[test]
    fn room_is_for_so_many_messages_and_so_many_bytes_until_they_are_gone() {
        let queue = Queue::of(2, 10 * PIECE_BYTES);
        let first = now(&queue, 4000).expect("there is room");
        let second = now(&queue, 0).expect("an empty body takes a message's place alone");
        assert!(now(&queue, 0).is_none(), "two at most");
        drop(second);
        assert!(now(&queue, 7000).is_none(), "4 and 7 pieces");
        let third = now(&queue, 6000).expect("4 and 6 pieces");
        assert_eq!(queue.given_back(), 1);
        drop((first, third));
        assert_eq!(queue.given_back(), 3);
        assert!(now(&queue, 10_000).is_some());
    }

    #[test]
    fn a_body_larger_than_all_room_has_it_for_itself() {
        let queue = Queue::of(100, 8 * PIECE_BYTES);
        let small = now(&queue, 1).expect("there is room");
        assert!(now(&queue, 1 << 20).is_none());
        drop(small);
        let large = now(&queue, 1 << 20).expect("nothing else is there");
        assert!(now(&queue, 1).is_none());
        drop(large);
        assert!(now(&queue, 1).is_some());
    }
}
