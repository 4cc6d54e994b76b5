//! The folders that the bridge writes to: whether they could be written, and whether each has only
//! one use.

use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::named::Named;
use super::problem::ConfigProblems;
use super::settings::{SinkKind, SinkSettings};
use super::spool::SpoolBounds;
use crate::path_error::{PathError, explain};
use crate::spool::SpoolLocation;

/// Which of the folders must be writable for the configuration to be good.
#[derive(Debug, Clone, Copy)]
pub(super) enum Writable<'a> {
    /// All of them, for a bridge that is to start.
    All,
    /// All but those that a running bridge has open: what a failed disk says of them now says
    /// nothing about the settings.
    AllBut(&'a [PathBuf]),
    /// None, for a command that only looks.
    None,
}

/// Whether the folders that must be writable are, or can be made.
pub(super) fn check_writable(
    sinks: &Named<SinkSettings>,
    spool: &SpoolBounds,
    which: Writable<'_>,
    problems: &mut ConfigProblems,
) {
    let open: &[PathBuf] = match which {
        Writable::All => &[],
        Writable::AllBut(open) => open,
        Writable::None => return,
    };
    for (key, path) in folders(sinks, spool) {
        if !open.contains(path) {
            check_folder(&key, path, problems);
        }
    }
}

/// The folders, each with its key path.
fn folders<'a>(
    sinks: &'a Named<SinkSettings>,
    spool: &'a SpoolBounds,
) -> impl Iterator<Item = (String, &'a PathBuf)> {
    let folder = match &spool.location {
        SpoolLocation::Folder(path) => Some(("spool.path".to_owned(), path)),
        SpoolLocation::Memory => None,
    };
    let stores = sinks.read.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Store(store) => Some((format!("sink.{}.path", sink.name), &store.path)),
        _ => None,
    });
    folder.into_iter().chain(stores)
}

/// Whether the folder could be written; where it is missing, whether it could be made. The system
/// is asked and nothing is written: on a full disk what waits can still be delivered.
fn check_folder(key: &str, path: &Path, problems: &mut ConfigProblems) {
    let folder = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => path,
        Ok(_) => {
            problems.add(
                key,
                format!("{} is a file, and a folder is wanted", path.display()),
                "name a folder, which is made where it is missing; what an earlier version has kept in that one file only that version can read",
            );
            return;
        }
        Err(_) => around(path),
    };
    let rights = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if let Err(error) = rustix::fs::access(folder, rights) {
        let PathError { found, remedy } = explain(folder, &error.into());
        let folder = folder.display();
        problems.add(
            key,
            format!("the folder {folder} cannot be written: {found}"),
            remedy,
        );
    }
}

/// The folder that a path lies in.
fn around(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The spool and a store have a folder each, and there is one store.
pub(super) fn check_uses(
    sinks: &Named<SinkSettings>,
    spool: &SpoolBounds,
    problems: &mut ConfigProblems,
) {
    let mut taken: Vec<(String, &PathBuf)> = Vec::new();
    for (key, path) in folders(sinks, spool) {
        let is_shared = |(_, other): &&(String, &PathBuf)| overlap(other, path);
        if let Some((other, _)) = taken.iter().find(is_shared) {
            problems.add(
                key.clone(),
                format!("{other} names the same folder, or one of them lies in the other"),
                "give each a folder of its own, side by side",
            );
        }
        if taken.iter().any(|(other, _)| other != "spool.path") {
            problems.add(
                key.strip_suffix(".path").unwrap_or(&key),
                "there is another store already",
                "one store holds all topics: remove one of them",
            );
        }
        taken.push((key, path));
    }
}

fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a folder.
    fn checked(path: &Path) -> String {
        let mut problems = ConfigProblems::default();
        check_folder("spool.path", path, &mut problems);
        problems.to_string()
    }

    #[test]
    fn a_folder_is_looked_at_and_not_touched() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("spool");
        assert_eq!(checked(&path), "", "it can be made");
        assert!(!path.exists());
        std::fs::create_dir(&path).expect("made");
        let modified = || std::fs::metadata(&path).and_then(|found| found.modified());
        let before = modified().expect("there");
        assert_eq!(checked(&path), "");
        assert_eq!(modified().expect("there"), before);
        let inside = path.join("missing/spool");
        let said = checked(&inside);
        assert!(said.contains("spool/missing cannot be written"), "{said}");
        assert!(said.contains("make the folder"), "{said}");
    }

    #[test]
    fn a_file_in_the_folders_place_is_refused_with_what_to_do() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("spool.db");
        std::fs::write(&path, "SQLite format 3\0").expect("written");
        let said = checked(&path);
        for part in ["spool.path: ", "spool.db is a file", "name a folder"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn folders_overlap_where_one_lies_in_the_other() {
        let overlap = |a: &str, b: &str| overlap(Path::new(a), Path::new(b));
        assert!(overlap("/a/b", "/a/b"));
        assert!(overlap("/a/b", "/a/b/c") && overlap("/a/b/c", "/a/b"));
        assert!(!overlap("/a/b", "/a/bc"));
        assert!(!overlap("/a/b", "/a/c"));
    }
}
