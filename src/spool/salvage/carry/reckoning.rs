//! When everything has been read: what is damaged is set aside, the counts are written anew, and what
//! is missing is added up.

use jiff::Timestamp;
use rusqlite::params;

use super::{Carrier, is_known_damage};
use crate::event::{SinkIndex, SinkSet};
use crate::sink::RefusalReason;
use crate::spool::inspect::placeholder;
use crate::spool::record::Row;
use crate::spool::salvage::{Cost, SinkCost};
use crate::spool::table::{self, DeadRow, signed, unsigned};
use crate::spool::tally::Tally;
use crate::spool::{damage, sinks};

impl Carrier<'_> {
    /// Makes the new file whole: names for all numbers, dead letters for what is damaged, and the
    /// counts.
    pub fn finish(mut self) -> rusqlite::Result<Cost> {
        let buried = self.bury()?;
        for mut dead in std::mem::take(&mut self.spoilt_letters).into_values() {
            if dead.row.verify().is_err() && !is_known_damage(&dead) {
                dead.detail = format!("{}: {}", dead.reason, dead.detail);
                RefusalReason::Damaged.as_str().clone_into(&mut dead.reason);
            }
            self.put_letter(&dead)?;
        }
        table::drop_idle_marks(self.fresh)?;
        let mut tally = damage::count(self.fresh)?;
        for number in 0..SinkIndex::MAX {
            let Some(index) = SinkIndex::new(number) else {
                break;
            };
            let waited = self
                .counted
                .as_ref()
                .map_or(0, |counted| counted.pending[number]);
            if waited.max(tally.pending[number]).max(tally.dead[number]) > 0 {
                self.sinks
                    .entry(number)
                    .or_insert_with(|| placeholder(index));
            }
            if let Some(name) = self.sinks.get(&number) {
                sinks::put(self.fresh, index, name)?;
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
        let known = self.known_sinks();
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
            records: (records + missing(letters(counted), letters(found))).max(unknown)
                + self.mended.len() as u64,
            ids: missing(counted.ids, found.ids).max(unknown),
            of_sinks: of_sinks.collect(),
        }
    }
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
