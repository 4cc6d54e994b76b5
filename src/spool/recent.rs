//! The records committed last, kept so that a dispatcher that keeps up never reads the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::record::Record;
use crate::event::SinkIndex;

/// More than this waits on the disk only.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Every record with a sequence above `floor`, in order.
#[derive(Debug)]
pub(super) struct Recent {
    floor: u64,
    bytes: usize,
    records: VecDeque<Arc<Record>>,
}

impl Recent {
    /// Nothing yet above `floor`.
    pub fn above(floor: u64) -> Self {
        Self {
            floor,
            bytes: 0,
            records: VecDeque::new(),
        }
    }

    /// Adds a record that was just committed; its sequence is the highest so far.
    pub fn push(&mut self, record: Arc<Record>) {
        self.bytes += record.position().bytes as usize;
        self.records.push_back(record);
        while self.bytes > MAX_BYTES {
            self.drop_first();
        }
    }

    /// Lets go of what every sink has already taken.
    pub fn forget_through(&mut self, sequence: u64) {
        while self
            .records
            .front()
            .is_some_and(|first| first.position().sequence <= sequence)
        {
            self.drop_first();
        }
        self.floor = self.floor.max(sequence);
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.records.pop_front() {
            self.bytes -= first.position().bytes as usize;
            self.floor = first.position().sequence;
        }
    }

    /// The first records for `sink` after `after`; none where that reaches below the floor, and
    /// only the disk can tell.
    pub fn after(&self, after: u64, sink: SinkIndex, limit: usize) -> Option<Vec<Arc<Record>>> {
        if after < self.floor {
            return None;
        }
        let start = self
            .records
            .partition_point(|record| record.position().sequence <= after);
        let wanted = self
            .records
            .range(start..)
            .filter(|record| record.position().sinks.contains(sink));
        Some(wanted.take(limit).cloned().collect())
    }
}
