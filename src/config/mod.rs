//! The configuration: what the file says ([`mod@file`]), and what the program runs on ([`Settings`]),
//! are two types. The first is plain data that mirrors the TOML; the second exists only when
//! nothing was wrong, and everything that is wrong is said at once.

pub mod file;
mod interpolate;
mod kafka;
pub mod problem;
mod rabbitmq;
mod reading;
pub mod section;
mod settings;
mod sources;
mod store;
pub mod value;

use std::path::Path;

use toml::Table;

pub use problem::{Problem, Problems};
pub use settings::{
    IngressSettings, LogSettings, RouteSettings, Settings, SinkKind, SinkSettings, SourceSettings,
};

/// An annotated configuration with every default spelled out.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Reads the file at `path`.
///
/// # Errors
/// Everything that is wrong with it, each with its key path and a remedy.
pub fn load(path: &Path) -> Result<Settings, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let mut problems = Problems::default();
        problems.add(
            path.display().to_string(),
            format!("cannot be read: {error}"),
            "name a file that is there with --config",
        );
        problems
    })?;
    parse(&text, &|name| std::env::var(name).ok())
}

/// Reads a configuration; `lookup` gives the variables it names.
///
/// # Errors
/// As for [`load`].
pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Problems> {
    let mut problems = Problems::default();
    let mut table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            let found = error.to_string().trim().replace('\n', " ");
            problems.add("the file", found, "mend the TOML at that line");
            return Err(problems);
        }
    };
    for (key, value) in &mut table {
        interpolate::fill(key, value, lookup, &mut problems);
    }
    let settings = reading::settings(table, &mut problems);
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems),
    }
}

/// The JSON Schema of the file (2020-12).
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(file::WholeFile);
    serde_json::to_string_pretty(&schema).expect("a schema is plain JSON")
}
