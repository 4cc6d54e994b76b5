//! The demo's files: a secret that only this user can read, the spool, the store.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::command_error::CommandError;
use crate::cli::sample_delivery;
use crate::source::Secret;

/// A folder with a secret in it; a temporary one goes when this does.
#[derive(Debug)]
pub(super) struct DemoFolder {
    path: PathBuf,
    removed: bool,
    secret: Secret,
}

impl DemoFolder {
    /// A new folder among the temporary ones.
    pub(super) fn temporary(keep: bool) -> Result<Self, CommandError> {
        let name = format!("hookferry-demo-{}", sample_delivery::hex_digits());
        Self::open(std::env::temp_dir().join(name), !keep)
    }

    /// The folder at `path`, which stays.
    pub(super) fn at(path: &Path) -> Result<Self, CommandError> {
        let path = std::path::absolute(path).context("the folder has no absolute path")?;
        Self::open(path, false)
    }

    fn open(path: PathBuf, removed: bool) -> Result<Self, CommandError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        let text = format!(
            "{}{}",
            sample_delivery::hex_digits(),
            sample_delivery::hex_digits()
        );
        let secret = Secret::new(&text).expect("32 digits are not empty");
        let folder = Self {
            path,
            removed,
            secret,
        };
        let file = folder.secret_file();
        folder
            .write_secret(&text)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(folder)
    }

    /// Writes the secret into a file that is new, so that nobody has it open already.
    fn write_secret(&self, text: &str) -> std::io::Result<()> {
        let file = self.secret_file();
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        writeln!(file, "{text}")
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes at the end.
    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    /// The secret.
    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The file that holds the secret.
    pub(super) fn secret_file(&self) -> PathBuf {
        self.path.join("secret")
    }

    /// The bridge's configuration, as a file would hold it.
    pub(super) fn configuration(&self) -> String {
        let quoted = |name: &str| quoted(&self.path.join(name));
        format!(
            r#"acknowledge = "spooled"

[ingress]
listen = "127.0.0.1:0"

[admin]
listen = "127.0.0.1:0"

[spool]
path = {spool}

[source.onecodex]
provider = "onecodex"
secrets = [{{ file = {secret} }}]

[sink.store]
type = "store"
path = {topics}

[[route]]
source = "onecodex"
sinks = ["store"]
"#,
            spool = quoted("spool"),
            secret = quoted("secret"),
            topics = quoted("topics"),
        )
    }
}

/// A path as a TOML string. JSON's escapes are TOML's too; `${` would be taken for a variable.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace("${", "$${");
    serde_json::Value::String(text).to_string()
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
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_secret_is_for_this_user_alone_and_the_configuration_is_good() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = DemoFolder::at(&parent.path().join("a \"${b}\" 'c'")).expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&folder.secret_file()), 0o600);
        assert_eq!(mode(folder.path()), 0o700);
        let settings = crate::config::parse(&folder.configuration(), &|_| None);
        assert!(settings.is_ok(), "{settings:?}");
    }

    #[test]
    fn a_temporary_folder_goes_and_a_kept_one_stays() {
        for keep in [false, true] {
            let folder = DemoFolder::temporary(keep).expect("made");
            let path = folder.path().to_owned();
            drop(folder);
            assert_eq!(path.exists(), keep);
            if keep {
                fs::remove_dir_all(path).expect("removed");
            }
        }
    }
}
