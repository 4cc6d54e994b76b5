//! Reading the log: by topic, from a position on, waiting for what is not there yet.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::encoded_message;
use super::shared::SharedStore;
use super::stored_message::StoredMessage;
use super::topic_summary::TopicSummary;

/// The most entries in one answer.
pub const MAX_ENTRIES: usize = 1000;

/// The longest a read waits for an entry.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// An answer is closed once its entries have these bytes; its first entry is always whole.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Reads that may be at the disk at once; others wait for their turn.
const MAX_READS: usize = 8;

/// The longest a read may take at the disk, its turn included.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicReadError {
    /// There is no such topic, and the reader did not want to wait for it.
    #[error("there is no topic of this name yet")]
    UnknownTopic,
    /// The reader has seen a position that the topic never had: the log was started anew, and going
    /// on from there would skip events. It must begin at 0 again.
    #[error("the topic ends at position {last}: the log was started anew, so read it from 0 again")]
    Ahead {
        /// The topic's last position.
        last: u64,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The disk does not answer, or not in time.
    #[error("the topic log cannot be read: {0}")]
    Unavailable(String),
}

/// A handle for reading a store; cheap to clone, and it outlives the store harmlessly.
#[derive(Debug, Clone)]
pub struct TopicLog {
    shared: Arc<SharedStore>,
    turns: Arc<Semaphore>,
}

impl TopicLog {
    pub(super) fn new(shared: Arc<SharedStore>) -> Self {
        Self {
            shared,
            turns: Arc::new(Semaphore::new(MAX_READS)),
        }
    }

    /// Every topic, by name. Asks no disk.
    ///
    /// # Errors
    /// When the store is closed.
    pub async fn topics(&self) -> Result<Vec<TopicSummary>, TopicReadError> {
        if self.shared.is_closed() {
            return Err(TopicReadError::Closed);
        }
        Ok(self.shared.catalog().summaries())
    }

    /// The entries of a topic after position `after` (0 for all that are kept), oldest first, at
    /// most `limit` and at most [`MAX_ENTRIES`] of them. Where there are none, waits up to `wait`,
    /// at most [`MAX_WAIT`], and then answers with none. A topic that does not exist yet is waited
    /// for in the same way.
    ///
    /// Entries that retention has deleted are skipped: the first position tells. So are those that
    /// are damaged.
    ///
    /// # Errors
    /// Named by the reaction.
    pub async fn read(
        &self,
        topic: &str,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<StoredMessage>, TopicReadError> {
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        // Subscribed before the first look, so that no batch falls between look and wait.
        let mut status = self.shared.status();
        let mut looked_at = after;
        loop {
            let last = self.last_position(topic, after, wait)?;
            if last > after && last != looked_at {
                let entries = self.look(topic, after, limit.clamp(1, MAX_ENTRIES)).await?;
                if !entries.is_empty() {
                    return Ok(entries);
                }
                // Retention has taken them all: no need to look again before there is a new one.
                looked_at = last;
            }
            // The sender lives in what this handle holds, so only the deadline can end the wait.
            if timeout_at(deadline, status.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    /// The topic's last position, 0 for one that is waited for.
    fn last_position(
        &self,
        topic: &str,
        after: u64,
        wait: Duration,
    ) -> Result<u64, TopicReadError> {
        if self.shared.is_closed() {
            return Err(TopicReadError::Closed);
        }
        let catalog = self.shared.catalog();
        match catalog.last_position(topic) {
            None if wait.is_zero() => Err(TopicReadError::UnknownTopic),
            // What a start has found at the end cannot be read yet, but was given its positions.
            last if catalog.next_position(topic) <= after => Err(TopicReadError::Ahead {
                last: last.unwrap_or(0),
            }),
            last => Ok(last.unwrap_or(0)),
        }
    }

    /// Reads away from the async threads, in turn and in time.
    async fn look(
        &self,
        topic: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, TopicReadError> {
        let (shared, topic) = (Arc::clone(&self.shared), topic.to_owned());
        let turns = Arc::clone(&self.turns);
        let looked = async {
            let turn = turns.acquire_owned().await.expect("never closed");
            let looked = tokio::task::spawn_blocking(move || {
                // Kept by the thread, not by the waiter: a disk that hangs must not gather threads.
                let _turn = turn;
                entries(&shared, &topic, after, limit)
            });
            looked.await.expect("reading does not panic")
        };
        let late = |_| TopicReadError::Unavailable("it does not answer in time".into());
        timeout(READ_DEADLINE, looked)
            .await
            .map_err(late)?
            .map_err(|error| TopicReadError::Unavailable(error.to_string()))
    }
}

/// Goes from segment to segment until it has enough.
pub(super) fn entries(
    shared: &SharedStore,
    topic: &str,
    mut after: u64,
    limit: usize,
) -> io::Result<Vec<StoredMessage>> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    loop {
        let found = match shared.find(topic, after, limit) {
            Ok(Some(found)) => found,
            Err(error) if entries.is_empty() => return Err(error),
            Ok(None) | Err(_) => return Ok(entries),
        };
        let is_all = found.locations.len() < limit;
        for location in found.locations {
            after = location.position;
            let payload = match found.segment.read(location) {
                Ok(payload) => payload,
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => return Ok(entries),
            };
            if let Some(entry) = payload.as_ref().and_then(encoded_message::entry) {
                bytes += location.length;
                entries.push(entry);
            }
            if entries.len() >= limit || bytes >= MAX_ANSWER_BYTES {
                return Ok(entries);
            }
        }
        if is_all {
            after = after.max(found.last);
        }
    }
}
