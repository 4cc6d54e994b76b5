//! One transaction of the spool: settlements first, then dead letters, then new events.
//!
//! It works on a copy of the tally, so that a transaction that fails leaves no trace in memory.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, TransactionBehavior};

use super::command::{Burial, SpoolUnavailable};
use super::record::{Record, Row};
use super::room::Room;
use super::table::{self, Changed, DeadRow};
use super::tally::Tally;
use super::{Duplicates, Place, Settings};
use crate::event::{Position, SinkIndex, SinkSet};
use crate::route::Routed;
use crate::seeded::{self, Bug};

/// How many sequences one reservation covers; a crash skips at most so many.
const RESERVED_SEQUENCES: i64 = 1 << 20;

/// A settlement that has yet to reach the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unwritten {
    pub position: Position,
    pub sink: SinkIndex,
    /// Whether no other sink waits for the record.
    pub last: bool,
}

impl Unwritten {
    /// Whether the row goes, and there are no marks of it that would have to go first.
    fn simply_goes(&self) -> bool {
        self.last && self.position.sinks.bits().count_ones() == 1
    }

    /// Whether the next one's row is the neighbour of this one's, and both simply go.
    fn is_followed_by(&self, next: &Self) -> bool {
        self.simply_goes()
            && next.simply_goes()
            && self.position.sequence + 1 == next.position.sequence
    }
}

/// What the transaction does with one append.
#[derive(Debug)]
pub(super) enum Plan {
    Accepted(Arc<Record>),
    Duplicate { original: u64, pending: bool },
    Refused(SpoolUnavailable),
}

/// What one transaction shall write.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub settled: &'a [Unwritten],
    pub burials: Vec<(&'a Burial, Unwritten)>,
    pub appends: Vec<Routed>,
    /// How many ids may be forgotten that are older than the window.
    pub expire: usize,
    /// Change something even if there is nothing to write, to see whether a commit works.
    pub probe: bool,
}

/// The state a transaction works on.
pub(super) struct Writer<'a> {
    pub settings: &'a Settings,
    pub tally: Tally,
    pub next_sequence: u64,
    /// What new events may take of the disk.
    pub room: Room,
    pub now: Timestamp,
}

impl<'a> Writer<'a> {
    /// Starts from the numbers as they are.
    pub fn new(settings: &'a Settings, tally: &Tally, next_sequence: u64) -> Self {
        Self {
            settings,
            tally: tally.clone(),
            next_sequence,
            room: Room::PLENTY,
            now: Timestamp::now(),
        }
    }

    /// Keeps new events within this room.
    pub fn within(mut self, room: Room) -> Self {
        self.room = room;
        self
    }

    /// Writes the batch in one transaction. On success the plans are in the order of the appends,
    /// and `self.tally` and `self.next_sequence` are the new state.
    pub fn write(
        &mut self,
        connection: &mut Connection,
        batch: Batch<'_>,
    ) -> rusqlite::Result<Vec<Plan>> {
        let before = self.tally.clone();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for run in batch.settled.chunk_by(Unwritten::is_followed_by) {
            self.settle_run(&transaction, run)?;
        }
        for (burial, unwritten) in &batch.burials {
            self.bury(&transaction, burial)?;
            self.settle(&transaction, *unwritten)?;
        }
        let plans = batch
            .appends
            .into_iter()
            .map(|routed| self.append(&transaction, routed))
            .collect::<Result<_, _>>()?;
        if batch.expire > 0 {
            let window = SignedDuration::try_from(self.settings.limits.window)
                .unwrap_or(SignedDuration::MAX);
            let before = self.now.saturating_sub(window).unwrap_or(Timestamp::MIN);
            let expired = table::expire_ledger(&transaction, before, batch.expire)?;
            self.tally.forget(expired);
        }
        if batch.probe {
            self.tally.reserved += 1;
        }
        self.tally.save(&before, &transaction)?;
        transaction.commit()?;
        Ok(plans)
    }

    /// Rows that are neighbours go by one statement, which takes a fraction of one for each.
    fn settle_run(&mut self, connection: &Connection, run: &[Unwritten]) -> rusqlite::Result<()> {
        if let [first, _, ..] = run
            && table::remove_neighbours(connection, first.position.sequence, run.len())?
        {
            for settled in run {
                let (sink, bytes) = (settled.sink, settled.position.bytes);
                self.tally.settle(sink, bytes, Changed::Removed);
            }
            return Ok(());
        }
        run.iter()
            .try_for_each(|settled| self.settle(connection, *settled))
    }

    fn settle(&mut self, connection: &Connection, settled: Unwritten) -> rusqlite::Result<()> {
        let changed = table::settle(connection, settled.position, settled.sink, settled.last)?;
        self.tally
            .settle(settled.sink, settled.position.bytes, changed);
        Ok(())
    }

    fn bury(&mut self, connection: &Connection, burial: &Burial) -> rusqlite::Result<()> {
        if seeded::is(Bug::DropDeadLetter) {
            return Ok(());
        }
        if self.settings.place == Place::Memory {
            // Nothing durable can be kept of it, so the sender's next try must not pass for a duplicate.
            let struck = table::strike(connection, burial.record.event().id())?;
            self.tally.forget(struck);
            return Ok(());
        }
        let row = burial.record.encode();
        let dead = DeadRow {
            number: 0,
            sink: burial.sink,
            reason: burial.reason.as_str().to_owned(),
            detail: burial.detail.clone(),
            buried_at: self.now,
            row,
        };
        table::bury(connection, &dead)?;
        self.tally.dead[burial.sink.number()] += 1;
        self.tally.bytes += i64::from(dead.row.bytes());
        Ok(())
    }

    fn append(&mut self, connection: &Connection, routed: Routed) -> rusqlite::Result<Plan> {
        let event = routed.event();
        let (id, bytes) = (event.id(), event.body().len());
        seeded::stumble(Bug::PanicInSpool, event.body());
        if seeded::again(Bug::KeepIdOfFailedCommit, id.as_bytes()) {
            return Ok(Plan::Duplicate {
                original: 0,
                pending: false,
            });
        }
        let suppress = self.settings.limits.duplicates == Duplicates::Suppress;
        if let Err(refusal) = self.make_room(bytes) {
            let original = if suppress {
                table::entered(connection, id)?
            } else {
                None
            };
            return original.map_or(Ok(Plan::Refused(refusal)), |original| {
                Self::duplicate(connection, original)
            });
        }
        let sequence = self.next_sequence;
        match table::enter(connection, id, sequence, self.now)? {
            Some(original) if suppress => return Self::duplicate(connection, original),
            Some(_) => {}
            None => self.tally.ids += 1,
        }
        self.reserve(sequence);
        let (record, row) = Record::create(sequence, routed);
        table::insert(connection, &row)?;
        self.tally.add_record(row.sinks, row.bytes());
        Ok(Plan::Accepted(Arc::new(record)))
    }

    fn duplicate(connection: &Connection, original: u64) -> rusqlite::Result<Plan> {
        Ok(Plan::Duplicate {
            original,
            pending: table::is_pending(connection, original)?,
        })
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), SpoolUnavailable> {
        if is_over(&self.tally, self.settings, 1, bytes) {
            Err(SpoolUnavailable::Full)
        } else if !self.room.take(bytes) {
            Err(SpoolUnavailable::DiskFull)
        } else {
            Ok(())
        }
    }

    fn reserve(&mut self, sequence: u64) {
        self.next_sequence = sequence + 1;
        if table::signed(self.next_sequence) >= self.tally.reserved {
            self.tally.reserved = table::signed(self.next_sequence) + RESERVED_SEQUENCES;
        }
    }

    /// Puts a dead letter back among the events that wait, behind all that are there.
    pub fn requeue(
        &mut self,
        connection: &Connection,
        dead: DeadRow,
    ) -> rusqlite::Result<Arc<Record>> {
        let sequence = self.next_sequence;
        self.reserve(sequence);
        let sinks = SinkSet::default().with(dead.sink);
        self.tally.dead[dead.sink.number()] -= 1;
        self.tally.bytes -= i64::from(dead.row.bytes());
        let row = Row::new(sequence, sinks, dead.row.head, dead.row.body);
        table::insert(connection, &row)?;
        table::exhume(connection, dead.number)?;
        self.tally.add_record(sinks, row.bytes());
        let record = row
            .read()
            .map_err(|damage| rusqlite::Error::ToSqlConversionFailure(Box::new(damage)))?;
        Ok(Arc::new(record))
    }
}

/// Whether so many more events with so many bytes would not fit.
pub(super) fn is_over(tally: &Tally, settings: &Settings, events: usize, bytes: usize) -> bool {
    let signed = |more: usize| i64::try_from(more).unwrap_or(i64::MAX / 2);
    let events = tally.records + tally.dead.iter().sum::<i64>() + signed(events);
    let bytes = tally.bytes + signed(bytes);
    table::unsigned(events) > settings.limits.max_events
        || table::unsigned(bytes) > settings.limits.max_bytes
}
