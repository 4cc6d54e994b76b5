//! The lock of a folder: one process at a time has it. It is the kernel's and dies with the process, so that
//! nothing needs tidying after a crash.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::disk::{make_private, private};

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
        let mut options = private();
        options.create(true).truncate(false).write(true);
        let file = options
            .open(folder.join(LOCK_NAME))
            .map_err(LockError::Io)?;
        // Whoever may open it may lock it, and so keep the bridge from starting.
        make_private(&file).map_err(LockError::Io)?;
        for attempt in 1..=ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                // A command that looks whether it is held takes it for a moment.
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn nobody_else_can_open_the_lock_and_no_link_is_followed_to_it() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(LOCK_NAME);
        let mode = || fs::metadata(&path).map(|it| it.permissions().mode() & 0o777);
        drop(FolderLock::take(folder.path()).expect("free"));
        assert_eq!(mode()?, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        let held = FolderLock::take(folder.path()).expect("free");
        assert_eq!(mode()?, 0o600);
        assert!(FolderLock::is_held(folder.path())?);
        drop(held);
        fs::remove_file(&path)?;
        let target = folder.path().join("elsewhere");
        symlink(&target, &path)?;
        assert!(matches!(
            FolderLock::take(folder.path()),
            Err(LockError::Io(_))
        ));
        assert!(!target.exists());
        Ok(())
    }
}
