//! `config providers`: the providers there are, or the table of one.

use std::fmt::Display;

use clap::Args;
use toml::Value;

use super::provider_text;
use crate::cli::command_error::CommandError;
use crate::cli::output::Output;
use crate::cli::provider_argument;
use crate::cli::table::Table;
use crate::source::{Hash, Provider, ProviderTables, Scheme, provider};

/// The providers there are; with a name the table of one, with what it extends and its defaults.
#[derive(Debug, Args)]
pub(super) struct ProvidersCommand {
    /// The provider whose table is printed, as TOML.
    name: Option<String>,
}

impl ProvidersCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let tables = ProviderTables::built_in();
        let mut output = Output::new();
        match &self.name {
            Some(name) => {
                let (provider, table) = named(&tables, name)?;
                output.line(provider_text::text(&provider, table).trim_end())
            }
            None => list(&tables)?.show(&mut output),
        }
    }
}

fn list(tables: &ProviderTables) -> Result<Table, CommandError> {
    let mut rows = Table::new(&["provider", "scheme", "header"]);
    for name in tables.names() {
        let (provider, _) = named(tables, name)?;
        let scheme = scheme(provider.signature.scheme()).to_owned();
        rows.row(vec![name.to_owned(), scheme, header(&provider)]);
    }
    Ok(rows)
}

/// A provider and its table, with what it extends filled in.
fn named(tables: &ProviderTables, name: &str) -> Result<(Provider, toml::Table), CommandError> {
    let resolved = tables.resolved(name);
    let table = resolved.map_err(|problem| provider_argument::unknown("", &problem))?;
    let wrong = |problem: &dyn Display| {
        CommandError::Usage(format!("[provider.{name}] cannot be used: {problem}"))
    };
    let read = Value::Table(table.clone()).try_into();
    let read = read.map_err(|error| wrong(&error))?;
    let provider = provider(name, &read).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        wrong(&problems.join("; "))
    })?;
    Ok((provider, table))
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
            let (provider, _) = named(&tables, name).expect(name);
            assert_eq!(scheme(provider.signature.scheme()), expected_scheme);
            assert_eq!(header(&provider), expected_header);
        }
    }

    #[test]
    fn a_table_that_cannot_be_used_says_why() {
        let mut tables = ProviderTables::built_in();
        let table = "[signature]\nheader = \"x-lab\"\nsigned = \"{nothing}\"";
        tables
            .add("lab", table.parse().expect("TOML"))
            .expect("a new name");
        let problem = |name| match named(&tables, name) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{name} can be used"),
        };
        let text = problem("lab");
        assert!(
            text.contains("[provider.lab]") && text.contains("{nothing}"),
            "{text}"
        );
        assert!(problem("githup").contains("did you mean \"github\"?"));
    }
}
