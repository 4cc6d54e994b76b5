//! Sections of tables with names of their own: `[source.NAME]`, `[sink.NAME]`.

use std::collections::HashSet;

use toml::{Table, Value};

use super::problem::ConfigProblems;
use super::section::join;

/// What a section of named tables held: the names, and those that could be read.
pub(super) struct Named<T> {
    pub names: HashSet<String>,
    pub read: Vec<T>,
}

/// Reads every table of a section of this kind, each with `read`.
pub(super) fn named<T>(
    sections: &mut Table,
    kind: &str,
    problems: &mut ConfigProblems,
    read: impl Fn(&str, Table, &mut ConfigProblems) -> Option<T>,
) -> Named<T> {
    let mut named = Named {
        names: HashSet::new(),
        read: Vec::new(),
    };
    let tables = take_table(sections, kind, problems);
    if tables.is_empty() {
        problems.add(
            kind,
            format!("there is no {kind}"),
            format!("add a table [{kind}.NAME]"),
        );
    }
    for (name, value) in tables {
        named.names.insert(name.clone());
        match value {
            Value::Table(table) => named.read.extend(read(&name, table, problems)),
            _ => problems.add(
                join(kind, &name),
                "this is not a table",
                format!("write it as [{kind}.{name}]"),
            ),
        }
    }
    named
}

/// Takes a section out of the file; an empty one where there is none.
pub(super) fn take_table(sections: &mut Table, name: &str, problems: &mut ConfigProblems) -> Table {
    match sections.remove(name) {
        None => Table::new(),
        Some(Value::Table(table)) => table,
        Some(_) => {
            problems.add(name, "this is not a table", format!("write it as [{name}]"));
            Table::new()
        }
    }
}
