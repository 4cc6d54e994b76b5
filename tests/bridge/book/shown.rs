//! The configurations that the manual shows: the README's are whole and good, the book's have no
//! key that there is not.

use std::process::Command;

use super::read;
use crate::harness::program::RELEASED;
use crate::repository::files_below;

/// The blocks of TOML in a text.
fn blocks(text: &str) -> Vec<&str> {
    let after = text.split("```toml\n").skip(1);
    after
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

/// The text with its secrets and folders where a test may have them.
fn relocated(text: &str, folder: &std::path::Path) -> String {
    std::fs::write(folder.join("secret"), "a secret of the tests").unwrap();
    let here = folder.display().to_string();
    let mut parts = text.split("file = \"");
    let mut moved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, rest) = part.split_once('"').expect("a path ends");
        moved += &format!("file = \"{here}/secret\"{rest}");
    }
    moved.replace("/var/lib/hookferry", &here)
}

#[test]
fn every_configuration_in_the_readme_is_good() {
    let readme = read("README.md");
    let shown = blocks(&readme);
    assert!(!shown.is_empty());
    for text in shown {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hookferry.toml");
        std::fs::write(&file, relocated(text, folder.path())).unwrap();
        let output = Command::new(RELEASED)
            .args(["check", "--config"])
            .arg(&file)
            .env("ONECODEX_SECRET", "a secret of the tests")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{said}");
    }
}

#[test]
fn no_page_shows_a_key_that_there_is_not() {
    let mut count = 0;
    for path in files_below("docs/src", "md") {
        let page = read(&format!("docs/src/{path}"));
        for text in blocks(&page) {
            let Err(problems) = hookferry::config::parse(text, &|_| Some("text".to_owned())) else {
                continue;
            };
            for problem in problems.iter().map(ToString::to_string) {
                let is_wrong = problem.contains("is unknown") || problem.starts_with("the file: ");
                assert!(!is_wrong, "{path}: {problem}\n{text}");
            }
            count += 1;
        }
    }
    assert!(count > 3, "{count}");
}
