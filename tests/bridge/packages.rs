//! What `deploy/release` has made, each part used as those will who are given it: the Debian package on a
//! fresh Debian, the archives where there is nothing else.

mod archives;
mod arguments;
mod bill;
mod debian;
mod lint;
mod machine;
mod origin;
mod service;

use std::path::PathBuf;
use std::process::Command;

/// A file of the release: the only one whose name begins and ends so.
fn artifact(begin: &str, end: &str) -> PathBuf {
    let folder = std::env::var("HOOKFERRY_TEST_ARTIFACTS").expect("run tests/run --packages");
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    let mut found = paths.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(begin) && name.ends_with(end)
    });
    let path = found.next().unwrap_or_else(|| panic!("no {begin}…{end}"));
    assert_eq!(found.next(), None, "a second {begin}…{end}");
    path
}

fn package() -> PathBuf {
    artifact(concat!("hookferry_", env!("CARGO_PKG_VERSION")), ".deb")
}

/// The archive for a processor.
fn archive(processor: &str) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    artifact(
        &format!("hookferry-{version}-{processor}-unknown-linux-musl"),
        ".tar.gz",
    )
}

/// What a command prints that must succeed, on both streams.
fn said(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}
