//! Every link leads somewhere, every page is in the summary, and the README fits a sitting.

use std::collections::BTreeSet;
use std::path::Path;

use super::{anchors, place, prose, read};
use crate::repository::files_below;

const MOST_README_LINES: usize = 220;

/// The texts of the manual, by their paths in the repository.
fn texts() -> Vec<String> {
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned);
    let pages = pages().into_iter().map(|page| format!("docs/src/{page}"));
    let summary = "docs/src/SUMMARY.md".to_owned();
    top.into_iter().chain(pages).chain([summary]).collect()
}

/// The pages of the book but its summary, by their paths below docs/src.
fn pages() -> BTreeSet<String> {
    let mut found: BTreeSet<String> = files_below("docs/src", "md").into_iter().collect();
    assert!(found.remove("SUMMARY.md"));
    found
}

/// Where the links and pictures of a text lead.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (before, end) in [("](", ')'), ("href=\"", '"'), ("src=\"", '"')] {
        let lines = prose(text).into_iter();
        let targets = lines.flat_map(|line| line.split(before).skip(1));
        found.extend(targets.filter_map(|rest| rest.split(end).next()));
    }
    found
}

/// The links that lead nowhere, of a text that lies at `path`.
fn dead<'a>(path: &Path, text: &'a str) -> Vec<&'a str> {
    let is_dead = |target: &&'a str| {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let file = match file {
            "" => path.to_owned(),
            _ => path.with_file_name(file),
        };
        let has_anchor = || {
            let same = file == path;
            let other = std::fs::read_to_string(&file).unwrap_or_default();
            anchors(if same { text } else { &other }).contains(anchor)
        };
        !file.exists() || !(anchor.is_empty() || has_anchor())
    };
    let here = links(text)
        .into_iter()
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    here.filter(is_dead).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for path in texts() {
        let text = read(&path);
        count += links(&text).len();
        assert_eq!(dead(&place(&path), &text), [""; 0], "{path}");
    }
    assert!(count > 100, "{count}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# A `b`, c\n[x](#a-b-c) [y](#a-b) [z](src/nowhere.rs) [v](https://a/b) [u](README.md#none)\n\
                ```\n[w](#none)\n```\n<img src=\"no.svg\">";
    let found = dead(&place("CHANGELOG.md"), text);
    assert_eq!(
        found,
        ["#a-b", "src/nowhere.rs", "README.md#none", "no.svg"]
    );
}

#[test]
fn the_summary_names_every_page_once() {
    let summary = read("docs/src/SUMMARY.md");
    let named = links(&summary);
    let once: BTreeSet<String> = named.iter().map(|&page| page.to_owned()).collect();
    assert_eq!(once.len(), named.len(), "{named:?}");
    assert_eq!(once, pages());
}

#[test]
fn the_readme_fits_a_sitting() {
    let lines = read("README.md").lines().count();
    assert!(lines <= MOST_README_LINES, "{lines} lines");
}
