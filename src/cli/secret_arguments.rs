//! The secret a command signs or verifies with: from a file or a variable, never from the command
//! line, where everybody on the machine could read it.

use std::path::PathBuf;

use clap::Args;

use super::command_error::CommandError;
use crate::source::{
    Encoding, KeyForm, Secret, SecretDoubt, SecretError, SecretForm, SigningKey, doubt,
};

/// Where the secret is.
#[derive(Debug, Args)]
pub(super) struct SecretArguments {
    /// A file that holds the webhook's secret or key; white space around it does not count.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "secret_env",
        conflicts_with = "secret_env"
    )]
    secret_file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
    /// What the secret's text is to be decoded from, base64 or hex; as the provider writes it unless
    /// given.
    #[arg(long, value_name = "ENCODING", value_parser = encoding)]
    secret_encoding: Option<Encoding>,
}

/// The secret's text as it stands there, white space and all.
pub(super) struct SecretText {
    bytes: Vec<u8>,
    encoding: Option<Encoding>,
}

impl SecretArguments {
    /// Reads the secret.
    pub(super) fn read(&self) -> Result<SecretText, CommandError> {
        let text = match (&self.secret_file, &self.secret_env) {
            (Some(file), _) => std::fs::read(file).map_err(|error| {
                CommandError::Usage(format!("--secret-file {}: {error}", file.display()))
            })?,
            (None, Some(variable)) => match std::env::var_os(variable) {
                Some(value) => value.into_encoded_bytes(),
                None => {
                    let text = format!("--secret-env: the variable {variable} is not set");
                    return Err(CommandError::Usage(text));
                }
            },
            (None, None) => {
                return Err(CommandError::Usage(
                    "name --secret-file or --secret-env".into(),
                ));
            }
        };
        Ok(SecretText {
            bytes: text,
            encoding: self.secret_encoding,
        })
    }

    /// What a sender signs with, in the form that its provider writes it.
    pub(super) fn signing_key(&self, form: &SecretForm) -> Result<SigningKey, CommandError> {
        let text = self.read()?;
        SigningKey::read(&text.bytes, form, text.encoding).map_err(|error| {
            let remedy = error.remedy().unwrap_or("put the webhook's secret there");
            CommandError::Usage(format!("{error}; {remedy}"))
        })
    }
}

fn encoding(text: &str) -> Result<Encoding, String> {
    let known = Encoding::ALL.iter().find(|(name, _)| *name == text);
    known.map_or_else(
        || Err("there are base64 and hex".to_owned()),
        |(_, encoding)| Ok(*encoding),
    )
}

impl SecretText {
    /// A text that was read already.
    #[cfg(test)]
    pub(super) fn new(bytes: &[u8], encoding: Option<Encoding>) -> Self {
        Self {
            bytes: bytes.to_vec(),
            encoding,
        }
    }

    /// The secret as the bridge takes it.
    pub(super) fn secret(&self, form: &SecretForm) -> Result<Secret, SecretError> {
        Secret::read(&self.bytes, form, self.encoding)
    }

    /// What a person should be told of a secret that the bridge takes.
    pub(super) fn doubt(&self, form: &SecretForm) -> Option<SecretDoubt> {
        let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
        let is_text = self.encoding.is_none() && form.key == KeyForm::Text;
        doubt(text.trim()).filter(|_| is_text)
    }

    /// How its bytes are to be read.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        self.encoding
    }

    /// The bytes as they stand there. A visible call: they must not be printed.
    pub(super) fn expose(&self) -> &[u8] {
        &self.bytes
    }
}
