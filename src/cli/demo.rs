//! `demo`: the whole bridge on this machine, with a key made for it and the store as its sink. It
//! sends itself sample events of a provider over HTTP, shows what became of them, and stays up.

mod configuration;
mod counters;
mod deliveries;
mod folder;
mod paste;
mod sender;
mod walkthrough;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;

use super::command_error::CommandError;
use super::provider_argument::ProviderArgument;
use super::provider_text;
use super::runtime::block_on;
use super::signals::Signals;
use super::terminal_log;
use crate::app::Bridge;
use crate::config;
use crate::source::built_in;
use folder::DemoFolder;
use sender::DemoSender;
use walkthrough::Walkthrough;

/// Show the whole bridge at work on this machine, without a configuration.
#[derive(Debug, Args)]
#[command(
    after_help = "It listens on loopback, on free ports, and keeps its files in a temporary folder.
Ctrl-C ends it.

Examples:
  hookferry demo
  hookferry demo --provider github        # another sender's deliveries
  hookferry demo --once                   # ends after showing
  hookferry demo --folder ./demo          # keeps the events there"
)]
pub(super) struct DemoCommand {
    #[command(flatten)]
    provider: ProviderArgument,
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
        let sender = self.sender()?;
        let folder = match &self.folder {
            Some(path) => DemoFolder::at(&sender, path)?,
            None => DemoFolder::temporary(&sender, self.keep)?,
        };
        let text = configuration::text(&sender, &folder)?;
        let settings = config::parse(&text, &|_| None).map_err(|problems| {
            CommandError::Failed(anyhow!(
                "the demo's configuration cannot be used: {problems}"
            ))
        })?;
        block_on(async {
            let mut signals = Signals::new()?;
            let mut bridge = Bridge::start(settings)?;
            bridge.serving().await?;
            let stays_up = !self.once;
            let walkthrough = Walkthrough::new(&bridge, (sender, &folder), text, stays_up);
            let outcome = self.present(walkthrough, &mut bridge, &mut signals).await;
            let stopped = bridge.stop().await;
            outcome?;
            Ok(stopped?)
        })
    }

    fn sender(&self) -> Result<DemoSender, CommandError> {
        let (provider, table) = self.provider.read()?;
        let sender = DemoSender::new(Arc::clone(&provider)).ok_or_else(|| {
            CommandError::Usage(format!(
                "--provider: {} has no sample that can be understood; give its table one",
                provider.name
            ))
        })?;
        let is_built_in = built_in(&provider.name).is_some();
        Ok(DemoSender {
            definition: (!is_built_in).then(|| provider_text::text(&provider, table)),
            ..sender
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
