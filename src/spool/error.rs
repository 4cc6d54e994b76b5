//! The spool's errors: why it cannot be opened ([`SpoolError`]), and why an open one takes nothing in
//! or gives nothing out for now ([`SpoolUnavailable`]).

use std::path::PathBuf;

use crate::log::recover::RecoverError;
use crate::path_error::explain;

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error("{} is in use by another process: a bridge runs on it; stop that one, or give this one a spool.path of its own", .path.display())]
    Held {
        /// The folder.
        path: PathBuf,
    },
    /// The path leads to a file.
    #[error("spool.path: {} is a file, as the spool was in development versions; the spool is a folder now: let that version deliver what waits in the file, or move it away, and name a folder", .path.display())]
    OldDatabase {
        /// The file.
        path: PathBuf,
    },
    /// The folder is not a spool's, or is one that this program must not touch.
    #[error("spool.path: {}: {error}", .path.display())]
    Log {
        /// The folder.
        path: PathBuf,
        /// What was found.
        error: RecoverError,
    },
    /// The system does not let us.
    #[error("spool.path: {}: {}", .path.display(), explain(.path, .error))]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// More sinks than a spool can number.
    #[error(
        "a spool knows at most 32 sinks, and this one knows {known}: start the bridge with fewer new sinks, drop what waits for a sink that is not configured any more (hookferry spool drop, hookferry dead-letters drop), then add the rest and restart"
    )]
    TooManySinks {
        /// Those it knows.
        known: String,
    },
    /// A thread could not be started.
    #[error("the spool's threads cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Why an event could not be made durable, or not be read: try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SpoolUnavailable {
    /// As many events or bytes as it may hold.
    #[error("the spool is full")]
    Full,
    /// The spool's disk has no space for another file.
    #[error("the spool's disk is full")]
    DiskFull,
    /// The last batch failed and none has worked since.
    #[error("the spool cannot be written")]
    Unwritable,
    /// The disk does not give what lies in the spool.
    #[error("the spool cannot be read")]
    Unreadable,
    /// More waits for a batch than memory should hold.
    #[error("too much waits for the spool")]
    Overloaded,
    /// The spool is closed.
    #[error("the spool is closed")]
    Closed,
}
