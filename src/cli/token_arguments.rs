//! The token that a command shows to the operators' listener: from a file or a variable where one is
//! named, else the configuration's. Never from the command line, where everybody on the machine could
//! read it.

use std::path::PathBuf;

use clap::Args;

use super::command_error::CommandError;
use crate::admin::AdminToken;
use crate::config::value::SecretReference;

/// Where the token is.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct TokenArguments {
    /// A file that holds the admin listener's token; from the configuration unless given.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[arg(long, value_name = "VARIABLE")]
    token_env: Option<String>,
}

impl TokenArguments {
    /// The token that is named here, or else the one of the configuration, where it has one.
    pub(super) fn read(
        &self,
        configured: Option<&AdminToken>,
    ) -> Result<Option<AdminToken>, CommandError> {
        let option = match (&self.token_file, &self.token_env) {
            (None, None) => return Ok(configured.cloned()),
            (Some(_), _) => "--token-file",
            (None, Some(_)) => "--token-env",
        };
        let place = SecretReference {
            file: self.token_file.clone(),
            env: self.token_env.clone(),
            encoding: None,
        };
        let wrong =
            |error: &dyn std::fmt::Display| CommandError::Usage(format!("{option}: {error}"));
        let text = place.read().map_err(|error| wrong(&error))?;
        AdminToken::parse(&text)
            .map(Some)
            .map_err(|error| wrong(&error))
    }
}
