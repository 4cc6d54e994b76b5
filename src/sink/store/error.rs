//! Why the store cannot be opened.

use std::io;
use std::path::{Path, PathBuf};

use crate::log::recover::RecoverError;
use crate::path_error::explain;

/// Why the store cannot be opened, named by what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{} is in use by another process: stop that one, or give this one a path of its own", .path.display())]
    Held {
        /// The folder.
        path: PathBuf,
    },
    /// The path is that of a file.
    #[error("{} names a file, perhaps an old database file of a development version: move it away; the store is a folder now", .path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// What is in the folder is not ours, is of a newer program, or cannot be read.
    #[error("{} cannot be used: {cause}", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: RecoverError,
    },
    /// The system does not let us.
    #[error("cannot open {}: {}", .path.display(), explain(.path, .cause))]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// There are no more threads.
    #[error("cannot start the store's thread: {0}")]
    Thread(#[source] io::Error),
}

impl StoreError {
    pub(super) fn io(path: &Path, cause: io::Error) -> Self {
        let path = path.into();
        match cause.kind() {
            io::ErrorKind::NotADirectory => Self::NoFolder { path },
            _ => Self::Io { path, cause },
        }
    }

    pub(super) fn log(path: &Path, cause: RecoverError) -> Self {
        match cause {
            RecoverError::Io { name, error } => Self::io(&path.join(name), error),
            cause => Self::Unusable {
                path: path.into(),
                cause,
            },
        }
    }
}
