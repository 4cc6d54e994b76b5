//! The fuzz targets on a stable compiler: every file of the corpora in `tests/bridge/fuzz/corpus/`,
//! and a number of mutations of them that is the same in every run. `fuzz/` gives the same
//! functions to cargo-fuzz, which goes on for as long as one likes:
//!
//! ```text
//! cargo +nightly fuzz run --sanitizer none header tests/bridge/fuzz/corpus/header
//! ```
//!
//! What it finds becomes a file of the corpus.

use std::panic::catch_unwind;
use std::path::Path;

pub mod callers;
mod mutation;
pub mod reference;
pub mod targets;

use mutation::{Choices, mutate};

/// Every file of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bridge/fuzz/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(folder.join(target))
        .expect("each target has a corpus")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 3, "{target} has seeds");
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("readable"))
        .collect()
}

fn holds(target: fn(&[u8]), input: &[u8]) {
    if catch_unwind(|| target(input)).is_err() {
        panic!("does not hold for {:?}", input.escape_ascii().to_string());
    }
}

/// The corpus, and this many mutations of it.
fn run(name: &str, target: fn(&[u8]), mutations: usize) {
    let seeds = corpus(name);
    for seed in &seeds {
        holds(target, seed);
    }
    let mut choices = Choices::new(0x5eed);
    for _ in 0..mutations {
        holds(target, &mutate(&seeds, &mut choices));
    }
}

#[test]
fn any_signature_header_is_read_as_the_reference_reads_it() {
    run("header", targets::header, 20_000);
}

#[test]
fn any_signed_body_becomes_an_event() {
    run("event", targets::event, 10_000);
}

#[test]
fn any_configuration_is_settings_or_problems() {
    run("configuration", targets::configuration, 3_000);
}

#[test]
fn any_record_holds_an_event_that_is_written_as_it_was_read_or_none() {
    let events = corpus("record");
    let is_one = |bytes: &&Vec<u8>| hookferry::event::Event::decode(bytes).is_ok();
    assert_eq!(events.iter().filter(is_one).count(), 6, "of the seeds");
    run("record", targets::record, 20_000);
}

#[test]
fn any_bytes_before_http_name_whom_they_plainly_name_or_nobody() {
    run("proxy_header", callers::proxy_header, 5_000);
}

#[test]
fn any_forwarding_header_names_nobody_that_no_proxy_has_seen() {
    run("forwarded", callers::forwarded, 20_000);
}

/// A dependency that is missing there is found by nobody who does not fuzz: `cargo metadata` in
/// `fuzz/` writes it down.
#[test]
fn the_lock_file_of_the_fuzzers_knows_every_dependency() {
    let read = |path: &str| -> toml::Table {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(path).expect("it is there");
        text.parse().expect("TOML")
    };
    let (manifest, lock) = (read("Cargo.toml"), read("fuzz/Cargo.lock"));
    let packages = lock["package"].as_array().expect("packages");
    let own = packages
        .iter()
        .find(|package| package["name"].as_str() == Some("hookferry"))
        .expect("the program is one");
    let known = own["dependencies"].as_array().expect("it has some");
    let known = known.iter().filter_map(|of| of.as_str()?.split(' ').next());
    let known: Vec<&str> = known.collect();
    let wanted = manifest["dependencies"].as_table().expect("it has some");
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|(name, of)| of.get("optional").is_none() && !known.contains(&name.as_str()))
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Each target is there for cargo-fuzz too.
#[test]
fn cargo_fuzz_has_the_same_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("it is there");
    for target in [
        "header",
        "event",
        "configuration",
        "record",
        "proxy_header",
        "forwarded",
    ] {
        let path = format!("fuzz_targets/{target}.rs");
        let text = std::fs::read_to_string(folder.join(&path)).expect("it is there");
        assert!(text.contains(&format!("::{target}(data)")), "{text}");
        assert!(
            manifest.contains(&format!("path = \"{path}\"")),
            "{manifest}"
        );
    }
}
