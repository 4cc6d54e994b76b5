//! The status of the parts that a delivery goes through: the listener, the spool, the sinks.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::name::SinkName;

/// The public listener, with its counts since the start.
#[derive(Debug, Serialize)]
pub(super) struct ListenerStatus {
    pub address: SocketAddr,
    /// Whether a delivery could be accepted now, and why not.
    pub accepts: bool,
    pub reason: Option<&'static str>,
    pub requests: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub quarantined: u64,
    pub dropped: u64,
    pub rejected: u64,
    pub refused: u64,
    pub in_flight: u64,
}

/// The spool.
#[derive(Debug, Serialize)]
pub(super) struct SpoolStatus {
    pub bytes: u64,
    pub file_bytes: u64,
    pub max_bytes: u64,
    pub max_events: u64,
    pub fill: f64,
    pub writable: bool,
}

/// A sink.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SinkStatus {
    pub sink: SinkName,
    pub kind: Option<&'static str>,
    /// Whether it is configured; what waits for one that is not stays.
    pub served: bool,
    pub delivered: u64,
    pub pending: u64,
    pub oldest_at: Option<Timestamp>,
    pub dead_letters: u64,
    pub in_flight: u64,
    pub unroutable: u64,
    pub connected: bool,
    pub blocked: bool,
    pub paused: bool,
    pub last_delivery_at: Option<Timestamp>,
}

#[cfg(test)]
impl ListenerStatus {
    /// One that accepts deliveries, for a test.
    pub fn accepting() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            accepts: true,
            reason: None,
            requests: 0,
            accepted: 0,
            duplicates: 0,
            quarantined: 0,
            dropped: 0,
            rejected: 0,
            refused: 0,
            in_flight: 0,
        }
    }
}

#[cfg(test)]
impl SpoolStatus {
    /// One that is so full, for a test.
    pub fn filled(fill: f64) -> Self {
        Self {
            bytes: 0,
            file_bytes: 0,
            max_bytes: 1,
            max_events: 1,
            fill,
            writable: true,
        }
    }
}
