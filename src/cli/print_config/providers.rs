//! `config providers`: the providers there are, or the table of one.

use clap::Args;

use crate::cli::command_error::CommandError;
use crate::cli::output::Output;
use crate::cli::provider_argument::{ConfiguredProviders, find};
use crate::cli::provider_text;
use crate::cli::table::Table;
use crate::source::{Hash, Provider, ProviderTables, Scheme};

/// The providers there are; with a name the table of one, with what it extends and its defaults.
#[derive(Debug, Args)]
pub(super) struct ProvidersCommand {
    /// The provider whose table is printed, as TOML.
    name: Option<String>,
    #[command(flatten)]
    known: ConfiguredProviders,
}

impl ProvidersCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let tables = self.known.tables()?;
        let mut output = Output::new();
        match &self.name {
            Some(name) => {
                let (provider, table) = find(&tables, name)?;
                output.line(provider_text::text(&provider, table).trim_end())
            }
            None => list(&tables)?.show(&mut output),
        }
    }
}

fn list(tables: &ProviderTables) -> Result<Table, CommandError> {
    let mut rows = Table::new(&["provider", "scheme", "header"]);
    for name in tables.names() {
        let (provider, _) = find(tables, name)?;
        let scheme = scheme(provider.signature.scheme()).to_owned();
        rows.row(vec![name.to_owned(), scheme, header(&provider)]);
    }
    Ok(rows)
}

fn scheme(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Hmac(Hash::Sha1) => "hmac-sha1",
        Scheme::Hmac(Hash::Sha256) => "hmac-sha256",
        Scheme::Hmac(Hash::Sha512) => "hmac-sha512",
        Scheme::Ed25519 => "ed25519",
        Scheme::EcdsaP256 => "ecdsa-p256",
        Scheme::Token => "token",
        Scheme::Url => "url",
    }
}

fn header(provider: &Provider) -> String {
    match provider.signature.headers.as_slice() {
        [] => "-".to_owned(),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_listed() {
        let tables = ProviderTables::built_in();
        assert!(list(&tables).is_ok());
        for (name, expected_scheme, expected_header) in [
            ("onecodex", "hmac-sha256", "x-onecodex-signature"),
            ("twilio", "hmac-sha1", "x-twilio-signature"),
            (
                "docusign",
                "hmac-sha256",
                "x-docusign-signature-1 and 7 more",
            ),
            ("benchling", "ecdsa-p256", "webhook-signature"),
            ("docker_hub", "url", "-"),
        ] {
            let (provider, _) = find(&tables, name).expect(name);
            assert_eq!(scheme(provider.signature.scheme()), expected_scheme);
            assert_eq!(header(&provider), expected_header);
        }
    }
}
