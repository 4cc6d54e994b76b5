//! A disk quota without a file system that has quotas, and other errors of a disk, by call.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::preload::Preload;

/// The calls that take space.
const TAKES_SPACE: &str = "write,ftruncate,fallocate";

/// A quota on a folder, which one program comes to feel.
pub struct Quota {
    preload: Preload,
    folder: PathBuf,
}

impl Quota {
    /// A quota on this folder that is not used up, for a program that is yet to be started.
    pub fn below(folder: &Path) -> Self {
        Self {
            preload: Preload::build("quota"),
            folder: folder.canonicalize().expect("it is there"),
        }
    }

    /// The command whose program feels the quota.
    pub fn load_into(&self, command: Command) -> Command {
        let mut command = self.preload.load_into(command);
        command.env("QUOTA_FOLDER", &self.folder);
        command.env("QUOTA_SWITCH", self.preload.file("switch"));
        command
    }

    /// From now on nothing can be written (`EDQUOT`), until [`Quota::relieve`].
    pub fn exceed(&self) {
        self.fail("EDQUOT", TAKES_SPACE);
    }

    /// From now on these calls, divided by commas, fail with this error; `tests/preload/quota.c`
    /// lists both.
    pub fn fail(&self, error: &str, calls: &str) {
        self.turn_on(&format!("{error} {calls}"));
    }

    /// Of these calls only the `nth` from now on fails.
    pub fn fail_nth(&self, error: &str, calls: &str, nth: usize) {
        self.turn_on(&format!("{error} {calls} {nth}"));
    }

    fn turn_on(&self, text: &str) {
        let written = self.preload.file("written");
        std::fs::write(&written, text).expect("writable");
        std::fs::rename(written, self.preload.file("switch")).expect("writable");
    }

    /// All is well again.
    pub fn relieve(&self) {
        std::fs::remove_file(self.preload.file("switch")).expect("it was turned on");
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Writes five blocks of a KiB and syncs them: what the program said, and how much there is.
    fn write(quota: &Quota, path: &Path) -> (String, u64) {
        let mut command = quota.load_into(Command::new("dd"));
        let output = command
            .args(["if=/dev/zero", "bs=1024", "count=5", "conv=fsync"])
            .arg(format!("of={}", path.display()))
            .args(["status=none"])
            .env("LC_ALL", "C")
            .output()
            .expect("dd is there");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.success(), said.is_empty(), "{said}");
        let length = std::fs::metadata(path).expect("made").len();
        (said, length)
    }

    #[test]
    fn it_holds_below_its_folder_until_it_is_relieved() {
        let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let quota = Quota::below(inside.path());
        let (file, other) = (inside.path().join("file"), outside.path().join("file"));
        let whole = (String::new(), 5 * 1024);
        assert_eq!(write(&quota, &file), whole);
        quota.exceed();
        let (said, length) = write(&quota, &inside.path().join("new"));
        assert!(said.contains("Disk quota exceeded"), "{said}");
        assert_eq!(length, 0);
        assert_eq!(write(&quota, &other), whole);
        quota.relieve();
        assert_eq!(write(&quota, &file), whole);
    }

    #[test]
    fn the_calls_that_are_named_fail_and_of_them_the_nth() {
        let folder = TempDir::new().unwrap();
        let quota = Quota::below(folder.path());
        let file = folder.path().join("file");
        quota.fail("EIO", "fsync,fdatasync");
        let (said, length) = write(&quota, &file);
        assert!(said.contains("fsync") && said.contains("Input/output error"));
        assert_eq!(length, 5 * 1024);
        for nth in [3, 1] {
            quota.fail_nth("ENOSPC", "write", nth);
            let (said, length) = write(&quota, &file);
            assert!(said.contains("No space left on device"), "{said}");
            assert_eq!(length, (nth as u64 - 1) * 1024);
        }
        quota.fail_nth("ENOSPC", "write", 6);
        assert_eq!(write(&quota, &file), (String::new(), 5 * 1024));
    }
}
