//! What `deploy/release` says to somebody who asks for something that it has not.

use std::process::{Command, Output};

use crate::repository::place;

fn release(arguments: &[&str]) -> Output {
    let mut release = Command::new(place("deploy/release"));
    release.args(arguments).output().expect("bash is there")
}

#[test]
fn a_release_names_its_parts_and_refuses_what_is_none() {
    let help = release(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for part in ["deb ", "x86_64 ", "aarch64 ", "sbom ", "SHA256SUMS"] {
        assert!(help.contains(part), "{part} in {help}");
    }
    for (arguments, named) in [
        (&["--only", "rpm"][..], "'rpm'"),
        (&["--only"], "--only wants"),
        (&["--out"], "--out wants a folder"),
        (&["deb"], "no such argument: deb"),
    ] {
        let output = release(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
}
