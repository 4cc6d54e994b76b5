//! What the manual says of the code: the stops of the newcomer's walk are there, and the glossary is
//! short.

use super::{place, read};

const STOPS: usize = 10;
const MOST_TERMS: usize = 25;

/// A stop of the walk, `N. \`src/ingress/server.rs\`, \`receive\`: text`: the number, the file and
/// the function.
fn stop(line: &str) -> Option<(usize, &str, &str)> {
    let (number, rest) = line.split_once(". `src/")?;
    let (file, rest) = rest.split_once("`, `")?;
    let (function, _) = rest.split_once('`')?;
    let function = function.trim_end_matches("()");
    let function = function.rsplit("::").next().unwrap_or(function);
    Some((number.parse().ok()?, file, function))
}

#[test]
fn the_walk_has_ten_stops_at_functions_that_exist() {
    let text = read("CONTRIBUTING.md");
    let stops: Vec<_> = text.lines().filter_map(stop).collect();
    let numbers: Vec<usize> = stops.iter().map(|stop| stop.0).collect();
    assert_eq!(numbers, (1..=STOPS).collect::<Vec<_>>());
    for (number, file, function) in stops {
        let path = place("src").join(file);
        let code = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{number}. {file}: {error}"));
        let is_there = ["(", "<"].map(|next| code.contains(&format!("fn {function}{next}")));
        assert!(
            is_there.contains(&true),
            "{number}. {file} has no {function}"
        );
    }
}

#[test]
fn a_stop_is_told_from_other_lines() {
    let line = "3. `src/spool/owner.rs`, `Owner::commit`: one sync for all.";
    assert_eq!(stop(line), Some((3, "spool/owner.rs", "commit")));
    assert_eq!(stop("3. Build it."), None);
}

#[test]
fn the_glossary_is_short() {
    let text = read("src/lib.rs");
    let (_, after) = text.split_once("//! # Glossary\n").expect("there is one");
    let lines = after
        .lines()
        .take_while(|line| line.starts_with("//!") && !line.starts_with("//! # "));
    // The first two rows are the table's head.
    let terms = lines.filter(|line| line.starts_with("//! |")).count() - 2;
    assert!((10..=MOST_TERMS).contains(&terms), "{terms} terms");
}
