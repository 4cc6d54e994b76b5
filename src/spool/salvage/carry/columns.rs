//! Columns of a damaged file, whatever they hold: a value of another kind than was written becomes
//! none, and the row's checksum says that it is not what was written.

use jiff::Timestamp;
use rusqlite::Row as SqlRow;
use rusqlite::types::ValueRef;

use crate::event::{SinkIndex, SinkSet};
use crate::spool::record::Row;
use crate::spool::table::{DeadRow, unsigned};

/// The columns of a dead letter, whatever they hold.
pub(super) fn letter(row: &SqlRow<'_>) -> rusqlite::Result<DeadRow> {
    let text = |column| bytes(row, column).map(|text| String::from_utf8_lossy(&text).into_owned());
    let sink = usize::try_from(integer(row, 1)?);
    Ok(DeadRow {
        number: integer(row, 0)?,
        sink: sink.ok().and_then(SinkIndex::new).unwrap_or_default(),
        reason: text(2)?,
        detail: text(3)?,
        buried_at: Timestamp::from_second(integer(row, 4)?).unwrap_or_default(),
        row: record(row, 5)?,
    })
}

/// The columns of a record from `first` on, whatever they hold.
pub(super) fn record(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Row> {
    let narrow = |column| integer(row, column).map(|value| u32::try_from(value).unwrap_or(0));
    Ok(Row {
        sequence: unsigned(integer(row, first)?),
        sinks: SinkSet::from_bits(narrow(first + 1)?),
        crc: narrow(first + 2)?,
        head: bytes(row, first + 3)?,
        body: bytes(row, first + 4)?.into(),
    })
}

pub(super) fn integer(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => number,
        _ => 0,
    })
}

pub(super) fn bytes(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    })
}
