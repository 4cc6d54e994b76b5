//! Access to the spool for an operator: through the bridge that runs on it, or, where none runs,
//! straight to the file.

mod direct;
mod running;

use clap::Args;

use super::config_file::{ConfigFile, admin_url};
use super::{Failure, telemetry_for_people};
use crate::name::SinkName;
use crate::spool::{DeadLetter, Overview, PendingEvent};
use direct::Direct;
use running::Running;

/// How many entries are asked for at once where their bodies come along: each may have 64 MiB.
pub(super) const PAGE_WITH_BODIES: usize = 16;

/// What can be done to a spool.
pub(super) trait Access {
    /// The spool in numbers.
    fn overview(&self) -> Result<Overview, Failure>;
    /// The events after a sequence, oldest first.
    fn pending(&self, page: Page) -> Result<Vec<PendingEvent>, Failure>;
    /// One event, with its body.
    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, Failure>;
    /// Drops what waits for a sink; returns how many that were.
    fn drop_pending(&self, sink: &SinkName) -> Result<u64, Failure>;
    /// The dead letters after a number, oldest first.
    fn dead_letters(&self, page: Page) -> Result<Vec<DeadLetter>, Failure>;
    /// One dead letter, with its body.
    fn dead_letter(&self, number: u64) -> Result<DeadLetter, Failure>;
    /// Puts a dead letter back among the events that wait.
    fn requeue(&self, number: u64) -> Result<(), Failure>;
    /// Drops a dead letter.
    fn drop_dead_letter(&self, number: u64) -> Result<(), Failure>;
}

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// The place before its first entry.
    pub after: u64,
    /// The most entries.
    pub limit: usize,
    /// Whether the bodies come along.
    pub bodies: bool,
}

/// Whose spool it is.
#[derive(Debug, Args)]
pub(super) struct SpoolPlace {
    #[command(flatten)]
    config: ConfigFile,
    /// The admin listener of the bridge that runs; from the configuration unless given.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

impl SpoolPlace {
    /// Opens the file; where a bridge has it, goes through that bridge.
    pub(super) fn open(&self) -> Result<Box<dyn Access>, Failure> {
        telemetry_for_people();
        let settings = self.config.load()?;
        if self.admin.is_none()
            && let Some(direct) = Direct::open(&settings)?
        {
            return Ok(Box::new(direct));
        }
        let url = admin_url(self.admin.as_deref(), settings.admin)?;
        Ok(Box::new(Running::new(url)))
    }
}
