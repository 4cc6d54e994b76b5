//! When a source's record was last asked, kept across restarts beside the spool: a daily audit is not
//! made at every start, and one that a restart has cut short is made up for at once.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::search::RecordPart;
use crate::name::SourceName;

/// The folder in the spool's.
const FOLDER: &str = "recovery";

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RecoveryState {
    /// When a run that had asked for what failed was complete.
    pub checked_at: Option<Timestamp>,
    /// The same of one that had asked for everything.
    pub audited_at: Option<Timestamp>,
    /// What that was an audit of: see [`RecoverySettings::audited`](super::RecoverySettings::audited).
    audited: String,
}

impl RecoveryState {
    /// A run that began then, and asked for this part, was complete.
    pub fn complete(&mut self, part: RecordPart, began: Timestamp) {
        match part {
            RecordPart::Failed => self.checked_at = Some(began),
            RecordPart::All => self.audited_at = Some(began),
        }
    }

    /// What of it counts for an audit of this.
    fn of(mut self, audited: String) -> Self {
        self.audited_at = self.audited_at.filter(|_| self.audited == audited);
        self.audited = audited;
        self
    }
}

/// The file.
#[derive(Debug, Clone)]
pub(super) struct StateFile(PathBuf);

impl StateFile {
    /// The file of a source, below the spool's folder.
    pub fn of(spool: &Path, source: &SourceName) -> Self {
        Self(spool.join(FOLDER).join(format!("{source}.json")))
    }

    /// Reads it. One that is not there, or not to be understood, says that nothing was ever asked:
    /// asking once more is no harm.
    pub async fn read(&self, audited: String) -> RecoveryState {
        let path = self.0.clone();
        let text = tokio::task::spawn_blocking(move || fs::read(path)).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        let state: RecoveryState = serde_json::from_slice(&text).unwrap_or_default();
        state.of(audited)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn write(&self, state: RecoveryState) -> io::Result<()> {
        let path = self.0.clone();
        let write = move || write(&path, &state);
        tokio::task::spawn_blocking(write)
            .await
            .map_err(io::Error::other)?
    }
}

fn write(path: &Path, state: &RecoveryState) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let made = DirBuilder::new().mode(0o700).create(folder);
    if let Err(error) = made
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let next = path.with_extension("next");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&next)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_data()?;
    fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_read_as_it_was_written_and_what_is_none_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = SourceName::parse("lab").expect("a name");
        let file = StateFile::of(folder.path(), &name);
        let read = async |audited: &str| file.read(audited.to_owned()).await;
        let mut state = read("a").await;
        assert_eq!((state.checked_at, state.audited_at), (None, None));
        let at = Timestamp::from_second(1_772_471_743).expect("a time");
        state.complete(RecordPart::Failed, at);
        state.complete(RecordPart::All, at);
        for _ in 0..2 {
            file.write(state.clone()).await.expect("written");
            assert_eq!(read("a").await, state);
        }
        let other = read("b").await;
        assert_eq!((other.checked_at, other.audited_at), (Some(at), None));
        fs::write(&file.0, "{\"checked_at\":").expect("written");
        assert_eq!(read("").await, RecoveryState::default());
    }
}
