//! What an event says, once its body has been read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::quarantine::Quarantine;
use crate::name::{EventType, ObjectId};

/// What a delivery says, or why nobody could tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Read and within the character sets.
    Understood(Understood),
    /// Authentic, but not to be read; kept with its bytes.
    Quarantined(Quarantine),
}

/// The fields that route and identify an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Understood {
    /// What happened.
    pub event_type: EventType,
    /// What kind of thing it happened to.
    pub object_type: String,
    /// Which one it happened to.
    pub object_id: ObjectId,
    /// When it happened.
    pub triggered_at: Timestamp,
}

/// The fields an event's id is made of, borrowed from the body.
#[derive(Debug)]
pub(super) struct EventIdentity<'a> {
    pub event_type: std::borrow::Cow<'a, str>,
    pub object_type: std::borrow::Cow<'a, str>,
    pub object_uri: std::borrow::Cow<'a, str>,
    pub triggered_at: Timestamp,
}

/// What a provider's reader makes of a body.
#[derive(Debug)]
pub(super) struct ParsedBody<'a> {
    /// The identity, where all its fields are there.
    pub identity: Option<EventIdentity<'a>>,
    /// What the event says.
    pub content: Content,
}
