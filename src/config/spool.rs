//! The `spool` table: where the events wait, and how many of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::file::{Acknowledge, DuplicatesFile, SpoolFile, TopFile};
use super::problem::ConfigProblems;
use super::section;
use super::value::span;
use crate::spool::{Duplicates, Milestone, SpoolLimits, SpoolLocation, SpoolSettings};

/// How large the spool's files may become unless the file says otherwise, in bytes.
const DEFAULT_MAX_SIZE_BYTES: u64 = 4 << 30;

/// The spool's place and bounds.
pub(super) struct SpoolBounds {
    pub location: SpoolLocation,
    max_events: u64,
    pub max_bytes: u64,
}

/// What the key `path` says of a spool that is in no folder.
const IN_MEMORY: &str = "memory";

/// Writes `spool = "memory"` as the table that it is short for.
pub(super) fn spell_out(file: &mut Table) {
    let is_short = |value: &&mut Value| value.as_str() == Some(IN_MEMORY);
    if let Some(value) = file.get_mut("spool").filter(is_short) {
        *value = Value::Table(in_memory());
    }
}

fn in_memory() -> Table {
    Table::from_iter([("path".to_owned(), Value::from(IN_MEMORY))])
}

/// Reads the table, spelled out.
pub(super) fn bounds(
    value: Option<Value>,
    milestone: Milestone,
    problems: &mut ConfigProblems,
) -> SpoolBounds {
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
    let path = file.path;
    let path = path.unwrap_or_else(|| PathBuf::from("/var/lib/hookferry/spool"));
    let location = if path == Path::new(IN_MEMORY) {
        check_memory(milestone, problems);
        SpoolLocation::Memory
    } else {
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
    SpoolBounds {
        location,
        max_events,
        max_bytes: file.max_size.map_or(DEFAULT_MAX_SIZE_BYTES, |size| size.0),
    }
}

fn check_memory(milestone: Milestone, problems: &mut ConfigProblems) {
    if milestone == Milestone::Spooled {
        problems.add(
            "spool",
            "in memory with acknowledge = \"spooled\", a 200 would promise what a crash breaks",
            "set acknowledge = \"delivered\", or give the spool a path instead",
        );
    }
}

/// For how long a copy of an event is known as one and not published again: not at all where copies
/// are forwarded, and not beyond a restart where the spool is in memory.
pub(super) fn remembered_for(bounds: &SpoolBounds, top: &TopFile) -> Option<Duration> {
    let is_durable = bounds.location != SpoolLocation::Memory;
    (is_durable && duplicates(top) == Duplicates::Suppress).then(|| window(top))
}

fn duplicates(top: &TopFile) -> Duplicates {
    match top.duplicates {
        Some(DuplicatesFile::Forward) => Duplicates::Forward,
        _ => Duplicates::Suppress,
    }
}

/// How far an event has come when it is answered 200.
pub(super) fn milestone(top: &TopFile) -> Milestone {
    match top.acknowledge {
        Some(Acknowledge::Delivered) => Milestone::Delivered,
        _ => Milestone::Spooled,
    }
}

/// For how long ids are remembered.
pub(super) fn window(top: &TopFile) -> Duration {
    span(top.duplicate_window, 24 * 60 * 60)
}

/// Its place and bounds, and what it is told about duplicates.
pub(super) fn settings(bounds: SpoolBounds, top: &TopFile) -> SpoolSettings {
    SpoolSettings {
        location: bounds.location,
        limits: SpoolLimits {
            max_events: bounds.max_events,
            max_bytes: bounds.max_bytes,
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
        let mut problems = ConfigProblems::default();
        let read = bounds(file.remove("spool"), milestone, &mut problems);
        (
            (read.location, read.max_events, read.max_bytes),
            problems.to_string(),
        )
    }

    #[test]
    fn it_is_a_folder_unless_it_is_said_to_be_in_memory() {
        let folder = |path: &str| SpoolLocation::Folder(PathBuf::from(path));
        for (text, expected) in [
            ("", (folder("/var/lib/hookferry/spool"), 1_000_000, 4 << 30)),
            (
                "[spool]\npath = \"/a\"\nmax_events = 7",
                (folder("/a"), 7, 4 << 30),
            ),
            (
                "spool = \"memory\"",
                (SpoolLocation::Memory, 1_000_000, 4 << 30),
            ),
            (
                "[spool]\npath = \"memory\"\nmax_size = \"8MiB\"\nmax_events = 7",
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
            let mut problems = ConfigProblems::default();
            let bounds = bounds(file.remove("spool"), Milestone::Delivered, &mut problems);
            assert_eq!(remembered_for(&bounds, &top), expected, "{text} {spool}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_named_with_a_remedy() {
        for (text, key) in [
            ("spool = \"disk\"", "spool"),
            ("[spool]\nmax_size = \"8191KiB\"", "spool.max_size"),
            (
                "[spool]\npath = \"memory\"\nmax_size = \"1MiB\"",
                "spool.max_size",
            ),
            ("[spool]\nmax_events = 0", "spool.max_events"),
            ("[spool]\npath = true", "spool.path"),
        ] {
            let (_, problems) = read(text, Milestone::Delivered);
            assert!(problems.starts_with(&format!("{key}: ")), "{problems}");
            assert!(problems.contains("; "), "{problems}");
            assert_eq!(problems.lines().count(), 1, "{problems}");
        }
        for text in ["spool = \"memory\"", "[spool]\npath = \"memory\""] {
            let (_, problems) = read(text, Milestone::Spooled);
            assert!(problems.starts_with("spool: in memory"), "{problems}");
        }
    }
}
