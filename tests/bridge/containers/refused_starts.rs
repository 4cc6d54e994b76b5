//! Starts that cannot end well say so clearly, and what to do.

use std::path::Path;

use super::engine::{Container, IMAGE, Ran, SPOOL};
use crate::repository::place;

/// Runs the image to its end, with the store's configuration, these options and this command.
fn ended(options: &[&str], command: &[&str]) -> Ran {
    let config = format!("{}:/etc/hookferry:ro", place("deploy/config").display());
    let usual = [
        "--read-only",
        "--env",
        "ONECODEX_SECRET=demo",
        "--env",
        "HOOKFERRY_ADMIN_TOKEN=a-token-of-the-tests",
        "--env",
        "HOOKFERRY_CONFIG=/etc/hookferry/store.toml",
        "--volume",
        &config,
    ];
    Container::ends(&[&usual, options, &[IMAGE], command].concat())
}

/// The bridge, which ends by itself.
fn refused(options: &[&str]) -> Ran {
    ended(options, &[])
}

/// Asserts that the error names all of these, and is no panic.
fn says(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    assert!(!ran.err.contains("panicked"), "{ran:#?}");
    for part in parts {
        assert!(ran.err.contains(part), "{part} in {ran:#?}");
    }
}

#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn a_folder_of_roots_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |path: &Path| format!("{}:{SPOOL}", path.display());
    let spool = mount(folder.path());
    let remedy = format!("chown -R 65532 {SPOOL}");
    says(&refused(&["--volume", &spool]), 2, &[SPOOL, &remedy]);
    // One that the engine itself has made.
    let missing = mount(&folder.path().join("missing"));
    says(&refused(&["--volume", &missing]), 2, &[SPOOL, &remedy]);
    // As the remedy has it, on the machine's side.
    std::os::unix::fs::chown(folder.path(), Some(65532), Some(65532)).unwrap();
    let checked = ended(&["--volume", &spool], &["check"]);
    assert_eq!(checked.code, Some(0), "{checked:#?}");
}

#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn a_missing_configuration_is_named() {
    let bare = Container::ends(&["--read-only", IMAGE]);
    says(&bare, 2, &["/etc/hookferry/hookferry.toml"]);
}

#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn a_secret_that_is_not_set_is_named() {
    let refused = refused(&["--env", "ONECODEX_SECRET="]);
    says(&refused, 2, &["source.onecodex.secrets[0]", "empty"]);
}

/// The engine holds to the limit, and the bridge says which it was.
#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn too_few_processes_are_named() {
    for limit in ["4", "8", "12"] {
        let refused = refused(&["--pids-limit", limit]);
        assert!(
            refused.code.is_some_and(|code| code == 1 || code == 2),
            "{refused:#?}"
        );
        assert!(!refused.err.contains("panicked"), "{refused:#?}");
        assert!(refused.err.contains("limit"), "{refused:#?}");
    }
}
