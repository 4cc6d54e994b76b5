//! The log's file: what is in it, and how it is written. Only the owner thread holds a [`Log`].
//!
//! An entry's primary key is its topic's number and its position in one integer, so a topic is one
//! stretch of the table and reading on from a position is one walk. A topic's row is never deleted:
//! it remembers the last position, and so no position is given twice, even after retention has
//! taken every entry.
//!
//! Size is counted in pages in use, so it is what the file really needs. The pages of deleted
//! entries stay in the file and the next entries take them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use super::row::Row;
use crate::sqlite::{self, Claim, Identity, OpenError, Sharing};

/// What makes a file a topic log. The application id is "hkft" in ASCII.
pub(super) const IDENTITY: Identity = Identity {
    name: "topic log",
    application_id: 0x686b_6674,
    version: 1,
    schema: "
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_position INTEGER NOT NULL
) STRICT;
CREATE TABLE entries (
    place INTEGER PRIMARY KEY,
    stored_at INTEGER NOT NULL,
    id TEXT NOT NULL,
    key TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX entries_by_age ON entries (stored_at);
",
    former: &[],
};

/// A topic's entries have places from its number shifted by this on: room for a million million
/// positions a topic.
const POSITION_BITS: u32 = 40;

/// The most topics there can be: a template with an object's id in it would otherwise make one for
/// every object, and their rows are kept for ever.
pub(super) const MAX_TOPICS: usize = 10_000;

/// The most entries one commit deletes, so that a publish never waits long for retention. It is
/// more than one commit can add, so deleting keeps up with any load.
const MAX_EXPIRED: usize = 1024;

/// What the table needs for an entry besides its texts and its body, in bytes: about.
const ROW_OVERHEAD_BYTES: u64 = 48;

/// How long and how much the log keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries older than this go.
    pub retention: Duration,
    /// Beyond this the oldest entries go, in bytes.
    pub max_size_bytes: u64,
}

/// What became of one row of a committed group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is in the log.
    Stored,
    /// It would need one topic too many, and is not in the log.
    TooManyTopics,
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    connection: Connection,
    limits: Limits,
    topics: HashMap<String, Topic>,
    /// Never goes back, even where the clock does: oldest first is lowest position first.
    last_stored_at: i64,
}

#[derive(Debug, Clone, Copy)]
struct Topic {
    id: i64,
    last_position: i64,
}

impl Log {
    /// Opens the log, or makes a new one.
    pub fn open(claim: &Claim, limits: Limits) -> Result<Self, OpenError> {
        let connection = claim.open(Sharing::Readers)?;
        Self::load(connection, limits).map_err(|error| {
            let path = claim.path().to_owned();
            let cause = error.into();
            match &cause {
                sqlite::Cause::Sqlite(error) if is_spoilt(error) => {
                    OpenError::Damaged { path, cause }
                }
                _ => OpenError::Io { path, cause },
            }
        })
    }

    fn load(connection: Connection, limits: Limits) -> rusqlite::Result<Self> {
        connection.set_prepared_statement_cache_capacity(32);
        let topics = connection
            .prepare("SELECT name, id, last_position FROM topics")?
            .query_map((), |row| {
                let (id, last_position) = (row.get(1)?, row.get(2)?);
                Ok((row.get(0)?, Topic { id, last_position }))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let last_stored_at = connection.query_row(
            "SELECT coalesce(max(stored_at), 0) FROM entries",
            (),
            |row| row.get(0),
        )?;
        Ok(Self {
            connection,
            limits,
            topics,
            last_stored_at,
        })
    }

    /// Every topic and its last position.
    pub fn positions(&self) -> impl Iterator<Item = (&str, u64)> {
        self.topics
            .iter()
            .map(|(name, topic)| (name.as_str(), topic.last_position.unsigned_abs()))
    }

    /// The last position of a topic; 0 where there is none.
    pub fn last_position(&self, topic: &str) -> u64 {
        self.topics
            .get(topic)
            .map_or(0, |topic| topic.last_position.unsigned_abs())
    }

    /// Writes the rows and syncs, all of them or none; also takes one step of retention. After an
    /// error this log is not to be used again.
    pub fn append(&mut self, rows: &[&Row], now_ms: i64) -> rusqlite::Result<Vec<Appended>> {
        self.last_stored_at = self.last_stored_at.max(now_ms);
        let transaction = begin(&mut self.connection)?;
        // Before the rows go in, so that none is deleted by the commit that confirms it.
        expire(&transaction, self.limits, now_ms)?;
        let mut touched = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(topic) = place(&transaction, &mut self.topics, &row.topic)? else {
                outcomes.push(Appended::TooManyTopics);
                continue;
            };
            topic.last_position += 1;
            insert(&transaction, row, *topic, self.last_stored_at)?;
            touched.insert(row.topic.as_str());
            outcomes.push(Appended::Stored);
        }
        for name in touched {
            let topic = self.topics[name];
            transaction
                .prepare_cached("UPDATE topics SET last_position = ?2 WHERE id = ?1")?
                .execute(params![topic.id, topic.last_position])?;
        }
        transaction.commit()?;
        Ok(outcomes)
    }

    /// Takes one step of retention, if one is due; tells whether it was.
    pub fn expire(&mut self, now_ms: i64) -> rusqlite::Result<bool> {
        if !is_due(&self.connection, self.limits, now_ms)? {
            return Ok(false);
        }
        let transaction = begin(&mut self.connection)?;
        let deleted = expire(&transaction, self.limits, now_ms)?;
        transaction.commit()?;
        Ok(deleted > 0)
    }

    /// Writes something that changes nothing, and syncs.
    pub fn probe(&mut self) -> rusqlite::Result<()> {
        let transaction = begin(&mut self.connection)?;
        let version: i32 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()
    }

    /// The pages in use, in bytes.
    pub fn used_bytes(&self) -> rusqlite::Result<u64> {
        used_bytes(&self.connection)
    }

    /// Moves what is left of the write-ahead log into the file.
    pub fn close(self) -> rusqlite::Result<()> {
        let _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
        self.connection.close().map_err(|(_, error)| error)
    }
}

/// Whether the error says that the log's content is wrong, so that it would fail for ever.
pub(super) fn is_spoilt(error: &rusqlite::Error) -> bool {
    sqlite::is_damage(error)
        || match error.sqlite_error_code() {
            // A position that is already taken, or a table that is gone.
            Some(code) => matches!(code, ErrorCode::ConstraintViolation | ErrorCode::Unknown),
            // A value of the wrong kind.
            None => true,
        }
}

/// The places of a topic's entries after `position`: from the first number, exclusive, to the second.
pub(super) fn places_after(topic_id: i64, position: u64) -> (i64, i64) {
    let most = (1_i64 << POSITION_BITS) - 1;
    let position = i64::try_from(position).map_or(most, |position| position.min(most));
    (
        (topic_id << POSITION_BITS) | position,
        (topic_id + 1) << POSITION_BITS,
    )
}

/// The position in a place.
pub(super) fn position_of(place: i64) -> u64 {
    place.unsigned_abs() & ((1 << POSITION_BITS) - 1)
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// The topic of this name, made where there is none and room for one more.
fn place<'a>(
    transaction: &Transaction<'_>,
    topics: &'a mut HashMap<String, Topic>,
    name: &str,
) -> rusqlite::Result<Option<&'a mut Topic>> {
    if !topics.contains_key(name) {
        if topics.len() >= MAX_TOPICS {
            return Ok(None);
        }
        transaction
            .prepare_cached("INSERT INTO topics (name, last_position) VALUES (?1, 0)")?
            .execute([name])?;
        let topic = Topic {
            id: transaction.last_insert_rowid(),
            last_position: 0,
        };
        topics.insert(name.to_owned(), topic);
    }
    Ok(topics.get_mut(name))
}

fn insert(
    transaction: &Transaction<'_>,
    row: &Row,
    topic: Topic,
    stored_at: i64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO entries (place, stored_at, id, key, headers, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            (topic.id << POSITION_BITS) | topic.last_position,
            stored_at,
            row.id,
            row.key,
            row.headers,
            &row.body[..],
        ])
        .map(drop)
}

fn is_due(connection: &Connection, limits: Limits, now_ms: i64) -> rusqlite::Result<bool> {
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT min(stored_at) FROM entries")?
        .query_row((), |row| row.get(0))?;
    let Some(oldest) = oldest else {
        return Ok(false);
    };
    Ok(oldest < horizon(limits, now_ms) || used_bytes(connection)? > limits.max_size_bytes)
}

/// Deletes the oldest entries of all topics: those beyond their age, and as many as the size needs.
fn expire(transaction: &Transaction<'_>, limits: Limits, now_ms: i64) -> rusqlite::Result<usize> {
    let horizon = horizon(limits, now_ms);
    let mut excess = used_bytes(transaction)?.saturating_sub(limits.max_size_bytes);
    let mut doomed = Vec::new();
    let mut oldest = transaction.prepare_cached(
        "SELECT place, stored_at, length(body) + length(headers) + length(key) + length(id)
         FROM entries INDEXED BY entries_by_age ORDER BY stored_at, place LIMIT ?1",
    )?;
    let mut rows = oldest.query([i64::try_from(MAX_EXPIRED).expect("a small number")])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= horizon && excess == 0 {
            break;
        }
        doomed.push(row.get::<_, i64>(0)?);
        excess = excess.saturating_sub(row.get::<_, i64>(2)?.unsigned_abs() + ROW_OVERHEAD_BYTES);
    }
    for place in &doomed {
        transaction
            .prepare_cached("DELETE FROM entries WHERE place = ?1")?
            .execute([place])?;
    }
    Ok(doomed.len())
}

fn horizon(limits: Limits, now_ms: i64) -> i64 {
    now_ms.saturating_sub(i64::try_from(limits.retention.as_millis()).unwrap_or(i64::MAX))
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let read = |sql| -> rusqlite::Result<i64> {
        connection
            .prepare_cached(sql)?
            .query_row((), |row| row.get(0))
    };
    let pages = read("PRAGMA page_count")? - read("PRAGMA freelist_count")?;
    Ok(pages.unsigned_abs() * read("PRAGMA page_size")?.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const LIMITS: Limits = Limits {
        retention: Duration::from_secs(60),
        max_size_bytes: 1 << 30,
    };

    fn row(topic: usize) -> Row {
        Row {
            topic: format!("topic.{topic}"),
            id: "id".into(),
            key: "key".into(),
            headers: "{}".into(),
            body: Bytes::from_static(b"body"),
        }
    }

    #[test]
    fn one_topic_too_many_fails_alone() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let claim = Claim::take(&folder.path().join("topics.db"), IDENTITY).expect("free");
        let mut log = Log::open(&claim, LIMITS).expect("made");
        let rows: Vec<Row> = (0..=MAX_TOPICS).chain([0]).map(row).collect();
        let outcomes = log
            .append(&rows.iter().collect::<Vec<_>>(), 0)
            .expect("committed");
        let (refused, stored): (Vec<usize>, Vec<usize>) =
            (0..rows.len()).partition(|index| outcomes[*index] == Appended::TooManyTopics);
        assert_eq!(refused, [MAX_TOPICS]);
        assert_eq!(stored.len(), MAX_TOPICS + 1);
        assert_eq!(log.last_position("topic.0"), 2);
        assert_eq!(log.last_position("topic.10000"), 0);
        drop(log);
        let log = Log::open(&claim, LIMITS).expect("again");
        assert_eq!(log.positions().count(), MAX_TOPICS);
    }

    #[test]
    fn retention_takes_one_bounded_step_at_a_time() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let claim = Claim::take(&folder.path().join("topics.db"), IDENTITY).expect("free");
        let mut log = Log::open(&claim, LIMITS).expect("made");
        let rows: Vec<Row> = (0..2500).map(|_| row(1)).collect();
        log.append(&rows.iter().collect::<Vec<_>>(), 0)
            .expect("committed");
        let mut left = Vec::new();
        while log.expire(60_001).expect("deleted") {
            let count: i64 = log
                .connection
                .query_row("SELECT count(*) FROM entries", (), |row| row.get(0))
                .expect("counted");
            left.push(count);
        }
        assert_eq!(left, [2500 - 1024, 2500 - 2048, 0]);
    }

    #[test]
    fn no_position_reaches_into_the_next_topic() {
        let last = (1 << POSITION_BITS) - 1;
        let (from, to) = places_after(7, u64::MAX);
        assert_eq!((position_of(from), to), (last, from + 1));
        let (from, to) = places_after(7, 0);
        assert_eq!(position_of(from + 1), 1);
        assert_eq!(places_after(8, 0).0, to);
    }
}
