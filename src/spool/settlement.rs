//! What lets go of an event for a sink: a receipt of its delivery, or a dead letter.

use std::sync::Arc;

use super::record::SpoolRecord;
use crate::event::SinkIndex;
use crate::sink::{Receipt, RefusalReason};

/// A confirmed event.
#[derive(Debug)]
pub struct Settlement {
    /// The proof.
    pub receipt: Receipt,
    /// The record it was published from.
    pub record: Arc<SpoolRecord>,
}

/// An event to be set aside.
#[derive(Debug)]
pub struct NewDeadLetter {
    /// The event.
    pub record: Arc<SpoolRecord>,
    /// The sink that can never take it.
    pub sink: SinkIndex,
    /// Why.
    pub reason: RefusalReason,
    /// What the sink said.
    pub detail: String,
}
