//! What is in `deploy/` for the brokers, as it is, on brokers of the tests' own: all of it is loaded or
//! run, and the bridge's user can do what it must and nothing else.

mod kafka;
mod rabbitmq;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Bridge, Post, Setup, event, setup};

/// A file of `deploy/`.
fn deployed(path: &str) -> PathBuf {
    super::place("deploy").join(path)
}

fn read(path: &str) -> String {
    super::text(&format!("deploy/{path}"))
}

/// The text with other words for what only the place it is deployed to has; each must be there.
fn relocated(text: &str, places: &[(&str, &str)]) -> String {
    let put = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{from} is not in:\n{text}");
        text.replace(from, to)
    };
    places.iter().fold(text.to_owned(), put)
}

/// Runs it, and asserts that it worked.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// `hookferry check --connect` finds nothing that is wrong, and nothing to warn of.
fn is_checked(config: &Path) -> String {
    let mut check = Command::new(env!("CARGO_BIN_EXE_hookferry"));
    let said = succeeds(check.args(["check", "--connect", "--config"]).arg(config));
    assert!(said.contains('✓') && !said.contains('✗'), "{said}");
    said
}

/// A configuration of `deploy/config` in a folder of the test's own: its file, and the setup that
/// owns the folder.
fn configured(name: &str, places: &[(&str, &str)]) -> (PathBuf, Setup) {
    let setup = Setup::store();
    let path = |name: &str| setup.path(name).display().to_string();
    let (secret, spool) = (path("secret"), path("spool"));
    let own = [
        ("\"0.0.0.0:8080\"", "\"127.0.0.1:0\""),
        ("\"127.0.0.1:8081\"", "\"127.0.0.1:0\""),
        ("/run/secrets/onecodex", secret.as_str()),
        ("/var/lib/hookferry/spool", spool.as_str()),
    ];
    let text = read(&format!("config/{name}"));
    let text = relocated(&relocated(&text, &own), places);
    let file = setup.path("hookferry.toml");
    std::fs::write(&file, text).expect("writable");
    (file, setup)
}

/// One delivery for each lane: their ids.
async fn one_of_each_lane(bridge: &Bridge) -> [String; 3] {
    let odd = Post::signed_with(
        "onecodex",
        "not what anybody understands",
        setup::SECRET,
        crate::harness::delivery::now(),
    );
    [
        bridge
            .accepted("onecodex", event("sample.uploaded", "a"))
            .await,
        bridge
            .accepted("onecodex", event("sample.renamed", "a"))
            .await,
        bridge.post(&odd).await.id(),
    ]
}
