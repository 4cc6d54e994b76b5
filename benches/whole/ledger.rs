//! An index with many ids in it, as if a busy day lay behind the spool. Written past the bridge: its
//! own way would take minutes.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};

/// Adds so many ids of the last hours to the index of a spool that nobody has open.
pub fn fill(index: &Path, ids: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(index)?;
    // Nothing is lost with a benchmark's file. The bridge goes back to its own way of writing.
    connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF;")?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(
            "INSERT OR IGNORE INTO ids (id, digest, sequence, hour) VALUES (?1, ?2, 0, NULL)",
        )?;
        let now = Timestamp::now().as_millisecond();
        for number in 0..i64::try_from(ids)? {
            // Two a millisecond, and the newest an hour ago.
            let milliseconds = now - 3_600_000 - i64::try_from(ids / 2)? + number / 2;
            insert.execute(params![id(milliseconds, number), number])?;
        }
    }
    transaction.execute("UPDATE state SET ids = (SELECT count(*) FROM ids)", [])?;
    transaction.commit()?;
    Ok(())
}

/// The time in its first 48 bits, then bits that follow no order.
fn id(milliseconds: i64, number: i64) -> [u8; 16] {
    let rest = number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let high = u128::from(milliseconds.unsigned_abs()) << 80;
    let bytes = (high | u128::from(rest)).to_be_bytes();
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .into_bytes()
}
