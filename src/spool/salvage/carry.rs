//! Carrying rows from a damaged file into a new one: every row that is what was written, from every
//! reading of the old file. A table that cannot be read to its end gives what it has on both sides
//! of the damage. What is not what was written is kept as a dead letter.

mod columns;
mod reckoning;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row as SqlRow, params};

use crate::event::{SinkIndex, SinkSet};
use crate::name::SinkName;
use crate::sink::RefusalReason;
use crate::spool::record::Row;
use crate::spool::table::{self, DeadRow, checksum, signed, unsigned};
use crate::spool::tally::Tally;
use columns::{bytes, integer, letter, record};

/// The most damaged records that are kept: they are held in memory until all has been read.
const MAX_SPOILT: usize = 10_000;

/// What goes from one file to the other.
pub(super) struct Carrier<'a> {
    fresh: &'a Connection,
    /// Format 1 had no checksums in its small tables.
    has_checksums: bool,
    /// Whether the reading under way has met nothing that was not as it was written.
    whole: bool,
    /// Its rows, as far as they are what was written.
    seen: Tally,
    /// Whether any reading could not read a table to its end.
    has_gaps: bool,
    sinks: BTreeMap<usize, SinkName>,
    /// Records that are not what was written, by what they claim to be.
    spoilt: BTreeMap<(u64, u32), Row>,
    spoilt_letters: BTreeMap<i64, DeadRow>,
    /// Records that had lost who they are for.
    mended: BTreeSet<u64>,
    /// What the file itself said that there was.
    counted: Option<Tally>,
    /// What its newest reading gave.
    found: Option<Tally>,
}

impl<'a> Carrier<'a> {
    /// A carrier into the empty tables of `fresh`.
    pub fn new(fresh: &'a Connection, version: u16) -> Self {
        Self {
            fresh,
            has_checksums: version > 1,
            whole: true,
            seen: Tally::new(),
            has_gaps: false,
            sinks: BTreeMap::new(),
            spoilt: BTreeMap::new(),
            spoilt_letters: BTreeMap::new(),
            mended: BTreeSet::new(),
            counted: None,
            found: None,
        }
    }

    /// Takes over what this reading has. Returns whether that is all that it says there is, each row
    /// as it was written.
    pub fn read(&mut self, old: &Connection) -> rusqlite::Result<bool> {
        (self.whole, self.seen) = (true, Tally::new());
        let counted = self.counts(old);
        self.names(old)?;
        self.records(old)?;
        self.marks(old)?;
        self.ids(old)?;
        self.letters(old)?;
        let seen = std::mem::replace(&mut self.seen, Tally::new());
        let agrees = |counted: &Tally| {
            seen == Tally {
                reserved: 0,
                ..counted.clone()
            }
        };
        let complete = self.whole && counted.as_ref().is_some_and(agrees);
        self.counted = self.counted.take().or(counted);
        self.found.get_or_insert(seen);
        Ok(complete)
    }

    /// The counts, where there are any: an open spool has some, and a page of zeros none.
    fn counts(&mut self, old: &Connection) -> Option<Tally> {
        let counted = if self.has_checksums {
            Tally::load(old)
        } else {
            tally_of_format_1(old)
        };
        let any = "SELECT EXISTS (SELECT 1 FROM tally)";
        counted
            .and_then(|tally| {
                let any: bool = old.query_row(any, [], |row| row.get(0))?;
                Ok(any.then_some(tally))
            })
            .inspect_err(|error| tracing::warn!(%error, "the counts of the spool cannot be read"))
            .ok()
            .flatten()
    }

    fn names(&mut self, old: &Connection) -> rusqlite::Result<()> {
        let tables: &[&str] = if self.has_checksums {
            &["sink", "sink_copy"]
        } else {
            &["sink"]
        };
        for table in tables {
            self.walk(
                old,
                table,
                ("number", &["number", "name"], "crc"),
                |own, row| {
                    let (number, name) = (integer(row, 0)?, bytes(row, 1)?);
                    let sound = own.matches(row, 2, checksum(&[number], &[&name]))?;
                    let index = usize::try_from(number).ok().and_then(SinkIndex::new);
                    let name = std::str::from_utf8(&name).map(SinkName::parse);
                    match (index, name) {
                        (Some(index), Ok(Ok(name))) if sound => {
                            own.sinks.entry(index.number()).or_insert(name);
                        }
                        _ => own.whole = false,
                    }
                    Ok(())
                },
            )?;
        }
        Ok(())
    }

    fn known_sinks(&self) -> SinkSet {
        let numbers = self.sinks.keys().copied();
        numbers.filter_map(SinkIndex::new).collect()
    }

    fn records(&mut self, old: &Connection) -> rusqlite::Result<()> {
        let columns = ["seq", "sinks", "crc", "head", "body"];
        self.walk(old, "record", ("seq", &columns, "crc"), |own, row| {
            let mut row = record(row, 0)?;
            if row.verify().is_err()
                && let Some(right) = row.with_right_sinks(own.known_sinks())
            {
                own.whole = false;
                own.mended.insert(right.sequence);
                row = right;
            }
            if row.verify().is_ok() && !row.sinks.is_empty() {
                own.seen.add_record(row.sinks, row.bytes());
                own.fresh
                    .prepare_cached("INSERT OR IGNORE INTO record (seq, sinks, crc, head, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![signed(row.sequence), row.sinks.bits(), row.crc, row.head, row.body.as_ref()])?;
            } else {
                own.whole = false;
                if own.spoilt.len() < MAX_SPOILT {
                    own.spoilt.insert((row.sequence, row.crc), row);
                }
            }
            Ok(())
        })
    }

    fn marks(&mut self, old: &Connection) -> rusqlite::Result<()> {
        self.walk(
            old,
            "settled",
            ("seq", &["seq", "sink"], "crc"),
            |own, row| {
                let (sequence, sink) = (integer(row, 0)?, integer(row, 1)?);
                let crc = checksum(&[sequence, sink], &[]);
                let known = (0..).take(SinkIndex::MAX).any(|number| number == sink);
                if known && own.matches(row, 2, crc)? {
                    own.fresh
                        .prepare_cached(
                            "INSERT OR IGNORE INTO settled (seq, sink, crc) VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![sequence, sink, crc])?;
                    if table::is_pending(own.fresh, unsigned(sequence))? {
                        own.seen.pending[usize::try_from(sink).unwrap_or(0)] -= 1;
                    }
                } else {
                    own.whole = false;
                }
                Ok(())
            },
        )
    }

    fn ids(&mut self, old: &Connection) -> rusqlite::Result<()> {
        self.walk(old, "ledger", ("id", &["id", "seq"], "crc"), |own, row| {
            let (id, sequence) = (bytes(row, 0)?, integer(row, 1)?);
            let crc = checksum(&[sequence], &[&id]);
            if id.len() == 16 && own.matches(row, 2, crc)? {
                own.seen.ids += 1;
                own.fresh
                    .prepare_cached(
                        "INSERT OR IGNORE INTO ledger (id, seq, crc) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![id, sequence, crc])?;
            } else {
                own.whole = false;
            }
            Ok(())
        })?;
        let columns = ["id", "seq", "accepted_at"];
        self.walk(old, "ledger_untimed", ("id", &columns, "crc"), |own, row| {
            let (id, sequence, accepted_at) = (bytes(row, 0)?, integer(row, 1)?, integer(row, 2)?);
            let crc = checksum(&[sequence, accepted_at], &[&id]);
            if id.len() == 16 && own.matches(row, 3, crc)? {
                own.seen.ids += 1;
                own.fresh
                    .prepare_cached("INSERT OR IGNORE INTO ledger_untimed (id, seq, accepted_at, crc) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![id, sequence, accepted_at, crc])?;
            } else {
                own.whole = false;
            }
            Ok(())
        })
    }

    /// A dead letter is kept even where it is damaged, after those that are not.
    fn letters(&mut self, old: &Connection) -> rusqlite::Result<()> {
        let columns = [
            "number",
            "sink",
            "reason",
            "detail",
            "buried_at",
            "seq",
            "sinks",
            "crc",
            "head",
            "body",
        ];
        let columns = ("number", &columns[..], "letter_crc");
        self.walk(old, "dead_letter", columns, |own, row| {
            let dead = letter(row)?;
            let sealed = own.matches(row, 10, dead.letter_crc())?;
            if sealed && (dead.row.verify().is_ok() || is_known_damage(&dead)) {
                own.seen.dead[dead.sink.number()] += 1;
                own.seen.bytes += i64::from(dead.row.bytes());
                own.put_letter(&dead)?;
            } else {
                own.whole = false;
                own.spoilt_letters.entry(dead.number).or_insert(dead);
            }
            Ok(())
        })
    }

    fn put_letter(&self, dead: &DeadRow) -> rusqlite::Result<usize> {
        let row = &dead.row;
        self.fresh
            .prepare_cached("INSERT OR IGNORE INTO dead_letter (number, seq, sink, reason, detail, buried_at, letter_crc, sinks, crc, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?
            .execute(params![
                dead.number, signed(row.sequence), dead.sink.number(), dead.reason, dead.detail, dead.buried_at.as_second(),
                dead.letter_crc(), row.sinks.bits(), row.crc, row.head, row.body.as_ref()
            ])
    }

    /// Whether the row's checksum, in this column, is the one it should be. Format 1 had none.
    fn matches(&self, row: &SqlRow<'_>, column: usize, crc: u32) -> rusqlite::Result<bool> {
        Ok(!self.has_checksums || row.get_ref(column)? == ValueRef::Integer(i64::from(crc)))
    }

    /// Gives `take` every row that can be read, from the front and, where that ends in damage, from
    /// the back. The checksum comes behind the columns.
    fn walk(
        &mut self,
        old: &Connection,
        table: &str,
        (key, columns, crc): (&str, &[&str], &str),
        mut take: impl FnMut(&mut Self, &SqlRow<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let crc = if self.has_checksums { crc } else { "NULL" };
        for direction in ["ASC", "DESC"] {
            let select = format!(
                "SELECT {}, {crc} FROM {table} ORDER BY {key} {direction}",
                columns.join(", ")
            );
            let mut statement = match old.prepare(&select) {
                Ok(statement) => statement,
                Err(error) => {
                    self.note(table, &error);
                    return Ok(());
                }
            };
            let mut rows = statement.query([])?;
            loop {
                match rows.next() {
                    Ok(Some(row)) => take(self, row)?,
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        self.note(table, &error);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, table: &str, error: &rusqlite::Error) {
        tracing::warn!(table, %error, "a table of the spool cannot be read to its end");
        (self.whole, self.has_gaps) = (false, true);
    }
}

/// The counts of format 1, which had no checksums and did not count ids.
fn tally_of_format_1(old: &Connection) -> rusqlite::Result<Tally> {
    let mut tally = Tally::new();
    let mut statement = old.prepare("SELECT name, sink, value FROM tally")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        tally.set(&name, row.get(1)?, row.get(2)?);
    }
    tally.ids = table::count_ids(old)?;
    Ok(tally)
}

/// Whether the letter says itself that its record is not what was written.
fn is_known_damage(dead: &DeadRow) -> bool {
    dead.reason == RefusalReason::Damaged.as_str()
}
