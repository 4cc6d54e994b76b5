//! The spool's own reference: each event a row and an id in SQLite, committed in groups of the same
//! size with the same durability, and never deleted again.

use std::path::PathBuf;
use std::time::Instant;

use hookferry::sqlite::remove_database;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{Groups, Limit, message};
use crate::delivery::{Delivery, Events};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE record (seq INTEGER PRIMARY KEY, head BLOB NOT NULL, body BLOB NOT NULL);
    CREATE TABLE ledger (id BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
";

/// What to commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sqlite {
    /// To which file; it is removed in the end.
    pub file: PathBuf,
    /// Bytes of what is kept with a body.
    pub head_bytes: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Events of a group.
    pub group: usize,
    /// Groups.
    pub groups: usize,
}

impl Sqlite {
    /// Commits it all.
    pub fn commit(self) -> anyhow::Result<Limit> {
        let events = Events::from_now(0);
        let mut delivery = Delivery::new(events, self.body_bytes);
        let head = vec![b'x'; self.head_bytes];
        let mut connection = Connection::open(&self.file)?;
        connection.execute_batch(SCHEMA)?;
        let mut groups = Groups::begin()?;
        let mut numbers = 0_u64..;
        for _ in 0..self.groups {
            let begun = Instant::now();
            let transaction = connection.transaction()?;
            {
                let mut record =
                    transaction.prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3)")?;
                let mut ledger =
                    transaction.prepare_cached("INSERT INTO ledger VALUES (?1, ?2)")?;
                for number in numbers.by_ref().take(self.group) {
                    record.execute(params![number, head, delivery.body(number)])?;
                    ledger.execute(params![message::id(events, number).as_bytes(), number])?;
                }
            }
            transaction.commit()?;
            groups.note(begun.elapsed());
        }
        let limit = groups.end((self.group * self.groups) as u64);
        drop(connection);
        remove_database(&self.file)?;
        limit
    }
}
