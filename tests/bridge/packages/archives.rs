//! The archives: their programs run where there is no C library, no name service and nothing else.

use std::path::Path;
use std::process::Command;

use super::machine::Machine;
use super::{archive, said};

/// An emulator, which runs a program of another processor; itself a program without libraries.
const EMULATOR: &str = "/usr/bin/qemu-aarch64-static";

/// What is in an archive, below the one folder that it has.
fn listed(archive: &Path) -> Vec<String> {
    let listing = said(Command::new("tar").arg("-tf").arg(archive));
    let name = archive.file_name().unwrap().to_str().unwrap();
    let folder = format!("{}/", name.trim_end_matches(".tar.gz"));
    let below = |line: &str| line.strip_prefix(&folder).map(str::to_owned);
    let files: Option<Vec<String>> = listing.lines().map(below).collect();
    files.unwrap_or_else(|| panic!("not all below {folder}: {listing}"))
}

/// An empty machine with the program of an archive.
fn with_program(archive: &Path) -> Machine {
    let machine = Machine::empty();
    let mut tar = Command::new("tar");
    tar.args(["--strip-components=1", "-xf"])
        .arg(archive)
        .arg("-C");
    said(tar.arg(machine.path("/tmp")));
    machine
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn an_archive_has_all_that_is_needed() {
    for processor in ["x86_64", "aarch64"] {
        let files = listed(&archive(processor));
        for file in [
            "hookferry",
            "LICENSE",
            "README.md",
            "CHANGELOG.md",
            "third-party.txt",
            "deploy/systemd/hookferry.service",
            "deploy/systemd/hookferry.toml",
            "deploy/config/kafka.toml",
            "deploy/config/rabbitmq.toml",
            "deploy/config/store.toml",
            "man/hookferry.1",
            "man/hookferry-serve.1",
            "completions/hookferry.bash",
            "completions/hookferry.fish",
            "completions/_hookferry",
        ] {
            assert!(files.iter().any(|name| name == file), "{file} in {files:?}");
        }
    }
}

/// The demo: receives, verifies, syncs, delivers to the store, and shows it.
fn shows(machine: &Machine, before: &[&str]) {
    let words = ["/tmp/hookferry", "demo", "--once"];
    let text = machine.run(&[before, &words].concat());
    assert!(
        text.contains("4 delivered, 0 pending, 0 unaccounted for"),
        "{text}"
    );
    let version = concat!("hookferry ", env!("CARGO_PKG_VERSION"), "\n");
    let words = ["/tmp/hookferry", "--version"];
    assert_eq!(machine.run(&[before, &words].concat()), version);
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn the_program_for_x86_64_runs_where_there_is_nothing_else() {
    let machine = with_program(&archive("x86_64"));
    assert!(!machine.has("/lib") && !machine.has("/usr") && !machine.has("/bin"));
    shows(&machine, &[]);
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn the_program_for_aarch64_runs_under_an_emulator() {
    let machine = with_program(&archive("aarch64"));
    machine.bring(Path::new(EMULATOR), "/emulator");
    shows(&machine, &["/emulator"]);
}

/// What `check --connect` says of two brokers, of which nobody listens at either port.
fn checked(machine: &Machine) -> String {
    let mut command = machine.command(&[
        "/tmp/hookferry",
        "check",
        "--connect",
        "--config",
        "/tmp/names.toml",
    ]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn the_static_program_finds_brokers_by_their_names() {
    let machine = with_program(&archive("x86_64"));
    machine.write("/tmp/secret", crate::harness::setup::SECRET);
    machine.write(
        "/tmp/names.toml",
        "ingress.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nspool.path = \"/tmp/spool\"\n\
         [source.a]\nprovider = \"onecodex\"\nsecrets = [{ file = \"/tmp/secret\" }]\n\
         [sink.rabbitmq]\ntype = \"rabbitmq\"\nurl = \"amqp://guest:guest@rabbit.test:1/%2f\"\n\
         [sink.kafka]\ntype = \"kafka\"\nbrokers = \"kafka.test:1\"\n\
         [[route]]\nsource = \"a\"\nsinks = [\"rabbitmq\", \"kafka\"]\n",
    );
    let refused = |text: &str| text.matches("Connection refused").count();
    // The two clients look names up each in its own way, in Rust and in C.
    machine.write("/etc/hosts", "127.0.0.1 localhost rabbit.test kafka.test\n");
    let said = checked(&machine);
    assert_eq!(refused(&said), 2, "{said}");
    machine.write("/etc/hosts", "127.0.0.1 localhost\n");
    let said = checked(&machine);
    assert_eq!(refused(&said), 0, "{said}");
}
