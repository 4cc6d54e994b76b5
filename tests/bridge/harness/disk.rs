//! File systems of a test's own: small ones, and such as turn read-only. Only root can mount them.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system, gone with the test.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// One in memory with so many MiB.
    pub fn tmpfs(mebibytes: usize) -> Self {
        let size = format!("size={mebibytes}m");
        Self::mount(&["-t", "tmpfs", "-o", &size, "tmpfs"])
    }

    fn mount(arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mounted = Command::new("mount")
            .args(arguments)
            .arg(folder.path())
            .output()
            .expect("mount is there");
        assert!(mounted.status.success(), "not root? {mounted:?}");
        Self { folder }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A foreign file that takes every byte that is free, once more what was given back since the
    /// last time.
    pub fn fill(&self) -> PathBuf {
        let filler = self.path().join("filler");
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&filler)
            .expect("an inode is left");
        for size in [1 << 16, 1 << 12, 1] {
            while file.write(&vec![0; size]).is_ok_and(|written| written > 0) {}
        }
        filler
    }

    /// Takes the foreign file away.
    pub fn relieve(&self) {
        std::fs::remove_file(self.path().join("filler")).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The mount goes even where a killed bridge still has a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}
