//! A ledger with many ids in it, as if a busy day lay behind the spool. Written past the bridge: its
//! own way would take an hour.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};

/// Adds so many ids of the last hours to a spool that nobody has open.
pub fn fill(spool: &Path, ids: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(spool)?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction
            .prepare("INSERT OR IGNORE INTO ledger (id, seq, crc) VALUES (?1, ?2, ?3)")?;
        let now = Timestamp::now().as_millisecond();
        for number in 0..i64::try_from(ids)? {
            // Two a millisecond, and the newest an hour ago.
            let milliseconds = now - 3_600_000 - i64::try_from(ids / 2)? + number / 2;
            let id = id(milliseconds, number);
            insert.execute(params![id, 0_i64, checksum(&[0], &id)])?;
        }
    }
    let count: i64 = transaction.query_row("SELECT count(*) FROM ledger", [], |row| row.get(0))?;
    transaction.execute(
        "UPDATE tally SET value = ?1, crc = ?2 WHERE name = 'ids'",
        params![count, checksum(&[0, count], b"ids")],
    )?;
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

/// As the spool's: CRC-32 over the numbers, then the text behind its length.
fn checksum(numbers: &[i64], text: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for number in numbers {
        crc.update(&number.to_le_bytes());
    }
    crc.update(&(text.len() as u64).to_le_bytes());
    crc.update(text);
    crc.finalize()
}
