//! Whose delivery is explained, and who else could have sent it.

use std::sync::Arc;

use clap::Args;

use crate::cli::command_error::CommandError;
use crate::cli::provider_argument::{ConfiguredProviders, find};
use crate::source::Provider;

/// The provider of the delivery.
#[derive(Debug, Args)]
pub(super) struct ProviderChoice {
    /// Whose delivery it is, such as github or stripe; `hookferry config providers` names all.
    #[arg(long, value_name = "NAME", default_value = "onecodex")]
    provider: String,
    #[command(flatten)]
    known: ConfiguredProviders,
}

impl ProviderChoice {
    /// The provider that was chosen, and every other one.
    pub fn read(&self) -> Result<(Arc<Provider>, Vec<Arc<Provider>>), CommandError> {
        let tables = self.known.tables()?;
        let (chosen, _) = find(&tables, &self.provider)?;
        let others = tables.names().filter(|name| *name != self.provider);
        // Nobody has asked about a table that cannot be used.
        let others = others.filter_map(|name| find(&tables, name).ok());
        let others = others.map(|(provider, _)| Arc::new(provider)).collect();
        Ok((Arc::new(chosen), others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choice: ProviderChoice,
    }

    #[test]
    fn all_others_are_known_besides_the_one_that_is_named() {
        let line = |name: &str| Line::parse_from(["explain", "--provider", name]);
        let (chosen, others) = line("github").choice.read().expect("built in");
        assert_eq!(chosen.name, "github");
        assert!(others.len() > 20, "{}", others.len());
        assert!(others.iter().all(|other| other.name != "github"));
        let unknown = line("gihtub").choice.read().expect_err("no such name");
        assert!(
            unknown.to_string().contains("did you mean \"github\""),
            "{unknown}"
        );
    }
}
