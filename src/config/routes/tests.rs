//! What a configuration says of routes, and what is wrong with it.

use super::*;
use crate::config::{Settings, parse};

/// The settings of a file with these routes of its sources `a` and `b` to its sinks `store` and
/// `kafka`.
fn read(routes: &str) -> Result<Settings, ConfigProblems> {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[spool]\npath = {:?}\n\
         [source.a]\nprovider = \"github\"\nsecrets = [{{ env = \"PATH\" }}]\n\
         [source.b]\nprovider = \"onecodex\"\nsecrets = [{{ env = \"PATH\" }}]\n\
         [sink.store]\ntype = \"store\"\npath = {:?}\n\
         [sink.kafka]\ntype = \"kafka\"\nbrokers = \"localhost:9092\"\n\
         [[route]]\nsource = \"b\"\nsinks = [\"store\", \"kafka\"]\n{routes}",
        folder.path().join("spool"),
        folder.path().join("topics"),
    );
    parse(&text, &|_| None)
}

/// What is wrong with these routes of source `a`.
fn problems_of(routes: &str) -> Vec<String> {
    let problems = read(routes).err();
    let problems = problems.iter().flat_map(ConfigProblems::iter);
    problems.map(ToString::to_string).collect()
}

/// A route of source `a` with these keys.
fn route(keys: &str) -> String {
    format!("[[route]]\nsource = \"a\"\n{keys}\n")
}

const ALL: &str = "sinks = [\"store\"]";

/// That the keys of one route, beside one that takes all, have exactly these mistakes.
fn assert_wrong(keys: &str, expected: &[(&str, &str)]) {
    let problems = problems_of(&[route(ALL), route(keys)].concat());
    assert_eq!(problems.len(), expected.len(), "{keys}: {problems:#?}");
    for (problem, (path, words)) in problems.iter().zip(expected) {
        let is_right = problem.starts_with(&format!("route[2]{path}: ")) && problem.contains(words);
        assert!(is_right, "{keys}: {problem}, not {path} with {words:?}");
    }
}

#[test]
fn a_source_looks_at_each_template_of_its_routes_once() {
    let routes = [
        route(ALL),
        route(
            "sinks = [\"kafka\"]\nevent_types = [\"push\"]\nwhen = { \"{/repository/id}\" = [\"42\", \"43\"], \"{header.X-GitHub-Event}\" = [\"push\"] }",
        ),
        route(
            "sinks = [\"kafka\"]\n[route.when]\n\"{/repository/id}\" = [\"44\"]\n\"{query.lab}\" = [\"w\"]",
        ),
    ];
    let settings = read(&routes.concat()).expect("nothing is wrong");
    let conditions = |name: &str| {
        let mut sources = settings.sources.iter();
        let settings = sources.find(|it| it.source.name.as_str() == name);
        let source = &settings.expect("configured").source;
        let texts = source
            .conditions
            .templates()
            .iter()
            .map(ToString::to_string);
        texts.collect::<Vec<String>>()
    };
    assert_eq!(
        conditions("a"),
        ["{/repository/id}", "{header.X-GitHub-Event}", "{query.lab}"]
    );
    assert_eq!(conditions("b"), [""; 0]);
    let when = settings.routes[2].when.as_ref().expect("conditions");
    let texts: Vec<&str> = when[0].texts.iter().map(String::as_str).collect();
    assert_eq!(texts, ["42", "43"]);
}

#[test]
fn a_route_names_sinks_or_drops() {
    let neither = ("name at least one sink, or write drop = true", ".sinks");
    assert_wrong("", &[(neither.1, neither.0)]);
    assert_wrong("sinks = []", &[(neither.1, neither.0)]);
    assert_wrong("drop = false", &[(".drop", "write drop = true")]);
    assert_wrong(
        "drop = \"yes\"\nsinks = [\"store\"]",
        &[(".drop", "boolean")],
    );
    let both = "drop = true\nevent_types = [\"ping\"]\nsinks = [\"store\"]";
    assert_wrong(both, &[(".drop", "leave out `sinks` or `drop`")]);
    assert_eq!(
        problems_of(&route("drop = false\nsinks = [\"store\"]")),
        [""; 0]
    );
}

#[test]
fn each_mistake_in_a_condition_is_named_with_its_key() {
    let when = |text: &str| format!("{ALL}\nwhen = {text}");
    for (condition, path, words) in [
        ("\"push\"", ".when", "map"),
        ("{}", ".when", "asks for nothing"),
        ("{ \"{/a}\" = [] }", ".when.{/a}", "the list is empty"),
        (
            "{ \"{/a}\" = [\"1\", \"\"] }",
            ".when.{/a}[1]",
            "name a text",
        ),
        ("{ \"{/a}\" = [1] }", ".when.{/a}[0]", "string"),
        ("{ \"{/a}\" = \"1\" }", ".when.{/a}", "sequence"),
        ("{ \"{/a\" = [\"1\"] }", ".when.{/a", "braces"),
        (
            "{ \"{x-event}\" = [\"1\"] }",
            ".when.{x-event}",
            "{header.NAME}",
        ),
        (
            "{ \"{body}\" = [\"1\"] }",
            ".when.{body}",
            "does not go here",
        ),
        ("{ \"push\" = [\"push\"] }", ".when.push", "no variable"),
    ] {
        assert_wrong(&when(condition), &[(path, words)]);
    }
    let two = "{ \"{url}\" = [\"1\"], \"{/a}\" = [] }";
    assert_wrong(
        &when(two),
        &[(".when.{/a}", "empty"), (".when.{url}", "{url}")],
    );
}

#[test]
fn a_condition_that_is_wrong_is_one_all_the_same() {
    let problems = problems_of(&route(&format!(
        "{ALL}\nwhen = {{ \"{{body}}\" = [\"1\"] }}"
    )));
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[1].starts_with("source.a: no route takes all"));
}

#[test]
fn every_event_of_a_source_has_a_way() {
    let when = "when = { \"{/a}\" = [\"1\"] }";
    let (kept, typed) = (
        route(ALL),
        route("sinks = [\"store\"]\nevent_types = [\"x\"]"),
    );
    let (some, dropped) = (route(&format!("{ALL}\n{when}")), route("drop = true"));
    let dropped_some = route(&format!("drop = true\n{when}"));
    let one = |routes: &[&String], path: &str, words: &str| {
        let routes: String = routes.iter().map(|text| text.as_str()).collect();
        let problems = problems_of(&routes);
        assert_eq!(problems.len(), 1, "{routes}: {problems:#?}");
        let is_right = problems[0].starts_with(path) && problems[0].contains(words);
        assert!(is_right, "{routes}: {problems:#?}");
    };
    for good in [
        vec![&kept],
        vec![&some, &kept],
        vec![&some, &dropped],
        vec![&typed, &dropped_some, &dropped],
        vec![&kept, &dropped_some],
        vec![&some, &kept, &dropped_some],
    ] {
        let routes: String = good.iter().map(|text| text.as_str()).collect();
        assert_eq!(problems_of(&routes), [""; 0], "{routes}");
    }
    let all = "no route takes all of its events";
    one(&[], "source.a: ", all);
    one(&[&some], "source.a: ", all);
    one(&[&typed, &dropped_some], "source.a: ", all);
    let sinks = "quarantined deliveries are never dropped";
    one(&[&dropped], "source.a: ", sinks);
    one(&[&dropped_some, &dropped], "source.a: ", sinks);
    let both = "route[2] take every event of a";
    one(&[&dropped, &kept], "route[1].drop: ", both);
}
