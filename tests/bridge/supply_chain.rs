//! What may become part of the program: known licences, one registry, and each crate once.

use std::path::{Path, PathBuf};
use std::process::Command;

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo/deny.toml")
}

/// Whether cargo-deny is content under these rules, and what it says.
fn is_content(rules: &Path) -> (bool, String) {
    let python = std::env::var("HOOKFERRY_TEST_PYTHON").expect("run tests/run");
    let output = Command::new(Path::new(&python).with_file_name("cargo-deny"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--locked", "--config"])
        .arg(rules)
        .args(["check", "bans", "licenses", "sources"])
        .output()
        .expect("cargo-deny is in the environment of tests/requirements.txt");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn every_crate_has_a_known_licence_a_known_origin_and_one_version() {
    let (content, said) = is_content(&rules());
    assert!(content, "{said}");
}

#[test]
fn what_the_rules_do_not_allow_is_found() {
    let text = std::fs::read_to_string(rules()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (named, instead, finding) in [
        ("    \"MIT\",\n", "", "license is not explicitly allowed"),
        (
            "crate = \"reqwest\"",
            "crate = \"ureq\"",
            "explicitly banned",
        ),
        (
            "    { crate = \"http@0.2\"",
            "    # ",
            "duplicate entries for crate 'http'",
        ),
        // One that the program has, in place of one that it must not have.
        (
            "\"actix-http\"\ndeny = [",
            "\"bytes\"\ndeny = [\"std\", ",
            "explicitly denied",
        ),
    ] {
        let stricter = text.replace(named, instead);
        assert_ne!(stricter, text, "{named}");
        let file = folder.path().join("deny.toml");
        std::fs::write(&file, stricter).unwrap();
        let (content, said) = is_content(&file);
        assert!(!content && said.contains(finding), "{instead}: {said}");
    }
}
