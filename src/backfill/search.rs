//! What a provider's record is asked for.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::settings::RecoverySettings;
use crate::name::EventType;

/// Which part of a record is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordPart {
    /// What the provider knows to have failed.
    Failed,
    /// Everything.
    All,
}

/// A search in a provider's record.
#[derive(Debug, Clone)]
pub struct Search {
    /// Which part of it.
    pub part: RecordPart,
    /// Only what was triggered then or later.
    pub since: Timestamp,
    /// Only what was triggered before; later events may still be delivered.
    pub until: Timestamp,
    /// Only these event types; all, where none.
    pub event_types: Option<BTreeSet<EventType>>,
}

/// So long before a time; the earliest there is, where that is before all times.
pub(super) fn before(time: Timestamp, span: impl TryInto<SignedDuration>) -> Timestamp {
    let span = span.try_into().unwrap_or(SignedDuration::MAX);
    time.checked_sub(span).unwrap_or(Timestamp::MIN)
}

impl Search {
    /// What a run of its own accord looks for.
    #[must_use]
    pub fn of(settings: &RecoverySettings, part: RecordPart, now: Timestamp) -> Self {
        Self {
            part,
            since: before(now, settings.look_back),
            until: before(now, settings.younger_than),
            event_types: settings.event_types.clone(),
        }
    }

    /// Whether events of this type are looked for.
    #[must_use]
    pub fn takes(&self, event_type: &str) -> bool {
        let types = self.event_types.as_ref();
        types.is_none_or(|types| types.iter().any(|it| it.as_str() == event_type))
    }
}
