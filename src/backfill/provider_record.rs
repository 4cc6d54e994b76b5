//! A provider's record of its events, as a run sees it: a list to go through, and a way to bring an
//! entry back. Each API has one file, and nothing of it stands elsewhere.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use super::search::Search;
use crate::event::Event;
use crate::name::EventType;
use crate::sink::Finding;
use crate::source::ApiError;

/// An entry of a record.
#[derive(Debug)]
pub struct RecordEntry {
    /// The provider's own name of it.
    pub name: String,
    /// What happened.
    pub event_type: EventType,
    /// What it happened to, where the entry says so.
    pub object_id: Option<String>,
    /// When it happened.
    pub triggered_at: Timestamp,
    /// What the provider says became of it.
    pub status: String,
    /// Whether somebody did not get it, as far as the provider knows.
    pub is_failed: bool,
    /// Before this time it is left alone.
    pub not_before: Option<Timestamp>,
    /// How it is brought back.
    pub content: EntryContent,
}

/// How an entry is brought back.
#[derive(Debug)]
pub enum EntryContent {
    /// The record has the event itself.
    Event(Box<Event>),
    /// The provider can deliver it again.
    Redelivery,
}

/// An entry that is no event.
#[derive(Debug)]
pub struct UnreadableEntry {
    /// The provider's own name of it, as far as it has one.
    pub name: String,
    /// Why it is none.
    pub reason: String,
}

/// A part of a list.
pub type RecordPage = Vec<Result<RecordEntry, UnreadableEntry>>;

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

    /// Asks the provider to deliver an entry again.
    ///
    /// # Errors
    /// When the provider does not.
    async fn redeliver(&mut self, name: &str) -> Result<(), ApiError>;

    /// Whether the key works and the webhook is as it must be.
    async fn check(&mut self) -> Vec<Finding>;
}
