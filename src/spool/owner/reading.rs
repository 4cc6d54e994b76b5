//! The owner as a reader: it feeds the dispatchers, from memory where they keep up, from the file
//! where they do not, and sets damaged records aside on the way.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;

use super::Owner;
use crate::event::SinkIndex;
use crate::seeded::{self, Bug};
use crate::sink::RefusalReason;
use crate::spool::command::{Fetch, Load, SpoolUnavailable};
use crate::spool::damage;
use crate::spool::record::{Record, Row};
use crate::spool::sinks;
use crate::spool::table::{self, DeadRow};

/// How much one fetch from the disk brings into memory.
const FETCH_BYTES: usize = 4 * 1024 * 1024;

impl Owner {
    /// Answers the fetches that can be, and parks the others until a commit brings something.
    pub(super) fn serve(&mut self, fetches: Vec<Fetch>) {
        let parked = std::mem::take(&mut self.parked);
        for mut fetch in parked.into_values().chain(fetches) {
            match self.next_records(&fetch) {
                Some(records) if !records.is_empty() => {
                    self.fetched.insert(fetch.sink, fetch.after);
                    if seeded::is(Bug::ForgetBeforeReceipt) {
                        for record in &records {
                            self.settling.settle(record.position(), fetch.sink);
                        }
                    }
                    // A dispatcher that is gone reads them again after the next start.
                    let _ = fetch.reply.send(records);
                }
                Some(_) => {
                    // Nothing up to here is for this sink: the next look begins behind it.
                    fetch.after = fetch.after.max(self.next_sequence - 1);
                    self.park(fetch);
                }
                None => self.park(fetch),
            }
        }
        if let Some(taken) = self.fetched.values().min() {
            self.recent.forget_through(*taken);
        }
    }

    fn park(&mut self, fetch: Fetch) {
        self.fetched.insert(fetch.sink, fetch.after);
        self.parked.insert(fetch.sink, fetch);
    }

    /// The next records for the sink; an empty list where none waits, nothing where nobody can tell.
    fn next_records(&mut self, fetch: &Fetch) -> Option<Vec<Arc<Record>>> {
        if let Some(records) = self.recent.after(fetch.after, fetch.sink, fetch.limit) {
            return Some(records);
        }
        let mut after = fetch.after;
        loop {
            let connection = self.connection.as_ref()?;
            let sinks = (fetch.sink, sinks::set(&self.sinks));
            let rows = match table::read_after(connection, sinks, after, fetch.limit, FETCH_BYTES) {
                Ok(rows) => rows,
                Err(error) => {
                    self.broken(&error);
                    return None;
                }
            };
            let Some(last) = rows.last() else {
                return Some(Vec::new());
            };
            after = last.sequence;
            let records = self.decode(rows, fetch.sink)?;
            if !records.is_empty() {
                return Some(records);
            }
        }
    }

    pub(super) fn load(&mut self, load: Load) {
        let read = |connection: &Connection| {
            let rows = load
                .sequences
                .iter()
                .map(|sequence| table::read_one(connection, *sequence));
            rows.filter_map(Result::transpose)
                .collect::<Result<Vec<Row>, _>>()
        };
        let answer = match self.connection.as_ref().map(read) {
            None => Err(SpoolUnavailable::Unwritable),
            Some(Ok(rows)) => self
                .decode(rows, load.sink)
                .ok_or(SpoolUnavailable::Unwritable),
            Some(Err(error)) => {
                self.broken(&error);
                Err(SpoolUnavailable::Unwritable)
            }
        };
        // As for a fetch.
        let _ = load.reply.send(answer);
    }

    /// The records of these rows that are for the sink; a damaged one is counted, set aside and passed
    /// over. Nothing where it could not be set aside: then it must be read again.
    fn decode(&mut self, rows: Vec<Row>, sink: SinkIndex) -> Option<Vec<Arc<Record>>> {
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let damage = match row.read() {
                Ok(record) => {
                    records.push(Arc::new(record));
                    continue;
                }
                Err(damage) => damage.to_string(),
            };
            if let Some(row) = row.with_right_sinks(sinks::set(&self.sinks)) {
                let record = self.mend_sinks(&row)?;
                records.extend(record.filter(|_| row.sinks.contains(sink)));
                continue;
            }
            if !self.set_aside(row, sink, &damage) {
                return None;
            }
        }
        Some(records)
    }

    /// Puts a record's sinks right again. A sink that has read on meanwhile gets it after the next
    /// start; until then it is shown among those that wait.
    fn mend_sinks(&mut self, row: &Row) -> Option<Option<Arc<Record>>> {
        tracing::error!(
            sequence = row.sequence,
            "a record in the spool had lost who it is for; its checksum told"
        );
        let connection = self.connection.as_ref()?;
        if let Err(error) = table::mend_sinks(connection, row) {
            self.broken(&error);
            return None;
        }
        self.metrics.spool_corrupt_records_total.inc();
        Some(row.read().ok().map(Arc::new))
    }

    /// Keeps a damaged record as a dead letter, bytes and all. What other sinks have settled of it is
    /// written first, because the row may go with this.
    fn set_aside(&mut self, row: Row, sink: SinkIndex, detail: &str) -> bool {
        if !self.flush() {
            return false;
        }
        tracing::error!(
            sequence = row.sequence,
            detail,
            "a record in the spool is damaged; it is kept as a dead letter"
        );
        let unwritten = self.settling.foresee(row.position(), sink);
        let dead = DeadRow {
            number: 0,
            sink,
            reason: RefusalReason::Damaged.as_str().to_owned(),
            detail: detail.to_owned(),
            buried_at: Timestamp::now(),
            row,
        };
        let Some(connection) = self.connection.as_mut() else {
            return false;
        };
        if let Err(error) = damage::keep(connection, &dead, unwritten, &mut self.tally) {
            self.broken(&error);
            return false;
        }
        self.settling.mark(unwritten.position, sink);
        self.metrics.spool_corrupt_records_total.inc();
        let mut entries = self.books.open();
        entries.buried(sink, RefusalReason::Damaged.as_str());
        entries.close(&self.tally, &self.settling);
        if unwritten.last {
            self.waiting.done(unwritten.position.sequence);
        }
        true
    }
}
