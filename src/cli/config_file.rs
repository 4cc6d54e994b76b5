//! The configuration a command works with.

use std::path::{Path, PathBuf};

use clap::Args;

use super::command_error::CommandError;
use crate::config::{self, ConfigProblems, Settings};

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file (TOML); `hookferry config example` prints one.
    #[arg(long, value_name = "FILE", env = "HOOKFERRY_CONFIG")]
    config: PathBuf,
}

impl ConfigFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.config
    }

    /// Reads it; whatever is wrong is said at once.
    pub(super) fn load(&self) -> Result<Settings, CommandError> {
        config::load(&self.config).map_err(|problems| cannot_be_used(&self.config, &problems))
    }

    /// Reads it for a command that only looks, and needs no right to write.
    pub(super) fn load_to_look(&self) -> Result<Settings, CommandError> {
        config::load_to_look(&self.config)
            .map_err(|problems| cannot_be_used(&self.config, &problems))
    }

    /// Reads it again, for a bridge that has these folders open.
    pub(super) fn load_again(&self, open: &[PathBuf]) -> Result<Settings, CommandError> {
        config::load_again(&self.config, open)
            .map_err(|problems| cannot_be_used(&self.config, &problems))
    }
}

/// The error of a configuration with these problems.
pub(super) fn cannot_be_used(file: &Path, problems: &ConfigProblems) -> CommandError {
    let file = file.display();
    CommandError::Usage(format!(
        "the configuration {file} cannot be used:\n{problems}"
    ))
}
