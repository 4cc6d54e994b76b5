//! How a source recovers what it missed.

use std::collections::BTreeSet;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

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
    pub event_types: Option<BTreeSet<EventType>>,
    /// The largest body, in bytes: that of the source's deliveries.
    pub max_body_bytes: usize,
}

impl RecoverySettings {
    /// What an audit is an audit of, as a digest: under other settings another one is due. The key is
    /// no part of it.
    #[must_use]
    pub fn audited(&self) -> String {
        let types = self.event_types.iter().flatten().map(EventType::as_str);
        let types: Vec<&str> = types.collect();
        let of = format!(
            "{:?} {} {:?} {types:?} {}",
            self.record, self.api.url, self.look_back, self.max_body_bytes
        );
        hex::encode(&Sha256::digest(of)[..8])
    }
}
