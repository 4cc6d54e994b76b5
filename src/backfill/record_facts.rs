//! What an API needs of a configuration.

use std::time::Duration;

/// What the API of a record needs of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct RecordFacts {
    /// Where it is unless the configuration says otherwise; none where each has a place of its own.
    pub url: Option<&'static str>,
    /// What to write there.
    pub url_remedy: &'static str,
    /// How long the provider keeps its record.
    pub kept: Duration,
    /// Whether the record has the events themselves: they are known by their ids, and an audit finds what
    /// the provider calls a success.
    pub has_events: bool,
}
