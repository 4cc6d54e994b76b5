//! `demo`: the whole bridge on this machine, with a secret made for it and the store as its sink. It
//! sends itself sample events over HTTP, shows what became of them, and stays up.

mod deliveries;
mod folder;
mod numbers;
mod tour;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::failure::Failure;
use super::runtime::block_on;
use super::signals::Signals;
use super::terminal_log;
use crate::app::Bridge;
use crate::config;
use folder::Folder;
use tour::Tour;

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
pub(super) struct Demo {
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

impl Demo {
    pub(super) fn run(&self) -> Result<(), Failure> {
        terminal_log::start();
        let folder = match &self.folder {
            Some(path) => Folder::at(path)?,
            None => Folder::temporary(self.keep)?,
        };
        let text = folder.configuration();
        let settings = config::parse(&text, &|_| None).map_err(|problems| {
            Failure::Failed(anyhow!(
                "the demo's configuration cannot be used: {problems}"
            ))
        })?;
        block_on(async {
            let mut signals = Signals::new()?;
            let mut bridge = Bridge::start(settings)?;
            bridge.serving().await?;
            let tour = Tour::new(&bridge, &folder, text, !self.once);
            let outcome = self.present(tour, &mut bridge, &mut signals).await;
            let stopped = bridge.stop().await;
            outcome?;
            Ok(stopped?)
        })
    }

    async fn present(
        &self,
        tour: Tour,
        bridge: &mut Bridge,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        // HTTP is spoken by blocking calls here, which must not hold up the bridge.
        let showing = tokio::task::spawn_blocking(move || tour.show());
        tokio::select! {
            shown = showing => shown.map_err(|error| Failure::Failed(error.into()))??,
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
