//! The `route` tables: which events go to which sinks.

use std::collections::HashSet;

use toml::{Table, Value};

use super::file::RouteFile;
use super::named::Named;
use super::problem::ConfigProblems;
use super::section::{self, join};
use super::settings::{RouteSettings, SinkSettings, SourceSettings};
use crate::name::{EventType, SinkName, SourceName};

/// Reads them all.
pub(super) fn routes(value: Option<Value>, problems: &mut ConfigProblems) -> Vec<RouteSettings> {
    let items = match value {
        Some(Value::Array(items)) => items,
        None => Vec::new(),
        Some(_) => {
            problems.add(
                "route",
                "this is not a list of tables",
                "write each route as [[route]]",
            );
            Vec::new()
        }
    };
    let mut routes = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("route[{index}]");
        match item {
            Value::Table(table) => routes.extend(route(&path, table, problems)),
            _ => problems.add(path, "this is not a table", "write each route as [[route]]"),
        }
    }
    routes
}

fn route(path: &str, table: Table, problems: &mut ConfigProblems) -> Option<RouteSettings> {
    let file: RouteFile = section::read(path, table, problems);
    let source_path = join(path, "source");
    let source = problems.require(&source_path, file.source, "name a source");
    let source = source
        .and_then(|name| problems.take(&source_path, SourceName::parse(&name), "name a source"));
    let sinks = problems.require(
        &join(path, "sinks"),
        file.sinks.filter(|sinks| !sinks.is_empty()),
        "name at least one sink",
    );
    let mut parsed = Vec::new();
    for (index, name) in sinks.unwrap_or_default().iter().enumerate() {
        parsed.extend(problems.take(
            &format!("{path}.sinks[{index}]"),
            SinkName::parse(name),
            "name a sink",
        ));
    }
    let mut types = file.event_types.as_ref().map(|_| HashSet::new());
    for (index, name) in file.event_types.iter().flatten().enumerate() {
        let parsed = problems.take(
            &format!("{path}.event_types[{index}]"),
            EventType::parse(name),
            "correct the event type",
        );
        types
            .as_mut()
            .map(|types| parsed.map(|parsed| types.insert(parsed)));
    }
    Some(RouteSettings {
        source: source?,
        sinks: parsed,
        event_types: types,
    })
}

/// Every route has its ends, every event a way, and every sink a route.
pub(super) fn check(
    sources: &Named<SourceSettings>,
    sinks: &Named<SinkSettings>,
    routes: &[RouteSettings],
    problems: &mut ConfigProblems,
) {
    for (index, route) in routes.iter().enumerate() {
        if !sources.names.contains(route.source.as_str()) {
            problems.add(
                format!("route[{index}].source"),
                format!("there is no source {:?}", route.source),
                format!("add [source.{}], or correct the name", route.source),
            );
        }
        for sink in route
            .sinks
            .iter()
            .filter(|sink| !sinks.names.contains(sink.as_str()))
        {
            problems.add(
                format!("route[{index}].sinks"),
                format!("there is no sink {sink:?}"),
                format!("add [sink.{sink}], or correct the name"),
            );
        }
    }
    for source in &sources.names {
        if !routes
            .iter()
            .any(|route| route.source.as_str() == source && route.event_types.is_none())
        {
            problems.add(
                format!("source.{source}"),
                "no route takes all of its events, so some would go nowhere",
                "add a [[route]] for it without event_types",
            );
        }
    }
    for sink in &sinks.names {
        if !routes
            .iter()
            .any(|route| route.sinks.iter().any(|name| name.as_str() == sink))
        {
            problems.add(
                format!("sink.{sink}"),
                "no route leads to it",
                "name it in a [[route]], or remove it",
            );
        }
    }
}
