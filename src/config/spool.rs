//! The `spool` table: where the events wait, and how many of them.

use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::file::{DuplicatesFile, SpoolFile, TopFile};
use super::problem::Problems;
use super::section;
use super::value::span;
use crate::spool::{Duplicates, Milestone, SpoolLimits, SpoolLocation, SpoolSettings};

/// How large the spool's files may become unless the file says otherwise, in bytes.
const DEFAULT_MAX_SIZE_BYTES: u64 = 4 << 30;

/// The least size: four segments of 1 MiB, which is the smallest there is, and as much again for
/// spare ones, dead letters, and what is kept after damage.
pub(super) const LEAST_SPOOL_BYTES: u64 = 8 << 20;

/// The spool's place and bounds.
pub(super) struct SpoolPlace {
    pub place: SpoolLocation,
    max_events: u64,
    pub max_bytes: u64,
}

/// Writes `spool = "memory"` as the table that it is short for.
pub(super) fn spell_out(file: &mut Table) {
    let is_short = |value: &&mut Value| value.as_str() == Some("memory");
    if let Some(value) = file.get_mut("spool").filter(is_short) {
        *value = Value::Table(in_memory());
    }
}

fn in_memory() -> Table {
    Table::from_iter([("in_memory".to_owned(), Value::Boolean(true))])
}

/// Reads the table, spelled out.
pub(super) fn place(
    value: Option<Value>,
    milestone: Milestone,
    problems: &mut Problems,
) -> SpoolPlace {
    let table = match value {
        Some(Value::Table(table)) => table,
        None => Table::new(),
        Some(_) => {
            problems.add(
                "spool",
                "this is neither a table nor \"memory\"",
                "write [spool] with a path, or spool = \"memory\"",
            );
            in_memory()
        }
    };
    let file: SpoolFile = section::read("spool", table, problems);
    let place = if file.in_memory == Some(true) {
        check_memory(&file, milestone, problems);
        SpoolLocation::Memory
    } else {
        let path = file
            .path
            .unwrap_or_else(|| PathBuf::from("/var/lib/hookferry/spool"));
        SpoolLocation::Folder(path)
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
        max_bytes: file.max_size.map_or(DEFAULT_MAX_SIZE_BYTES, |size| size.0),
    }
}

/// What a spool in memory does not go with.
fn check_memory(file: &SpoolFile, milestone: Milestone, problems: &mut Problems) {
    if milestone == Milestone::Spooled {
        problems.add(
            "spool",
            "in memory with acknowledge = \"spooled\", a 200 would promise what a crash breaks",
            "set acknowledge = \"delivered\", or give the spool a path instead",
        );
    }
    if file.path.is_some() {
        problems.add(
            "spool.path",
            "a spool in memory lies at no path",
            "remove the path, or in_memory",
        );
    }
}

/// For how long a copy of an event is known as one and not published again: not at all where copies
/// are forwarded, and not beyond a restart where the spool is in memory.
pub(super) fn memory(place: &SpoolPlace, top: &TopFile) -> Option<Duration> {
    let is_durable = place.place != SpoolLocation::Memory;
    (is_durable && duplicates(top) == Duplicates::Suppress).then(|| window(top))
}

fn duplicates(top: &TopFile) -> Duplicates {
    match top.duplicates {
        Some(DuplicatesFile::Forward) => Duplicates::Forward,
        _ => Duplicates::Suppress,
    }
}

fn window(top: &TopFile) -> Duration {
    span(top.duplicate_window, 24 * 60 * 60)
}

/// Its place and bounds, and what it is told about duplicates.
pub(super) fn settings(place: SpoolPlace, top: &TopFile) -> SpoolSettings {
    SpoolSettings {
        location: place.place,
        limits: SpoolLimits {
            max_events: place.max_events,
            max_bytes: place.max_bytes,
            duplicates: duplicates(top),
            window: window(top),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place, the two bounds, and what is wrong.
    fn read(text: &str, milestone: Milestone) -> ((SpoolLocation, u64, u64), String) {
        let mut file: Table = text.parse().expect("TOML");
        spell_out(&mut file);
        let mut problems = Problems::default();
        let read = place(file.remove("spool"), milestone, &mut problems);
        (
            (read.place, read.max_events, read.max_bytes),
            problems.to_string(),
        )
    }

    #[test]
    fn it_is_a_folder_unless_it_is_said_to_be_in_memory() {
        let folder = |path: &str| SpoolLocation::Folder(PathBuf::from(path));
        for (text, expected) in [
            ("", (folder("/var/lib/hookferry/spool"), 1_000_000, 4 << 30)),
            (
                "[spool]\npath = \"/a\"\nin_memory = false\nmax_events = 7",
                (folder("/a"), 7, 4 << 30),
            ),
            (
                "spool = \"memory\"",
                (SpoolLocation::Memory, 1_000_000, 4 << 30),
            ),
            (
                "[spool]\nin_memory = true\nmax_size = \"8MiB\"\nmax_events = 7",
                (SpoolLocation::Memory, 7, 8 << 20),
            ),
        ] {
            let (found, problems) = read(text, Milestone::Delivered);
            assert_eq!(problems, "", "{text}");
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn only_what_outlives_a_restart_and_suppresses_copies_remembers() {
        let day = Duration::from_secs(24 * 60 * 60);
        for (text, spool, expected) in [
            ("", "", Some(day)),
            ("duplicate_window = \"30d\"", "", Some(day * 30)),
            (
                "duplicates = \"suppress\"",
                "[spool]\npath = \"/a\"",
                Some(day),
            ),
            ("duplicates = \"forward\"", "", None),
            ("", "spool = \"memory\"", None),
        ] {
            let top: TopFile = toml::from_str(text).expect("keys");
            let mut file: Table = spool.parse().expect("TOML");
            spell_out(&mut file);
            let mut problems = Problems::default();
            let place = place(file.remove("spool"), Milestone::Delivered, &mut problems);
            assert_eq!(memory(&place, &top), expected, "{text} {spool}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_named_with_a_remedy() {
        for (text, key) in [
            ("spool = \"disk\"", "spool"),
            ("[spool]\nin_memory = true\npath = \"/a\"", "spool.path"),
            ("[spool]\nmax_size = \"8191KiB\"", "spool.max_size"),
            (
                "[spool]\nin_memory = true\nmax_size = \"1MiB\"",
                "spool.max_size",
            ),
            ("[spool]\nmax_events = 0", "spool.max_events"),
            ("[spool]\nin_memory = \"yes\"", "spool.in_memory"),
        ] {
            let (_, problems) = read(text, Milestone::Delivered);
            assert!(problems.starts_with(&format!("{key}: ")), "{problems}");
            assert!(problems.contains("; "), "{problems}");
            assert_eq!(problems.lines().count(), 1, "{problems}");
        }
        for text in ["spool = \"memory\"", "[spool]\nin_memory = true"] {
            let (_, problems) = read(text, Milestone::Spooled);
            assert!(problems.starts_with("spool: in memory"), "{problems}");
        }
    }
}
