//! The spool's tables: every SQL statement on them is here, each as a verb.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::record::Row;
use crate::event::{EventId, Position, SinkIndex, SinkSet};
use crate::sink::RefusalReason;

/// What settling changed in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// The row was not there.
    Nothing,
    /// Other sinks still wait for the row.
    Marked,
    /// The row is gone.
    Removed,
}

/// A dead letter's columns.
#[derive(Debug, Clone)]
pub(super) struct DeadRow {
    pub number: i64,
    pub sink: SinkIndex,
    pub reason: String,
    pub detail: String,
    pub buried_at: Timestamp,
    pub row: Row,
}

impl DeadRow {
    /// The checksum over what the record's own does not cover.
    pub fn letter_crc(&self) -> u32 {
        checksum(
            &[
                signed(self.row.sequence),
                i64::from(self.sink),
                self.buried_at.as_second(),
            ],
            &[self.reason.as_bytes(), self.detail.as_bytes()],
        )
    }
}

/// The checksum of a small row: CRC-32 (IEEE) over its numbers in little endian and its texts, each
/// behind its length.
pub(super) fn checksum(numbers: &[i64], texts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for number in numbers {
        crc.update(&number.to_le_bytes());
    }
    for text in texts {
        crc.update(&(text.len() as u64).to_le_bytes());
        crc.update(text);
    }
    crc.finalize()
}

/// An error unless the row's checksum is the one it should be.
fn sealed(found: u32, crc: u32, what: &str) -> rusqlite::Result<()> {
    if found == crc {
        Ok(())
    } else {
        Err(nonsense(what))
    }
}

/// An error for content that no version of this program writes.
pub(super) fn nonsense(found: &str) -> rusqlite::Error {
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(error, Some(found.to_owned()))
}

/// Whether every record waits for somebody.
pub(super) fn check_records(connection: &Connection) -> rusqlite::Result<()> {
    let orphan = "SELECT EXISTS (SELECT 1 FROM record WHERE sinks = 0)";
    let orphan: bool = connection.query_row(orphan, [], |row| row.get(0))?;
    if orphan {
        Err(nonsense("a record has no sinks"))
    } else {
        Ok(())
    }
}

/// Whether the tables that everything else hangs on make sense: sinks, settled marks, counts.
pub(super) fn check_small_tables(connection: &Connection) -> rusqlite::Result<()> {
    super::tally::Tally::load(connection)?;
    partly_settled(connection)?;
    super::sinks::read(connection)?;
    let wrong = "SELECT (SELECT count(*) FROM settled WHERE seq NOT IN (SELECT seq FROM record)) + abs((SELECT count(*) FROM sink) - (SELECT count(*) FROM sink_copy))";
    let wrong: i64 = connection.query_row(wrong, [], |row| row.get(0))?;
    if wrong > 0 {
        return Err(nonsense(
            "its sinks and what they have settled do not fit together",
        ));
    }
    Ok(())
}

/// Whether every id and every dead letter is as it was written.
pub(super) fn check_ids_and_letters(connection: &Connection) -> rusqlite::Result<()> {
    const WRONG: &str = "an id in the ledger does not match its checksum";
    let mut statement = connection.prepare("SELECT id, seq, crc FROM ledger")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_bytes()?;
        sealed(row.get(2)?, checksum(&[row.get(1)?], &[id]), WRONG)?;
    }
    let mut statement =
        connection.prepare("SELECT id, seq, accepted_at, crc FROM ledger_untimed")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_bytes()?;
        let crc = checksum(&[row.get(1)?, row.get(2)?], &[id]);
        sealed(row.get(3)?, crc, WRONG)?;
    }
    let mut after = i64::MIN;
    while let Some(dead) = dead_letters(connection, after, 1)?.pop() {
        after = dead.number;
        let stored = "SELECT letter_crc FROM dead_letter WHERE number = ?1";
        let stored = connection.query_row(stored, [after], |row| row.get(0))?;
        let wrong = "a dead letter does not match its checksum";
        sealed(stored, dead.letter_crc(), wrong)?;
        if dead.row.verify().is_err() && dead.reason != RefusalReason::Damaged.as_str() {
            return Err(nonsense(wrong));
        }
    }
    Ok(())
}

/// Takes out what sinks have settled of records that are not there.
pub(super) fn drop_idle_marks(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM settled WHERE seq NOT IN (SELECT seq FROM record)",
        [],
    )
}

/// The sequence behind all that are in use.
pub(super) fn next_free(connection: &Connection) -> rusqlite::Result<u64> {
    let highest = connection.query_row("SELECT max(coalesce((SELECT max(seq) FROM record), 0), coalesce((SELECT max(seq) FROM dead_letter), 0))", [], |row| row.get(0));
    highest.map(|highest| unsigned(highest) + 1)
}

/// The sequence behind all that any id was accepted with. It reads the whole ledger.
pub(super) fn behind_ids(connection: &Connection) -> rusqlite::Result<i64> {
    let highest = "SELECT max(coalesce((SELECT max(seq) FROM ledger), 0), coalesce((SELECT max(seq) FROM ledger_untimed), 0))";
    connection
        .query_row(highest, [], |row| row.get::<_, i64>(0))
        .map(|highest| highest + 1)
}

/// Adds a record.
pub(super) fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO record (seq, sinks, crc, head, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            signed(row.sequence),
            row.sinks.bits(),
            row.crc,
            row.head,
            row.body.as_ref()
        ])
        .map(drop)
}

/// Notes the id as accepted; where it had been, the sequence of the first.
pub(super) fn enter(
    connection: &Connection,
    id: EventId,
    sequence: u64,
    now: Timestamp,
) -> rusqlite::Result<Option<u64>> {
    let inserted = if id.is_timed() {
        let mut statement = connection
            .prepare_cached("INSERT OR IGNORE INTO ledger (id, seq, crc) VALUES (?1, ?2, ?3)")?;
        let crc = checksum(&[signed(sequence)], &[id.as_bytes()]);
        statement.execute(params![id.as_bytes(), signed(sequence), crc])?
    } else {
        let mut statement = connection.prepare_cached(
            "INSERT OR IGNORE INTO ledger_untimed (id, seq, accepted_at, crc) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let crc = checksum(&[signed(sequence), now.as_second()], &[id.as_bytes()]);
        statement.execute(params![
            id.as_bytes(),
            signed(sequence),
            now.as_second(),
            crc
        ])?
    };
    if inserted == 1 {
        Ok(None)
    } else {
        entered(connection, id)
    }
}

/// The sequence the id was first accepted with.
pub(super) fn entered(connection: &Connection, id: EventId) -> rusqlite::Result<Option<u64>> {
    let sql = if id.is_timed() {
        "SELECT seq FROM ledger WHERE id = ?1"
    } else {
        "SELECT seq FROM ledger_untimed WHERE id = ?1"
    };
    connection
        .prepare_cached(sql)?
        .query_row([id.as_bytes()], |row| row.get(0).map(unsigned))
        .optional()
}

/// Forgets an id. Returns how many that were.
pub(super) fn strike(connection: &Connection, id: EventId) -> rusqlite::Result<usize> {
    let sql = if id.is_timed() {
        "DELETE FROM ledger WHERE id = ?1"
    } else {
        "DELETE FROM ledger_untimed WHERE id = ?1"
    };
    connection.prepare_cached(sql)?.execute([id.as_bytes()])
}

/// How many ids are known.
pub(super) fn count_ids(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT (SELECT count(*) FROM ledger) + (SELECT count(*) FROM ledger_untimed)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Forgets the ids of events triggered before `before`; an id without a time counts from its
/// acceptance. Of each kind at most `limit`, so that no commit grows beyond bounds.
pub(super) fn expire_ledger(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    let timed = connection
        .prepare_cached("DELETE FROM ledger WHERE id IN (SELECT id FROM ledger WHERE id < ?1 ORDER BY id LIMIT ?2)")?
        .execute(params![EventId::lower_bound(before).as_bytes(), limit])?;
    let untimed = connection
        .prepare_cached("DELETE FROM ledger_untimed WHERE id IN (SELECT id FROM ledger_untimed WHERE accepted_at < ?1 LIMIT ?2)")?
        .execute(params![before.as_second(), limit])?;
    Ok(timed + untimed)
}

/// Marks the record as settled for `sink`, or removes it where that was the last one.
pub(super) fn settle(
    connection: &Connection,
    position: Position,
    sink: SinkIndex,
    last: bool,
) -> rusqlite::Result<Changed> {
    let sequence = signed(position.sequence);
    if !last {
        let mut statement = connection.prepare_cached(
            "INSERT OR IGNORE INTO settled (seq, sink, crc) SELECT seq, ?2, ?3 FROM record WHERE seq = ?1",
        )?;
        let crc = checksum(&[sequence, i64::from(sink)], &[]);
        let marked = statement.execute(params![sequence, sink.number(), crc])?;
        return Ok(if marked == 1 {
            Changed::Marked
        } else {
            Changed::Nothing
        });
    }
    if position.sinks.bits().count_ones() > 1 {
        connection
            .prepare_cached("DELETE FROM settled WHERE seq = ?1")?
            .execute([sequence])?;
    }
    let removed = connection
        .prepare_cached("DELETE FROM record WHERE seq = ?1")?
        .execute([sequence])?;
    Ok(if removed == 1 {
        Changed::Removed
    } else {
        Changed::Nothing
    })
}

/// Removes so many records from this one on, if all of them are there; else none.
pub(super) fn remove_neighbours(
    connection: &Connection,
    first: u64,
    count: usize,
) -> rusqlite::Result<bool> {
    let last = first + count as u64 - 1;
    let range = params![signed(first), signed(last)];
    let found: usize = connection
        .prepare_cached("SELECT count(*) FROM record WHERE seq BETWEEN ?1 AND ?2")?
        .query_row(range, |row| row.get(0))?;
    if found != count {
        return Ok(false);
    }
    connection
        .prepare_cached("DELETE FROM record WHERE seq BETWEEN ?1 AND ?2")?
        .execute(range)
        .map(|_| true)
}

/// Whether the record is still there.
pub(super) fn is_pending(connection: &Connection, sequence: u64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM record WHERE seq = ?1")?
        .exists([signed(sequence)])
}

/// Records that some, but not all, of their sinks have settled.
pub(super) fn partly_settled(connection: &Connection) -> rusqlite::Result<Vec<(u64, SinkIndex)>> {
    let mut statement = connection.prepare("SELECT seq, sink, crc FROM settled")?;
    let mut rows = statement.query([])?;
    let mut settled = Vec::new();
    while let Some(row) = rows.next()? {
        let (sequence, number, crc): (i64, i64, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let sink = usize::try_from(number).ok().and_then(SinkIndex::new);
        match sink {
            Some(sink) if crc == checksum(&[sequence, number], &[]) => {
                settled.push((unsigned(sequence), sink));
            }
            _ => {
                return Err(nonsense(
                    "what a sink has settled does not match its checksum",
                ));
            }
        }
    }
    Ok(settled)
}

/// The sinks a record was accepted for.
pub(super) fn sinks_of(
    connection: &Connection,
    sequence: u64,
) -> rusqlite::Result<Option<SinkSet>> {
    let mut statement = connection.prepare_cached("SELECT sinks FROM record WHERE seq = ?1")?;
    statement
        .query_row([signed(sequence)], |row| row.get(0).map(SinkSet::from_bits))
        .optional()
}

/// The first rows after `after` that wait for `sink`: `limit` of them, or fewer once `bytes` are
/// reached. A row for none of the `known` sinks, or for another, cannot be right: any sink finds it.
pub(super) fn read_after(
    connection: &Connection,
    (sink, known): (SinkIndex, SinkSet),
    after: u64,
    limit: usize,
    bytes: usize,
) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, sinks, crc, head, body FROM record WHERE seq > ?1 AND (sinks & ?2 OR sinks & ~?5 OR sinks = 0) AND NOT EXISTS (SELECT 1 FROM settled WHERE settled.seq = record.seq AND sink = ?3) ORDER BY seq LIMIT ?4",
    )?;
    let mut rows = statement.query(params![
        signed(after),
        1_u32 << sink.number(),
        sink.number(),
        limit,
        known.bits()
    ])?;
    let (mut found, mut read) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let row = read_row(row, 0)?;
        read += row.bytes() as usize;
        found.push(row);
        if read >= bytes {
            break;
        }
    }
    Ok(found)
}

/// The first rows after `after`, whatever their sinks.
pub(super) fn list_after(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, sinks, crc, head, body FROM record WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let rows = statement.query_map(params![signed(after), limit], |row| read_row(row, 0))?;
    rows.collect()
}

/// The sinks that have settled a record that others still wait for.
pub(super) fn settled_sinks(connection: &Connection, sequence: u64) -> rusqlite::Result<SinkSet> {
    let mut statement = connection.prepare_cached("SELECT sink FROM settled WHERE seq = ?1")?;
    let rows = statement.query_map([signed(sequence)], |row| row.get::<_, usize>(0))?;
    rows.filter_map(|sink| sink.map(SinkIndex::new).transpose())
        .collect()
}

/// Writes a record's sinks again, where they had changed on the disk.
pub(super) fn mend_sinks(connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
    connection.execute(
        "UPDATE record SET sinks = ?2 WHERE seq = ?1",
        params![signed(row.sequence), row.sinks.bits()],
    )
}

/// One row.
pub(super) fn read_one(connection: &Connection, sequence: u64) -> rusqlite::Result<Option<Row>> {
    let mut statement = connection
        .prepare_cached("SELECT seq, sinks, crc, head, body FROM record WHERE seq = ?1")?;
    statement
        .query_row([signed(sequence)], |row| read_row(row, 0))
        .optional()
}

/// Adds a dead letter.
pub(super) fn bury(connection: &Connection, dead: &DeadRow) -> rusqlite::Result<()> {
    let row = &dead.row;
    connection
        .prepare_cached("INSERT INTO dead_letter (seq, sink, reason, detail, buried_at, letter_crc, sinks, crc, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            signed(row.sequence), dead.sink.number(), dead.reason, dead.detail, dead.buried_at.as_second(),
            dead.letter_crc(), row.sinks.bits(), row.crc, row.head, row.body.as_ref()
        ])
        .map(drop)
}

/// The dead letters after number `after`, oldest first.
pub(super) fn dead_letters(
    connection: &Connection,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<DeadRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, sink, reason, detail, buried_at, seq, sinks, crc, head, body FROM dead_letter WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let rows = statement.query_map(params![after, limit], read_dead)?;
    rows.collect()
}

/// Takes a dead letter away.
pub(super) fn exhume(connection: &Connection, number: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("DELETE FROM dead_letter WHERE number = ?1")?
        .execute([number])
        .map(|removed| removed == 1)
}

/// The columns as they lie there. A value of another kind than was written is no error here: a
/// single flipped bit makes a text of a blob, and an error would hold up all that lies behind. What
/// is no bytes or no number becomes none, and the checksum says that this is not what was written.
fn read_row(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Row> {
    let bytes = |column| match row.get_ref(column)? {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Ok(bytes.to_vec()),
        _ => Ok::<_, rusqlite::Error>(Vec::new()),
    };
    let number = |column| match row.get_ref(column)? {
        ValueRef::Integer(number) => Ok(u32::try_from(number).unwrap_or_default()),
        _ => Ok::<_, rusqlite::Error>(0),
    };
    Ok(Row {
        sequence: unsigned(row.get(first)?),
        sinks: SinkSet::from_bits(number(first + 1)?),
        crc: number(first + 2)?,
        head: bytes(first + 3)?,
        body: Bytes::from(bytes(first + 4)?),
    })
}

fn read_dead(row: &SqlRow<'_>) -> rusqlite::Result<DeadRow> {
    Ok(DeadRow {
        number: row.get(0)?,
        sink: SinkIndex::new(row.get(1)?).unwrap_or_default(),
        reason: row.get(2)?,
        detail: row.get(3)?,
        buried_at: Timestamp::from_second(row.get(4)?).unwrap_or_default(),
        row: read_row(row, 5)?,
    })
}

/// `SQLite` counts rows from 1 in signed 64 bits, and so do we.
pub(super) fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests;
