//! Per-key order: at most one publish per ordering key is in flight, the other events of that key
//! wait in order, and no key waits for another.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::event_ref::{EventRef, KeyHash};
use crate::seeded::{self, Bug};

/// Waiting records are kept in memory up to this many bytes; beyond it they wait on the disk.
const HELD_BYTES: usize = 8 * 1024 * 1024;

/// An event whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<R> {
    /// Here it is.
    Held(R),
    /// It has to be read again.
    OnDisk(EventRef),
}

/// The keys with an event on its way, each with those that wait behind it. `R` is a record.
#[derive(Debug)]
pub(super) struct KeyOrder<R> {
    /// Whether the event on its way is held back, for nobody knows how long.
    busy: HashMap<KeyHash, bool>,
    /// Apart from the others, because most objects have nothing behind; no queue here is empty.
    behind: HashMap<KeyHash, VecDeque<Waiting<R>>>,
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

impl<R> Default for KeyOrder<R> {
    fn default() -> Self {
        Self {
            busy: HashMap::new(),
            behind: HashMap::new(),
            held_bytes: 0,
        }
    }
}

impl<R> KeyOrder<R> {
    /// Lets the record, of so many bytes, through if nothing of its object is on its way; else it
    /// waits.
    pub fn enter(&mut self, event: EventRef, bytes: u32, record: R) -> Option<R> {
        if seeded::is(Bug::BypassKeyOrder) {
            return Some(record);
        }
        let is_held_back = match self.busy.entry(event.object) {
            Entry::Vacant(entry) => {
                entry.insert(false);
                return Some(record);
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        let held = !is_held_back && self.held_bytes + bytes as usize <= HELD_BYTES;
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

    /// The event of this object on its way is held back: those behind it wait on the disk, so that they
    /// take no memory from objects that move.
    pub fn hold_back(&mut self, object: KeyHash) {
        let Some(is_held_back) = self.busy.get_mut(&object) else {
            return;
        };
        if std::mem::replace(is_held_back, true) {
            return;
        }
        for waiting in self.behind.get_mut(&object).into_iter().flatten() {
            if waiting.record.take().is_some() {
                self.held_bytes -= waiting.bytes as usize;
            }
        }
    }

    /// The event of this object on its way is done: the next one's turn, if one waits.
    pub fn leave(&mut self, object: KeyHash) -> Option<Turn<R>> {
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
            None => Turn::OnDisk(EventRef {
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

    fn enter(order: &mut KeyOrder<u64>, sequence: u64, object: u64, bytes: u32) -> Option<u64> {
        order.enter(EventRef::of(sequence, object), bytes, sequence)
    }

    fn leave(order: &mut KeyOrder<u64>, object: u64) -> Option<Turn<u64>> {
        order.leave(EventRef::of(0, object).object)
    }

    #[test]
    fn one_event_of_an_object_is_on_its_way_and_the_others_follow_in_order() {
        let mut order = KeyOrder::default();
        assert_eq!(enter(&mut order, 1, 7, 10), Some(1));
        assert_eq!(enter(&mut order, 2, 7, 10), None);
        assert_eq!(enter(&mut order, 3, 8, 10), Some(3), "another object");
        assert_eq!(enter(&mut order, 4, 7, 10), None);
        assert_eq!(leave(&mut order, 7), Some(Turn::Held(2)));
        assert_eq!(enter(&mut order, 5, 7, 10), None);
        assert_eq!(leave(&mut order, 7), Some(Turn::Held(4)));
        assert_eq!(leave(&mut order, 7), Some(Turn::Held(5)));
        assert_eq!(leave(&mut order, 7), None);
        assert_eq!(enter(&mut order, 6, 7, 10), Some(6));
        assert_eq!(order.held_bytes, 0);
    }

    #[test]
    fn what_waits_is_held_up_to_a_number_of_bytes_and_keeps_its_order_beyond() {
        let mut order = KeyOrder::default();
        assert_eq!(enter(&mut order, 0, 7, 64 * MIB), Some(0));
        for sequence in 1..=20 {
            assert_eq!(enter(&mut order, sequence, 7, MIB), None);
        }
        assert_eq!(order.held_bytes, HELD_BYTES);
        for sequence in 1..=8 {
            assert_eq!(leave(&mut order, 7), Some(Turn::Held(sequence)));
        }
        for sequence in 9..=20 {
            let turn = Turn::OnDisk(EventRef::of(sequence, 7));
            assert_eq!(leave(&mut order, 7), Some(turn));
        }
        assert_eq!((leave(&mut order, 7), order.held_bytes), (None, 0));
    }

    #[test]
    fn behind_an_event_that_is_held_back_nothing_is_held_until_it_is_gone() {
        let mut order = KeyOrder::default();
        for sequence in 0..3 {
            enter(&mut order, sequence, 7, MIB);
        }
        order.hold_back(EventRef::of(0, 7).object);
        assert_eq!(order.held_bytes, 0);
        enter(&mut order, 3, 7, MIB);
        assert_eq!(order.held_bytes, 0);
        for sequence in 1..3 {
            let turn = Turn::OnDisk(EventRef::of(sequence, 7));
            assert_eq!(leave(&mut order, 7), Some(turn));
        }
        enter(&mut order, 4, 7, MIB);
        assert_eq!(order.held_bytes, MIB as usize, "it moves again");
        order.hold_back(EventRef::of(0, 9).object);
        assert_eq!(enter(&mut order, 5, 9, MIB), Some(5), "never seen before");
    }
}
