//! From the file's tables to [`Settings`]: every section is read even when another was wrong, then
//! the sections are held against each other.

use std::net::SocketAddr;

use toml::Table;

use super::file::{LogFile, LogFormat, TopFile};
use super::key_hashes::KeyHashes;
use super::max_body::LargestBody;
use super::named::{named, take_table};
use super::paths::Writable;
use super::problem::ConfigProblems;
use super::providers::Providers;
use super::settings::{AdminSettings, IngressSettings, LogSettings, Settings};
use super::value::span;
use super::{capacity, listeners, paths, routes, section, sinks, sources, spool, trace};
use crate::trace::TraceSettings;

const SECTIONS: [&str; 10] = [
    "ingress", "admin", "metrics", "spool", "log", "trace", "provider", "source", "sink", "route",
];

/// Reads the whole file; none where a part is missing, and that has been noted.
pub(super) fn settings(
    mut table: Table,
    writable: Writable<'_>,
    problems: &mut ConfigProblems,
) -> Option<Settings> {
    spool::spell_out(&mut table);
    let key_hashes = KeyHashes::of(&table);
    let mut sections = Table::new();
    for name in SECTIONS {
        if let Some(value) = table.remove(name) {
            sections.insert(name.to_owned(), value);
        }
    }
    let top: TopFile = section::read("", table, problems);
    let milestone = spool::milestone(&top);
    let ingress = listeners::ingress(take_table(&mut sections, "ingress", problems), problems);
    let admin = listeners::admin(take_table(&mut sections, "admin", problems), problems);
    let metrics = listeners::metrics(take_table(&mut sections, "metrics", problems), problems);
    let bounds = spool::bounds(sections.remove("spool"), milestone, problems);
    let log = log(take_table(&mut sections, "log", problems), problems);
    let trace = trace(&mut sections, problems);
    let remembered = spool::remembered_for(&bounds, &top);
    let body = LargestBody::of(ingress.max_body_bytes, sections.get("source"));
    let providers = take_table(&mut sections, "provider", problems);
    let providers = Providers::read(providers, problems);
    let source = |name: &str, table, problems: &mut ConfigProblems| {
        sources::source(name, table, remembered, &providers, problems)
    };
    let mut sources = named(&mut sections, "source", problems, source);
    let sinks = named(&mut sections, "sink", problems, sinks::sink);
    let routes = routes::routes(sections.remove("route"), problems);
    listeners::check(&addresses(&ingress, &admin, metrics), problems);
    paths::check_writable(&sinks, &bounds, writable, problems);
    paths::check_uses(&sinks, &bounds, problems);
    capacity::check(&body, &ingress, &bounds, &sinks, problems);
    routes::check(&sources, &sinks, &routes, problems);
    routes::ask(&mut sources.read, &routes);
    let window = spool::window(&top);
    sources::recovery::bound_bodies(&mut sources.read, ingress.max_body_bytes);
    sources::recovery::check(&sources.read, &bounds.location, window, problems);
    Some(Settings {
        milestone,
        acknowledge_timeout: span(top.acknowledge_timeout, 10),
        shutdown_timeout: span(top.shutdown_timeout, 10),
        reload_interval: top.reload_interval.map(|span| span.0),
        ingress,
        admin,
        metrics,
        spool: spool::settings(bounds, &top),
        log,
        trace,
        sources: sources.read,
        sinks: sinks.read,
        routes,
        key_hashes,
        doubts: Vec::new(),
    })
}

/// Reads where spans go, if the file says so.
fn trace(sections: &mut Table, problems: &mut ConfigProblems) -> Option<TraceSettings> {
    if !sections.contains_key("trace") {
        return None;
    }
    trace::trace(take_table(sections, "trace", problems), problems)
}

/// Where each listener listens, with its key.
fn addresses(
    ingress: &IngressSettings,
    admin: &AdminSettings,
    metrics: Option<SocketAddr>,
) -> Vec<(&'static str, SocketAddr)> {
    let both = [
        ("ingress.listen", ingress.listen),
        ("admin.listen", admin.listen),
    ];
    let metrics = metrics.map(|listen| ("metrics.listen", listen));
    both.into_iter().chain(metrics).collect()
}

/// Reads the operators' listener alone.
pub(super) fn admin(mut table: Table, problems: &mut ConfigProblems) -> AdminSettings {
    listeners::admin(take_table(&mut table, "admin", problems), problems)
}

/// Reads where the operators' listener listens.
pub(super) fn admin_listen(mut table: Table, problems: &mut ConfigProblems) -> SocketAddr {
    listeners::admin_listen(take_table(&mut table, "admin", problems), problems)
}

/// Reads the listener for scrapers and probes alone.
pub(super) fn metrics(mut table: Table, problems: &mut ConfigProblems) -> Option<SocketAddr> {
    listeners::metrics(take_table(&mut table, "metrics", problems), problems)
}

fn log(table: Table, problems: &mut ConfigProblems) -> LogSettings {
    let file: LogFile = section::read("log", table, problems);
    let filter = file.filter.unwrap_or_else(|| "info".to_owned());
    let parsed = filter.parse::<tracing_subscriber::filter::EnvFilter>();
    problems.take(
        "log.filter",
        parsed,
        "give a level such as \"info\", or a filter such as \"info,hookferry::sink=debug\"",
    );
    LogSettings {
        format: file.format.unwrap_or(LogFormat::Text),
        filter,
    }
}
