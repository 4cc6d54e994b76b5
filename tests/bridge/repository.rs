//! The files of this repository, for the tests that hold them against the program.

use std::path::{Path, PathBuf};

/// Where a file or folder of this repository is.
pub fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file.
///
/// # Panics
/// When it cannot be read.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(place(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files anywhere below a folder that end so, by their paths in it, with slashes.
///
/// # Panics
/// When there are hardly any.
pub fn files_below(folder: &str, extension: &str) -> Vec<String> {
    let root = place(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == extension) {
                let path = path.strip_prefix(&root).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(found.len() > 10, "{folder} has {found:?}");
    found
}
