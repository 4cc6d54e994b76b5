//! The events of an object, as far back as memory and spool reach.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::spool_search::SpoolSearch;
use crate::event::{Content, Event, EventId};
use crate::history::Record;
use crate::name::ObjectId;
use crate::pipeline::Pipeline;
use crate::spool::InspectionError;

/// The most events that are listed: the newest.
const MAX_LISTED: usize = 200;

/// The events of an object.
#[derive(Debug, Serialize)]
pub(super) struct ObjectEvents {
    /// Newest first.
    events: Vec<ObjectEvent>,
    notes: Vec<String>,
}

/// An event of an object.
#[derive(Debug, Clone, Serialize)]
struct ObjectEvent {
    id: EventId,
    source: String,
    event_type: String,
    object_id: String,
    /// When it was first received, as far as that is known.
    at: Timestamp,
    outcome: &'static str,
}

impl ObjectEvents {
    /// Looks for them.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn find(object: &ObjectId, pipeline: &Pipeline) -> Result<Self, InspectionError> {
        let mut found: BTreeMap<EventId, ObjectEvent> = BTreeMap::new();
        pipeline.recorder.read_events(|record| {
            if let Record::Delivery(delivery) = record
                && let Some(event) = &delivery.event
                && event.object_id == Some(object.as_str())
            {
                found.entry(event.id).or_insert_with(|| ObjectEvent {
                    id: event.id,
                    source: delivery.source.to_owned(),
                    event_type: event.event_type.unwrap_or_default().to_owned(),
                    object_id: object.to_string(),
                    at: delivery.received_at(),
                    outcome: delivery.outcome.as_str(),
                });
            }
        });
        let in_spool = SpoolSearch::through(&pipeline.spool.view(), |event| is_of(event, object))?;
        let waiting = in_spool.waiting.iter().map(|it| (&it.event, "accepted"));
        let letters = in_spool
            .dead_letters
            .iter()
            .filter_map(|it| it.event.as_ref());
        for (event, outcome) in waiting.chain(letters.map(|event| (event, "dead_lettered"))) {
            found
                .entry(event.id())
                .or_insert_with(|| ObjectEvent::of(event, object, outcome));
        }
        let mut events: Vec<ObjectEvent> = found.into_values().collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        let mut notes: Vec<String> = in_spool.note().into_iter().collect();
        if events.len() > MAX_LISTED {
            notes.push(format!("Only the newest {MAX_LISTED} events are listed."));
            events.truncate(MAX_LISTED);
        }
        notes.push(format!(
            "Memory reaches back to {:.0}; of what was delivered before, nothing is listed.",
            pipeline.recorder.events_since()
        ));
        Ok(Self { events, notes })
    }
}

impl ObjectEvent {
    fn of(event: &Event, object: &ObjectId, outcome: &'static str) -> Self {
        let event_type = match event.content() {
            Content::Understood(content) => content.event_type.to_string(),
            Content::Quarantined(_) => String::new(),
        };
        Self {
            id: event.id(),
            source: event.source().to_string(),
            event_type,
            object_id: object.to_string(),
            at: event.received_at(),
            outcome,
        }
    }
}

fn is_of(event: &Event, object: &ObjectId) -> bool {
    matches!(event.content(), Content::Understood(content) if content.object_id.as_ref() == Some(object))
}
