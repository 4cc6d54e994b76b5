//! A run that an operator asks for.

use std::collections::HashSet;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::run_line::RunLine;
use super::search::{RecordPart, Search, before};
use super::settings::RecoverySettings;
use crate::name::EventType;

/// The run.
#[derive(Debug)]
pub struct ManualRun {
    /// What is looked for.
    pub search: Search,
    /// Whether nothing is brought back.
    pub dry_run: bool,
    /// Hears of it.
    pub lines: mpsc::Sender<RunLine>,
}

/// What an operator asks for; what is left out is as the configuration has it.
#[derive(Debug, Clone, Default)]
pub struct BackfillRequest {
    /// Only what was triggered then or later.
    pub since: Option<Timestamp>,
    /// Only what was triggered before.
    pub until: Option<Timestamp>,
    /// Only these event types.
    pub event_types: Vec<EventType>,
    /// Whether nothing is brought back.
    pub dry_run: bool,
}

/// The events that are asked for may have been accepted and forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "since is {since}, and look_back reaches back to {earliest}: what is older may have been accepted and forgotten, and would be published again; raise look_back and duplicate_window"
)]
pub struct TooLongAgo {
    since: Timestamp,
    earliest: Timestamp,
}

impl BackfillRequest {
    /// The search of a run under these settings.
    ///
    /// # Errors
    /// When it begins before `look_back`.
    pub fn search(
        &self,
        settings: &RecoverySettings,
        now: Timestamp,
    ) -> Result<Search, TooLongAgo> {
        let usual = Search::of(settings, RecordPart::All, now);
        let earliest = usual.since;
        let since = self.since.unwrap_or(earliest);
        // "30d" ago by the clock of whoever asks is a moment before it is by this one.
        if since < before(earliest, std::time::Duration::from_secs(60)) {
            return Err(TooLongAgo { since, earliest });
        }
        let named: HashSet<EventType> = self.event_types.iter().cloned().collect();
        Ok(Search {
            since: since.max(earliest),
            until: self.until.unwrap_or(usual.until),
            event_types: (!named.is_empty()).then_some(named).or(usual.event_types),
            ..usual
        })
    }
}
