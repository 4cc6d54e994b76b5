//! The spool of a bridge that does not run, read from its folder. Nothing in it changes, and the right
//! to write there is not needed.

use anyhow::anyhow;

use super::command_error::CommandError;
use super::page_request::PageRequest;
use super::spool_inspection::SpoolInspection;
use crate::spool::{
    DeadLetter, DeadLetterName, InspectionError, PendingEvent, SpoolLimits, SpoolLocation,
    SpoolOverview, SpoolSettings, SpoolView,
};

/// Such a spool.
pub(super) struct OfflineSpool {
    view: SpoolView,
    /// The bounds that a bridge would start with: the files do not say.
    limits: SpoolLimits,
}

impl OfflineSpool {
    /// Opens the folder; none where a bridge has it, or where the spool is in a bridge's memory.
    pub(super) fn open(settings: &SpoolSettings) -> Result<Option<Self>, CommandError> {
        let SpoolLocation::Folder(path) = &settings.location else {
            return Ok(None);
        };
        // One that cannot be looked at is there, as far as one knows: opening it says what is wrong.
        if !path.try_exists().unwrap_or(true) {
            let text = "there is no spool yet: no bridge has run with this configuration";
            return Err(CommandError::Failed(anyhow!("{}: {text}", path.display())));
        }
        let view = SpoolView::open(path).map_err(|error| CommandError::Failed(error.into()))?;
        Ok(view.map(|view| Self {
            view,
            limits: settings.limits,
        }))
    }
}

fn found<T>(result: Result<T, InspectionError>) -> Result<T, CommandError> {
    result.map_err(|error| CommandError::Failed(error.into()))
}

impl SpoolInspection for OfflineSpool {
    fn overview(&self) -> Result<SpoolOverview, CommandError> {
        let overview = found(self.view.overview())?;
        Ok(SpoolOverview {
            max_bytes: overview.max_bytes.or(Some(self.limits.max_bytes)),
            max_events: overview.max_events.or(Some(self.limits.max_events)),
            ..overview
        })
    }

    fn pending(&self, page: &PageRequest<u64>) -> Result<Vec<PendingEvent>, CommandError> {
        let after = page.after.unwrap_or_default();
        found(self.view.pending(after, page.limit, page.bodies))
    }

    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, CommandError> {
        found(self.view.pending_one(sequence))
    }

    fn dead_letters(
        &self,
        page: &PageRequest<DeadLetterName>,
    ) -> Result<Vec<DeadLetter>, CommandError> {
        let after = page.after.as_ref();
        found(self.view.dead_letters(after, page.limit, page.bodies))
    }

    fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetter, CommandError> {
        found(self.view.dead_letter(name))
    }
}
