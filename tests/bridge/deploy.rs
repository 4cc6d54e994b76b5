//! What operators are given in `deploy/` and in `docker-compose.yml`, held against the program and
//! against itself.

mod brokers;
mod compose;
mod docker;
mod helm;
mod kubernetes;
mod unit;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::Authority;
use crate::repository::{place, read as text};

/// A Python with the libraries of tests/requirements.txt.
fn python() -> Command {
    let python = std::env::var("HOOKFERRY_TEST_PYTHON").expect(
        "HOOKFERRY_TEST_PYTHON names no python: run tests/run, or set it to one with tests/requirements.txt installed",
    );
    Command::new(python)
}

/// The documents of a YAML text, in which no key may stand twice.
fn yaml(text: &str) -> Vec<Value> {
    let mut reader = python()
        .arg(place("tests/yaml-to-json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python is there");
    let mut input = reader.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("read to its end");
    drop(input);
    let output = reader.wait_with_output().expect("it ends");
    assert!(output.status.success(), "no YAML: {text}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A span of time as all of these files write it.
fn span(value: &Value) -> Duration {
    let text = value.as_str().expect("a span");
    humantime::parse_duration(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn strings(value: &Value) -> Vec<&str> {
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(Value::as_str).collect()
}

/// Whether an image is named by a version of its own.
fn is_pinned(image: &str) -> bool {
    image
        .rsplit_once(':')
        .is_some_and(|(_, tag)| tag.contains(|c: char| c.is_ascii_digit()) && !tag.contains('/'))
}

/// Asserts that a bridge takes the configuration, with what only its place of installation has put
/// into a folder; returns how long its stop may take.
fn is_good(name: &str, text: &str) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let path = |part: &str| folder.path().join(part).display().to_string();
    for part in ["state", "secrets"] {
        std::fs::create_dir(path(part)).unwrap();
    }
    let authority = Authority::new();
    for sink in ["kafka", "rabbitmq"] {
        let file = format!("{}/{sink}-ca.pem", path("secrets"));
        std::fs::copy(authority.certificate(), file).unwrap();
    }
    for secret in ["onecodex", "rabbitmq"] {
        std::fs::write(
            format!("{}/{secret}", path("secrets")),
            "a secret of the tests",
        )
        .unwrap();
    }
    let text = text
        .replace("/var/lib/hookferry", &path("state"))
        .replace("/run/secrets/hookferry", &path("secrets"));
    std::fs::write(path("hookferry.toml"), &text).unwrap();
    let output = Command::new(crate::harness::program::RELEASED)
        .args(["check", "--config", &path("hookferry.toml")])
        .env("CREDENTIALS_DIRECTORY", path("secrets"))
        .env("ONECODEX_SECRET", "a secret of the tests")
        .env("HOOKFERRY_ADMIN_TOKEN", "a-token-of-the-tests")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    let table: toml::Table = text.parse().unwrap();
    let timeout = table.get("shutdown_timeout").and_then(toml::Value::as_str);
    humantime::parse_duration(timeout.unwrap_or("10s")).unwrap()
}

#[test]
fn an_image_without_a_version_is_told_from_one_with() {
    for (image, pinned) in [
        ("rabbitmq:4.1.4-management", true),
        ("registry.example.com:5000/hookferry:0.1.0", true),
        ("rabbitmq:latest", false),
        ("rabbitmq", false),
        ("registry.example.com:5000/hookferry", false),
    ] {
        assert_eq!(is_pinned(image), pinned, "{image}");
    }
}
