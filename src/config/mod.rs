//! The configuration: what the file says ([`mod@file`]), and what the program runs on ([`Settings`]),
//! are two types. The first is plain data that mirrors the TOML; the second exists only when
//! nothing was wrong, and everything that is wrong is said at once.

mod capacity;
mod certificate;
pub mod file;
mod fingerprint;
mod guards;
mod ingress_tls;
mod interpolate;
mod kafka;
mod listeners;
mod named;
mod paths;
pub mod problem;
mod rabbitmq;
mod reading;
mod routes;
pub mod section;
mod settings;
mod sinks;
mod sources;
mod spool;
mod store;
mod tls;
mod trace;
pub mod value;
mod warning;
mod written;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Table;

pub use fingerprint::Fingerprint;
pub use ingress_tls::{IngressTls, Untimely, Validity};
use paths::Writable;
pub use problem::{Problem, Problems};
pub use settings::{
    AdminSettings, GuardSettings, IngressSettings, LogSettings, RouteSettings, Settings, SinkKind,
    SinkSettings, SourceSettings,
};
pub use written::{Written, is_taken_over};

use crate::path_error::{PathError, explain};

/// An annotated configuration with every default spelled out.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Reads the file at `path`.
///
/// # Errors
/// Everything that is wrong with it, each with its key path and a remedy.
pub fn load(path: &Path) -> Result<Settings, Problems> {
    parse(&text(path)?, &variable)
}

/// Reads the file at `path` again, for a bridge that has these folders open: a disk that fails them
/// must not keep a secret from being changed.
///
/// # Errors
/// As for [`load`].
pub fn load_again(path: &Path, open: &[PathBuf]) -> Result<Settings, Problems> {
    read(&text(path)?, &variable, Writable::AllBut(open))
}

/// Reads the file at `path` for a command that only looks, and needs no right to write to the
/// folders that it names.
///
/// # Errors
/// As for [`load`].
pub fn load_to_look(path: &Path) -> Result<Settings, Problems> {
    read(&text(path)?, &variable, Writable::None)
}

/// What lies on the disk now at `path`, and in the files that are named there.
#[must_use]
pub fn fingerprint_of(path: &Path) -> Fingerprint {
    Fingerprint::of(path, &variable)
}

/// Where a bridge is asked for its health.
#[derive(Debug)]
pub enum HealthListener {
    /// At the operators' listener.
    Admin(AdminSettings),
    /// At the listener for scrapers and probes.
    Metrics(SocketAddr),
}

/// Where a bridge with the file at `path` is asked for its health. Nothing else of the file is looked
/// at: the bridge may run although its file has been spoilt since.
///
/// # Errors
/// When the file cannot be read, or says no such address.
pub fn health_listener(path: &Path) -> Result<HealthListener, Problems> {
    let table = table(&text(path)?)?;
    let mut problems = Problems::default();
    let section = |name: &str, problems: &mut Problems| {
        let mut table = table.clone();
        table.retain(|key, _| key == name);
        for (key, value) in &mut table {
            interpolate::fill(key, value, &variable, problems);
        }
        table
    };
    let metrics = section("metrics", &mut problems);
    let listener = match reading::metrics(metrics, &mut problems) {
        Some(listen) => HealthListener::Metrics(listen),
        None => {
            let admin = section("admin", &mut problems);
            HealthListener::Admin(reading::admin(admin, &mut problems))
        }
    };
    if problems.is_empty() {
        Ok(listener)
    } else {
        Err(problems)
    }
}

fn text(path: &Path) -> Result<String, Problems> {
    std::fs::read_to_string(path).map_err(|error| {
        let mut problems = Problems::default();
        let (found, remedy) = match error.kind() {
            ErrorKind::NotFound => (
                error.to_string(),
                "name a file that is there with --config".to_owned(),
            ),
            ErrorKind::InvalidData => (error.to_string(), "save it as UTF-8 text".to_owned()),
            _ => {
                let PathError { found, remedy } = explain(path, &error);
                (found, remedy)
            }
        };
        problems.add(
            path.display().to_string(),
            format!("cannot be read: {found}"),
            remedy,
        );
        problems
    })
}

fn table(text: &str) -> Result<Table, Problems> {
    text.parse().map_err(|error: toml::de::Error| {
        let mut problems = Problems::default();
        // Not as the error prints itself: it quotes the line, in which a password may stand.
        let found = format!("{}: {}", place(text, &error), error.message());
        let remedy = "mend the TOML at that line";
        problems.add("the file", found.trim().replace('\n', " "), remedy);
        problems
    })
}

/// Where in the text an error is, as editors count.
fn place(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(text.len(), |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    format!(
        "line {}, column {}",
        before.matches('\n').count() + 1,
        line.chars().count() + 1
    )
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads a configuration; `lookup` gives the variables it names.
///
/// # Errors
/// As for [`load`].
pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Problems> {
    read(text, lookup, Writable::All)
}

fn read(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    writable: Writable<'_>,
) -> Result<Settings, Problems> {
    let mut problems = Problems::default();
    let mut table = table(text)?;
    for (key, value) in &mut table {
        interpolate::fill(key, value, lookup, &mut problems);
    }
    let settings = reading::settings(table, writable, &mut problems);
    match settings {
        Some(settings) if problems.is_empty() => Ok(Settings {
            doubts: problems.into_warnings(),
            ..settings
        }),
        _ => Err(problems),
    }
}

/// The JSON Schema of the file (2020-12).
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(file::WholeFile);
    serde_json::to_string_pretty(&schema).expect("a schema is plain JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_example_is_a_good_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s").expect("written");
        let text = EXAMPLE
            .replace("/var/lib/hookferry", &folder.path().display().to_string())
            .replace("/run/secrets/onecodex", &secret.display().to_string());
        assert_ne!(text, EXAMPLE);
        let settings = parse(&text, &|_| None).expect("nothing is wrong");
        assert_eq!((settings.sources.len(), settings.sinks.len()), (1, 1));
    }

    /// The example with its commented keys and tables too.
    pub(super) fn whole_example() -> Table {
        let is_key = |text: &str| {
            let key = text.split_once(" = ").map(|(key, _)| key);
            let is_name = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            text.starts_with('[') || key.is_some_and(is_name)
        };
        let line = |line: &'static str| {
            let commented = line.strip_prefix("# ").filter(|text| is_key(text));
            commented.unwrap_or(line)
        };
        let lines: Vec<&str> = EXAMPLE.lines().map(line).collect();
        assert_ne!(lines, EXAMPLE.lines().collect::<Vec<_>>());
        lines.join("\n").parse().expect("TOML")
    }

    /// Notes each key below `value` that `schema` does not list.
    fn unlisted(
        root: &Value,
        schema: &Value,
        (path, value): (&str, &toml::Value),
        found: &mut Vec<String>,
    ) {
        let reference = schema["$ref"].as_str();
        if let Some(to) = reference.and_then(|text| root.pointer(text.strip_prefix('#')?)) {
            return unlisted(root, to, (path, value), found);
        }
        let choices = ["anyOf", "oneOf"].map(|key| schema[key].as_array());
        if let Some(choices) = choices.into_iter().flatten().next() {
            let tried = choices.iter().map(|choice| {
                let mut missing = Vec::new();
                unlisted(root, choice, (path, value), &mut missing);
                missing
            });
            found.extend(tried.min_by_key(Vec::len).unwrap_or_default());
            return;
        }
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let path = section::join(path, key);
                    let named = &schema["properties"][key];
                    let any = &schema["additionalProperties"];
                    let listed = if named.is_null() { any } else { named };
                    if listed.is_object() {
                        unlisted(root, listed, (&path, value), found);
                    } else {
                        found.push(path);
                    }
                }
            }
            toml::Value::Array(items) => {
                for item in items {
                    unlisted(root, &schema["items"], (path, item), found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_schema_lists_every_key_of_the_example() {
        let schema: Value = serde_json::from_str(&schema()).expect("JSON");
        let check = |example: Table| {
            let mut found = Vec::new();
            let example = toml::Value::Table(example);
            unlisted(&schema, &schema, ("", &example), &mut found);
            found
        };
        assert_eq!(check(whole_example()), [""; 0]);
        let mut changed = whole_example();
        let misspelt = "[store]\ntype = \"store\"\nretry_dely = \"1s\"".parse();
        changed.insert("sink".into(), toml::Value::Table(misspelt.expect("TOML")));
        assert_eq!(check(changed), ["sink.store.retry_dely"]);
    }
}
