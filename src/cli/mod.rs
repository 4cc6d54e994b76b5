//! The commands: what a person types, and what the program answers on the terminal.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Settings};

/// Signed webhooks in, RabbitMQ or Kafka out, nothing lost in between.
#[derive(Debug, Parser)]
#[command(name = "hookferry", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge.
    Serve(serve::Serve),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file (TOML); `hookferry config example` prints one.
    #[arg(long, value_name = "FILE", env = "HOOKFERRY_CONFIG")]
    config: PathBuf,
}

/// How a command ended, when not well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was asked for wrongly, or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// It went wrong.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl ConfigFile {
    fn load(&self) -> Result<Settings, Failure> {
        config::load(&self.config).map_err(|problems| {
            let file = self.config.display();
            Failure::Usage(format!(
                "the configuration {file} cannot be used:\n{problems}"
            ))
        })
    }
}

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Usage(_)) => end(&failure, 2),
        Err(failure) => end(&failure, 1),
    }
}

fn end(failure: &Failure, code: u8) -> ExitCode {
    match failure {
        Failure::Usage(text) => eprintln!("hookferry: {text}"),
        Failure::Failed(error) => eprintln!("hookferry: {error:#}"),
    }
    ExitCode::from(code)
}

/// The runtime of everything that is asynchronous.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("hookferry")
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::Failed(anyhow::anyhow!("the runtime cannot be started: {error}")))
}
