//! The gate: at most one event of an object is on its way at a time, the others of that object wait
//! in order, and no object waits for another.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::reference::{Object, Reference};
use crate::seeded::{self, Bug};

/// Waiting records are kept in memory up to this many bytes; beyond it they wait on the disk.
const HELD_BYTES: usize = 8 * 1024 * 1024;

/// An event whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<R> {
    /// Here it is.
    Held(R),
    /// It has to be read again.
    OnDisk(Reference),
}

/// The objects with an event on its way, each with those that wait behind it. `R` is a record.
#[derive(Debug)]
pub(super) struct Gate<R> {
    /// Whether the event on its way is parked, for nobody knows how long.
    busy: HashMap<Object, bool>,
    /// Apart from the others, because most objects have nothing behind; no queue here is empty.
    behind: HashMap<Object, VecDeque<Waiting<R>>>,
    held_bytes: usize,
}

/// An event behind another of its object.
#[derive(Debug)]
struct Waiting<R> {
    sequence: u64,
    received_ms: u64,
    bytes: u32,
    /// The record, where memory has room for it.
    record: Option<R>,
}

impl<R> Default for Gate<R> {
    fn default() -> Self {
        Self {
            busy: HashMap::new(),
            behind: HashMap::new(),
            held_bytes: 0,
        }
    }
}

impl<R> Gate<R> {
    /// Lets the record, of so many bytes, through if nothing of its object is on its way; else it
    /// waits.
    pub fn enter(&mut self, event: Reference, bytes: u32, record: R) -> Option<R> {
        if seeded::is(Bug::BypassGate) {
            return Some(record);
        }
        let is_parked = match self.busy.entry(event.object) {
            Entry::Vacant(entry) => {
                entry.insert(false);
                return Some(record);
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        let held = !is_parked && self.held_bytes + bytes as usize <= HELD_BYTES;
        if held {
            self.held_bytes += bytes as usize;
        }
        let behind = self.behind.entry(event.object).or_default();
        behind.push_back(Waiting {
            sequence: event.sequence,
            received_ms: event.received_ms,
            bytes,
            record: held.then_some(record),
        });
        None
    }

    /// The event of this object on its way is parked: those behind it wait on the disk, so that they
    /// take no memory from objects that move.
    pub fn park(&mut self, object: Object) {
        let Some(is_parked) = self.busy.get_mut(&object) else {
            return;
        };
        if std::mem::replace(is_parked, true) {
            return;
        }
        for waiting in self.behind.get_mut(&object).into_iter().flatten() {
            if waiting.record.take().is_some() {
                self.held_bytes -= waiting.bytes as usize;
            }
        }
    }

    /// The event of this object on its way is done: the next one's turn, if one waits.
    pub fn leave(&mut self, object: Object) -> Option<Turn<R>> {
        let Some(behind) = self.behind.get_mut(&object) else {
            self.busy.remove(&object);
            return None;
        };
        let next = behind.pop_front()?;
        if behind.is_empty() {
            self.behind.remove(&object);
        }
        self.busy.insert(object, false);
        Some(match next.record {
            Some(record) => {
                self.held_bytes -= next.bytes as usize;
                Turn::Held(record)
            }
            None => Turn::OnDisk(Reference {
                sequence: next.sequence,
                object,
                received_ms: next.received_ms,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1024 * 1024;

    fn enter(gate: &mut Gate<u64>, sequence: u64, object: u64, bytes: u32) -> Option<u64> {
        gate.enter(Reference::of(sequence, object), bytes, sequence)
    }

    fn leave(gate: &mut Gate<u64>, object: u64) -> Option<Turn<u64>> {
        gate.leave(Reference::of(0, object).object)
    }

    #[test]
    fn one_event_of_an_object_is_on_its_way_and_the_others_follow_in_order() {
        let mut gate = Gate::default();
        assert_eq!(enter(&mut gate, 1, 7, 10), Some(1));
        assert_eq!(enter(&mut gate, 2, 7, 10), None);
        assert_eq!(enter(&mut gate, 3, 8, 10), Some(3), "another object");
        assert_eq!(enter(&mut gate, 4, 7, 10), None);
        assert_eq!(leave(&mut gate, 7), Some(Turn::Held(2)));
        assert_eq!(enter(&mut gate, 5, 7, 10), None);
        assert_eq!(leave(&mut gate, 7), Some(Turn::Held(4)));
        assert_eq!(leave(&mut gate, 7), Some(Turn::Held(5)));
        assert_eq!(leave(&mut gate, 7), None);
        assert_eq!(enter(&mut gate, 6, 7, 10), Some(6));
        assert_eq!(gate.held_bytes, 0);
    }

    #[test]
    fn what_waits_is_held_up_to_a_number_of_bytes_and_keeps_its_order_beyond() {
        let mut gate = Gate::default();
        assert_eq!(enter(&mut gate, 0, 7, 64 * MIB), Some(0));
        for sequence in 1..=20 {
            assert_eq!(enter(&mut gate, sequence, 7, MIB), None);
        }
        assert_eq!(gate.held_bytes, HELD_BYTES);
        for sequence in 1..=8 {
            assert_eq!(leave(&mut gate, 7), Some(Turn::Held(sequence)));
        }
        for sequence in 9..=20 {
            let turn = Turn::OnDisk(Reference::of(sequence, 7));
            assert_eq!(leave(&mut gate, 7), Some(turn));
        }
        assert_eq!((leave(&mut gate, 7), gate.held_bytes), (None, 0));
    }

    #[test]
    fn behind_a_parked_event_nothing_is_held_until_it_is_gone() {
        let mut gate = Gate::default();
        for sequence in 0..3 {
            enter(&mut gate, sequence, 7, MIB);
        }
        gate.park(Reference::of(0, 7).object);
        assert_eq!(gate.held_bytes, 0);
        enter(&mut gate, 3, 7, MIB);
        assert_eq!(gate.held_bytes, 0);
        for sequence in 1..3 {
            let turn = Turn::OnDisk(Reference::of(sequence, 7));
            assert_eq!(leave(&mut gate, 7), Some(turn));
        }
        enter(&mut gate, 4, 7, MIB);
        assert_eq!(gate.held_bytes, MIB as usize, "it moves again");
        gate.park(Reference::of(0, 9).object);
        assert_eq!(enter(&mut gate, 5, 9, MIB), Some(5), "never seen before");
    }
}
