//! The spool: every accepted event lies here, on the disk, until each of its sinks has confirmed it.
//!
//! It is a [log](crate::log), whose rules say what survives what. From [`Spool::append`] an event
//! goes to the writer thread (`writer.rs`), which decides whether it is new (`writer/plan.rs`), writes
//! it with whatever else waits as one batch ([`crate::log::writer`]), syncs, and only then answers.
//! From there a dispatcher reads it by itself (`reader.rs`) and lets go of it for a
//! [`Receipt`](crate::sink::Receipt) ([`Spool::settle`]) or a written dead letter
//! ([`Spool::set_aside`]), and for nothing else. The log is told with the next batch, within a
//! second; a crash before that only publishes the event once more.
//!
//! # The folder
//! - `lock` is held by the process whose spool it is.
//! - `NNNNNNNNNNNN.log` and `spare-N` are the log's. `NNNNNNNNNNNN.damaged` is a segment in which
//!   acknowledged records did not check; it is kept for an operator, up to four of them.
//! - `ids.db` is the index of the ids accepted before (`index.rs`). It may be removed at any time
//!   while no bridge runs: it is made anew from the segments that are there.
//! - `letters/SEQUENCE-SINK.letter` is a dead letter (`dead_letters.rs`).
//!
//! # What is in memory
//! The state (`state.rs`): for each sink the sequences that wait for it, as bitmaps, and for each
//! segment how much of it is live. Every segment begins with a snapshot of it. The bodies of the
//! newest records are kept up to a bound in bytes, the others are read when it is their turn.

mod accepted_ids;
mod clock;
mod command;
mod counters;
mod dead_letters;
mod error;
mod folder;
mod handle;
mod index;
mod inspect;
mod items;
mod jobs;
mod maintenance;
mod outcome;
mod reader;
mod record;
mod recovery;
mod replies;
mod segment;
mod sequence_set;
mod settings;
mod settlement;
mod shared;
#[cfg(test)]
mod simulation;
mod state;
#[cfg(test)]
mod tests;
mod unproven_tail;
mod waiters;
mod writer;

pub use dead_letters::{DeadLetterName, DeadLetterNameError};
pub use error::{SpoolError, SpoolUnavailable};
pub use handle::{LoadedRecords, Spool, SpoolStopped};
pub use inspect::{
    Body, DeadLetter, InspectionError, MAX_LISTED, PendingEvent, SinkOverview, SpoolOverview,
    SpoolView, describe,
};
pub use outcome::{Appended, Milestone};
pub use record::SpoolRecord;
pub use settings::{Duplicates, SpoolLimits, SpoolLocation, SpoolSettings};
pub use settlement::{NewDeadLetter, Settlement};
