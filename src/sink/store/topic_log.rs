//! Reading the log: by topic, from a position on, waiting for what is not there yet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::log::{places_after, position_of};
use super::shared::Shared;
use crate::sqlite::open_reader;

/// The most entries in one answer.
pub const MAX_ENTRIES: usize = 1000;

/// The longest a read waits for an entry.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// An answer is closed once its bodies and headers have these bytes; its first entry is always
/// whole.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Reads that may be at the disk at once; others wait for their turn.
const MAX_READS: usize = 8;

/// The longest a read may take at the disk, its turn included.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the topic, from 1.
    pub position: u64,
    /// The event's id.
    pub id: String,
    /// The message's key.
    pub key: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body, byte for byte as received.
    pub body: Bytes,
}

/// A topic at a glance.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// The oldest position still kept; the one after the last where none is.
    pub first_position: u64,
    /// The newest position ever given.
    pub last_position: u64,
    /// How many entries are kept.
    pub events: u64,
}

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
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
    path: Arc<PathBuf>,
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
}

impl TopicLog {
    pub(super) fn new(path: PathBuf, shared: Arc<Shared>) -> Self {
        Self {
            path: Arc::new(path),
            shared,
            turns: Arc::new(Semaphore::new(MAX_READS)),
        }
    }

    /// Every topic, by name.
    ///
    /// # Errors
    /// When the store is closed or the disk does not answer.
    pub async fn topics(&self) -> Result<Vec<TopicSummary>, ReadError> {
        self.look(summaries).await
    }

    /// The entries of a topic after position `after` (0 for all that are kept), oldest first, at
    /// most `limit` and at most [`MAX_ENTRIES`] of them. Where there are none, waits up to `wait`,
    /// at most [`MAX_WAIT`], and then answers with none. A topic that does not exist yet is waited
    /// for in the same way.
    ///
    /// Entries that retention has deleted are skipped: the first position tells.
    ///
    /// # Errors
    /// Named by the reaction.
    pub async fn read(
        &self,
        topic: &str,
        after: u64,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, ReadError> {
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        // Subscribed before the first look, so that no commit falls between look and wait.
        let mut changes = self.shared.changes();
        let mut looked_at = after;
        loop {
            let last = self.last_position(topic, after, wait)?;
            if last > after && last != looked_at {
                let (topic, limit) = (topic.to_owned(), limit.clamp(1, MAX_ENTRIES));
                let mut entries = self
                    .look(move |connection| entries(connection, &topic, after, limit))
                    .await?;
                // A commit may be in the file before it is announced: whoever was given its entries
                // and went on behind them would be told that the log was started anew.
                entries.retain(|entry| entry.position <= last);
                if !entries.is_empty() {
                    return Ok(entries);
                }
                // Retention has taken them all: no need to look again before there is a new one.
                looked_at = last;
            }
            // The sender lives in what this handle holds, so only the deadline can end the wait.
            if timeout_at(deadline, changes.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    /// The topic's last position, 0 for one that is waited for.
    fn last_position(&self, topic: &str, after: u64, wait: Duration) -> Result<u64, ReadError> {
        if self.shared.is_closed() {
            return Err(ReadError::Closed);
        }
        match self.shared.last_position(topic) {
            None if wait.is_zero() => Err(ReadError::UnknownTopic),
            last if last.unwrap_or(0) < after => Err(ReadError::Ahead {
                last: last.unwrap_or(0),
            }),
            last => Ok(last.unwrap_or(0)),
        }
    }

    /// Runs a query on a read-only connection, away from the async threads.
    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        if self.shared.is_closed() {
            return Err(ReadError::Closed);
        }
        let late = |_| ReadError::Unavailable("it does not answer in time".into());
        timeout(READ_DEADLINE, self.take_turn(query))
            .await
            .map_err(late)?
            .map_err(|error| ReadError::Unavailable(error.to_string()))
    }

    async fn take_turn<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        let turns = Arc::clone(&self.turns);
        let turn = turns.acquire_owned().await.expect("never closed");
        let (path, shared) = (Arc::clone(&self.path), Arc::clone(&self.shared));
        let looked = tokio::task::spawn_blocking(move || {
            // Kept by the thread, not by the waiter: a disk that hangs must not gather threads.
            let _turn = turn;
            let (opening, idle) = shared.take_idle();
            let connection = idle.map_or_else(|| open_reader(&path), Ok)?;
            let found = query(&connection)?;
            shared.keep_idle(opening, connection);
            Ok(found)
        });
        looked.await.expect("queries do not panic")
    }
}

fn summaries(connection: &Connection) -> rusqlite::Result<Vec<TopicSummary>> {
    let mut topics =
        connection.prepare_cached("SELECT id, name, last_position FROM topics ORDER BY name")?;
    let mut first = connection
        .prepare_cached("SELECT min(place) FROM entries WHERE place > ?1 AND place < ?2")?;
    let mut summaries = Vec::new();
    let mut rows = topics.query(())?;
    while let Some(row) = rows.next()? {
        let last_position = row.get::<_, i64>(2)?.unsigned_abs();
        let place: Option<i64> = first.query_row(places_after(row.get(0)?, 0), |row| row.get(0))?;
        let first_position = place.map_or(last_position + 1, position_of);
        summaries.push(TopicSummary {
            name: row.get(1)?,
            first_position,
            last_position,
            events: (last_position + 1).saturating_sub(first_position),
        });
    }
    Ok(summaries)
}

fn entries(
    connection: &Connection,
    topic: &str,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let id: Option<i64> = connection
        .prepare_cached("SELECT id FROM topics WHERE name = ?1")?
        .query_row([topic], |row| row.get(0))
        .optional()?;
    let Some(id) = id else {
        return Ok(Vec::new());
    };
    let (from, to) = places_after(id, after);
    let mut statement = connection.prepare_cached(
        "SELECT place, id, key, headers, body FROM entries
         WHERE place > ?1 AND place < ?2 ORDER BY place LIMIT ?3",
    )?;
    let mut rows = statement.query((from, to, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    while bytes < MAX_ANSWER_BYTES
        && let Some(row) = rows.next()?
    {
        bytes += row.get_ref(3)?.as_bytes()?.len() + row.get_ref(4)?.as_bytes()?.len();
        entries.push(entry(row)?);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let headers = serde_json::from_str(row.get_ref(3)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Entry {
        position: position_of(row.get(0)?),
        id: row.get(1)?,
        key: row.get(2)?,
        headers,
        body: Bytes::copy_from_slice(row.get_ref(4)?.as_bytes()?),
    })
}
