//! What a list of topics says of each.

/// A topic at a glance.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// The oldest position still kept; the one after the last where none is.
    pub first_position: u64,
    /// The newest position ever given.
    pub last_position: u64,
    /// How many entries are kept.
    pub events: u64,
}
