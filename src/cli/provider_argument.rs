//! The provider a command works with.

use std::sync::Arc;

use clap::Args;

use super::command_error::CommandError;
use crate::source::{Provider, ProviderProblem, ProviderTables, built_in};

/// Whose deliveries.
#[derive(Debug, Args)]
pub(super) struct ProviderArgument {
    /// Who sends, such as github or stripe; `hookferry config providers` names all.
    #[arg(long, value_name = "NAME", default_value = "onecodex")]
    provider: String,
}

impl ProviderArgument {
    /// The provider of that name.
    pub(super) fn provider(&self) -> Result<Arc<Provider>, CommandError> {
        let tables = ProviderTables::built_in();
        let known = tables.resolved(&self.provider);
        known.map_err(|problem| unknown("--provider: ", &problem))?;
        built_in(&self.provider).ok_or_else(|| {
            CommandError::Usage(format!("--provider: {} is incomplete", self.provider))
        })
    }
}

/// The error of a name that is none, or of a table that cannot be used; `place` is what stands before.
pub(super) fn unknown(place: &str, problem: &ProviderProblem) -> CommandError {
    CommandError::Usage(format!("{place}{}; {}", problem.found, problem.remedy))
}
