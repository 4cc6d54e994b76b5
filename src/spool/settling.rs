//! What has been settled but not yet written, and what some sinks still wait for.

use std::collections::HashMap;

use super::write::Unwritten;
use crate::event::{Position, SinkIndex, SinkSet};

/// How many settlements are written together, and how many wait behind them: about the number of
/// publishes that may be outstanding, because so far the confirmed ones may have gaps.
const LUMP: usize = 512;

/// The settlements between a receipt and the commit it rides in.
#[derive(Debug)]
pub(super) struct Settling {
    /// Records that some of their sinks have settled, with those that have not.
    partial: HashMap<u64, SinkSet>,
    unwritten: Vec<Unwritten>,
    by_sink: Vec<i64>,
}

impl Settling {
    pub fn new() -> Self {
        Self {
            partial: HashMap::new(),
            unwritten: Vec::new(),
            by_sink: vec![0; SinkIndex::MAX],
        }
    }

    /// What settling the record for `sink` will write.
    pub fn foresee(&self, position: Position, sink: SinkIndex) -> Unwritten {
        let waiting = self
            .partial
            .get(&position.sequence)
            .copied()
            .unwrap_or(position.sinks);
        Unwritten {
            position,
            sink,
            last: waiting.without(sink).is_empty(),
        }
    }

    /// What settling these in one transaction will write, each seeing those before it.
    pub fn foresee_all(
        &self,
        settled: impl Iterator<Item = (Position, SinkIndex)>,
    ) -> Vec<Unwritten> {
        let mut partial: HashMap<u64, SinkSet> = HashMap::new();
        let foresee = |(position, sink): (Position, SinkIndex)| {
            let known = || {
                self.partial
                    .get(&position.sequence)
                    .copied()
                    .unwrap_or(position.sinks)
            };
            let waiting = partial.entry(position.sequence).or_insert_with(known);
            *waiting = waiting.without(sink);
            Unwritten {
                position,
                sink,
                last: waiting.is_empty(),
            }
        };
        settled.map(foresee).collect()
    }

    /// Takes `sink` off the sinks that wait for the record.
    pub fn mark(&mut self, position: Position, sink: SinkIndex) -> Unwritten {
        let unwritten = self.foresee(position, sink);
        if unwritten.last {
            self.partial.remove(&position.sequence);
        } else {
            let waiting = self
                .partial
                .entry(position.sequence)
                .or_insert(position.sinks);
            *waiting = waiting.without(sink);
        }
        unwritten
    }

    /// A sink has confirmed the record: to be written with a later commit.
    pub fn settle(&mut self, position: Position, sink: SinkIndex) -> Unwritten {
        let unwritten = self.mark(position, sink);
        self.unwritten.push(unwritten);
        self.by_sink[sink.number()] += 1;
        unwritten
    }

    /// Starts over from what the file says of partly settled records.
    pub fn restart(&mut self, partial: HashMap<u64, SinkSet>) {
        self.partial = partial;
    }

    /// Whether every sink is done with the record, although the file does not say so yet.
    pub fn is_done(&self, sequence: u64) -> bool {
        self.unwritten
            .iter()
            .any(|unwritten| unwritten.last && unwritten.position.sequence == sequence)
    }

    /// Brings what has yet to be written into the order of the rows, and returns how much of it
    /// shall ride in a commit that is in no hurry: none until there are [`LUMP`] twice, and then all
    /// but the newest so many. Sinks confirm in any order. Rows that were deleted one by one would
    /// leave pages half full, each written again for every row of it; by the time that a lump is
    /// written, its rows are neighbours, and their pages are simply empty.
    pub fn ripen(&mut self) -> usize {
        match self.unwritten.len() {
            many if many >= 2 * LUMP => self.ripen_all() - LUMP,
            _ => 0,
        }
    }

    /// As [`Settling::ripen`], for a commit that shall write all of it.
    pub fn ripen_all(&mut self) -> usize {
        // What several sinks settled of one record stays in the order in which they did.
        self.unwritten
            .sort_by_key(|unwritten| unwritten.position.sequence);
        self.unwritten.len()
    }

    /// What has yet to be written.
    pub fn unwritten(&self) -> &[Unwritten] {
        &self.unwritten
    }

    /// How much of it is one sink's.
    pub fn unwritten_of(&self, sink: SinkIndex) -> i64 {
        self.by_sink[sink.number()]
    }

    /// The commit of the first so many has worked.
    pub fn written(&mut self, count: usize) {
        for written in self.unwritten.drain(..count) {
            self.by_sink[written.sink.number()] -= 1;
        }
    }
}
