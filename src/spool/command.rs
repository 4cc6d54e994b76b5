//! What the spool's thread is asked to do, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::SpoolLimits;
use super::letters::DeadLetterName;
use super::record::{Prepared, SpoolRecord};
use super::replies::Caller;
use crate::event::{EventId, SinkIndex};
use crate::log::segment::Spare;
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
    /// The event's id was known with another body: it has reached the milestone as a new one does.
    Different,
    /// The event had been accepted before, and that one has reached the milestone.
    Duplicate,
    /// The event is a dead letter now, which is durable where the spool is a folder.
    DeadLettered,
}

/// Why an event could not be made durable, or not be read: try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SpoolUnavailable {
    /// As many events or bytes as it may hold.
    #[error("the spool is full")]
    Full,
    /// The spool's disk has no room for another file.
    #[error("the spool's disk is full")]
    DiskFull,
    /// The last batch failed and none has worked since.
    #[error("the spool cannot be written")]
    Unwritable,
    /// The disk does not give what lies in the spool.
    #[error("the spool cannot be read")]
    Unreadable,
    /// More waits for a batch than memory should hold.
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

pub(super) type Reply<T> = oneshot::Sender<T>;

/// An event to be written.
#[derive(Debug)]
pub(super) struct Append {
    pub prepared: Prepared,
    pub milestone: Milestone,
    pub caller: Caller,
    /// The dead letter whose place it takes, if it is one that is requeued.
    pub requeued: Option<DeadLetterName>,
}

/// Why there is no spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSpare {
    /// The disk has no room for it.
    Full,
    /// The disk cannot be written.
    Failed,
}

/// What the maintenance thread has done.
#[derive(Debug)]
pub(super) enum Done {
    /// A spare that was wanted is ready.
    Spare(Spare),
    /// A segment has become a spare.
    Recycled(Spare),
    /// There is none.
    NoSpare(NoSpare),
    /// The oldest segment's ids are in the index; so many older ones had to be forgotten for it.
    Indexed(u64),
    /// They cannot be entered now.
    NotIndexed,
    /// A segment's file with so many bytes was removed.
    Removed(u64),
    /// A damaged segment with so many bytes is kept.
    Kept(u64),
    /// One that was kept has gone.
    NotKept(u64),
    /// Nothing was kept of the event with this id.
    NothingKept(EventId),
    /// Payloads of records that are to be copied forward.
    Copies(Vec<(u64, Vec<u8>)>),
}

#[derive(Debug)]
pub(super) enum Command {
    Append(Box<Append>),
    Done(Done),
    Limit(SpoolLimits),
    Probe(Reply<()>),
    Close(Reply<()>),
}
