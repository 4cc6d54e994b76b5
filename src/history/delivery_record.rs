//! A delivery as it is remembered: who sent it, what was proven, what it is of, and the answer.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::unix_micros::UnixMicros;
use crate::event::{Content, Event, EventId, Quarantine, SinkSet};
use crate::name::{EventType, ObjectId};
use crate::source::EventOrigin;

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// Its event is new.
    Accepted,
    /// Its event had been accepted before.
    Duplicate,
    /// It is kept, but was not understood or cannot be published.
    Quarantined,
    /// A route drops it.
    Dropped,
    /// It could not be kept, so its sender is to repeat it.
    Refused,
    /// It was turned away, and its sender must change something.
    Rejected,
    /// Its sender hung up before there was an answer. Its event goes its way all the same.
    Abandoned,
}

impl DeliveryOutcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Duplicate,
        Self::Quarantined,
        Self::Dropped,
        Self::Refused,
        Self::Rejected,
        Self::Abandoned,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Abandoned => "abandoned",
        }
    }

    /// The outcome of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// A delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryRecord<'a> {
    /// When it was answered.
    pub answered_at: UnixMicros,
    /// How long that took, from when its head had come; at most 71 minutes are remembered.
    pub took: Duration,
    /// The label of its source; `unknown` where it names none.
    pub source: &'a str,
    /// How it came in.
    pub origin: EventOrigin,
    /// Whose it is; none of a backfill.
    pub address: Option<IpAddr>,
    /// How it ended.
    pub outcome: DeliveryOutcome,
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// Why it was not accepted.
    pub reason: Option<&'a str>,
    /// What its sender was told to ask by.
    pub request_id: Option<&'a str>,
    /// What was proven of its signature.
    pub signature: Option<SignatureFacts>,
    /// The event that it delivers, where it was read.
    pub event: Option<EventFacts<'a>>,
}

impl DeliveryRecord<'_> {
    /// When its head had come.
    #[must_use]
    pub fn received_at(&self) -> Timestamp {
        self.answered_at.timestamp() - self.took
    }
}

/// What was proven of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureFacts {
    /// When it was proven.
    pub verified_at: Timestamp,
    /// How long ago it was made by then, in seconds, where it has a time; negative in the future.
    pub age_seconds: Option<i64>,
    /// The position of the secret that made it, in the order of the configuration.
    pub secret: usize,
}

/// The event of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFacts<'a> {
    /// Its id.
    pub id: EventId,
    /// Its type, where it was understood.
    pub event_type: Option<&'a str>,
    /// What it is about, where it says so.
    pub object_id: Option<&'a str>,
    /// Whether it was in the spool by the time of the answer, as far as that is known.
    pub is_spooled: bool,
    /// The sinks that it goes to.
    pub sinks: SinkSet,
    /// Why it was not understood: the reason, and what was found.
    pub quarantine: Option<(&'a str, &'a str)>,
}

/// What is noted of a delivery on its way, by those who learn it.
#[derive(Debug, Default)]
pub struct DeliveryNotes {
    /// What was proven of its signature.
    pub signature: Option<SignatureFacts>,
    /// Its event.
    pub event: Option<EventNotes>,
}

/// What is noted of an event on its way.
#[derive(Debug)]
pub struct EventNotes {
    id: EventId,
    content: Result<(EventType, Option<ObjectId>), Quarantine>,
    /// Whether it is in the spool, as far as that is known.
    pub is_spooled: bool,
    /// The sinks that it goes to.
    pub sinks: SinkSet,
}

impl EventNotes {
    /// The notes on an event that has just been read.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            id: event.id(),
            content: match event.content() {
                Content::Understood(content) => {
                    Ok((content.event_type.clone(), content.object_id.clone()))
                }
                Content::Quarantined(quarantine) => Err(quarantine.clone()),
            },
            is_spooled: false,
            sinks: SinkSet::default(),
        }
    }

    /// What is to be remembered of it.
    #[must_use]
    pub fn facts(&self) -> EventFacts<'_> {
        let understood = self.content.as_ref().ok();
        let object_id = understood.and_then(|(_, object_id)| object_id.as_ref());
        let quarantine = self.content.as_ref().err();
        EventFacts {
            id: self.id,
            event_type: understood.map(|(event_type, _)| event_type.as_str()),
            object_id: object_id.map(ObjectId::as_str),
            is_spooled: self.is_spooled,
            sinks: self.sinks,
            quarantine: quarantine.map(|it| (it.reason.as_str(), it.detail.as_str())),
        }
    }
}
