//! `config`: prints the annotated example, or the JSON Schema.

use clap::{Args, Subcommand};

use super::command_error::CommandError;
use super::output::Output;
use crate::config;

/// Print an annotated configuration, or the JSON Schema of one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hookferry config example > hookferry.toml
  hookferry config schema > hookferry.schema.json   # for an editor that completes and checks TOML")]
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
}

impl ConfigCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let text = match self.what {
            What::Example => config::EXAMPLE.to_owned(),
            What::Schema => config::schema(),
        };
        Output::new().line(text.trim_end())
    }
}
