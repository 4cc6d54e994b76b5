//! The arguments that name a spool, and the choice of how a command reaches it: over HTTP where a
//! bridge runs on it; where none runs, its folder is read and nothing in it changes.

use anyhow::anyhow;
use clap::Args;

use super::admin_arguments::AdminArguments;
use super::admin_client::AdminClient;
use super::command_error::CommandError;
use super::config_file::ConfigFile;
use super::offline_spool::OfflineSpool;
use super::spool_inspection::SpoolInspection;
use super::terminal_log;
use crate::config::Settings;

/// Which spool.
#[derive(Debug, Args)]
pub(super) struct SpoolArguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    admin: AdminArguments,
}

impl SpoolArguments {
    /// Reads the spool, through the bridge or from its folder.
    pub(super) fn inspect(&self) -> Result<Box<dyn SpoolInspection>, CommandError> {
        let settings = self.settings()?;
        Ok(match self.offline(&settings)? {
            Some(spool) => Box::new(spool),
            None => Box::new(self.client(&settings)?),
        })
    }

    /// The bridge that runs on the spool. It alone changes it, so without one this is an error.
    pub(super) fn bridge(&self) -> Result<AdminClient, CommandError> {
        let settings = self.settings()?;
        if self.offline(&settings)?.is_none() {
            return self.client(&settings);
        }
        let file = self.config.path().display();
        Err(CommandError::Failed(anyhow!(
            "no bridge runs on this spool, and only a running one changes it: start the bridge (hookferry serve --config {file}), then repeat"
        )))
    }

    fn settings(&self) -> Result<Settings, CommandError> {
        terminal_log::start();
        self.config.load_to_look()
    }

    fn offline(&self, settings: &Settings) -> Result<Option<OfflineSpool>, CommandError> {
        if self.admin.is_given() {
            return Ok(None);
        }
        OfflineSpool::open(&settings.spool)
    }

    fn client(&self, settings: &Settings) -> Result<AdminClient, CommandError> {
        let (url, token) = self.admin.read(settings)?;
        Ok(AdminClient::new(url, token))
    }
}
