//! One name, one type: whoever searches for a type's name finds it, and only it.

use std::collections::{BTreeMap, BTreeSet};

use super::files;

/// Names that two types have, each with its reason.
const TWICE: &[(&str, &str)] = &[
    (
        "Exporter",
        "with and without the feature otlp: one of the two is built",
    ),
    (
        "ExportError",
        "with and without the feature otlp: one of the two is built",
    ),
];

/// The type that a line declares for others to see.
fn declared(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => rest,
    };
    let (kind, rest) = rest.trim_start().split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type"].contains(&kind);
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    is_type.then(|| &rest[..end.unwrap_or(rest.len())])
}

#[test]
fn no_two_public_types_have_one_name() {
    let files = files("src");
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in &files {
        for name in file.code().filter_map(declared) {
            found.entry(name).or_default().push(&file.path);
        }
    }
    assert!(found.len() > 100, "the search finds {}", found.len());
    found.retain(|_, places| places.len() > 1);
    let allowed: BTreeSet<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    let twice: BTreeSet<&str> = found.keys().copied().collect();
    let wrong: Vec<_> = found
        .iter()
        .filter(|(name, _)| !allowed.contains(**name))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let unneeded: Vec<_> = allowed.difference(&twice).collect();
    assert!(unneeded.is_empty(), "allowed, but not there: {unneeded:?}");
}

#[test]
fn a_declaration_is_told_from_a_use() {
    assert_eq!(declared("pub struct Row<'a> {"), Some("Row"));
    assert_eq!(declared("    pub(super) enum Place {"), Some("Place"));
    assert_eq!(declared("pub(in crate::spool) type Ids = u8;"), Some("Ids"));
    assert_eq!(declared("pub fn row() {"), None);
    assert_eq!(declared("struct Own;"), None);
}
