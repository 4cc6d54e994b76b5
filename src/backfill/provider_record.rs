//! A provider's record of its events, as a run sees it: a list to go through, and a way to bring an
//! entry back. Each API has one file; [`records`](super::records) says which there are.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use super::search::Search;
use crate::event::{EventId, EventPreview};
use crate::sink::Finding;
use crate::source::{ApiError, RecoveredDelivery};

/// An entry of a record.
#[derive(Debug)]
pub struct RecordEntry {
    /// The provider's own name of it.
    pub name: String,
    /// What happened.
    pub event_type: String,
    /// When it happened.
    pub triggered_at: Timestamp,
    /// What the provider says became of it.
    pub status: String,
    /// Whether everybody has got it, as far as the provider knows.
    pub is_delivered: bool,
    /// Before this time it is left alone.
    pub not_before: Option<Timestamp>,
    /// How it is brought back.
    pub content: EntryContent,
}

/// How an entry is brought back.
#[derive(Debug)]
pub enum EntryContent {
    /// The record has the delivery itself.
    Delivery(Box<RecoveredDelivery>, EventPreview),
    /// The provider can deliver it again.
    Redelivery,
}

impl RecordEntry {
    /// What the spool would know it by; none where only its delivery tells.
    #[must_use]
    pub fn known_by(&self) -> Option<EventId> {
        match &self.content {
            EntryContent::Delivery(_, preview) => Some(preview.deduplication_id),
            EntryContent::Redelivery => None,
        }
    }
}

/// An entry that is no event.
#[derive(Debug)]
pub struct UnreadableEntry {
    /// The provider's own name of it, as far as it has one.
    pub name: String,
    /// Why it is none. Nothing of it is repeated.
    pub reason: String,
}

/// A part of a list.
#[derive(Debug, Default)]
pub struct RecordPage {
    /// Entries that may be missing.
    pub entries: Vec<Result<RecordEntry, UnreadableEntry>>,
    /// How many others there are, which this bridge has answered for, by the provider's word.
    pub answered: usize,
}

/// A provider's record of its events.
#[async_trait]
pub trait ProviderRecord: Send + Sync + Debug {
    /// Begins a list.
    fn begin(&mut self, search: &Search);

    /// The next part of the list, in which no entry comes twice; none at its end.
    ///
    /// # Errors
    /// When the provider does not answer as it should.
    async fn next_page(&mut self) -> Result<Option<RecordPage>, ApiError>;

    /// How many entries the list has, by the provider's word.
    fn total(&self) -> Option<u64>;

    /// Whether all of the list was seen, once it has ended: it may change while it is read.
    fn is_whole(&self) -> bool {
        true
    }

    /// Asks the provider to deliver an entry again, where the record has no deliveries itself.
    ///
    /// # Errors
    /// When the provider does not.
    async fn redeliver(&mut self, name: &str) -> Result<(), ApiError>;

    /// Whether the key works and the webhook is as it must be. Asks once.
    async fn check(&mut self) -> Vec<Finding>;
}
