//! A reference to an event: no more than its sequence in the spool, its ordering key as a number, and
//! since when it waits.

use std::hash::{BuildHasher as _, RandomState};

use crate::event::Event;
use crate::spool::SpoolRecord;

/// The hash of an ordering key: a million of them must fit into memory. Two objects that share one
/// would only wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyHash(u64);

/// An event by where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventRef {
    /// Its sequence in the spool.
    pub sequence: u64,
    /// The object it is of.
    pub object: KeyHash,
    /// When it was received, in Unix milliseconds.
    pub received_ms: u64,
}

/// Hashes ordering keys, in each process otherwise: nobody can choose keys that share a hash.
#[derive(Debug, Default)]
pub(super) struct KeyHasher(RandomState);

impl KeyHasher {
    /// The number of the event's object.
    pub fn of(&self, event: &Event) -> KeyHash {
        KeyHash(self.0.hash_one(event.ordering_key()))
    }

    /// The reference to a record.
    pub fn refer(&self, record: &SpoolRecord) -> EventRef {
        EventRef {
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
impl EventRef {
    /// One for a test.
    pub fn of(sequence: u64, object: u64) -> Self {
        Self {
            sequence,
            object: KeyHash(object),
            received_ms: sequence * 1000,
        }
    }
}
