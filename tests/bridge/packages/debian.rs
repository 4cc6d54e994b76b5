//! The Debian package: installed, started, upgraded, removed and purged.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use super::machine::Machine;
use super::service::Service;
use super::{package, said};
use crate::harness::setup::SECRET;

const CONFIG: &str = "/etc/hookferry/hookferry.toml";
const STATE: &str = "/var/lib/hookferry";
const URL: &str = "http://127.0.0.1:8080/webhooks/onecodex";

/// A machine with the package and the webhook's secret on it.
fn with_package() -> Machine {
    let machine = Machine::debian();
    install(&machine, &package());
    std::fs::write(machine.path("/etc/hookferry/onecodex"), SECRET).unwrap();
    machine
}

fn install(machine: &Machine, package: &Path) -> String {
    machine.bring(package, "/hookferry.deb");
    let words = [
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "/hookferry.deb",
    ];
    machine.run(&words)
}

fn remove(machine: &Machine, how: &str) -> String {
    machine.run(&["apt-get", how, "-y", "hookferry"])
}

/// Sends an event that must be accepted, and gives its id.
fn accepted(machine: &Machine) -> String {
    let words = [
        "hookferry",
        "send",
        "--url",
        URL,
        "--secret-file",
        "/etc/hookferry/onecodex",
    ];
    let answer = machine.run(&words);
    let id = answer.trim().strip_prefix("200 accepted ");
    id.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// What the store has, from its beginning; at least this many events.
fn stored(machine: &Machine, count: &str) -> String {
    let words = [
        "hookferry",
        "tail",
        "--config",
        CONFIG,
        "--sink",
        "store",
        "--from-start",
        "--count",
        count,
    ];
    let mut command = machine.command(&words);
    command.env(
        "CREDENTIALS_DIRECTORY",
        "/run/credentials/hookferry.service",
    );
    said(&mut command)
}

/// The same package with a higher version.
fn newer(folder: &Path) -> std::path::PathBuf {
    let tree = folder.join("tree");
    said(Command::new("dpkg-deb").arg("-R").arg(package()).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).unwrap();
    let version = concat!("Version: ", env!("CARGO_PKG_VERSION"), "-1\n");
    let raised = text.replace(version, &version.replace("-1\n", "-2\n"));
    assert_ne!(raised, text);
    std::fs::write(&control, raised).unwrap();
    let file = folder.join("newer.deb");
    said(
        Command::new("dpkg-deb")
            .args(["-Znone", "-b"])
            .arg(&tree)
            .arg(&file),
    );
    file
}

#[test]
#[ignore = "tests/run --packages: installs into a Debian of its own"]
fn the_package_brings_what_it_promises_with_the_right_modes() {
    let machine = with_package();
    assert_eq!(machine.run(&["dpkg", "-V", "hookferry"]), "");
    for (file, mode) in [
        ("/usr/bin/hookferry", 0o755),
        ("/usr/lib/systemd/system/hookferry.service", 0o644),
        (CONFIG, 0o644),
        ("/usr/share/man/man1/hookferry-serve.1.gz", 0o644),
        ("/usr/share/man/man1/hookferry-spool-drop.1.gz", 0o644),
        ("/usr/share/bash-completion/completions/hookferry", 0o644),
        ("/usr/share/fish/vendor_completions.d/hookferry.fish", 0o644),
        ("/usr/share/zsh/vendor-completions/_hookferry", 0o644),
        ("/usr/share/doc/hookferry/copyright", 0o644),
        ("/usr/share/doc/hookferry/third-party.txt.gz", 0o644),
        ("/usr/share/doc/hookferry/changelog.gz", 0o644),
        ("/usr/share/doc/hookferry/changelog.Debian.gz", 0o644),
    ] {
        let found = machine
            .path(file)
            .metadata()
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(found.permissions().mode() & 0o7777, mode, "{file}");
        assert_eq!((found.uid(), found.gid()), (0, 0), "{file}");
    }
    let conffiles = machine.run(&["dpkg-query", "-W", "-f", "${Conffiles}", "hookferry"]);
    assert!(conffiles.contains(CONFIG), "{conffiles}");
    let user = machine.run(&["getent", "passwd", "hookferry"]);
    assert!(
        user.contains(":/var/lib/hookferry:/usr/sbin/nologin"),
        "{user}"
    );
    // It has not been started: there was no secret.
    assert!(!machine.has(STATE));
    let version = concat!("hookferry ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(machine.run(&["hookferry", "--version"]), version);
    // A file that was changed is found.
    machine.write("/usr/share/doc/hookferry/copyright", "changed");
    let changed = machine.run(&["dpkg", "-V", "hookferry"]);
    assert!(
        changed.contains("/usr/share/doc/hookferry/copyright"),
        "{changed}"
    );
}

#[test]
#[ignore = "tests/run --packages: installs into a Debian of its own"]
fn the_packages_unit_is_the_units_with_its_own_program_and_user() {
    let machine = with_package();
    let settings = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    let ours = settings(&crate::repository::read("deploy/systemd/hookferry.service"));
    let packaged = machine.read("/usr/lib/systemd/system/hookferry.service");
    let expected: Vec<String> = ours
        .iter()
        .filter(|line| *line != "DynamicUser=yes")
        .map(|line| line.replace("/usr/local/bin/", "/usr/bin/"))
        .collect();
    assert_eq!(ours.len(), expected.len() + 1);
    assert_eq!(settings(&packaged), expected);
    for file in [&packaged, &machine.read(CONFIG)] {
        assert!(
            !file.contains("/usr/local") && !file.contains("DynamicUser"),
            "{file}"
        );
    }
    // It is a unit, and as closed as the other.
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("hookferry.service");
    let program = machine.path("/usr/bin/hookferry").display().to_string();
    std::fs::write(&unit, packaged.replace("/usr/bin/hookferry", &program)).unwrap();
    assert_eq!(
        said(Command::new("systemd-analyze").arg("verify").arg(&unit)),
        ""
    );
    let secure = ["security", "--offline=true", "--threshold=15"];
    said(Command::new("systemd-analyze").args(secure).arg(&unit));
}

#[test]
#[ignore = "tests/run --packages: installs into a Debian of its own"]
fn the_service_receives_a_webhook_and_an_upgrade_keeps_what_it_has() {
    let machine = with_package();
    let service = Service::start(&machine);
    let user = machine.run(&["id", "-u", "hookferry"]);
    assert_eq!(service.uid(), user.trim());
    let first = accepted(&machine);
    assert!(stored(&machine, "1").contains(&first));
    service.stop();
    let state = machine.path(STATE).metadata().unwrap();
    assert_eq!(state.permissions().mode() & 0o7777, 0o700);
    assert_eq!(state.uid().to_string(), user.trim());

    let edited = machine
        .read(CONFIG)
        .replace("retention = \"30d\"", "retention = \"31d\"");
    machine.write(CONFIG, &edited);
    let folder = tempfile::tempdir().unwrap();
    install(&machine, &newer(folder.path()));
    let version = machine.run(&["dpkg-query", "-W", "-f", "${Version}", "hookferry"]);
    assert_eq!(version, concat!(env!("CARGO_PKG_VERSION"), "-2"));
    assert!(edited.contains("31d"));
    assert_eq!(machine.read(CONFIG), edited);

    let service = Service::start(&machine);
    let second = accepted(&machine);
    let both = stored(&machine, "2");
    assert!(both.contains(&first) && both.contains(&second), "{both}");
    service.stop();

    remove(&machine, "remove");
    assert!(!machine.has("/usr/bin/hookferry"));
    assert!(machine.has(CONFIG) && machine.has("/var/lib/hookferry/topics"));
    // The spool is empty, but the store may have the only copies.
    let text = remove(&machine, "purge");
    assert!(text.contains("/var/lib/hookferry is kept"), "{text}");
    assert!(!machine.has(CONFIG) && machine.has("/var/lib/hookferry/topics"));
    install(&machine, &package());
    let service = Service::start(&machine);
    assert!(stored(&machine, "2").contains(&first));
    service.stop();
}

/// The package's configuration, with a RabbitMQ that is not there in place of the store.
fn without_a_broker(machine: &Machine) {
    let config = machine.read(CONFIG);
    let (before, _) = config.split_once("[sink.store]").unwrap();
    let sink = "[sink.rabbitmq]\ntype = \"rabbitmq\"\nurl = \"amqp://guest:guest@127.0.0.1:1/%2f\"\n\
        [[route]]\nsource = \"onecodex\"\nsinks = [\"rabbitmq\"]\n";
    machine.write(CONFIG, &format!("{before}{sink}"));
}

#[test]
#[ignore = "tests/run --packages: installs into a Debian of its own"]
fn a_purge_removes_an_empty_spool_unless_it_was_written_to_since() {
    let machine = with_package();
    Service::start(&machine).stop();
    assert!(machine.has("/var/lib/hookferry/spool"));
    let text = remove(&machine, "purge");
    assert!(!machine.has(STATE) && !text.contains("is kept"), "{text}");

    // Nothing waited when it was removed, and something was written afterwards.
    install(&machine, &package());
    Service::start(&machine).stop();
    remove(&machine, "remove");
    machine.run(&["touch", "-d", "+1 minute", "/var/lib/hookferry/spool/lock"]);
    let text = remove(&machine, "purge");
    assert!(
        machine.has("/var/lib/hookferry/spool") && text.contains("is kept"),
        "{text}"
    );
}

#[test]
#[ignore = "tests/run --packages: installs into a Debian of its own"]
fn a_purge_keeps_a_spool_in_which_an_event_waits() {
    let machine = with_package();
    without_a_broker(&machine);
    let service = Service::start(&machine);
    let id = accepted(&machine);
    service.stop();
    let text = remove(&machine, "purge");
    assert!(text.contains("/var/lib/hookferry is kept"), "{text}");
    install(&machine, &package());
    without_a_broker(&machine);
    let mut list = machine.command(&["hookferry", "spool", "list", "--config", CONFIG]);
    list.env(
        "CREDENTIALS_DIRECTORY",
        "/run/credentials/hookferry.service",
    );
    let listed = said(&mut list);
    assert!(listed.contains(&id), "{listed}");
}
