//! Whether the spool's files still lie under their names. Writing to a file whose name is gone works
//! as before, and nothing of it is there after the next start: a 200 would be a lie.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The files as they were when the spool was opened.
#[derive(Debug)]
pub(super) struct Presence {
    files: [(PathBuf, Option<Identity>); 2],
}

/// Device and inode: what a name leads to.
type Identity = (u64, u64);

/// A file is no longer what its name leads to.
#[derive(Debug, thiserror::Error)]
#[error("{} was removed or replaced while the bridge has it open", .path.display())]
pub(super) struct Gone {
    path: PathBuf,
}

impl Presence {
    /// Notes what the names lead to now: the file and its write-ahead log. Where one leads nowhere,
    /// no look will find it later.
    pub fn of(file: &Path) -> Self {
        // SQLite puts the log beside what a link leads to.
        let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let mut log = target.into_os_string();
        log.push("-wal");
        Self {
            files: [file.to_owned(), log.into()].map(|path| {
                let identity = identity(&path);
                (path, identity)
            }),
        }
    }

    /// Looks whether the names lead to the same files still.
    pub fn check(&self) -> Result<(), Gone> {
        for (path, known) in &self.files {
            if known.is_none() || identity(path) != *known {
                return Err(Gone { path: path.clone() });
            }
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_file_will_do() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join("elsewhere.db");
        for name in ["elsewhere.db", "elsewhere.db-wal"] {
            fs::write(folder.path().join(name), b"x").expect("writable");
        }
        let link = folder.path().join("spool.db");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        assert!(Presence::of(&link).check().is_ok());
    }

    #[test]
    fn a_file_that_was_replaced_is_not_the_same() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join("spool.db");
        let log = folder.path().join("spool.db-wal");
        for path in [&file, &log] {
            fs::write(path, b"x").expect("writable");
        }
        let presence = Presence::of(&file);
        assert!(presence.check().is_ok());
        fs::rename(&log, folder.path().join("away")).expect("renamed");
        let gone = presence.check().expect_err("the log is gone").to_string();
        assert!(gone.contains("spool.db-wal was removed"), "{gone}");
        fs::write(&log, b"x").expect("writable");
        assert!(presence.check().is_err(), "another file of that name");
        fs::rename(folder.path().join("away"), &log).expect("renamed");
        assert!(presence.check().is_ok(), "the same file is back");
    }
}
