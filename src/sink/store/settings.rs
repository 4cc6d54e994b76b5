//! The store's settings: its folder, its topics, and what retention keeps.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::route::Template;

/// Where the time comes from; retention goes by it.
pub type Clock = fn() -> Timestamp;

/// What the store runs on.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The folder.
    pub path: PathBuf,
    /// The names of the topics.
    pub topic: Template,
    /// Entries older than this are deleted, a segment at a time.
    pub retention: Duration,
    /// Beyond this size the oldest entries are deleted, in bytes of files.
    pub max_size_bytes: u64,
}
