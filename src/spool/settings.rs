//! The spool's settings: where it lies, how much it may hold, and for how long it remembers ids.

use std::path::PathBuf;
use std::time::Duration;

use crate::log::segment::{MIN_SEGMENT_BYTES, segment_bytes};

/// Where the spool is and what it may hold.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// The folder, or memory alone.
    pub location: SpoolLocation,
    /// What may change while it is open.
    pub limits: SpoolLimits,
}

/// How much a spool holds, and for how long it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// The most events and dead letters it holds.
    pub max_events: u64,
    /// The most bytes its files may have: segments, spares, dead letters and damaged segments.
    pub max_bytes: u64,
    /// What happens to an event that was accepted before.
    pub duplicates: Duplicates,
    /// How long after its own time an event's id is remembered.
    pub window: Duration,
}

/// Where a spool lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolLocation {
    /// In this folder, across restarts.
    Folder(PathBuf),
    /// In memory: only for `acknowledge = "delivered"`, where the broker is the durable place.
    Memory,
}

impl SpoolLocation {
    /// The bytes of a segment of a spool here that may have so many.
    #[must_use]
    pub fn segment_bytes(&self, max_bytes: u64) -> u64 {
        match self {
            Self::Folder(_) => segment_bytes(max_bytes),
            Self::Memory => MIN_SEGMENT_BYTES,
        }
    }
}

/// What happens to an event that was accepted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// It is answered 200 and not published again.
    Suppress,
    /// It is published again, with the same id.
    Forward,
}
