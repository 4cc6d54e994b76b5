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
        Self::tmpfs_where_allowed(mebibytes).expect("root may mount")
    }

    /// The same for a test that also runs where nobody is root.
    pub fn tmpfs_where_allowed(mebibytes: usize) -> Option<Self> {
        let size = format!("size={mebibytes}m");
        Self::mount(&["-t", "tmpfs", "-o", &size, "tmpfs"])
    }

    /// An ext4 in this file, which turns read-only at the first error.
    pub fn ext4(image: &Path) -> Self {
        if !image.exists() {
            let file = File::create(image).expect("writable");
            file.set_len(32 << 20).expect("there is room");
            let made = Command::new("mkfs.ext4")
                .args(["-q", "-F"])
                .arg(image)
                .status();
            assert!(made.expect("mkfs.ext4 is there").success());
        }
        let image = image.to_str().expect("text");
        Self::mount(&["-o", "loop,errors=remount-ro", image]).expect("root may mount")
    }

    fn mount(arguments: &[&str]) -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let mounted = Command::new("mount")
            .args(arguments)
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            refused => {
                println!("nothing can be mounted here: {refused:?}");
                None
            }
        }
    }

    /// The kernel finds an error in this ext4.
    pub fn turn_read_only(&self) {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("Linux");
        let is_here = |line: &&str| {
            let place = line.split(' ').nth(1);
            place.is_some_and(|place| Path::new(place) == self.path())
        };
        let device = mounts
            .lines()
            .find(is_here)
            .and_then(|line| line.split(' ').next())
            .and_then(|device| device.strip_prefix("/dev/"))
            .expect("a loop device");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(trigger, "a fault of a test").expect("root may");
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
