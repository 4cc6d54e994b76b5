//! The manual: README.md, CONTRIBUTING.md, CHANGELOG.md and the book in docs/. Five of its pages are
//! made of the code, and are held here against what the code says now; of all others the links, the
//! configurations and the places that they name are.

mod alerts;
mod chart;
mod commands;
mod configuration;
mod links;
mod metrics;
mod shown;
mod walk;

use std::collections::BTreeSet;

use crate::generated::{self, RENEWAL};
use crate::repository::{place, read};

/// Holds a page of docs/src against what it is to say.
fn is_current(page: &str, made_of: &str, text: &str) {
    let (title, rest) = text.split_once('\n').expect("a title");
    let text = format!("{title}\n\n<!-- Made of {made_of}: {RENEWAL} -->\n{rest}");
    generated::is_current(&format!("docs/src/{page}"), &text);
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

/// The lines outside blocks of code.
fn prose(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let is_prose = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    };
    text.lines().filter(is_prose).collect()
}

/// How a heading is linked to, here and on GitHub.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text: String = heading.to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// Which of these words a text does not have between backticks.
fn unspoken<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let said: BTreeSet<&str> = text
        .split('`')
        .flat_map(|code| code.split([' ', ',', '{', '=', '.']))
        .collect();
    words.filter(|word| !said.contains(word)).collect()
}
