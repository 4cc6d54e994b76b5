//! How a source recovers what it missed.

use std::collections::HashSet;
use std::time::Duration;

use crate::name::EventType;
use crate::source::{ApiSettings, RecordName};

/// The settings of one source's recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverySettings {
    /// Which API the provider's record has.
    pub record: RecordName,
    /// Where it is, and who asks.
    pub api: ApiSettings,
    /// How often it is asked for what failed.
    pub every: Duration,
    /// How often it is asked for everything.
    pub audit: Duration,
    /// How old an event may be.
    pub look_back: Duration,
    /// Events that were triggered less long ago are left alone: they may still be delivered.
    pub younger_than: Duration,
    /// Only these event types; all, where none.
    pub event_types: Option<HashSet<EventType>>,
}
