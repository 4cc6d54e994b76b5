//! The provider tables: those that are built in, and those of a configuration beside them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use toml::{Table, Value};

use super::problem::ProviderProblem;
use super::table::ProviderTable;
use super::{Provider, compile};

/// The tables that are built in, as TOML.
pub const BUILT_IN: &str = include_str!("builtin.toml");

/// The same, parsed.
static BUILT_IN_TABLES: LazyLock<ProviderTables> = LazyLock::new(|| {
    let file: Table = BUILT_IN.parse().expect("a test reads it");
    let tables = file.get("provider").and_then(Value::as_table).cloned();
    let table = |(name, value)| match value {
        Value::Table(table) => Some((name, table)),
        _ => None,
    };
    let tables = tables.unwrap_or_default().into_iter();
    ProviderTables(tables.filter_map(table).collect())
});

/// One Codex, a platform for microbial genomics (<https://docs.onecodex.com>, webhooks).
pub static ONE_CODEX: LazyLock<Arc<Provider>> =
    LazyLock::new(|| built_in("onecodex").expect("it is built in"));

/// A provider that is built in.
#[must_use]
pub fn built_in(name: &str) -> Option<Arc<Provider>> {
    let table = BUILT_IN_TABLES.resolved(name).ok()?;
    let table: ProviderTable = Value::Table(table).try_into().ok()?;
    compile::provider(name, &table).ok().map(Arc::new)
}

/// Provider tables by name, each as it was written.
#[derive(Debug, Clone)]
pub struct ProviderTables(BTreeMap<String, Table>);

impl ProviderTables {
    /// Those that are built in.
    #[must_use]
    pub fn built_in() -> Self {
        BUILT_IN_TABLES.clone()
    }

    /// Adds one of a configuration.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn add(&mut self, name: &str, table: Table) -> Result<(), ProviderProblem> {
        if self.0.contains_key(name) {
            return Err(ProviderProblem {
                key: String::new(),
                found: format!("there is a built-in provider {name:?}"),
                remedy: format!(
                    "give it another name; `extends = \"{name}\"` takes over what it does not change"
                ),
            });
        }
        self.0.insert(name.to_owned(), table);
        Ok(())
    }

    /// Their names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The table of that name, with what it extends filled in.
    ///
    /// # Errors
    /// When there is none, or what it extends is not there or leads back to it.
    pub fn resolved(&self, name: &str) -> Result<Table, ProviderProblem> {
        let mut seen = vec![name];
        let mut table = self.table(name)?.clone();
        while let Some(base) = table.remove("extends") {
            let problem = |found| ProviderProblem {
                key: "extends".to_owned(),
                found,
                remedy: "name another provider, or leave the key out".to_owned(),
            };
            let Value::String(base) = base else {
                return Err(problem("this is no name of a provider".to_owned()));
            };
            let Some((base, values)) = self.0.get_key_value(&base) else {
                return Err(problem(format!("there is no provider {base:?}")));
            };
            if seen.contains(&base.as_str()) {
                let circle = seen.join(" → ");
                return Err(problem(format!("it leads in a circle: {circle} → {base}")));
            }
            seen.push(base);
            merge(&mut table, values);
        }
        Ok(table)
    }

    fn table(&self, name: &str) -> Result<&Table, ProviderProblem> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            let found = format!("there is no provider {name:?}");
            let near = known.iter().filter_map(|known| {
                let distance = strsim::damerau_levenshtein(known, name);
                (distance <= 2).then_some((distance, *known))
            });
            let remedy = match near.min() {
                Some((_, near)) => format!("did you mean {near:?}?"),
                None => format!(
                    "name one of {}, or define [provider.{name}]",
                    known.join(", ")
                ),
            };
            ProviderProblem {
                key: String::new(),
                found,
                remedy,
            }
        })
    }
}

/// Fills in what `table` lacks, table by table.
fn merge(table: &mut Table, base: &Table) {
    for (key, value) in base {
        match (table.get_mut(key), value) {
            (None, _) => {
                table.insert(key.clone(), value.clone());
            }
            (Some(Value::Table(own)), Value::Table(base)) => merge(own, base),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> ProviderTables {
        let mut tables = ProviderTables::built_in();
        for (name, value) in text.parse::<Table>().expect("TOML") {
            tables
                .add(&name, value.as_table().expect("a table").clone())
                .expect("a new name");
        }
        tables
    }

    #[test]
    fn every_built_in_provider_is_one() {
        let tables = ProviderTables::built_in();
        assert!(tables.names().count() >= 25);
        for name in tables.names() {
            let table = tables.resolved(name).expect(name);
            let table: ProviderTable = Value::Table(table).try_into().expect(name);
            let provider = compile::provider(name, &table);
            let provider = provider.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
            assert!(provider.sample.is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_extended_fills_in_what_is_left_out() {
        let tables = tables(
            "[lab]\nextends = \"stripe\"\nuri = \"urn:lab\"\n[lab.signature]\ntag = \"v9\"\n[lab.event]\nobject = \"{/x}\"",
        );
        let lab = tables.resolved("lab").expect("it is there");
        let stripe = tables.resolved("stripe").expect("built in");
        assert_eq!(lab["uri"].as_str(), Some("urn:lab"));
        assert_eq!(lab["signature"]["tag"].as_str(), Some("v9"));
        assert_eq!(lab["signature"]["header"], stripe["signature"]["header"]);
        assert_eq!(lab["event"]["object"].as_str(), Some("{/x}"));
        assert_eq!(lab["event"]["id"], stripe["event"]["id"]);
        assert!(lab.get("extends").is_none());
    }

    #[test]
    fn a_circle_and_an_unknown_name_are_named() {
        let tables = tables(
            "[a]\nextends = \"b\"\n[b]\nextends = \"c\"\n[c]\nextends = \"b\"\n[d]\nextends = \"x\"\n[e]\nextends = 1",
        );
        for (name, expected) in [
            ("a", "a → b → c → b"),
            ("b", "b → c → b"),
            ("d", "there is no provider \"x\""),
            ("e", "no name"),
            ("strpe", "did you mean \"stripe\"?"),
            ("nobody-knows", "name one of "),
        ] {
            let problem = tables.resolved(name).expect_err(name).to_string();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_second_one_of_a_name_is_refused() {
        let mut tables = ProviderTables::built_in();
        let problem = tables.add("github", Table::new()).expect_err("built in");
        assert!(
            problem.to_string().contains("extends = \"github\""),
            "{problem}"
        );
    }
}
