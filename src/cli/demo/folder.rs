//! The demo's files: keys that only this user can read, the spool, the store.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::sender::DemoSender;
use crate::cli::command_error::CommandError;
use crate::cli::sample_delivery;

/// A folder with the sender's key in it; a temporary one goes when this does.
#[derive(Debug)]
pub(super) struct DemoFolder {
    path: PathBuf,
    removed: bool,
    has_key_pair: bool,
}

impl DemoFolder {
    /// A new folder among the temporary ones.
    pub(super) fn temporary(sender: &DemoSender, keep: bool) -> Result<Self, CommandError> {
        let name = format!("hookferry-demo-{}", sample_delivery::hex_digits());
        Self::open(sender, std::env::temp_dir().join(name), !keep)
    }

    /// The folder at `path`, which stays.
    pub(super) fn at(sender: &DemoSender, path: &Path) -> Result<Self, CommandError> {
        let path = std::path::absolute(path).context("the folder has no absolute path")?;
        Self::open(sender, path, false)
    }

    fn open(sender: &DemoSender, path: PathBuf, removed: bool) -> Result<Self, CommandError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        let folder = Self {
            path,
            removed,
            has_key_pair: sender.has_key_pair(),
        };
        write_key(&folder.secret_file(), &sender.key.verifying)?;
        if folder.has_key_pair {
            write_key(&folder.signing_file(), &sender.key.signing)?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes at the end.
    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    /// The file that holds what the bridge verifies with.
    pub(super) fn secret_file(&self) -> PathBuf {
        self.path.join("secret")
    }

    /// The file that holds what the sender signs with.
    pub(super) fn signing_file(&self) -> PathBuf {
        if self.has_key_pair {
            self.path.join("private_key.pem")
        } else {
            self.secret_file()
        }
    }
}

/// Writes a key into a file that is new, so that nobody has it open already.
fn write_key(file: &Path, text: &str) -> Result<(), CommandError> {
    let written = || {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        writeln!(file, "{text}")
    };
    Ok(written().with_context(|| format!("cannot write {}", file.display()))?)
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if self.removed
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("hookferry: {} stays: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::built_in;
    use std::os::unix::fs::PermissionsExt as _;

    fn sender(provider: &str) -> DemoSender {
        DemoSender::new(built_in(provider).expect("built in")).expect("it has a sample")
    }

    #[test]
    fn keys_are_for_this_user_alone() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = DemoFolder::at(&sender("sendgrid"), &parent.path().join("a b"));
        let folder = folder.expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        let keys = [folder.secret_file(), folder.signing_file()];
        assert_ne!(keys[0], keys[1], "a pair has two halves");
        assert_eq!(keys.map(|key| mode(&key)), [0o600; 2]);
    }

    #[test]
    fn a_temporary_folder_goes_and_a_kept_one_stays() {
        for keep in [false, true] {
            let folder = DemoFolder::temporary(&sender("onecodex"), keep).expect("made");
            let path = folder.path().to_owned();
            drop(folder);
            assert_eq!(path.exists(), keep);
            if keep {
                fs::remove_dir_all(path).expect("removed");
            }
        }
    }
}
