//! The `route` tables: which events go to which sinks.

use std::collections::HashSet;
use std::sync::Arc;

use toml::{Table, Value};

use super::file::RouteFile;
use super::named::Named;
use super::problem::ConfigProblems;
use super::section::{self, join};
use super::settings::{ConditionSettings, RouteSettings, SinkSettings, SourceSettings};
use crate::name::{EventType, SinkName, SourceName};
use crate::source::{ConditionTemplates, FieldTemplate};

/// What a condition can look at.
const VARIABLES: &str = "there are {header.NAME}, {query.NAME}, {item.NAME} and {/json/pointer}";

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
    // A condition that is wrong is one all the same: without it the route would take all.
    let has_conditions = table.contains_key("when");
    let file: RouteFile = section::read(path, table, problems);
    let source_path = join(path, "source");
    let source = problems.require(&source_path, file.source.as_deref(), "name a source");
    let source = source
        .and_then(|name| problems.take(&source_path, SourceName::parse(name), "name a source"));
    let sinks = sinks(path, &file, problems);
    let event_types = event_types(path, &file, problems);
    let when = conditions(&join(path, "when"), &file, problems);
    Some(RouteSettings {
        source: source?,
        sinks,
        drop: file.drop == Some(true),
        event_types,
        when: has_conditions.then_some(when),
    })
}

/// The sinks, or that there are none because the events are dropped.
fn sinks(path: &str, file: &RouteFile, problems: &mut ConfigProblems) -> Vec<SinkName> {
    let named = file.sinks.as_deref().unwrap_or_default();
    match (file.drop, &file.sinks) {
        (Some(true), Some(_)) => problems.add(
            join(path, "drop"),
            "it stands beside `sinks`, and a route does one of the two",
            "leave out `sinks` or `drop`",
        ),
        (Some(true), None) => {}
        (Some(false), _) if named.is_empty() => problems.add(
            join(path, "drop"),
            "false without `sinks` says nothing of where the events go",
            "name at least one sink in `sinks`, or write drop = true",
        ),
        _ if named.is_empty() => problems.add(
            join(path, "sinks"),
            "the key is missing",
            "name at least one sink, or write drop = true",
        ),
        _ => {}
    }
    let sink = |(index, name): (usize, &String)| {
        let at = format!("{path}.sinks[{index}]");
        problems.take(&at, SinkName::parse(name), "name a sink")
    };
    named.iter().enumerate().filter_map(sink).collect()
}

fn event_types(
    path: &str,
    file: &RouteFile,
    problems: &mut ConfigProblems,
) -> Option<HashSet<EventType>> {
    let event_type = |(index, name): (usize, &String)| {
        let at = format!("{path}.event_types[{index}]");
        problems.take(&at, EventType::parse(name), "correct the event type")
    };
    let named = file.event_types.as_ref()?;
    Some(named.iter().enumerate().filter_map(event_type).collect())
}

fn conditions(
    path: &str,
    file: &RouteFile,
    problems: &mut ConfigProblems,
) -> Vec<ConditionSettings> {
    let Some(when) = &file.when else {
        return Vec::new();
    };
    if when.is_empty() {
        let remedy = "name a condition, or leave the key out";
        problems.add(path, "the table is empty, so it asks for nothing", remedy);
    }
    let mut conditions = Vec::new();
    for (text, texts) in when {
        let path = join(path, text);
        let template = template(&path, text, problems);
        if texts.is_empty() {
            let remedy = "name the texts it may be equal to, or leave the condition out";
            problems.add(&path, "the list is empty, so nothing could hold", remedy);
        }
        for (index, _) in texts.iter().enumerate().filter(|(_, it)| it.is_empty()) {
            problems.add(
                format!("{path}[{index}]"),
                "it is empty, and a value that is empty counts as missing",
                "name a text, or leave it out",
            );
        }
        let texts = texts.iter().cloned().collect();
        conditions.extend(template.map(|template| ConditionSettings { template, texts }));
    }
    conditions
}

/// What a condition looks at.
fn template(path: &str, text: &str, problems: &mut ConfigProblems) -> Option<FieldTemplate> {
    let template = problems.take(path, FieldTemplate::parse(text), VARIABLES)?;
    if template.variables().next().is_none() {
        let found = "there is no variable in it, so it is the same for every event";
        problems.add(path, found, VARIABLES);
        return None;
    }
    let wrong = template.variables().find(|it| !it.is_of_event());
    let Some(wrong) = wrong else {
        return Some(template);
    };
    problems.add(path, format!("`{{{wrong}}}` does not go here"), VARIABLES);
    None
}

/// Has each source look at what the conditions of its routes ask for.
pub(super) fn ask(sources: &mut [SourceSettings], routes: &[RouteSettings]) {
    for settings in sources {
        let source = &mut settings.source;
        let own = routes.iter().filter(|route| route.source == source.name);
        let mut templates: Vec<FieldTemplate> = Vec::new();
        for condition in own.flat_map(|route| route.when.iter().flatten()) {
            if !templates.contains(&condition.template) {
                templates.push(condition.template.clone());
            }
        }
        source.conditions = Arc::new(ConditionTemplates::new(templates));
    }
}

/// Every route has its ends, every event a way, and every sink a route.
pub(super) fn check(
    sources: &Named<SourceSettings>,
    sinks: &Named<SinkSettings>,
    routes: &[RouteSettings],
    problems: &mut ConfigProblems,
) {
    check_names(sources, sinks, routes, problems);
    for source in &sources.names {
        check_ways(source, routes, problems);
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

/// Each route's source and sinks are there.
fn check_names(
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
}

/// Each event of the source is taken to a sink or dropped, and what was not understood can go to a
/// sink: it is never dropped.
fn check_ways(source: &str, routes: &[RouteSettings], problems: &mut ConfigProblems) {
    let own = || {
        let routes = routes.iter().enumerate();
        routes.filter(|(_, route)| route.source.as_str() == source)
    };
    let path = join("source", source);
    if !own().any(|(_, route)| route.takes_all()) {
        problems.add(
            path,
            "no route takes all of its events, so some would go nowhere",
            "add a [[route]] for it without event_types and when, with sinks or drop = true",
        );
        return;
    }
    if own().all(|(_, route)| route.drop) {
        problems.add(
            path,
            "none of its routes leads to a sink, and quarantined deliveries are never dropped",
            "add a [[route]] for it with sinks",
        );
    }
    let keeps_all = own().find(|(_, route)| route.takes_all() && !route.drop);
    let Some((keeping, _)) = keeps_all else {
        return;
    };
    for (index, _) in own().filter(|(_, route)| route.drop && route.takes_all()) {
        problems.add(
            format!("route[{index}].drop"),
            format!("both this route and route[{keeping}] take every event of {source}"),
            "leave one of them out, or give this one event_types or when",
        );
    }
}

#[cfg(test)]
mod tests;
