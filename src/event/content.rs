//! What an event says, once its body has been read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::EventId;
use super::quarantine::Quarantine;
use super::unsigned::UnsignedFields;
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
    /// What it happened to; none where the sender names nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<ObjectId>,
    /// When it happened; none where the sender does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggered_at: Option<Timestamp>,
}

/// What is made of a delivery.
#[derive(Debug)]
pub(super) struct ParsedDelivery {
    /// Its id, where all that it is made of is there.
    pub id: Option<EventId>,
    /// What the event says.
    pub content: Content,
    /// What else the sender says of it, as CloudEvents extension attributes.
    pub attributes: Vec<(String, String)>,
    /// How many events are in it, where the sender lists several.
    pub events: Option<u32>,
    /// What no signature covers of it.
    pub unsigned: UnsignedFields,
}

impl ParsedDelivery {
    /// One that was not understood.
    pub fn quarantined(quarantine: Quarantine) -> Self {
        Self {
            id: None,
            content: Content::Quarantined(quarantine),
            attributes: Vec::new(),
            events: None,
            unsigned: UnsignedFields::default(),
        }
    }
}
