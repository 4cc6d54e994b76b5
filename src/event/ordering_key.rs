//! The ordering key: the object whose events must stay in order.

use super::id::EventId;
use crate::name::{ObjectId, SourceName};

/// Two events with the same key appear in the order they were accepted; others do not wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OrderingKey {
    /// An object of a source.
    Object(SourceName, ObjectId),
    /// An event that belongs to no known object.
    Alone(EventId),
}
