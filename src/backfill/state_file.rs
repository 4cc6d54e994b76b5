//! When a source's record was last asked, kept across restarts beside the spool: a daily audit is not
//! made at every start, and one that a restart has cut short is made up for at once.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::SourceName;

/// The folder in the spool's.
const FOLDER: &str = "recovery";

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RecoveryState {
    /// When a run that had asked for what failed was complete.
    pub checked_at: Option<Timestamp>,
    /// The same of one that had asked for everything.
    pub audited_at: Option<Timestamp>,
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
    pub fn read(&self) -> RecoveryState {
        let text = fs::read(&self.0).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn write(&self, state: &RecoveryState) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let made = DirBuilder::new().mode(0o700).create(folder);
        if let Err(error) = made
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let next = self.0.with_extension("next");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&next)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_data()?;
        fs::rename(&next, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_what_is_none_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = SourceName::parse("lab").expect("a name");
        let file = StateFile::of(folder.path(), &name);
        assert_eq!(file.read(), RecoveryState::default());
        let state = RecoveryState {
            checked_at: Timestamp::from_second(1_772_471_743).ok(),
            audited_at: None,
        };
        for _ in 0..2 {
            file.write(&state).expect("written");
            assert_eq!(file.read(), state);
        }
        fs::write(&file.0, "{\"checked_at\":").expect("written");
        assert_eq!(file.read(), RecoveryState::default());
    }
}
