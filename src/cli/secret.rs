//! The secret a command signs or verifies with: from a file or a variable, never from the command
//! line, where everybody on the machine could read it.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::source::Secret;

/// Where the secret is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct SecretPlace {
    /// A file that holds the webhook's secret; white space around it does not count.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
}

/// The secret's text as it stands there, white space and all.
pub(super) struct SecretText(Vec<u8>);

impl SecretPlace {
    /// Reads the secret.
    pub(super) fn read(&self) -> Result<SecretText, Failure> {
        let text = match (&self.secret_file, &self.secret_env) {
            (Some(file), _) => std::fs::read(file).map_err(|error| {
                Failure::Usage(format!("--secret-file {}: {error}", file.display()))
            })?,
            (None, Some(variable)) => match std::env::var_os(variable) {
                Some(value) => value.into_encoded_bytes(),
                None => {
                    let text = format!("--secret-env: the variable {variable} is not set");
                    return Err(Failure::Usage(text));
                }
            },
            (None, None) => {
                return Err(Failure::Usage("name --secret-file or --secret-env".into()));
            }
        };
        Ok(SecretText(text))
    }

    /// The secret, ready to sign.
    pub(super) fn secret(&self) -> Result<Secret, Failure> {
        self.read()?.secret()
    }
}

impl SecretText {
    /// The secret as the bridge takes it.
    pub(super) fn secret(&self) -> Result<Secret, Failure> {
        let text = std::str::from_utf8(&self.0)
            .map_err(|_| Failure::Usage("the secret is not UTF-8 text".into()))?;
        Secret::new(text).map_err(|error| Failure::Usage(error.to_string()))
    }

    /// The bytes as they stand there. A visible call: they must not be printed.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}
