//! The provider a command works with: one that is built in, or one of a configuration.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use toml::{Table, Value};

use super::command_error::CommandError;
use super::config_file::cannot_be_used;
use crate::config;
use crate::source::{self, Provider, ProviderTables};

/// Whose deliveries.
#[derive(Debug, Args)]
pub(super) struct ProviderArgument {
    /// Who sends, such as github or stripe; `hookferry config providers` names all.
    #[arg(long, value_name = "NAME", default_value = "onecodex")]
    provider: String,
    #[command(flatten)]
    known: ConfiguredProviders,
}

/// Which providers there are.
#[derive(Debug, Args)]
pub(super) struct ConfiguredProviders {
    /// A configuration file, whose providers are known besides those that are built in.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ProviderArgument {
    /// The provider of that name, and its table with what it extends filled in.
    pub(super) fn read(&self) -> Result<(Arc<Provider>, Table), CommandError> {
        let (provider, table) = find(&self.known.tables()?, &self.provider)?;
        Ok((Arc::new(provider), table))
    }
}

impl ConfiguredProviders {
    /// Their tables.
    pub(super) fn tables(&self) -> Result<ProviderTables, CommandError> {
        match &self.config {
            Some(file) => {
                config::provider_tables(file).map_err(|problems| cannot_be_used(file, &problems))
            }
            None => Ok(ProviderTables::built_in()),
        }
    }
}

/// A provider by its name, and its table with what it extends filled in.
pub(super) fn find(tables: &ProviderTables, name: &str) -> Result<(Provider, Table), CommandError> {
    let table = tables
        .resolved(name)
        .map_err(|problem| CommandError::Usage(format!("{}; {}", problem.found, problem.remedy)))?;
    let wrong = |problem: &dyn Display| {
        CommandError::Usage(format!("[provider.{name}] cannot be used: {problem}"))
    };
    let read = Value::Table(table.clone()).try_into();
    let read = read.map_err(|error| wrong(&error))?;
    let provider = source::provider(name, &read).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        wrong(&problems.join("; "))
    })?;
    Ok((provider, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_cannot_be_used_says_why() {
        let mut tables = ProviderTables::built_in();
        let table = "[signature]\nheader = \"x-lab\"\nsigned = \"{nothing}\"";
        tables
            .add("lab", table.parse().expect("TOML"))
            .expect("a new name");
        let problem = |name| match find(&tables, name) {
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
