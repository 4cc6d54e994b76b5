//! The `provider` tables: kinds of senders besides those that are built in. Each is checked, whether a
//! source names it or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::problem::{ConfigProblem, ConfigProblems};
use super::section::{self, join};
use super::{event_types, uri};
use crate::name::SourceName;
use crate::source::{self, HandshakeTable, Provider, ProviderTable, ProviderTables};

/// The providers that a source may name.
pub(super) struct Providers {
    /// Every table, as it was written.
    pub tables: ProviderTables,
    /// Those of the configuration; none where something is wrong with one.
    configured: BTreeMap<String, Option<Arc<Provider>>>,
}

/// What became of one table: the paths of its problems are below the table.
struct Compiled {
    provider: Option<Arc<Provider>>,
    problems: ConfigProblems,
}

impl Providers {
    /// Reads the tables of a configuration.
    pub fn read(section: Table, problems: &mut ConfigProblems) -> Self {
        let mut tables = ProviderTables::built_in();
        let own = add(section, &mut tables, problems);
        let compiled: BTreeMap<&str, Compiled> = own
            .iter()
            .map(|(name, table)| (name.as_str(), compile(name, table, &tables, &own)))
            .collect();
        for (name, one) in &compiled {
            // What a table has of another one is noted there.
            let base = extended(&own, name).and_then(|base| compiled.get(base));
            let is_inherited = |found: &ConfigProblem| {
                base.is_some_and(|base| base.problems.iter().any(|it| it == found))
            };
            let path = join("provider", name);
            for found in one.problems.iter().filter(|found| !is_inherited(found)) {
                problems.add(join(&path, &found.path), &found.found, &found.remedy);
            }
        }
        let configured = compiled
            .into_iter()
            .map(|(name, one)| (name.to_owned(), one.provider));
        Self {
            configured: configured.collect(),
            tables,
        }
    }

    /// The provider that a source names at `path`. None where there is no such provider, which is
    /// noted, or where something is wrong with its table, which has been noted there.
    pub fn find(
        &self,
        path: &str,
        name: &str,
        problems: &mut ConfigProblems,
    ) -> Option<Arc<Provider>> {
        if let Some(configured) = self.configured.get(name) {
            return configured.clone();
        }
        let built_in = source::built_in(name);
        if built_in.is_none()
            && let Err(problem) = self.tables.resolved(name)
        {
            problems.add(path, problem.found, problem.remedy);
        }
        built_in
    }
}

/// Adds the tables of a configuration to those that are built in, and returns its own.
fn add(section: Table, tables: &mut ProviderTables, problems: &mut ConfigProblems) -> Table {
    let mut own = Table::new();
    for (name, value) in section {
        let path = join("provider", &name);
        let Value::Table(table) = value else {
            let remedy = format!("write it as [provider.{name}]");
            problems.add(path, "this is not a table", remedy);
            continue;
        };
        if SourceName::parse(&name).is_err() {
            problems.add(
                &path,
                "a provider's name must be 1 to 40 characters out of a-z, 0-9, `-` and `_`, the first a letter or digit",
                "rename the provider",
            );
        }
        match tables.add(&name, table.clone()) {
            Ok(()) => {
                own.insert(name, Value::Table(table));
            }
            Err(problem) => problems.add(path, problem.found, problem.remedy),
        }
    }
    own
}

/// The provider that this one extends.
fn extended<'a>(own: &'a Table, name: &str) -> Option<&'a str> {
    own.get(name)?.get("extends")?.as_str()
}

fn compile(name: &str, written: &Value, tables: &ProviderTables, own: &Table) -> Compiled {
    let mut problems = ConfigProblems::default();
    let resolved = tables.resolved(name);
    if resolved.is_err() {
        note_extends(name, tables, own, &mut problems);
    }
    let is_whole = resolved.is_ok();
    let table = resolved.unwrap_or_else(|_| {
        let mut written = written.as_table().cloned().unwrap_or_default();
        written.remove("extends");
        written
    });
    let table = read(table, &mut problems);
    // Where what it extends is not known, nobody knows what it lacks.
    let provider = is_whole.then(|| source::provider(name, &table));
    let provider = match provider {
        Some(Ok(provider)) => Some(provider),
        Some(Err(found)) => {
            for problem in found {
                if !is_noted(&problem.key, &problems) {
                    problems.add(problem.key, problem.found, problem.remedy);
                }
            }
            None
        }
        None => None,
    };
    let provider = provider.filter(|_| problems.is_empty()).map(Arc::new);
    Compiled { provider, problems }
}

/// Notes what is wrong with the name of the provider that is extended, unless it is the mistake of one
/// that is extended in turn.
fn note_extends(name: &str, tables: &ProviderTables, own: &Table, problems: &mut ConfigProblems) {
    let base = extended(own, name);
    let is_known = |base: &str| tables.names().any(|known| known == base);
    let problem = match base {
        Some(base) if !is_known(base) => tables.resolved(base).err(),
        Some(_) if !leads_back(name, own) => None,
        _ => tables.resolved(name).err(),
    };
    if let Some(problem) = problem {
        problems.add("extends", problem.found, problem.remedy);
    }
}

/// Whether what `name` extends leads back to it.
fn leads_back(name: &str, own: &Table) -> bool {
    let bases = std::iter::successors(extended(own, name), |base| extended(own, base));
    bases.take(own.len()).any(|base| base == name)
}

/// Whether a value has been noted already, and left out, or the scheme that says what it should be.
fn is_noted(key: &str, problems: &ConfigProblems) -> bool {
    let is_below = |key: &str, path: &str| {
        let rest = key.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    problems.iter().any(|problem| {
        let is_scheme = problem.path == "signature.scheme" && key.starts_with("signature.");
        is_scheme || is_below(key, &problem.path) || problem.path.starts_with(&format!("{key}["))
    })
}

/// Reads a table with what it extends filled in. One below it is read on its own, so that a mistake
/// takes one key from it and not all.
fn read(mut table: Table, problems: &mut ConfigProblems) -> ProviderTable {
    let signature = take(&mut table, "signature", problems);
    let event = take(&mut table, "event", problems);
    let structured = take(&mut table, "structured", problems);
    let facts = take(&mut table, "facts", problems);
    let sample = take(&mut table, "sample", problems);
    let handshake = table
        .remove("handshake")
        .map(|value| handshakes(value, problems));
    let table: ProviderTable = section::read("", table, problems);
    uri::check("uri", table.uri.as_deref(), problems);
    event_types::read(
        "event_types",
        table.event_types.as_deref().unwrap_or_default(),
        problems,
    );
    ProviderTable {
        signature,
        event,
        structured,
        handshake,
        facts,
        sample,
        ..table
    }
}

fn take<T: DeserializeOwned + JsonSchema + Default>(
    table: &mut Table,
    key: &str,
    problems: &mut ConfigProblems,
) -> Option<T> {
    match table.remove(key)? {
        Value::Table(inner) => Some(section::read(key, inner, problems)),
        _ => {
            let remedy = format!("write it as [provider.NAME.{key}]");
            problems.add(key, "this is not a table", remedy);
            None
        }
    }
}

fn handshakes(value: Value, problems: &mut ConfigProblems) -> Vec<HandshakeTable> {
    let remedy = "write each as [[provider.NAME.handshake]]";
    let Value::Array(items) = value else {
        problems.add("handshake", "this is not a list of tables", remedy);
        return Vec::new();
    };
    let mut handshakes = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("handshake[{index}]");
        handshakes.push(match item {
            Value::Table(table) => section::read(&path, table, problems),
            _ => {
                problems.add(path, "this is not a table", remedy);
                HandshakeTable::default()
            }
        });
    }
    handshakes
}

#[cfg(test)]
mod tests;
