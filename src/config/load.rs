//! Reading the configuration: from a path to [`Settings`], or to everything that is wrong with it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::fingerprint::Fingerprint;
use super::named::take_table;
use super::paths::Writable;
use super::problem::ConfigProblems;
use super::providers::Providers;
use super::settings::{AdminSettings, Settings};
use super::{interpolate, reading};
use crate::path_error::{PathError, explain};
use crate::source::ProviderTables;

/// Reads the file at `path`.
///
/// # Errors
/// Everything that is wrong with it, each with its key path and a remedy.
pub fn load(path: &Path) -> Result<Settings, ConfigProblems> {
    parse(&text(path)?, &variable)
}

/// Reads the file at `path` again, for a bridge that has these folders open: a disk that fails them
/// must not keep a secret from being changed.
///
/// # Errors
/// As for [`load`].
pub fn load_again(path: &Path, open: &[PathBuf]) -> Result<Settings, ConfigProblems> {
    read(&text(path)?, &variable, Writable::AllBut(open))
}

/// Reads the file at `path` for a command that only looks, and needs no right to write to the
/// folders that it names.
///
/// # Errors
/// As for [`load`].
pub fn load_to_look(path: &Path) -> Result<Settings, ConfigProblems> {
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
pub fn health_listener(path: &Path) -> Result<HealthListener, ConfigProblems> {
    let table = table(&text(path)?)?;
    let mut problems = ConfigProblems::default();
    let section = |name: &str, problems: &mut ConfigProblems| section(&table, name, problems);
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

/// Where the bridge with the file at `path` listens for its operators. Nothing else of the file is
/// looked at, and no secret: whoever asks need not be one who may read them.
///
/// # Errors
/// When the file cannot be read, or says no such address.
pub fn admin_listen(path: &Path) -> Result<SocketAddr, ConfigProblems> {
    let mut table = table(&text(path)?)?;
    if let Some(Value::Table(admin)) = table.get_mut("admin") {
        admin.retain(|key, _| key == "listen");
    }
    let mut problems = ConfigProblems::default();
    let admin = section(&table, "admin", &mut problems);
    let listen = reading::admin_listen(admin, &mut problems);
    if problems.is_empty() {
        Ok(listen)
    } else {
        Err(problems)
    }
}

/// The providers that the file at `path` may name: those that are built in, and its own. Nothing else
/// of the file is looked at.
///
/// # Errors
/// When the file cannot be read, or everything that is wrong with its providers.
pub fn provider_tables(path: &Path) -> Result<ProviderTables, ConfigProblems> {
    let table = table(&text(path)?)?;
    let mut problems = ConfigProblems::default();
    let mut own = section(&table, "provider", &mut problems);
    let own = take_table(&mut own, "provider", &mut problems);
    let providers = Providers::read(own, &mut problems);
    if problems.is_empty() {
        Ok(providers.tables)
    } else {
        Err(problems)
    }
}

/// A file with nothing but this section, its variables filled in.
fn section(table: &Table, name: &str, problems: &mut ConfigProblems) -> Table {
    let mut table = table.clone();
    table.retain(|key, _| key == name);
    for (key, value) in &mut table {
        interpolate::fill(key, value, &variable, problems);
    }
    table
}

fn text(path: &Path) -> Result<String, ConfigProblems> {
    std::fs::read_to_string(path).map_err(|error| {
        let mut problems = ConfigProblems::default();
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

fn table(text: &str) -> Result<Table, ConfigProblems> {
    text.parse().map_err(|error: toml::de::Error| {
        let mut problems = ConfigProblems::default();
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
pub fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, ConfigProblems> {
    read(text, lookup, Writable::All)
}

fn read(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    writable: Writable<'_>,
) -> Result<Settings, ConfigProblems> {
    let mut problems = ConfigProblems::default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE;

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
}
