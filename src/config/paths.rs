//! The files that the bridge writes: whether they could be, and whether each has only one use.

use std::path::{Path, PathBuf};

use super::named::Named;
use super::problem::Problems;
use super::settings::{SinkKind, SinkSettings};
use super::spool::SpoolPlace;
use crate::spool::Place;

/// Whether the files that are yet to be opened could be.
pub(super) fn check_writable(
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
            try_writing(&key, path, problems);
        }
    }
}

/// Whether the file, or a new one in its folder, could be written.
fn try_writing(key: &str, path: &Path, problems: &mut Problems) {
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

/// One file is not both the spool and a store, and there is one store.
pub(super) fn check_uses(sinks: &Named<SinkSettings>, place: &SpoolPlace, problems: &mut Problems) {
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
