//! Why an authentic delivery could not be understood.

use serde::{Deserialize, Serialize};

/// The closed set of reasons: a metric label and the value of `hookferry-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineReason {
    /// No bytes at all.
    EmptyBody,
    /// Not UTF-8, which JSON must be (RFC 8259, section 8.1).
    NotUtf8,
    /// Not JSON that every parser reads alike.
    InvalidJson,
    /// Without a field that identifies an event.
    InvalidFields,
    /// A time that is none in the provider's unit, or before 1970.
    InvalidTime,
}

impl QuarantineReason {
    /// Every reason, so that each has a series from the first scrape on.
    pub const ALL: [Self; 5] = [
        Self::EmptyBody,
        Self::NotUtf8,
        Self::InvalidJson,
        Self::InvalidFields,
        Self::InvalidTime,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyBody => "empty_body",
            Self::NotUtf8 => "not_utf8",
            Self::InvalidJson => "invalid_json",
            Self::InvalidFields => "invalid_fields",
            Self::InvalidTime => "invalid_time",
        }
    }
}

/// The reason, and what exactly was found, for the person who looks into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Why.
    pub reason: QuarantineReason,
    /// What was found, in words; printable and short.
    pub detail: String,
}
