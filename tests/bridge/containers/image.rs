//! The image: what is in it, and what a new volume takes from it.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::engine::{Container, IMAGE, SPOOL, Volume, docker, inspect, ran};
use crate::harness::unique;

/// The paths of all files in it.
fn paths() -> Vec<String> {
    let name = unique("hookferry-test");
    ran(&mut docker(&["create", "--name", &name, IMAGE])).good();
    let script = format!("docker export {name} | tar --list");
    let listed = ran(&mut super::engine::shell(&script));
    ran(&mut docker(&["rm", "--volumes", &name])).good();
    let paths: Vec<String> = listed.good().lines().map(str::to_owned).collect();
    assert!(paths.iter().any(|path| path == "usr/local/bin/hookferry"));
    paths
}

#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn the_image_holds_no_shell_and_no_package_manager() {
    let known = [
        "sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "perl",
    ];
    for path in paths() {
        let name = path.rsplit('/').next().unwrap_or_default();
        assert!(!known.contains(&name), "{path}");
    }
    for shell in ["sh", "/bin/sh", "/bin/bash"] {
        let tried = Container::ends(&["--entrypoint", shell, IMAGE, "-c", "true"]);
        assert_eq!(tried.code, Some(127), "{shell}: {tried:?}");
    }
}

#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn the_program_in_the_image_is_of_its_version_and_nobodys_root() {
    let said = Container::ends(&[IMAGE, "--version"]).good();
    assert_eq!(
        said.trim(),
        concat!("hookferry ", env!("CARGO_PKG_VERSION"))
    );
    let image = inspect(IMAGE);
    assert_eq!(image["Config"]["User"], "65532:65532");
    let labels = &image["Config"]["Labels"];
    let version = "org.opencontainers.image.version";
    assert_eq!(labels[version], env!("CARGO_PKG_VERSION"));
}

/// What has been accepted is for the bridge's user alone, from the first volume on.
#[test]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
fn a_new_volume_belongs_to_the_bridge_and_is_closed_to_others() {
    let volume = Volume::new(&[]);
    Container::ends(&["--volume", &volume.at(SPOOL), IMAGE, "--version"]).good();
    let folder: PathBuf = volume.folder();
    let made = folder.metadata().expect("it is there");
    assert_eq!((made.uid(), made.gid()), (65532, 65532));
    assert_eq!(made.mode() & 0o7777, 0o750);
}

/// By its own health check, without Compose.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn a_container_that_may_do_nothing_is_healthy_by_the_images_own_check() {
    let config = crate::repository::place("deploy/config")
        .display()
        .to_string();
    let mounts = format!("{config}:/etc/hookferry:ro");
    let container = Container::run(&[
        "--read-only",
        "--cap-drop",
        "ALL",
        "--network",
        "none",
        "--env",
        "HOOKFERRY_CONFIG=/etc/hookferry/store.toml",
        "--env",
        "ONECODEX_SECRET=demo",
        "--env",
        "HOOKFERRY_ADMIN_TOKEN=a-token-of-the-tests",
        "--volume",
        &mounts,
        IMAGE,
    ]);
    crate::eventually::eventually("it is healthy", async || {
        (container.inspect()["State"]["Health"]["Status"] == "healthy").then_some(())
    })
    .await;
}
