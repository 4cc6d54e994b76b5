//! The store: a durable log of topics in a folder of the bridge, so that it runs where there is no
//! broker. Written by one thread, a group of messages at a time, and read by long polling through a
//! [`TopicLog`]. It is the second user of [`crate::log`].
//!
//! It keeps what it confirmed for as long as retention says. Where a part of it is damaged, the rest
//! is still served: this log is a convenience, and the spool is the one with the promise.

mod catalog;
mod contents;
mod encoded_message;
mod error;
mod handle;
mod recovery;
mod segment;
mod settings;
mod shared;
mod snapshot;
mod store_log;
mod stored_message;
#[cfg(test)]
mod tests;
mod topic_log;
mod topic_summary;
mod writer;

pub use error::StoreError;
pub use handle::Store;
pub use settings::{Clock, StoreSettings};
pub use stored_message::StoredMessage;
pub use topic_log::{MAX_ENTRIES, MAX_WAIT, TopicLog, TopicReadError};
pub use topic_summary::TopicSummary;
