//! What the writer thread is asked to do, and what the maintenance thread tells it.

use tokio::sync::oneshot;

use super::dead_letters::DeadLetterName;
use super::index::KnownBody;
use super::outcome::Milestone;
use super::record::PreparedRecord;
use super::replies::AppendCaller;
use super::settings::SpoolLimits;
use crate::event::EventId;
use crate::log::segment::Spare;

/// An event to be written.
#[derive(Debug)]
pub(super) struct Append {
    pub prepared: PreparedRecord,
    pub milestone: Milestone,
    pub caller: AppendCaller,
    /// The dead letter whose place it takes, if it is one that is requeued.
    pub requeued: Option<DeadLetterName>,
}

/// Why there is no spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSpare {
    /// The disk has no space for it.
    Full,
    /// The disk cannot be written.
    Failed,
}

/// What the maintenance thread has done.
#[derive(Debug)]
pub(super) enum MaintenanceResult {
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

/// What the writer thread knows of ids that were asked for; the index knows of older ones.
#[derive(Debug)]
pub(super) struct RecentIds {
    /// The bodies that each is known with.
    pub bodies: Vec<Vec<KnownBody>>,
    /// The first sequence of the unproven tail.
    pub tail: Option<u64>,
}

/// What the writer thread is asked to do.
#[derive(Debug)]
pub(super) enum WriterCommand {
    Append(Box<Append>),
    Maintained(MaintenanceResult),
    Limit(SpoolLimits),
    FindRecent(Vec<EventId>, oneshot::Sender<RecentIds>),
    Probe(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}
