//! `config`: prints the annotated example, the JSON Schema, or the providers.

mod providers;

use clap::{Args, Subcommand};

use super::command_error::CommandError;
use super::output::Output;
use crate::config;
use providers::ProvidersCommand;

/// Print an annotated configuration, the JSON Schema of one, or the providers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hookferry config example > hookferry.toml
  hookferry config schema > hookferry.schema.json   # for an editor that completes and checks TOML
  hookferry config providers                        # who may send
  hookferry config providers github                 # how, as a table to copy under another name
  hookferry config providers --config hookferry.toml")]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every key with its default, annotated (TOML).
    Example,
    /// The JSON Schema (2020-12) of the file.
    Schema,
    Providers(ProvidersCommand),
}

impl ConfigCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let text = match &self.what {
            What::Example => config::EXAMPLE.to_owned(),
            What::Schema => config::schema(),
            What::Providers(providers) => return providers.run(),
        };
        Output::new().line(text.trim_end())
    }
}
