//! Carrying rows from a damaged file into a new one: every row that is what was written, from every
//! reading of the old file. A table that cannot be read to its end gives what it has on both sides
//! of the damage. What is not what was written is kept as a dead letter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row as SqlRow, params};

use super::super::damage;
use super::super::inspect::placeholder;
use super::super::record::Row;
use super::super::table::{self, DeadRow, checksum, signed, unsigned};
use super::super::tally::Tally;
use super::{Cost, SinkCost};
use crate::event::{SinkIndex, SinkSet};
use crate::name::SinkName;
use crate::sink::RefusalReason;

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

    fn counts(&mut self, old: &Connection) -> Option<Tally> {
        let counted = if self.has_checksums {
            Tally::load(old)
        } else {
            tally_of_format_1(old)
        };
        counted
            .inspect_err(|error| tracing::warn!(%error, "the counts of the spool cannot be read"))
            .ok()
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

    fn records(&mut self, old: &Connection) -> rusqlite::Result<()> {
        let columns = ["seq", "sinks", "crc", "head", "body"];
        self.walk(old, "record", ("seq", &columns, "crc"), |own, row| {
            let row = record(row, 0)?;
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
        self.walk(
            old,
            "dead_letter",
            ("number", &columns, "letter_crc"),
            |own, row| {
                let text = |column| {
                    bytes(row, column).map(|text| String::from_utf8_lossy(&text).into_owned())
                };
                let sink = usize::try_from(integer(row, 1)?)
                    .ok()
                    .and_then(SinkIndex::new);
                let dead = DeadRow {
                    number: integer(row, 0)?,
                    sink: sink.unwrap_or_default(),
                    reason: text(2)?,
                    detail: text(3)?,
                    buried_at: Timestamp::from_second(integer(row, 4)?).unwrap_or_default(),
                    row: record(row, 5)?,
                };
                own.seen.dead[dead.sink.number()] += 1;
                own.seen.bytes += i64::from(dead.row.bytes());
                if sink.is_some() && own.matches(row, columns.len(), dead.letter_crc())? {
                    own.put_letter(&dead)?;
                } else {
                    own.whole = false;
                    own.spoilt_letters.entry(dead.number).or_insert(dead);
                }
                Ok(())
            },
        )
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

    /// Makes the new file whole: names for all numbers, dead letters for what is damaged, and the
    /// counts.
    pub fn finish(mut self) -> rusqlite::Result<Cost> {
        let buried = self.bury()?;
        for dead in std::mem::take(&mut self.spoilt_letters).into_values() {
            self.put_letter(&dead)?;
        }
        table::drop_idle_marks(self.fresh)?;
        let mut tally = damage::count(self.fresh)?;
        for number in 0..SinkIndex::MAX {
            let Some(index) = SinkIndex::new(number) else {
                break;
            };
            if tally.pending[number] + tally.dead[number] > 0 {
                self.sinks
                    .entry(number)
                    .or_insert_with(|| placeholder(index));
            }
            if let Some(name) = self.sinks.get(&number) {
                table::name_sink(self.fresh, index, name)?;
            }
        }
        let reserved = self.counted.as_ref().map_or(0, |counted| counted.reserved);
        let free = signed(table::next_free(self.fresh)?);
        tally.reserved = reserved.max(free).max(table::behind_ids(self.fresh)?);
        tally.save(&Tally::new(), self.fresh)?;
        Ok(self.cost(&buried))
    }

    /// Sets aside the damaged records of which no reading had the true ones. Returns how many that
    /// were for each sink, and in all.
    fn bury(&self) -> rusqlite::Result<(Vec<i64>, i64)> {
        let known: SinkSet = self
            .sinks
            .keys()
            .filter_map(|number| SinkIndex::new(*number))
            .collect();
        let (mut buried, mut all) = (vec![0; SinkIndex::MAX], 0);
        for row in self.spoilt.values() {
            let sql = "SELECT EXISTS (SELECT 1 FROM record WHERE crc = ?1 OR (seq = ?2 AND head = ?3 AND body = ?4))";
            let twin = params![row.crc, signed(row.sequence), row.head, row.body.as_ref()];
            if self.fresh.query_row(sql, twin, |row| row.get(0))? {
                continue;
            }
            let settled = table::settled_sinks(self.fresh, row.sequence)?;
            let own = SinkSet::from_bits(row.sinks.bits() & known.bits() & !settled.bits());
            let sinks = if own.is_empty() { known } else { own };
            let sinks = if sinks.is_empty() {
                SinkSet::from_bits(1)
            } else {
                sinks
            };
            all += 1;
            for sink in sinks.iter() {
                table::bury(self.fresh, &damaged(row, sink))?;
                buried[sink.number()] += 1;
            }
        }
        Ok((buried, all))
    }

    /// What is missing between what the file said that there was and what its newest reading gave.
    fn cost(&self, (buried, damaged): &(Vec<i64>, i64)) -> Cost {
        let nothing = Tally::new();
        let found = self.found.as_ref().unwrap_or(&nothing);
        // Without the counts nobody knows how many there were.
        let unknown = u64::from(self.counted.is_none() && self.has_gaps);
        let counted = self.counted.as_ref().unwrap_or(found);
        let missing = |counted: i64, found: i64| unsigned(counted - found);
        // A sink whose name was lost has lost no less for that.
        let of_sinks = (0..SinkIndex::MAX).filter_map(|number| {
            let gone = counted.pending[number] - found.pending[number];
            let cost = SinkCost {
                lost: missing(gone, buried[number]),
                buried: unsigned(buried[number]),
            };
            let index = SinkIndex::new(number)?;
            (cost.lost + cost.buried > 0).then_some((index, cost))
        });
        let letters = |tally: &Tally| tally.dead.iter().sum();
        let records = missing(counted.records, found.records).max(unsigned(*damaged));
        Cost {
            records: (records + missing(letters(counted), letters(found))).max(unknown),
            ids: missing(counted.ids, found.ids).max(unknown),
            of_sinks: of_sinks.collect(),
        }
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

/// A damaged record as a dead letter.
fn damaged(row: &Row, sink: SinkIndex) -> DeadRow {
    DeadRow {
        number: 0,
        sink,
        reason: RefusalReason::Damaged.as_str().to_owned(),
        detail: "the checksum does not match".to_owned(),
        buried_at: Timestamp::now(),
        row: row.clone(),
    }
}

/// The columns of a record from `first` on, whatever they hold.
fn record(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Row> {
    let narrow = |column| integer(row, column).map(|value| u32::try_from(value).unwrap_or(0));
    Ok(Row {
        sequence: unsigned(integer(row, first)?),
        sinks: SinkSet::from_bits(narrow(first + 1)?),
        crc: narrow(first + 2)?,
        head: bytes(row, first + 3)?,
        body: bytes(row, first + 4)?.into(),
    })
}

fn integer(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => number,
        _ => 0,
    })
}

fn bytes(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    })
}
