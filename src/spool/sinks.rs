//! What the sinks' numbers mean, as the file says it: twice, on two pages, because everything else in
//! it goes by them.

use rusqlite::{Connection, params};

use super::table::{checksum, nonsense};
use crate::event::{SinkIndex, SinkSet};
use crate::name::SinkName;

/// Gives every name its number; a name keeps the one it has.
pub(super) fn number(
    connection: &Connection,
    names: &[SinkName],
) -> rusqlite::Result<Vec<(SinkIndex, SinkName)>> {
    let mut sinks = read(connection)?;
    let transaction = connection.unchecked_transaction()?;
    for name in names {
        if sinks.iter().any(|(_, known)| known == name) {
            continue;
        }
        let next = sinks.last().map_or(0, |(last, _)| last.number() + 1);
        let Some(index) = SinkIndex::new(next) else {
            break;
        };
        put(connection, index, name)?;
        sinks.push((index, name.clone()));
    }
    transaction.commit()?;
    Ok(sinks)
}

/// These sinks as a set, without their names.
pub(super) fn set(sinks: &[(SinkIndex, SinkName)]) -> SinkSet {
    sinks.iter().map(|(index, _)| *index).collect()
}

/// Every sink the file knows, by number.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<(SinkIndex, SinkName)>> {
    let mut statement = connection.prepare(
        "SELECT number, name, crc FROM sink UNION SELECT number, name, crc FROM sink_copy ORDER BY number",
    )?;
    let mut rows = statement.query([])?;
    let mut sinks: Vec<(SinkIndex, SinkName)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (number, name, crc): (i64, String, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let index = usize::try_from(number).ok().and_then(SinkIndex::new);
        let sealed = crc == checksum(&[number], &[name.as_bytes()]);
        match (index, SinkName::parse(&name)) {
            (Some(index), Ok(name)) if sealed && sinks.iter().all(|(known, _)| *known != index) => {
                sinks.push((index, name));
            }
            _ => return Err(nonsense("its sinks make no sense")),
        }
    }
    Ok(sinks)
}

/// Writes a sink's number down, twice: within a transaction, because a crash must not see one alone.
pub(super) fn put(
    connection: &Connection,
    index: SinkIndex,
    name: &SinkName,
) -> rusqlite::Result<()> {
    let number = i64::from(index);
    let crc = checksum(&[number], &[name.as_str().as_bytes()]);
    for table in ["sink", "sink_copy"] {
        connection.execute(
            &format!("INSERT OR REPLACE INTO {table} (number, name, crc) VALUES (?1, ?2, ?3)"),
            params![number, name.as_str(), crc],
        )?;
    }
    Ok(())
}

/// Writes the numbers down again, for a file that may have lost them.
pub(super) fn restore(
    connection: &Connection,
    known: &[(SinkIndex, SinkName)],
) -> rusqlite::Result<()> {
    if read(connection)?.as_slice() == known {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    for (index, name) in known {
        put(connection, *index, name)?;
    }
    transaction.commit()
}
