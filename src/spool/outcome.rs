//! When an append is answered, and what it is answered.

use super::error::SpoolUnavailable;

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

/// What an append is answered.
pub(super) type AppendResult = Result<Appended, SpoolUnavailable>;
