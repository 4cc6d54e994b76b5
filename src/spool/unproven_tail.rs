//! The unproven tail: the last batch that a start has found, where nobody knows whether it was
//! acknowledged.

use crate::event::{SinkIndex, SinkSet};

/// A batch that nobody knows the outcome of, found by a start.
#[derive(Debug)]
pub(super) struct UnprovenTail {
    pub records: Vec<(u64, Vec<u8>)>,
    pub sinks: Vec<(u64, SinkSet)>,
    /// Sequences in whose place there is a dead letter, and of which sink.
    pub settled: Vec<(u64, SinkIndex)>,
}
