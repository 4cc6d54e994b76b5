//! Whether a configuration has changed on the disk: a digest of the file and of every file it names.
//!
//! The contents count, not the times: a secret that is mounted into a container changes by a link
//! that leads elsewhere, and a file that was only touched has not changed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::interpolate;
use super::problem::ConfigProblems;

/// More of a file is not read: none that a configuration names is nearly as large.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What lay on the disk at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Looks at the configuration at `path`, and at what it names under a key `file` or `…_file`. A
    /// file that cannot be read is something that can change, too.
    #[must_use]
    pub fn of(path: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut digest = Sha256::new();
        let text = add(path, &mut digest).unwrap_or_default();
        let table = std::str::from_utf8(&text).ok().map(str::parse::<Table>);
        if let Some(Ok(table)) = table {
            let mut value = Value::Table(table);
            interpolate::fill("", &mut value, lookup, &mut ConfigProblems::default());
            visit_files(&value, &mut |file| {
                // The error is in the digest.
                let _ = add(file, &mut digest);
            });
        }
        Self(digest.finalize().into())
    }
}

/// Adds a file's name and contents, or why it has none.
fn add(path: &Path, digest: &mut Sha256) -> io::Result<Vec<u8>> {
    let read = read(path);
    digest.update(path.as_os_str().as_encoded_bytes());
    match &read {
        Ok(bytes) => {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        }
        Err(error) => {
            digest.update(u64::MAX.to_be_bytes());
            digest.update(error.to_string());
        }
    }
    read
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Reading a pipe would wait for its writer, and take away what it writes.
    if !std::fs::metadata(path)?.is_file() {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn visit_files(value: &Value, visit: &mut dyn FnMut(&Path)) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                match value {
                    Value::String(file) if key == "file" || key.ends_with("_file") => {
                        visit(Path::new(file));
                    }
                    other => visit_files(other, visit),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit_files(item, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_changes_with_the_contents_of_every_file_that_is_named_and_with_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let config = path("hookferry.toml");
        let text = format!(
            "[source.a]\nsecrets = [{{ file = \"${{DIR}}/secret\" }}]\n[ingress.tls]\ncertificate_file = {:?}",
            path("certificate")
        );
        let dir = folder.path().display().to_string();
        let now = || Fingerprint::of(&config, &|name| (name == "DIR").then(|| dir.clone()));
        let mut seen = vec![now()];
        let mut changed = |what: &str| {
            let next = now();
            assert!(!seen.contains(&next), "{what}");
            assert_eq!(next, now(), "{what}");
            seen.push(next);
        };
        fs::write(&config, text).expect("written");
        changed("the configuration is there");
        fs::write(path("secret"), "a").expect("written");
        changed("a secret is there");
        fs::write(path("certificate"), "a").expect("written");
        changed("a certificate is there");
        for (name, text) in [("one", "b"), ("two", "c")] {
            fs::write(path(name), text).expect("written");
            let _ = fs::remove_file(path("secret"));
            symlink(path(name), path("secret")).expect("a link");
            changed("a link leads elsewhere");
        }
        fs::remove_file(path("certificate")).expect("removed");
        fs::create_dir(path("certificate")).expect("made");
        changed("a folder lies in its place");
        let before = now();
        fs::write(path("two"), "c").expect("written");
        assert_eq!(now(), before, "the same again");
    }
}
