//! `demo`: the whole bridge on this machine, with a secret made for it and the store as its sink. It
//! sends itself sample events over HTTP, shows what became of them, and stays up.

mod counters;
mod deliveries;
mod folder;
mod walkthrough;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::command_error::CommandError;
use super::runtime::block_on;
use super::signals::Signals;
use super::terminal_log;
use crate::app::Bridge;
use crate::config;
use folder::DemoFolder;
use walkthrough::Walkthrough;

/// Show the whole bridge at work on this machine, without a configuration.
#[derive(Debug, Args)]
#[command(
    after_help = "It listens on loopback, on free ports, and keeps its files in a temporary folder.
Ctrl-C ends it.

Examples:
  hookferry demo
  hookferry demo --once                   # ends after showing
  hookferry demo --folder ./demo          # keeps the events there"
)]
pub(super) struct DemoCommand {
    /// End after showing.
    #[arg(long)]
    once: bool,
    /// Keep the temporary folder.
    #[arg(long)]
    keep: bool,
    /// Keep the files in this folder, which is made where it is missing.
    #[arg(long, value_name = "FOLDER", conflicts_with = "keep")]
    folder: Option<PathBuf>,
}

impl DemoCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        terminal_log::start();
        let folder = match &self.folder {
            Some(path) => DemoFolder::at(path)?,
            None => DemoFolder::temporary(self.keep)?,
        };
        let text = folder.configuration();
        let settings = config::parse(&text, &|_| None).map_err(|problems| {
            CommandError::Failed(anyhow!(
                "the demo's configuration cannot be used: {problems}"
            ))
        })?;
        block_on(async {
            let mut signals = Signals::new()?;
            let mut bridge = Bridge::start(settings)?;
            bridge.serving().await?;
            let walkthrough = Walkthrough::new(&bridge, &folder, text, !self.once);
            let outcome = self.present(walkthrough, &mut bridge, &mut signals).await;
            let stopped = bridge.stop().await;
            outcome?;
            Ok(stopped?)
        })
    }

    async fn present(
        &self,
        walkthrough: Walkthrough,
        bridge: &mut Bridge,
        signals: &mut Signals,
    ) -> Result<(), CommandError> {
        // HTTP is spoken by blocking calls here, which must not hold up the bridge.
        let showing = tokio::task::spawn_blocking(move || walkthrough.show());
        tokio::select! {
            shown = showing => shown.map_err(|error| CommandError::Failed(error.into()))??,
            () = signals.stop() => return Ok(()),
            error = bridge.failed() => return Err(error.into()),
        }
        if self.once {
            return Ok(());
        }
        tokio::select! {
            () = signals.stop() => Ok(()),
            error = bridge.failed() => Err(error.into()),
        }
    }
}
