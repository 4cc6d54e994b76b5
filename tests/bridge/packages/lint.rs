//! The Debian package, as Debian's own checker sees it.

use std::process::Command;

use super::package;

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn lintian_finds_no_error() {
    let mut lintian = Command::new("lintian");
    lintian.args([
        "--allow-root",
        "--fail-on",
        "error",
        "--tag-display-limit",
        "0",
    ]);
    let output = lintian.arg(package()).output().expect("lintian is there");
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{found}");
    assert!(!found.contains("E: "), "{found}");
    // It has looked: there is always something that it would have otherwise.
    assert!(
        found
            .lines()
            .all(|line| line.starts_with("W: ") || line.starts_with("N: ")),
        "{found}"
    );
}
