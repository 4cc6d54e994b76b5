//! Why a file could not be opened.

use std::io;
use std::path::PathBuf;

/// Why a file could not be opened, named by what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process: stop that one, or give this one a path of its own", .path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "{} has format {found}, and this program knows formats up to {known}: run the newer program, or move the file away",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u16,
        /// The newest version this program knows.
        known: u16,
    },
    /// It has a former format: its content has to go into a new file.
    #[error("{} has format {found}, which is no longer written", .path.display())]
    Outdated {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u16,
    },
    /// It is no file of ours, and was left as it is.
    #[error("{} is no {name} file ({found}): move it away, or give another path", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What the file should have been.
        name: &'static str,
        /// What it is instead.
        found: String,
    },
    /// It is ours, but cannot be read.
    #[error("{} is damaged: {cause}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// The system does not let us: the folder is missing or not writable, or the disk is full.
    #[error("cannot open {}: {cause}; the folder must exist, be writable and have space", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Cause,
    },
}

/// What stood in the way.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The operating system said no.
    #[error(transparent)]
    System(#[from] io::Error),
    /// SQLite said no.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The file holds what it must not hold.
    #[error("{0}")]
    Content(&'static str),
}
