//! A run that an operator asks for.

use std::collections::BTreeSet;

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

/// Why there is nothing to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeriod {
    /// The events that are asked for may have been accepted and forgotten.
    #[error(
        "since is {since}, and look_back reaches back to {earliest}: what is older may have been accepted and forgotten, and would be published again; raise look_back and duplicate_window"
    )]
    TooLongAgo {
        /// As it was asked for.
        since: Timestamp,
        /// The earliest that may be asked for.
        earliest: Timestamp,
    },
    /// It ends before it begins.
    #[error("since is {since}, and until is {until}: nothing lies between them")]
    Empty {
        /// Its begin.
        since: Timestamp,
        /// Its end.
        until: Timestamp,
    },
}

impl BackfillRequest {
    /// The search of a run under these settings.
    ///
    /// # Errors
    /// When it begins before `look_back`, or has no time in it.
    pub fn search(
        &self,
        settings: &RecoverySettings,
        now: Timestamp,
    ) -> Result<Search, InvalidPeriod> {
        let usual = Search::of(settings, RecordPart::All, now);
        let earliest = usual.since;
        let since = self.since.unwrap_or(earliest);
        // "30d" ago by the clock of whoever asks is a moment before it is by this one.
        if since < before(earliest, std::time::Duration::from_secs(60)) {
            return Err(InvalidPeriod::TooLongAgo { since, earliest });
        }
        let until = self.until.unwrap_or(usual.until);
        if until <= since {
            return Err(InvalidPeriod::Empty { since, until });
        }
        let named: BTreeSet<EventType> = self.event_types.iter().cloned().collect();
        Ok(Search {
            since: since.max(earliest),
            until,
            event_types: (!named.is_empty()).then_some(named).or(usual.event_types),
            ..usual
        })
    }
}
