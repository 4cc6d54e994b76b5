//! A reference: an event of which no more is kept than where it lies in the spool, whose turn it is,
//! and since when it waits.

use std::hash::{BuildHasher as _, RandomState};

use crate::event::Event;
use crate::spool::SpoolRecord;

/// An object by a number instead of by its key: a million of them must fit into memory. Two objects
/// that share a number would only wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Object(u64);

/// An event by where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// Its sequence in the spool.
    pub sequence: u64,
    /// The object it is of.
    pub object: Object,
    /// When it was received, in Unix milliseconds.
    pub received_ms: u64,
}

/// Gives objects their numbers, other ones in each process: nobody can choose keys that share one.
#[derive(Debug, Default)]
pub(super) struct Objects(RandomState);

impl Objects {
    /// The number of the event's object.
    pub fn of(&self, event: &Event) -> Object {
        Object(self.0.hash_one(event.ordering_key()))
    }

    /// The reference to a record.
    pub fn refer(&self, record: &SpoolRecord) -> Reference {
        Reference {
            sequence: record.position().sequence,
            object: self.of(record.event()),
            received_ms: received_ms(record.event()),
        }
    }
}

/// When the event was received, in Unix milliseconds.
pub(super) fn received_ms(event: &Event) -> u64 {
    u64::try_from(event.received_at().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
impl Reference {
    /// One for a test.
    pub fn of(sequence: u64, object: u64) -> Self {
        Self {
            sequence,
            object: Object(object),
            received_ms: sequence * 1000,
        }
    }
}
