//! The spool's tables: every SQL statement on them is here, each as a verb.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::record::Row;
use crate::event::{EventId, Position, SinkIndex, SinkSet};
use crate::name::SinkName;

/// Marks a file as a spool (`HFSP`).
pub(super) const APPLICATION_ID: i32 = 0x4846_5350;
/// The format of the tables below.
pub(super) const VERSION: u16 = 1;

/// The tables. `record` puts its blobs last, so that a look at the sinks does not read them.
/// `ledger` is keyed by ids that rise with time: new ones go to its end.
pub(super) const SCHEMA: &str = "
CREATE TABLE sink (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE record (seq INTEGER PRIMARY KEY, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE settled (seq INTEGER, sink INTEGER, PRIMARY KEY (seq, sink)) WITHOUT ROWID;
CREATE TABLE ledger (id BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger_untimed (id BLOB PRIMARY KEY, seq INTEGER NOT NULL, accepted_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letter (number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, sink INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, buried_at INTEGER NOT NULL, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE tally (name TEXT, sink INTEGER, value INTEGER NOT NULL, PRIMARY KEY (name, sink)) WITHOUT ROWID;
";

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

/// Gives every name its number; a name keeps the one it has.
pub(super) fn number_sinks(
    connection: &Connection,
    names: &[SinkName],
) -> rusqlite::Result<Vec<(SinkIndex, SinkName)>> {
    for name in names {
        connection.execute(
            "INSERT OR IGNORE INTO sink (number, name) VALUES ((SELECT coalesce(max(number), -1) + 1 FROM sink), ?1)",
            [name.as_str()],
        )?;
    }
    let mut statement = connection.prepare("SELECT number, name FROM sink ORDER BY number")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, usize>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut sinks = Vec::new();
    for row in rows {
        let (number, name) = row?;
        if let (Some(index), Ok(name)) = (SinkIndex::new(number), SinkName::parse(&name)) {
            sinks.push((index, name));
        }
    }
    Ok(sinks)
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
    let wrong = "SELECT (SELECT count(*) FROM settled WHERE sink NOT BETWEEN 0 AND 31 OR seq NOT IN (SELECT seq FROM record)) + (SELECT count(*) FROM sink WHERE number NOT BETWEEN 0 AND 31)";
    let wrong: i64 = connection.query_row(wrong, [], |row| row.get(0))?;
    let mut names = connection.prepare("SELECT name FROM sink")?;
    let names = names
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    if wrong > 0 || names.iter().any(|name| SinkName::parse(name).is_err()) {
        return Err(nonsense("its sinks make no sense"));
    }
    Ok(())
}

/// Takes out of the small tables what makes no sense. A sink whose name was lost keeps its number,
/// under a name that says so. A record whose sinks are none, or no set at all, is given one, whose
/// dispatcher will find that its checksum does not match and set it aside with its bytes.
pub(super) fn mend_small_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM sink WHERE number NOT BETWEEN 0 AND 31;
         DELETE FROM settled WHERE sink NOT BETWEEN 0 AND 31 OR seq NOT IN (SELECT seq FROM record);
         UPDATE dead_letter SET sink = 0 WHERE sink NOT BETWEEN 0 AND 31;
         UPDATE record SET sinks = 1 WHERE typeof(sinks) <> 'integer' OR sinks NOT BETWEEN 1 AND 4294967295;",
    )?;
    for number in 0..SinkIndex::MAX {
        let Some(index) = SinkIndex::new(number) else {
            break;
        };
        let sql = "SELECT CAST(name AS BLOB) FROM sink WHERE number = ?1";
        let name: Option<Vec<u8>> = connection
            .query_row(sql, [number], |row| row.get(0))
            .optional()?;
        let sound = name.as_deref().is_some_and(|name| {
            std::str::from_utf8(name).is_ok_and(|name| SinkName::parse(name).is_ok())
        });
        let sql = "SELECT EXISTS (SELECT 1 FROM record WHERE sinks & ?1)";
        let used: bool = connection.query_row(sql, [1_u32 << number], |row| row.get(0))?;
        if !sound && (used || name.is_some()) {
            let lost = super::inspect::placeholder(index);
            connection.execute(
                "INSERT OR REPLACE INTO sink (number, name) VALUES (?1, ?2)",
                params![number, lost.as_str()],
            )?;
        }
    }
    Ok(())
}

/// Writes the numbers down again, for a file that may have lost them.
pub(super) fn restore_sinks(
    connection: &Connection,
    sinks: &[(SinkIndex, SinkName)],
) -> rusqlite::Result<()> {
    let known: i64 = connection.query_row("SELECT count(*) FROM sink", [], |row| row.get(0))?;
    if usize::try_from(known) == Ok(sinks.len()) {
        return Ok(());
    }
    for (index, name) in sinks {
        connection.execute(
            "INSERT OR REPLACE INTO sink (number, name) VALUES (?1, ?2)",
            params![index.number(), name.as_str()],
        )?;
    }
    Ok(())
}

/// The sequence behind all that are in use.
pub(super) fn next_free(connection: &Connection) -> rusqlite::Result<u64> {
    let highest = connection.query_row("SELECT max(coalesce((SELECT max(seq) FROM record), 0), coalesce((SELECT max(seq) FROM dead_letter), 0))", [], |row| row.get(0));
    highest.map(|highest| unsigned(highest) + 1)
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
        let mut statement =
            connection.prepare_cached("INSERT OR IGNORE INTO ledger (id, seq) VALUES (?1, ?2)")?;
        statement.execute(params![id.as_bytes(), signed(sequence)])?
    } else {
        let mut statement = connection.prepare_cached(
            "INSERT OR IGNORE INTO ledger_untimed (id, seq, accepted_at) VALUES (?1, ?2, ?3)",
        )?;
        statement.execute(params![id.as_bytes(), signed(sequence), now.as_second()])?
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

/// Forgets an id.
pub(super) fn strike(connection: &Connection, id: EventId) -> rusqlite::Result<()> {
    let sql = if id.is_timed() {
        "DELETE FROM ledger WHERE id = ?1"
    } else {
        "DELETE FROM ledger_untimed WHERE id = ?1"
    };
    connection
        .prepare_cached(sql)?
        .execute([id.as_bytes()])
        .map(drop)
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
            "INSERT OR IGNORE INTO settled (seq, sink) SELECT seq, ?2 FROM record WHERE seq = ?1",
        )?;
        let marked = statement.execute(params![sequence, sink.number()])?;
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

/// Whether the record is still there.
pub(super) fn is_pending(connection: &Connection, sequence: u64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM record WHERE seq = ?1")?
        .exists([signed(sequence)])
}

/// Records that some, but not all, of their sinks have settled.
pub(super) fn partly_settled(connection: &Connection) -> rusqlite::Result<Vec<(u64, SinkIndex)>> {
    let mut statement = connection.prepare("SELECT seq, sink FROM settled")?;
    let rows = statement.query_map([], |row| {
        Ok((unsigned(row.get(0)?), row.get::<_, usize>(1)?))
    })?;
    rows.map(|row| row.map(|(sequence, sink)| SinkIndex::new(sink).map(|sink| (sequence, sink))))
        .filter_map(Result::transpose)
        .collect()
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

/// The first rows after `after` that wait for `sink`: `limit` of them, or fewer once `bytes` are reached.
pub(super) fn read_after(
    connection: &Connection,
    sink: SinkIndex,
    after: u64,
    limit: usize,
    bytes: usize,
) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, sinks, crc, head, body FROM record WHERE seq > ?1 AND sinks & ?2 AND NOT EXISTS (SELECT 1 FROM settled WHERE settled.seq = record.seq AND sink = ?3) ORDER BY seq LIMIT ?4",
    )?;
    let mut rows = statement.query(params![
        signed(after),
        1_u32 << sink.number(),
        sink.number(),
        limit
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
        .prepare_cached("INSERT INTO dead_letter (seq, sink, reason, detail, buried_at, sinks, crc, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![
            signed(row.sequence), dead.sink.number(), dead.reason, dead.detail, dead.buried_at.as_second(),
            row.sinks.bits(), row.crc, row.head, row.body.as_ref()
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
