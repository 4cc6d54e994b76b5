//! Whose delivery is explained, and who else could have sent it.

use std::sync::Arc;

use clap::Args;

use crate::cli::command_error::CommandError;
use crate::source::{self, Provider, ProviderProblem, ProviderTable, ProviderTables};

/// The provider of the delivery.
#[derive(Debug, Args)]
pub(super) struct ProviderChoice {
    /// Whose delivery it is, such as github or stripe.
    #[arg(long, value_name = "NAME", default_value = "onecodex")]
    provider: String,
}

/// The provider that was chosen, and the others.
pub(super) struct KnownProviders {
    /// The one that was chosen.
    pub chosen: Arc<Provider>,
    /// Every other one.
    pub others: Vec<Arc<Provider>>,
}

impl ProviderChoice {
    /// Reads the tables of all providers.
    pub fn read(&self) -> Result<KnownProviders, CommandError> {
        let tables = ProviderTables::built_in();
        let wrong = |problems: Vec<ProviderProblem>| {
            let text = |problem: &ProviderProblem| format!("{}; {}", problem.found, problem.remedy);
            let texts: Vec<String> = problems.iter().map(text).collect();
            CommandError::Usage(format!("--provider: {}", texts.join("\n")))
        };
        let chosen = compiled(&tables, &self.provider).map_err(wrong)?;
        let others = tables.names().filter(|name| *name != self.provider);
        // Of a table that cannot be used, nobody has asked.
        let others = others.filter_map(|name| compiled(&tables, name).ok());
        Ok(KnownProviders {
            chosen,
            others: others.collect(),
        })
    }
}

fn compiled(tables: &ProviderTables, name: &str) -> Result<Arc<Provider>, Vec<ProviderProblem>> {
    let table = tables.resolved(name).map_err(|problem| vec![problem])?;
    let table: ProviderTable = table.try_into().map_err(|error: toml::de::Error| {
        vec![ProviderProblem {
            key: String::new(),
            found: error.message().to_owned(),
            remedy: "correct its table".to_owned(),
        }]
    })?;
    source::provider(name, &table).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_others_are_known_besides_the_one_that_is_named() {
        let provider = "github".to_owned();
        let known = ProviderChoice { provider }.read().expect("built in");
        assert_eq!(known.chosen.name, "github");
        assert!(known.others.len() > 20, "{}", known.others.len());
        assert!(known.others.iter().all(|other| other.name != "github"));
        let provider = "gihtub".to_owned();
        let unknown = ProviderChoice { provider }
            .read()
            .err()
            .expect("no such name");
        assert!(
            unknown.to_string().contains("did you mean \"github\""),
            "{unknown}"
        );
    }
}
