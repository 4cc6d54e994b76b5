//! A fresh Debian in a folder, with a network and mounts of its own, which end with it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::said;

/// A root folder, seen by the commands that run in it as all there is.
pub struct Machine {
    folder: TempDir,
    /// Holds the namespaces for as long as it sleeps.
    keeper: Child,
}

impl Machine {
    /// Debian as debootstrap leaves it, without anything that is not essential.
    pub fn debian() -> Self {
        let base = std::env::var("HOOKFERRY_TEST_MINBASE").expect("run tests/run --packages");
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "-xf", &base, "-C"]);
        said(tar.arg(folder.path()));
        Self::at(folder)
    }

    /// Nothing at all.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["proc", "etc", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self::at(folder)
    }

    fn at(folder: TempDir) -> Self {
        let root = folder.path().to_str().unwrap();
        // The folder of a mkdtemp is for its owner alone; a root folder is for everybody.
        let begin = "chmod 755 \"$1\" && mount -t proc proc \"$1/proc\" && ip link set lo up \
            && echo begun && exec sleep infinity";
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", begin, "sh", root])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is there");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n", "are you root?");
        Self { folder, keeper }
    }

    /// Where a file of it is, seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    pub fn has(&self, inside: &str) -> bool {
        self.path(inside).symlink_metadata().is_ok()
    }

    pub fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside))
            .unwrap_or_else(|error| panic!("{inside}: {error}"))
    }

    pub fn write(&self, inside: &str, text: &str) {
        std::fs::write(self.path(inside), text).unwrap();
    }

    /// Puts a file of ours into its root folder.
    pub fn bring(&self, file: &Path, inside: &str) {
        std::fs::copy(file, self.path(inside)).unwrap();
    }

    /// A command in it. Its process is the one that is started here.
    pub fn command(&self, words: &[&str]) -> Command {
        let keeper = self.keeper.id().to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &keeper, "--mount", "--net", "--", "chroot"])
            .arg(self.folder.path())
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command in it that must succeed.
    pub fn run(&self, words: &[&str]) -> String {
        said(&mut self.command(words))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The namespaces, and the mounts in them, go with it.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
