//! A message as readers of the store get it.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its position in the topic, from 1.
    pub position: u64,
    /// The event's id.
    pub id: String,
    /// The message's key.
    pub key: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body, byte for byte as received.
    pub body: Bytes,
}
