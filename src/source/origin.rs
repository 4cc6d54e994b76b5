//! How an event came in: as a webhook, or fetched afterwards.

use serde::{Deserialize, Serialize};

/// How an event came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOrigin {
    /// Delivered by the provider.
    Webhook,
    /// Fetched from the provider's record of past events.
    Backfill,
}

impl EventOrigin {
    /// The value of the `hookferry-origin` header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Backfill => "backfill",
        }
    }
}
