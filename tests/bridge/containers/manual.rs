//! The commands of the manual's page on Docker, as they stand there.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use super::engine::{Container, docker, ran, shell};
use super::trial::{INGRESS, delivery};
use crate::eventually::eventually_within;
use crate::harness::delivery::event;
use crate::harness::unique;
use crate::repository::read;

/// The block of shell that has these words.
fn block(words: &str) -> String {
    let page = read("docs/src/docker.md");
    let blocks = page.split("```sh\n").skip(1);
    let mut found = blocks.filter_map(|rest| rest.split("```").next());
    let block = found.find(|block| block.contains(words));
    block
        .unwrap_or_else(|| panic!("no block with {words}"))
        .to_owned()
}

#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn the_demo_runs_by_the_manuals_command_and_not_without_a_place_for_its_files() {
    let line = block(" demo --once");
    let said = ran(&mut shell(&line));
    assert_eq!(said.code, Some(0), "{said:#?}");
    let arguments: Vec<&str> = line.split_whitespace().skip(3).collect();
    let bare: Vec<&str> = arguments
        .into_iter()
        .filter(|word| !["--tmpfs", "/tmp"].contains(word))
        .collect();
    let refused = Container::ends(&bare);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("/tmp/"), "{refused:?}");
}

/// With folders of the test's in the place of the machine's, and a name of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn one_container_runs_by_the_manuals_commands() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let container = Container::named(&unique("hookferry-test"));
    let text = block("docker run --detach --name hookferry");
    let mut script = text.replace(
        "--name hookferry ",
        &format!("--name {} ", container.name()),
    );
    for path in [" /etc/hookferry", " /srv/hookferry"] {
        assert!(script.contains(path), "{path} in {text}");
        script = script.replace(path, &format!(" {place}{}", path.trim_start()));
    }
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let mut typed = shell(&script);
    let mut child = typed
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell is there");
    let mut stdin = child.stdin.take().expect("piped");
    write!(
        stdin,
        "ONECODEX_SECRET=demo\nHOOKFERRY_ADMIN_TOKEN=a-token-of-the-tests\n"
    )
    .unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "{script}");
    let secrets = folder.path().join("etc/hookferry.env");
    assert_eq!(secrets.metadata().unwrap().mode() & 0o777, 0o600);
    let patience = std::time::Duration::from_secs(60);
    eventually_within(patience, "it is healthy", async || {
        (container.inspect()["State"]["Health"]["Status"] == "healthy").then_some(())
    })
    .await;
    let answer = delivery(event("sample.uploaded", "a")).to(INGRESS).await;
    assert_eq!(answer.expect("an answer").status, 200);
    let spool = folder.path().join("srv/hookferry/spool");
    let owner = spool.metadata().expect("on the machine's folder").uid();
    assert_eq!(owner, 65532);
    ran(&mut docker(&["stop", container.name()])).good();
    assert_eq!(container.inspect()["State"]["ExitCode"], 0);
}
