//! One process at a time has a folder. The lock is the kernel's and dies with the process, so that
//! nothing needs tidying after a crash.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// The name of the file that is locked.
pub const LOCK_NAME: &str = "lock";

/// How often a lock is asked for that another process holds, and the pause between.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(25);

/// Why a folder cannot be locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held,
    /// What the system says.
    Io(io::Error),
}

/// A folder that is locked for as long as this value lives.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks the folder.
    ///
    /// # Errors
    /// Named by the cause.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let file = options
            .open(folder.join(LOCK_NAME))
            .map_err(LockError::Io)?;
        for attempt in 1..=ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                // A command that only looks holds it for a moment.
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
        }
        Err(LockError::Held)
    }

    /// Whether another process holds the folder. Changes nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_held(folder: &Path) -> io::Result<bool> {
        let file = match File::open(folder.join(LOCK_NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
