//! The spool's numbers, kept in one small table that changes in the same transaction as the rows
//! they count, so that opening a large spool needs no scan.

use rusqlite::{Connection, params};

use super::table::{self, Changed};
use crate::event::{SinkIndex, SinkSet};

/// What lies in the spool's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows, whatever their number of sinks.
    pub records: i64,
    /// Their bytes, and those of the dead letters.
    pub bytes: i64,
    /// Ids in the ledger.
    pub ids: i64,
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

    /// So many ids left the ledger.
    pub fn forget(&mut self, ids: usize) {
        self.ids -= i64::try_from(ids).unwrap_or(i64::MAX);
    }

    /// Reads the table.
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut tally = Self::new();
        let mut statement = connection.prepare("SELECT name, sink, value, crc FROM tally")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (name, sink, value): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if row.get::<_, u32>(3)? != table::checksum(&[sink, value], &[name.as_bytes()]) {
                return Err(table::nonsense("its counts do not match their checksums"));
            }
            tally.set(&name, sink, value);
        }
        Ok(tally)
    }

    /// Takes one count over; one that this program does not know says nothing to it.
    pub fn set(&mut self, name: &str, sink: i64, value: i64) {
        let sink = usize::try_from(sink).unwrap_or(usize::MAX);
        match name {
            "records" => self.records = value,
            "bytes" => self.bytes = value,
            "ids" => self.ids = value,
            "reserved" => self.reserved = value,
            "pending" if sink < SinkIndex::MAX => self.pending[sink] = value,
            "dead" if sink < SinkIndex::MAX => self.dead[sink] = value,
            _ => {}
        }
    }

    /// Writes what differs from `before`.
    pub fn save(&self, before: &Self, connection: &Connection) -> rusqlite::Result<()> {
        let single = [
            ("records", before.records, self.records),
            ("bytes", before.bytes, self.bytes),
            ("ids", before.ids, self.ids),
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
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO tally (name, sink, value, crc) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let crc = table::checksum(&[table::signed(sink as u64), value], &[name.as_bytes()]);
    statement.execute(params![name, sink, value, crc]).map(drop)
}
