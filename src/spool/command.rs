//! What the spool's thread is asked to do, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Limits;
use super::bundle::Caller;
use super::inspect::Inspection;
use super::record::Record;
use crate::event::SinkIndex;
use crate::route::Routed;
use crate::sink::{Receipt, RefusalReason};

/// When an append is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// Once the event is in the spool.
    Spooled,
    /// Once every sink of the event has confirmed it.
    Delivered,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The event is new and has reached the milestone.
    Accepted,
    /// The event had been accepted before, and that one has reached the milestone.
    Duplicate,
    /// The event is a dead letter now, which is durable where the spool is a file.
    DeadLettered,
}

/// Why an event could not be made durable: the sender may try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SpoolUnavailable {
    /// As many events or bytes as it may hold.
    #[error("the spool is full")]
    Full,
    /// The spool's disk has no more room than it needs to let go of what it has.
    #[error("the spool's disk is full")]
    DiskFull,
    /// The last commit failed and none has worked since.
    #[error("the spool cannot be written")]
    Unwritable,
    /// More waits for a commit than memory should hold.
    #[error("too much waits for the spool")]
    Overloaded,
    /// The spool is closed.
    #[error("the spool is closed")]
    Closed,
}

/// A confirmed event.
#[derive(Debug)]
pub struct Settlement {
    /// The proof.
    pub receipt: Receipt,
    /// The record it was published from.
    pub record: Arc<Record>,
}

/// An event to be set aside.
#[derive(Debug)]
pub struct Burial {
    /// The event.
    pub record: Arc<Record>,
    /// The sink that can never take it.
    pub sink: SinkIndex,
    /// Why.
    pub reason: RefusalReason,
    /// What the sink said.
    pub detail: String,
}

pub(super) type Reply<T> = oneshot::Sender<T>;

pub(super) struct Append {
    pub routed: Routed,
    pub milestone: Milestone,
    pub caller: Caller,
}

pub(super) struct Fetch {
    pub sink: SinkIndex,
    pub after: u64,
    pub limit: usize,
    pub reply: Reply<Vec<Arc<Record>>>,
}

pub(super) struct Load {
    pub sink: SinkIndex,
    pub sequences: Vec<u64>,
    pub reply: Reply<Result<Vec<Arc<Record>>, SpoolUnavailable>>,
}

pub(super) enum Command {
    Append(Box<Append>),
    Settle(SinkIndex, Vec<Settlement>),
    Bury(Burial, Reply<Result<(), SpoolUnavailable>>),
    Fetch(Fetch),
    Load(Load),
    Limit(Limits),
    Inspect(Box<dyn FnOnce(&mut Inspection<'_>) + Send>),
    Pulse(Reply<()>),
    Close(Reply<()>),
}
