//! What a command reads of a spool, however it reaches it.

use super::command_error::CommandError;
use super::page_request::PageRequest;
use crate::spool::{DeadLetter, DeadLetterName, PendingEvent, SpoolOverview};

/// Reading a spool.
pub(super) trait SpoolInspection {
    /// The spool in numbers.
    fn overview(&self) -> Result<SpoolOverview, CommandError>;
    /// The events after a sequence, oldest first.
    fn pending(&self, page: &PageRequest<u64>) -> Result<Vec<PendingEvent>, CommandError>;
    /// One event, with its body.
    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, CommandError>;
    /// The dead letters after one, oldest first.
    fn dead_letters(
        &self,
        page: &PageRequest<DeadLetterName>,
    ) -> Result<Vec<DeadLetter>, CommandError>;
    /// One dead letter, with its body.
    fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetter, CommandError>;
}
