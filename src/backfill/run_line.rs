//! What a run tells whoever has asked for it, line by line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::provider_record::{EntryContent, RecordEntry};
use super::run_error::RunError;
use crate::event::{Content, EventId};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLine {
    /// How far it is.
    Progress(Progress),
    /// An event that is missing.
    Missing(MissingEvent),
    /// It has ended: what was found and done.
    Summary(Summary),
    /// It has failed, with the reason.
    Failed(String),
}

impl RunLine {
    /// The last line of a run that has ended so.
    #[must_use]
    pub fn last(ended: Result<Summary, RunError>) -> Self {
        match ended {
            Ok(summary) => Self::Summary(summary),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Entries that were listed.
    pub listed: u64,
    /// Entries of the list, by the provider's word.
    pub total: Option<u64>,
    /// Events that are missing.
    pub missing: u64,
    /// Those of them that were brought back.
    pub done: u64,
}

/// An event that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingEvent {
    /// Its id; none where it is delivered again, which then tells.
    pub id: Option<EventId>,
    /// What happened.
    pub event_type: String,
    /// What it happened to.
    pub object_id: Option<String>,
    /// When it happened.
    pub triggered_at: Timestamp,
    /// What the provider says became of it.
    pub status: String,
}

/// What a run has found and done, in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Entries of the provider's list.
    pub listed: u64,
    /// Those that were missing.
    pub missing: u64,
    /// Accepted.
    pub recovered: u64,
    /// The provider was asked to deliver them again.
    pub redelivered: u64,
    /// Known by their ids.
    pub known: u64,
    /// Older than what is remembered, and delivered by the provider's word: left alone.
    pub forgotten: u64,
    /// May still be delivered: left alone.
    pub too_young: u64,
    /// No events.
    pub unreadable: u64,
    /// Dropped by a route.
    pub dropped: u64,
    /// Whether all of the list was seen: it may change while it is read.
    pub whole: bool,
    /// Whether nothing was to be done.
    pub dry_run: bool,
}

impl MissingEvent {
    /// What is told of an entry.
    #[must_use]
    pub fn of(entry: &RecordEntry) -> Self {
        let preview = match &entry.content {
            EntryContent::Delivery(_, preview) => Some(preview),
            EntryContent::Redelivery => None,
        };
        let object_id = preview.and_then(|preview| match &preview.content {
            Content::Understood(content) => content.object_id.as_ref(),
            Content::Quarantined(_) => None,
        });
        Self {
            id: preview.map(|preview| preview.id),
            event_type: entry.event_type.clone(),
            object_id: object_id.map(ToString::to_string),
            triggered_at: entry.triggered_at,
            status: entry.status.clone(),
        }
    }
}
