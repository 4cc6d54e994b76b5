//! What the programs of a release give away, what they need, and whether the sums are theirs.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{archive, artifact, package, said};

/// The program of an archive or of the package, unpacked.
fn program(folder: &TempDir, from: &Path) -> PathBuf {
    let to = folder.path();
    if from.extension().is_some_and(|extension| extension == "deb") {
        said(Command::new("dpkg-deb").arg("-x").arg(from).arg(to));
        return to.join("usr/bin/hookferry");
    }
    said(Command::new("tar").arg("-xf").arg(from).arg("-C").arg(to));
    let name = from.file_name().unwrap().to_str().unwrap();
    to.join(name.trim_end_matches(".tar.gz")).join("hookferry")
}

fn read_elf(option: &str, program: &Path) -> String {
    said(Command::new("readelf").args(["-W", option]).arg(program))
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn the_archives_programs_are_static_and_all_are_stripped() {
    for (from, machine, is_static) in [
        (package(), "X86-64", false),
        (archive("x86_64"), "X86-64", true),
        (archive("aarch64"), "AArch64", true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let program = program(&folder, &from);
        assert!(read_elf("-h", &program).contains(machine), "{from:?}");
        let needs = read_elf("-d", &program).contains("(NEEDED)")
            || read_elf("-l", &program).contains("INTERP");
        assert_eq!(needs, !is_static, "{from:?}");
        let sections = read_elf("-S", &program);
        assert!(sections.contains(".text"), "{sections}");
        assert!(
            !sections.contains(".symtab") && !sections.contains(".debug"),
            "{sections}"
        );
    }
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn no_program_knows_where_it_was_built() {
    let home = std::env::var("HOME").unwrap();
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target/release".to_owned());
    for from in [package(), archive("x86_64"), archive("aarch64")] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(program(&folder, &from)).unwrap();
        let has = |text: &str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        // It was compiled here, so such a path would be found.
        assert!(has("/crates/"), "{from:?}");
        for path in [env!("CARGO_MANIFEST_DIR"), &format!("{home}/"), &target] {
            assert!(!has(path), "{path} in {from:?}");
        }
    }
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn the_sums_are_those_of_every_file() {
    let sums = artifact("SHA256SUMS", "");
    let folder = sums.parent().unwrap();
    let text = std::fs::read_to_string(&sums).unwrap();
    let mut named: Vec<&str> = text
        .lines()
        .map(|line| line.split_once("  ").unwrap().1)
        .collect();
    named.sort_unstable();
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut there: Vec<String> = names.filter(|name| name != "SHA256SUMS").collect();
    there.sort_unstable();
    assert_eq!(named, there);
    let check = |folder: &Path| {
        let mut sum = Command::new("sha256sum");
        sum.args(["--check", "--strict", "--quiet", "SHA256SUMS"]);
        sum.current_dir(folder).output().unwrap().status.success()
    };
    assert!(check(folder));
    let copies = tempfile::tempdir().unwrap();
    for name in there.iter().map(String::as_str).chain(["SHA256SUMS"]) {
        std::fs::copy(folder.join(name), copies.path().join(name)).unwrap();
    }
    assert!(check(copies.path()));
    let file = copies.path().join(&there[0]);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(!check(copies.path()));
}
