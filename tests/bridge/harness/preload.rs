//! Libraries of the tests' own that a program finds before the C library: built from
//! `tests/preload`, each of which says what it does, by the C compiler that builds the program too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A library, and a folder for the files by which a test tells it what to do.
pub struct Preload {
    folder: TempDir,
}

impl Preload {
    /// Builds `tests/preload/{name}.c`.
    pub fn build(name: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let source = format!("{}/tests/preload/{name}.c", env!("CARGO_MANIFEST_DIR"));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(library(folder.path()))
            .arg(source)
            .output()
            .expect("a C compiler is there");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
        Self { folder }
    }

    /// A file of this library.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command whose program finds this library first, beside those that it finds already.
    pub fn load_into(&self, mut command: Command) -> Command {
        let mut libraries = OsString::from(library(self.folder.path()));
        let others = command
            .get_envs()
            .find_map(|(key, value)| value.filter(|_| key == "LD_PRELOAD"));
        if let Some(others) = others {
            libraries.push(":");
            libraries.push(others);
        }
        command.env("LD_PRELOAD", libraries);
        command
    }
}

fn library(folder: &Path) -> PathBuf {
    folder.join("preload.so")
}
