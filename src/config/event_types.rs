//! Event types with topics of their own.

use super::problem::ConfigProblems;
use crate::name::EventType;
use crate::route::RESERVED_EVENT_TYPES;

/// Reads a list of them; what is wrong with one is noted by its place. `path` is the list's key.
pub(super) fn read(path: &str, named: &[String], problems: &mut ConfigProblems) -> Vec<EventType> {
    let parse = |(index, text): (usize, &String)| {
        let at = format!("{path}[{index}]");
        if RESERVED_EVENT_TYPES.contains(&text.as_str()) {
            let found = format!("{text:?} is the name of the bridge's own catch-all");
            let remedy = "leave it out: events of that type go to the catch-all of unlisted types";
            problems.add(at, found, remedy);
            return None;
        }
        problems.take(&at, EventType::parse(text), "correct the event type")
    };
    named.iter().enumerate().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_catch_alls_are_no_event_types() {
        let read = |types: &[&str]| {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let mut problems = ConfigProblems::default();
            let read = super::read("source.a.event_types", &types, &mut problems);
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            (read.len(), said)
        };
        assert_eq!(read(&["other.sample"]), (1, Vec::new()));
        let (read, said) = read(&["x", "other", "quarantine", "a/b"]);
        assert_eq!((read, said.len()), (1, 3), "{said:?}");
        for (said, at) in said.iter().zip(1..) {
            assert!(
                said.starts_with(&format!("source.a.event_types[{at}]: ")),
                "{said}"
            );
            assert_eq!(said.contains("leave it out"), at < 3, "{said}");
        }
    }
}
