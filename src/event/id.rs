//! The event id: a UUIDv8 (RFC 9562, section 5.8), the same for every copy of an event and ordered
//! by time.
//!
//! The first 48 bits are the event's own time in Unix milliseconds, zero where it has none; the 74 bits
//! that version and variant leave free come from SHA-256 over the source and the sender's id, or over
//! the source and the event's type, object and time, each preceded by its length so that no two lists
//! of fields give the same input. Nothing random and nothing of the delivery goes in, so a retry, a
//! requeue and another replica all arrive at the same id.
//!
//! Ordered by time, because the ids accepted are kept in a b-tree: new ones go to its end, and
//! forgetting old ones is one range.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::name::SourceName;
use crate::seeded::{self, Bug};

const DOMAIN: &[u8] = b"hookferry event id 1";

/// The id of an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EventId(Uuid);

/// What an event's id is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EventIdentity<'a> {
    /// The sender's own id, and the event's own time where there is one.
    Own {
        id: &'a str,
        time: Option<Timestamp>,
    },
    /// What happened to what, and when.
    Derived {
        event_type: &'a str,
        object: &'a str,
        time: Timestamp,
    },
}

impl EventIdentity<'_> {
    /// When it happened.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Own { time, .. } => *time,
            Self::Derived { time, .. } => Some(*time),
        }
    }
}

impl EventId {
    /// The id of an event whose identifying fields are all there.
    pub(super) fn of_identity(source: &SourceName, identity: &EventIdentity<'_>) -> Self {
        let source = source.as_str().as_bytes();
        let hash = match identity {
            EventIdentity::Own { id, .. } => hash(&[source, b"id", id.as_bytes()]),
            EventIdentity::Derived {
                event_type,
                object,
                time,
            } => {
                let microseconds = time.as_microsecond().to_be_bytes();
                let fields = [event_type.as_bytes(), object.as_bytes(), &microseconds];
                hash(&[source, fields[0], fields[1], fields[2]])
            }
        };
        let milliseconds = identity.time().map_or(0, Timestamp::as_millisecond);
        Self::assemble(u64::try_from(milliseconds).unwrap_or(0), hash)
    }

    /// The id of a delivery that could not be read: of its bytes, with the time bits zero.
    pub(super) fn of_bytes(source: &SourceName, body: &[u8]) -> Self {
        Self::assemble(0, hash(&[source.as_str().as_bytes(), body]))
    }

    fn assemble(milliseconds: u64, mut hash: [u8; 10]) -> Self {
        if seeded::is(Bug::MakeRandomIds) {
            hash = rand::random();
        }
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&hash);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The smallest id an event triggered at `time` can have: a bound for ranges.
    #[must_use]
    pub fn lower_bound(time: Timestamp) -> Self {
        let milliseconds = u64::try_from(time.as_millisecond()).unwrap_or(0);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        Self(Uuid::from_bytes(bytes))
    }

    /// Whether the time bits are set; without them an id says nothing of its age.
    #[must_use]
    pub fn is_timed(self) -> bool {
        self.0.as_bytes()[..6] != [0; 6]
    }

    /// The id with these bytes: one that was stored.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes, in order of time.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

fn hash(fields: &[&[u8]]) -> [u8; 10] {
    let mut sha = Sha256::new();
    sha.update(DOMAIN);
    for field in fields {
        sha.update((field.len() as u64).to_be_bytes());
        sha.update(field);
    }
    let digest: [u8; 32] = sha.finalize().into();
    let mut short = [0; 10];
    short.copy_from_slice(&digest[..10]);
    short
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for EventId {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Uuid::parse_str(&text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(source: &str, fields: [&str; 2], triggered_at: &str) -> EventId {
        let [event_type, object] = fields;
        let identity = EventIdentity::Derived {
            event_type,
            object,
            time: triggered_at.parse().expect("RFC 3339"),
        };
        EventId::of_identity(&SourceName::parse(source).expect("a slug"), &identity)
    }

    const FIELDS: [&str; 2] = ["sample.uploaded", "/api/v1/samples/7428cca4a3a04a8e"];
    const TIME: &str = "2026-03-02T09:15:42.184121-08:00";

    #[test]
    fn it_is_a_version_8_uuid_that_starts_with_the_time() {
        let id = id("onecodex", FIELDS, TIME);
        assert_eq!(
            (id.0.get_version_num(), id.0.get_variant()),
            (8, uuid::Variant::RFC4122)
        );
        let milliseconds = u64::from_be_bytes(
            [&[0, 0], &id.as_bytes()[..6]]
                .concat()
                .try_into()
                .expect("8 bytes"),
        );
        assert_eq!(milliseconds, 1_772_471_742_184);
        assert!(id.is_timed());
    }

    /// Pinned: ids are compared across versions and replicas, so the recipe must never drift.
    #[test]
    fn the_recipe_does_not_drift() {
        assert_eq!(
            id("onecodex", FIELDS, TIME).to_string(),
            "019caf8c-6ee8-8fa1-96d2-170867d5071e"
        );
    }

    #[test]
    fn the_same_instant_in_another_zone_is_the_same_event() {
        assert_eq!(
            id("onecodex", FIELDS, TIME),
            id("onecodex", FIELDS, "2026-03-02T17:15:42.184121Z")
        );
    }

    #[test]
    fn every_field_counts_and_their_borders_do_too() {
        let one = id("onecodex", FIELDS, TIME);
        assert_ne!(one, id("other", FIELDS, TIME));
        let shifted = ["sample.uploaded/", "api/v1/samples/7428cca4a3a04a8e"];
        assert_ne!(one, id("onecodex", shifted, TIME));
        let later = "2026-03-02T09:15:42.184122-08:00";
        assert_ne!(one, id("onecodex", FIELDS, later));
    }

    /// Pinned as well, with a time and without.
    #[test]
    fn a_sender_s_own_id_makes_the_id() {
        let source = SourceName::parse("billing").expect("a slug");
        let own = |id: &str, time: Option<&str>| {
            let identity = EventIdentity::Own {
                id,
                time: time.map(|time| time.parse().expect("RFC 3339")),
            };
            EventId::of_identity(&source, &identity)
        };
        assert_eq!(own("evt_1", None), own("evt_1", None));
        assert_ne!(own("evt_1", None), own("evt_2", None));
        assert!(!own("evt_1", None).is_timed() && own("evt_1", Some(TIME)).is_timed());
        assert_ne!(own("evt_1", None), EventId::of_bytes(&source, b"evt_1"));
    }

    #[test]
    fn ids_sort_by_time_and_bounds_cut_between_them() {
        let early = id("onecodex", FIELDS, "2026-03-02T09:15:42.184121Z");
        let late = id("onecodex", FIELDS, "2026-03-02T09:15:42.186Z");
        let bound = EventId::lower_bound("2026-03-02T09:15:42.185Z".parse().expect("RFC 3339"));
        assert!(early < bound && bound < late);
    }

    #[test]
    fn an_unreadable_body_has_an_id_without_time_that_depends_on_every_byte() {
        let source = SourceName::parse("onecodex").expect("a slug");
        let id = EventId::of_bytes(&source, b"{");
        assert!(!id.is_timed());
        assert_eq!(id, EventId::of_bytes(&source, b"{"));
        assert_ne!(id, EventId::of_bytes(&source, b"{ "));
    }
}
