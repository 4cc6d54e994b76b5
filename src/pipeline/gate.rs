//! The gate: at most one event of an object is on its way at a time, the others of that object wait
//! in order, and no object waits for another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::event::OrderingKey;
use crate::seeded::{self, Bug};
use crate::spool::Record;

/// Waiting records are kept in memory up to this many bytes; beyond it they wait on the disk.
const HELD_BYTES: usize = 16 * 1024 * 1024;

/// An event whose turn has come.
#[derive(Debug)]
pub(super) enum Turn {
    /// Here it is.
    Held(Arc<Record>),
    /// It has to be read again.
    OnDisk(u64),
}

/// The objects with an event on its way, each with those that wait behind it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    busy: HashMap<OrderingKey, VecDeque<Turn>>,
    held_bytes: usize,
    waiting: usize,
}

impl Gate {
    /// Lets the record through if nothing of its object is on its way; else it waits.
    pub fn enter(&mut self, record: Arc<Record>) -> Option<Arc<Record>> {
        if seeded::is(Bug::BypassGate) {
            return Some(record);
        }
        match self.busy.entry(record.event().ordering_key()) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(VecDeque::new());
                Some(record)
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let bytes = record.position().bytes as usize;
                let held = self.held_bytes + bytes <= HELD_BYTES;
                self.waiting += 1;
                entry.get_mut().push_back(if held {
                    self.held_bytes += bytes;
                    Turn::Held(record)
                } else {
                    Turn::OnDisk(record.position().sequence)
                });
                None
            }
        }
    }

    /// The event of this object on its way is done: the next one's turn, if one waits.
    pub fn leave(&mut self, key: &OrderingKey) -> Option<Turn> {
        let next = self.busy.get_mut(key)?.pop_front();
        match &next {
            None => {
                self.busy.remove(key);
            }
            Some(turn) => {
                self.waiting -= 1;
                if let Turn::Held(record) = turn {
                    self.held_bytes -= record.position().bytes as usize;
                }
            }
        }
        next
    }

    /// How many events wait behind others.
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}
