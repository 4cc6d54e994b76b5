//! The spool's numbers, kept in one small table that changes in the same transaction as the rows
//! they count, so that opening a large spool needs no scan.

use rusqlite::{Connection, params};

use super::table::Changed;
use crate::event::{SinkIndex, SinkSet};

/// What lies in the spool's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows, whatever their number of sinks.
    pub records: i64,
    /// Their bytes, and those of the dead letters.
    pub bytes: i64,
    /// Every sequence ever given out is below this.
    pub reserved: i64,
    /// Rows by sink that still wait for it.
    pub pending: Vec<i64>,
    /// Dead letters by sink.
    pub dead: Vec<i64>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            pending: vec![0; SinkIndex::MAX],
            dead: vec![0; SinkIndex::MAX],
            ..Self::default()
        }
    }

    /// A row was added.
    pub fn add_record(&mut self, sinks: SinkSet, bytes: u32) {
        self.records += 1;
        self.bytes += i64::from(bytes);
        for sink in sinks.iter() {
            self.pending[sink.number()] += 1;
        }
    }

    /// What a settlement changed in the file, as the file itself says.
    pub fn settle(&mut self, sink: SinkIndex, bytes: u32, changed: Changed) {
        match changed {
            Changed::Nothing => {}
            Changed::Marked => self.pending[sink.number()] -= 1,
            Changed::Removed => {
                self.pending[sink.number()] -= 1;
                self.records -= 1;
                self.bytes -= i64::from(bytes);
            }
        }
    }

    /// Reads the table.
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut tally = Self::new();
        let mut statement = connection.prepare("SELECT name, sink, value FROM tally")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (name, sink, value): (String, usize, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            match name.as_str() {
                "records" => tally.records = value,
                "bytes" => tally.bytes = value,
                "reserved" => tally.reserved = value,
                "pending" if sink < SinkIndex::MAX => tally.pending[sink] = value,
                "dead" if sink < SinkIndex::MAX => tally.dead[sink] = value,
                _ => {}
            }
        }
        Ok(tally)
    }

    /// Writes what differs from `before`.
    pub fn save(&self, before: &Self, connection: &Connection) -> rusqlite::Result<()> {
        let single = [
            ("records", before.records, self.records),
            ("bytes", before.bytes, self.bytes),
            ("reserved", before.reserved, self.reserved),
        ];
        for (name, _, value) in single.into_iter().filter(|(_, before, now)| before != now) {
            put(connection, name, 0, value)?;
        }
        for (name, before, now) in [
            ("pending", &before.pending, &self.pending),
            ("dead", &before.dead, &self.dead),
        ] {
            for (sink, (_, value)) in before
                .iter()
                .zip(now)
                .enumerate()
                .filter(|(_, (before, now))| before != now)
            {
                put(connection, name, sink, *value)?;
            }
        }
        Ok(())
    }
}

fn put(connection: &Connection, name: &str, sink: usize, value: i64) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT OR REPLACE INTO tally (name, sink, value) VALUES (?1, ?2, ?3)")?;
    statement.execute(params![name, sink, value]).map(drop)
}
