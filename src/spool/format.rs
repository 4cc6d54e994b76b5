//! The file's format: what marks a file as a spool, its tables now, and those of before.

use crate::sqlite::{Former, Identity};

/// What makes a file a spool.
pub(super) const IDENTITY: Identity = Identity {
    name: "spool",
    application_id: APPLICATION_ID,
    version: VERSION,
    schema: SCHEMA,
    former: &[
        Former {
            version: 2,
            schema: SCHEMA,
        },
        Former {
            version: 1,
            schema: SCHEMA_1,
        },
    ],
};

/// Marks a file as a spool (`HFSP`).
const APPLICATION_ID: i32 = 0x4846_5350;
/// The format of the tables below.
const VERSION: u16 = 3;

/// The tables, which were the same in format 2; there the records' heads were JSON. Every row has a checksum over its other columns, but for the numbers that SQLite gives
/// the dead letters; a dead letter's `crc` is that of its record. `tally` and `sink` come first, so
/// that a file that was cut off most likely still has them, and what the sinks are called stands
/// twice, on two pages, because everything else goes by their numbers. `record` puts its blobs last,
/// so that a look at the sinks does not read them. `ledger` is keyed by ids that rise with time: new
/// ones go to its end.
const SCHEMA: &str = "
CREATE TABLE tally (name TEXT, sink INTEGER, value INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (name, sink)) WITHOUT ROWID;
CREATE TABLE sink (number INTEGER PRIMARY KEY, name TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE sink_copy (number INTEGER PRIMARY KEY, name TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE record (seq INTEGER PRIMARY KEY, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE settled (seq INTEGER, sink INTEGER, crc INTEGER NOT NULL, PRIMARY KEY (seq, sink)) WITHOUT ROWID;
CREATE TABLE ledger (id BLOB PRIMARY KEY, seq INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger_untimed (id BLOB PRIMARY KEY, seq INTEGER NOT NULL, accepted_at INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letter (number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, sink INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, buried_at INTEGER NOT NULL, letter_crc INTEGER NOT NULL, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
";

/// Format 1, whose small tables had no checksums.
const SCHEMA_1: &str = "
CREATE TABLE sink (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE record (seq INTEGER PRIMARY KEY, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE settled (seq INTEGER, sink INTEGER, PRIMARY KEY (seq, sink)) WITHOUT ROWID;
CREATE TABLE ledger (id BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger_untimed (id BLOB PRIMARY KEY, seq INTEGER NOT NULL, accepted_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letter (number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, sink INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, buried_at INTEGER NOT NULL, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE tally (name TEXT, sink INTEGER, value INTEGER NOT NULL, PRIMARY KEY (name, sink)) WITHOUT ROWID;
";
