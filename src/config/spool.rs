//! The `spool` table: where the events wait, and how many of them.

use std::path::PathBuf;

use toml::{Table, Value};

use super::file::{DuplicatesFile, SpoolFile, TopFile};
use super::problem::Problems;
use super::section;
use super::value::span;
use crate::spool::{self, Duplicates, Milestone, Place};

/// The spool's place and bounds.
pub(super) struct SpoolPlace {
    pub place: Place,
    max_events: u64,
    max_bytes: u64,
}

/// Reads it.
pub(super) fn place(
    value: Option<Value>,
    milestone: Milestone,
    problems: &mut Problems,
) -> SpoolPlace {
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

/// Its place and bounds, and what it is told about duplicates.
pub(super) fn settings(place: SpoolPlace, top: &TopFile) -> spool::Settings {
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
