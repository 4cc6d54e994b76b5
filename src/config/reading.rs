//! From the file's tables to [`Settings`]: every section is read even when another was wrong, then
//! the sections are held against each other.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::file::{
    Acknowledge, AdminFile, DuplicatesFile, IngressFile, LogFile, LogFormat, RouteFile, SinkFile,
    SpoolFile, TopFile,
};
use super::guards;
use super::ingress_tls;
use super::kafka::KafkaFile;
use super::problem::Problems;
use super::rabbitmq::RabbitMqFile;
use super::section::{self, join};
use super::settings::{
    IngressSettings, LogSettings, RouteSettings, Settings, SinkKind, SinkSettings, SourceSettings,
};
use super::sources;
use super::store::StoreFile;
use super::trace;
use super::written::Written;
use crate::name::{EventType, SinkName, SourceName};
use crate::pipeline::{Pace, Schedule};
use crate::spool::{self, Duplicates, Milestone, Place};

const SECTIONS: [&str; 8] = [
    "ingress", "admin", "spool", "log", "trace", "source", "sink", "route",
];

/// Reads the whole file; none where a part is missing, and that has been noted. The files in `open`
/// are the bridge's own already: whether they could be written now says nothing about the settings.
pub(super) fn settings(
    mut table: Table,
    open: &[PathBuf],
    problems: &mut Problems,
) -> Option<Settings> {
    let written = Written::new(table.clone());
    let mut sections = Table::new();
    for name in SECTIONS {
        if let Some(value) = table.remove(name) {
            sections.insert(name.to_owned(), value);
        }
    }
    let top: TopFile = section::read("", table, problems);
    let milestone = match top.acknowledge {
        Some(Acknowledge::Delivered) => Milestone::Delivered,
        _ => Milestone::Spooled,
    };
    let ingress = ingress(take_table(&mut sections, "ingress", problems), problems);
    let admin = admin(take_table(&mut sections, "admin", problems), problems);
    let place = place(sections.remove("spool"), milestone, problems);
    let log = log(take_table(&mut sections, "log", problems), problems);
    let trace = sections
        .contains_key("trace")
        .then(|| trace::trace(take_table(&mut sections, "trace", problems), problems));
    let sources = named(&mut sections, "source", problems, sources::source);
    let sinks = named(&mut sections, "sink", problems, sink);
    let routes = routes(sections.remove("route"), problems);
    check_listeners(ingress.listen, admin, problems);
    check_files(&sinks, &place, open, problems);
    check_sinks(&sinks, &place, problems);
    check_routes(&sources, &sinks, &routes, problems);
    Some(Settings {
        milestone,
        acknowledge_timeout: span(top.acknowledge_timeout, 10),
        shutdown_timeout: span(top.shutdown_timeout, 10),
        reload_interval: reload_interval(top.reload_interval, problems),
        ingress,
        admin,
        spool: spool(place, &top),
        log,
        trace: trace.flatten(),
        sources: sources.read,
        sinks: sinks.read,
        routes,
        written,
    })
}

fn spool(place: SpoolPlace, top: &TopFile) -> spool::Settings {
    let duplicates = match top.duplicates {
        Some(DuplicatesFile::Forward) => Duplicates::Forward,
        _ => Duplicates::Suppress,
    };
    spool::Settings {
        place: place.place,
        limits: spool::Limits {
            max_events: place.max_events,
            max_bytes: place.max_bytes,
            duplicates,
            window: span(top.duplicate_window, 24 * 60 * 60),
        },
    }
}

/// Less than a second would keep a disk busy for a change that nobody makes as often.
fn reload_interval(given: Option<super::value::Span>, problems: &mut Problems) -> Option<Duration> {
    let interval = given?.0;
    if interval < Duration::from_secs(1) {
        problems.add(
            "reload_interval",
            format!("{} is too often", humantime::format_duration(interval)),
            "give at least \"1s\", or leave the key out and send SIGHUP",
        );
    }
    Some(interval)
}

/// Reads the operators' listener alone.
pub(super) fn admin_listen(mut table: Table, problems: &mut Problems) -> SocketAddr {
    admin(take_table(&mut table, "admin", problems), problems)
}

fn span(given: Option<super::value::Span>, default_seconds: u64) -> Duration {
    given.map_or(Duration::from_secs(default_seconds), |span| span.0)
}

fn take_table(sections: &mut Table, name: &str, problems: &mut Problems) -> Table {
    match sections.remove(name) {
        None => Table::new(),
        Some(Value::Table(table)) => table,
        Some(_) => {
            problems.add(name, "this is not a table", format!("write it as [{name}]"));
            Table::new()
        }
    }
}

fn ingress(mut table: Table, problems: &mut Problems) -> IngressSettings {
    let tls = match table.remove("tls") {
        Some(Value::Table(table)) => ingress_tls::read(table, problems),
        Some(_) => {
            let found = "this is not a table";
            problems.add("ingress.tls", found, "write it as [ingress.tls]");
            None
        }
        None => None,
    };
    let file: IngressFile = section::read("ingress", table, problems);
    let at_least_one =
        |key: &str, value: Option<usize>, default: usize, problems: &mut Problems| match value {
            Some(0) => {
                problems.add(
                    join("ingress", key),
                    "0 would receive nothing",
                    "give at least 1",
                );
                default
            }
            value => value.unwrap_or(default),
        };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let max_body = file.max_body.map_or(1 << 20, |size| size.0);
    if !(1..=64 << 20).contains(&max_body) {
        problems.add(
            "ingress.max_body",
            format!("{max_body} bytes is out of range"),
            "give 1B to 64MiB",
        );
    }
    IngressSettings {
        trusted_proxies: guards::trusted_proxies(&file, problems),
        guard: guards::settings(&file, problems),
        listen: file
            .listen
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8080))),
        max_body_bytes: usize::try_from(max_body).unwrap_or(usize::MAX),
        head_timeout: span(file.head_timeout, 5),
        body_timeout: span(file.body_timeout, 10),
        keep_alive: span(file.keep_alive, 75),
        max_connections: at_least_one("max_connections", file.max_connections, 10_000, problems),
        workers: at_least_one("workers", file.workers, processors, problems),
        proxy_protocol: file.proxy_protocol.unwrap_or_default(),
        tls,
    }
}

fn admin(table: Table, problems: &mut Problems) -> SocketAddr {
    let file: AdminFile = section::read("admin", table, problems);
    file.listen
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8081)))
}

fn log(table: Table, problems: &mut Problems) -> LogSettings {
    let file: LogFile = section::read("log", table, problems);
    let filter = file
        .filter
        .unwrap_or_else(|| "info,actix_server=warn".to_owned());
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

/// The spool's place and bounds.
struct SpoolPlace {
    place: Place,
    max_events: u64,
    max_bytes: u64,
}

fn place(value: Option<Value>, milestone: Milestone, problems: &mut Problems) -> SpoolPlace {
    let (in_memory, table) = match value {
        Some(Value::String(word)) if word == "memory" => (true, Table::new()),
        Some(Value::Table(table)) => (false, table),
        None => (false, Table::new()),
        Some(_) => {
            problems.add(
                "spool",
                "this is neither a table nor \"memory\"",
                "write [spool] with a path, or spool = \"memory\"",
            );
            (true, Table::new())
        }
    };
    let file: SpoolFile = section::read("spool", table, problems);
    if in_memory && milestone == Milestone::Spooled {
        problems.add(
            "spool",
            "in memory with acknowledge = \"spooled\", a 200 would promise what a crash breaks",
            "set acknowledge = \"delivered\", or give the spool a path",
        );
    }
    let place = if in_memory {
        Place::Memory
    } else {
        let path = file
            .path
            .unwrap_or_else(|| PathBuf::from("/var/lib/hookferry/spool.db"));
        Place::File(path)
    };
    let max_events = file.max_events.unwrap_or(1_000_000);
    if max_events == 0 {
        problems.add(
            "spool.max_events",
            "0 would refuse every delivery",
            "give at least 1",
        );
    }
    SpoolPlace {
        place,
        max_events,
        max_bytes: file.max_size.map_or(4 << 30, |size| size.0),
    }
}

/// Whether the files that are yet to be opened could be.
fn check_files(
    sinks: &Named<SinkSettings>,
    place: &SpoolPlace,
    open: &[PathBuf],
    problems: &mut Problems,
) {
    let spool = match &place.place {
        Place::File(path) => Some(("spool.path".to_owned(), path)),
        Place::Memory => None,
    };
    let stores = sinks.read.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Store(store) => Some((format!("sink.{}.path", sink.name), &store.path)),
        _ => None,
    });
    for (key, path) in spool.into_iter().chain(stores) {
        if !open.contains(path) {
            check_writable(&key, path, problems);
        }
    }
}

/// Whether the file, or a new one in its folder, could be written.
fn check_writable(key: &str, path: &Path, problems: &mut Problems) {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let probe = folder.join(format!(".hookferry-probe-{}", std::process::id()));
    let tried = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&probe);
    // Only its making was of interest.
    let _ = std::fs::remove_file(&probe);
    if let Err(error) = tried {
        problems.add(
            key,
            format!("the folder {} cannot be written: {error}", folder.display()),
            "make the folder, writable for this user",
        );
    } else if path.is_dir() {
        problems.add(key, "this is a folder", "name a file in it");
    }
}

/// What a section of named tables held: the names, and those that could be read.
struct Named<T> {
    names: HashSet<String>,
    read: Vec<T>,
}

fn named<T>(
    sections: &mut Table,
    kind: &str,
    problems: &mut Problems,
    read: fn(&str, Table, &mut Problems) -> Option<T>,
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

fn sink(name: &str, mut table: Table, problems: &mut Problems) -> Option<SinkSettings> {
    let path = join("sink", name);
    let mut common = Table::new();
    for key in ["type", "max_in_flight", "retry_delay", "retry_delay_max"] {
        if let Some(value) = table.remove(key) {
            common.insert(key.to_owned(), value);
        }
    }
    let file: SinkFile = section::read(&path, common, problems);
    let kinds = "name it: \"kafka\", \"rabbitmq\" or \"store\"";
    let kind = match file.kind.as_deref() {
        Some("kafka") => section::read::<KafkaFile>(&path, table, problems)
            .settings(&path, problems)
            .map(|kafka| SinkKind::Kafka(Box::new(kafka))),
        Some("rabbitmq") => section::read::<RabbitMqFile>(&path, table, problems)
            .settings(&path, problems)
            .map(|rabbit| SinkKind::RabbitMq(Box::new(rabbit))),
        Some("store") => section::read::<StoreFile>(&path, table, problems)
            .settings(&path, problems)
            .map(SinkKind::Store),
        Some(other) => {
            problems.add(
                join(&path, "type"),
                format!("there is no sink type {other:?}"),
                kinds,
            );
            None
        }
        None => problems.require(&join(&path, "type"), None, kinds),
    };
    let pace = pace(&path, &file, problems);
    let name = problems.take(&path, SinkName::parse(name), "rename the sink")?;
    Some(SinkSettings {
        name,
        pace,
        kind: kind?,
    })
}

fn pace(path: &str, file: &SinkFile, problems: &mut Problems) -> Pace {
    let max_in_flight = file.max_in_flight.unwrap_or(1024);
    if !(1..=100_000).contains(&max_in_flight) {
        problems.add(
            join(path, "max_in_flight"),
            format!("{max_in_flight} is out of range"),
            "give 1 to 100000",
        );
    }
    let schedule = Schedule {
        first: file
            .retry_delay
            .map_or(Duration::from_millis(100), |span| span.0),
        longest: span(file.retry_delay_max, 10),
    };
    if schedule.first.is_zero() || schedule.first > schedule.longest {
        problems.add(
            join(path, "retry_delay"),
            "it is not between 1ms and retry_delay_max",
            "leave both out for 100ms and 10s",
        );
    }
    Pace {
        max_in_flight,
        schedule,
    }
}

fn routes(value: Option<Value>, problems: &mut Problems) -> Vec<RouteSettings> {
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

fn route(path: &str, table: Table, problems: &mut Problems) -> Option<RouteSettings> {
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

fn check_listeners(ingress: SocketAddr, admin: SocketAddr, problems: &mut Problems) {
    let same_ip =
        ingress.ip() == admin.ip() || ingress.ip().is_unspecified() || admin.ip().is_unspecified();
    if ingress.port() != 0 && ingress.port() == admin.port() && same_ip {
        problems.add(
            "admin.listen",
            format!("{admin} is also where ingress.listen ({ingress}) listens"),
            "give it another port",
        );
    }
}

fn check_sinks(sinks: &Named<SinkSettings>, place: &SpoolPlace, problems: &mut Problems) {
    let mut taken: Vec<(PathBuf, String)> = Vec::new();
    if let Place::File(path) = &place.place {
        taken.push((path.clone(), "spool.path".to_owned()));
    }
    for sink in &sinks.read {
        if let SinkKind::Store(store) = &sink.kind {
            let key = format!("sink.{}.path", sink.name);
            if let Some((_, other)) = taken.iter().find(|(path, _)| *path == store.path) {
                problems.add(
                    key.clone(),
                    format!("{other} names the same file"),
                    "give each a file of its own",
                );
            }
            if taken.iter().any(|(_, other)| other != "spool.path") {
                problems.add(
                    format!("sink.{}", sink.name),
                    "there is another store already",
                    "one store holds all topics: remove one of them",
                );
            }
            taken.push((store.path.clone(), key));
        }
    }
}

fn check_routes(
    sources: &Named<SourceSettings>,
    sinks: &Named<SinkSettings>,
    routes: &[RouteSettings],
    problems: &mut Problems,
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
