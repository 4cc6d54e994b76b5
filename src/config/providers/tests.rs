use super::*;

/// A table with nothing wrong; what a case needs takes the place of a line.
const LAB: &str = r#"
[lab]
uri = "https://lab.example.org"
event_types = ["run.finished"]
[lab.signature]
header = "x-lab-signature"
items = ","
pair = "="
tag = "v1"
signed = "{item.t}.{body}"
timestamp = "{item.t}"
[lab.event]
id = "{/id}"
type = "{/type}"
object = ["{/run/id}", "{/instrument/id}"]
time = "{/at}"
attributes = { run = "{/run/id}" }
[[lab.handshake]]
method = "GET"
when = { "{query.verify}" = { secret = "verify" } }
answer = "{query.challenge}"
[lab.facts]
deadline = "5s"
[lab.sample]
body = '{"id":"<id>"}'
"#;

fn read(text: &str) -> (Providers, Vec<String>) {
    let mut problems = ConfigProblems::default();
    let providers = Providers::read(text.parse().expect("TOML"), &mut problems);
    (
        providers,
        problems.iter().map(ToString::to_string).collect(),
    )
}

fn said(text: &str) -> Vec<String> {
    read(text).1
}

/// The table with this line in the place of that one.
fn with(line: &str, other: &str) -> String {
    assert!(LAB.contains(&format!("\n{line}\n")), "{line}");
    LAB.replace(&format!("\n{line}\n"), &format!("\n{other}\n"))
}

#[test]
fn a_good_table_is_a_provider_like_those_that_are_built_in() {
    let (providers, said) = read(LAB);
    assert_eq!(said, [""; 0]);
    let mut problems = ConfigProblems::default();
    for name in ["lab", "onecodex"] {
        let provider = providers.find("source.a.provider", name, &mut problems);
        assert_eq!(provider.expect(name).name, name);
    }
    assert!(problems.is_empty());
    assert!(providers.tables.names().any(|name| name == "lab"));
    assert!(
        providers
            .find("source.a.provider", "labb", &mut problems)
            .is_none()
    );
    let said = problems.to_string();
    assert!(said.starts_with("source.a.provider: "), "{said}");
    assert!(said.contains("did you mean \"lab\"?"), "{said}");
}

#[test]
fn the_one_of_the_example_is_good() {
    let mut example = crate::config::example::whole_example();
    let Some(Value::Table(section)) = example.remove("provider") else {
        panic!("it has no table");
    };
    let mut problems = ConfigProblems::default();
    let providers = Providers::read(section, &mut problems);
    assert_eq!(problems.to_string(), "");
    assert!(providers.find("", "lab", &mut problems).is_some());
}

const SIGNED: &str = "signed = \"{item.t}.{body}\"";
const TIME: &str = "timestamp = \"{item.t}\"";
const HEADER: &str = "header = \"x-lab-signature\"";

/// A line of the good table, what stands in its place, the key that is named, and a part of what is
/// said.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        SIGNED,
        "signed = \"{item.t}.{bdy}\"",
        "signature.signed",
        "`{bdy}` is no variable",
    ),
    (
        SIGNED,
        "signed = \"{item.t}.{body\"",
        "signature.signed",
        "braces",
    ),
    (
        SIGNED,
        "signed = \"{item.t}\"",
        "signature.signed",
        "the body is not in it",
    ),
    (
        SIGNED,
        "signed = \"{body}\"",
        "signature.timestamp",
        "not in `signed`",
    ),
    (
        TIME,
        "timestamp = \"{header.date}\"",
        "signature.timestamp",
        "not in `signed`",
    ),
    (
        TIME,
        "timestamp = \"t={item.t}\"",
        "signature.timestamp",
        "not one variable",
    ),
    (
        TIME,
        "unit = \"ms\"",
        "signature.unit",
        "there is no `timestamp`",
    ),
    (
        "tag = \"v1\"",
        "",
        "signature.tag",
        "name the items that are signatures",
    ),
    (
        HEADER,
        "header = \"x lab\"",
        "signature.header",
        "no name of a header",
    ),
    (HEADER, "", "signature.header", "name the header"),
    (
        HEADER,
        "header = 5",
        "signature.header",
        "neither a text nor a list",
    ),
    (
        HEADER,
        "header = \"x\"\nhedaer = \"y\"",
        "signature.hedaer",
        "did you mean `header`?",
    ),
    (
        HEADER,
        "header = \"x\"\nkey = \"pem\"",
        "signature.key",
        "PEM is for public keys",
    ),
    (
        HEADER,
        "header = \"x\"\nscheme = \"ed25519\"",
        "signature.key",
        "public key",
    ),
    (
        HEADER,
        "header = \"x\"\nscheme = \"hmca\"",
        "signature.scheme",
        "hmac",
    ),
    ("type = \"{/type}\"", "", "event.type", "there is none"),
    (
        "type = \"{/type}\"",
        "type = \"{body}\"",
        "event.type",
        "does not go here",
    ),
    (
        "id = \"{/id}\"",
        "id = \"{/id}\"\ntpye = \"x\"",
        "event.tpye",
        "did you mean `type`?",
    ),
    (
        "attributes = { run = \"{/run/id}\" }",
        "attributes = { run_id = \"{/run/id}\" }",
        "event.attributes.run_id",
        "a-z and 0-9",
    ),
    (
        "attributes = { run = \"{/run/id}\" }",
        "attributes = { id = \"{/run/id}\" }",
        "event.attributes.id",
        "CloudEvents",
    ),
    (
        "method = \"GET\"",
        "method = \"PUT\"",
        "handshake[0].method",
        "GET",
    ),
    (
        "method = \"GET\"",
        "methd = \"GET\"",
        "handshake[0].methd",
        "did you mean `method`?",
    ),
    (
        "method = \"GET\"",
        "method = \"GET\"\nsigned = true",
        "handshake[0].signed",
        "only a POST",
    ),
    (
        "answer = \"{query.challenge}\"",
        "",
        "handshake[0].answer",
        "say what is answered",
    ),
    (
        "answer = \"{query.challenge}\"",
        "answer = 5",
        "handshake[0].answer",
        "neither a text nor a table",
    ),
    (
        "deadline = \"5s\"",
        "deadline = \"soon\"",
        "facts.deadline",
        "10s",
    ),
    (
        "deadline = \"5s\"",
        "dedline = \"5s\"",
        "facts.dedline",
        "did you mean `deadline`?",
    ),
    (
        "body = '{\"id\":\"<id>\"}'",
        "bdy = ''\nbody = '{}'",
        "sample.bdy",
        "did you mean `body`?",
    ),
    (
        "uri = \"https://lab.example.org\"",
        "uri = \"\"",
        "uri",
        "every CloudEvent has a source",
    ),
    (
        "uri = \"https://lab.example.org\"",
        "urii = \"x\"",
        "urii",
        "did you mean `uri`?",
    ),
    (
        "uri = \"https://lab.example.org\"",
        "answer = \"jsn\"",
        "answer",
        "json",
    ),
    (
        "event_types = [\"run.finished\"]",
        "event_types = [\"a\", \"other\"]",
        "event_types[1]",
        "catch-all",
    ),
    (
        "event_types = [\"run.finished\"]",
        "event_types = [\"a/b\"]",
        "event_types[0]",
        "single dots",
    ),
    (
        "event_types = [\"run.finished\"]",
        "structured = 5",
        "structured",
        "not a table",
    ),
];

#[test]
fn each_mistake_is_named_by_its_key_with_a_remedy() {
    for &(line, other, key, part) in MISTAKES {
        let found = said(&with(line, other));
        assert_eq!(found.len(), 1, "{other}: {found:#?}");
        assert!(
            found[0].starts_with(&format!("provider.lab.{key}: ")),
            "{other}: {found:?}"
        );
        assert!(
            found[0].contains(part) && found[0].contains("; "),
            "{part}: {found:?}"
        );
    }
}

#[test]
fn without_an_id_there_must_be_all_of_which_one_is_made() {
    let text = with("id = \"{/id}\"", "").replace("\ntime = \"{/at}\"\n", "\n");
    let found = said(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("provider.lab.event.time: "),
        "{found:?}"
    );
    let text = text.replace("object = [\"{/run/id}\", \"{/instrument/id}\"]", "");
    assert_eq!(said(&text).len(), 2);
}

#[test]
fn all_mistakes_of_all_tables_are_named_at_once() {
    let found = said(
        "lab = 5\n[Lab]\nextends = \"stripe\"\n[github]\nuri = \"urn:x\"\n[a]\n[b]\nsignature = 1\nevent = 2\nhandshake = {}\n[c]\nextends = \"stripe\"\n[c.signature]\nheader = \"x y\"\nsigned = \"{bdy}\"\ntga = 1",
    );
    for key in [
        "lab: this is not a table",
        "Lab: a provider's name must be",
        "github: there is a built-in provider",
        "a.signature: there is none",
        "a.event: there is none",
        "b.signature: this is not a table",
        "b.event: this is not a table",
        "b.handshake: this is not a list of tables",
        "c.signature.header: ",
        "c.signature.signed: ",
        "c.signature.tga: ",
    ] {
        let named = found
            .iter()
            .filter(|line| line.starts_with(&format!("provider.{key}")));
        assert_eq!(named.count(), 1, "{key} in {found:#?}");
    }
    assert_eq!(found.len(), 11, "{found:#?}");
}

#[test]
fn a_built_in_name_is_taken() {
    let found = said("[github]\nextends = \"github\"");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("provider.github: "), "{found:?}");
    assert!(
        found[0].contains("`extends = \"github\"` takes over"),
        "{found:?}"
    );
}

#[test]
fn a_table_that_stands_there_twice_is_named_by_its_line() {
    let text = "[provider.a]\n[provider.b]\n[provider.a]";
    let problems = crate::config::parse(text, &|_| None).expect_err("there are two");
    let said = problems.to_string();
    assert!(said.starts_with("the file: line 3, column "), "{said}");
    assert!(said.contains("duplicate"), "{said}");
}

#[test]
fn what_is_extended_must_be_there_and_lead_nowhere_back() {
    let found = said("[a]\nextends = \"strpe\"\n[b]\nextends = \"nobody-knows\"\n[c]\nextends = 5");
    assert_eq!(found.len(), 3, "{found:#?}");
    for (line, part) in found.iter().zip([
        "provider.a.extends: there is no provider \"strpe\"; did you mean \"stripe\"?",
        "provider.b.extends: there is no provider \"nobody-knows\"; name one of ",
        "provider.c.extends: this is no name of a provider; name another",
    ]) {
        assert!(line.starts_with(part), "{line}");
    }
    let found = said("[a]\nextends = \"b\"\n[b]\nextends = \"c\"\n[c]\nextends = \"b\"");
    assert_eq!(found.len(), 2, "only those in the circle: {found:#?}");
    assert!(
        found[0].starts_with("provider.b.extends: it leads in a circle: b → c → b"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("provider.c.extends: it leads in a circle: c → b → c"),
        "{found:?}"
    );
}

#[test]
fn the_rest_is_checked_too_where_the_extended_one_is_not_known() {
    let found = said("[a]\nextends = \"strpe\"\n[a.signature]\nhedaer = \"x\"");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[1].starts_with("provider.a.signature.hedaer: "),
        "{found:?}"
    );
}

#[test]
fn a_mistake_is_named_where_it_stands_and_not_where_it_is_inherited() {
    let base = with("tag = \"v1\"", "tga = \"v1\"");
    let text = format!("{base}\n[lab2]\nextends = \"lab\"\n[lab2.event]\nobjct = \"x\"");
    let found = said(&text);
    let of = |name: &str| {
        let path = format!("provider.{name}.");
        found.iter().filter(|line| line.starts_with(&path)).count()
    };
    assert_eq!(
        (of("lab"), of("lab2"), found.len()),
        (2, 1, 3),
        "{found:#?}"
    );
}

#[test]
fn a_line_of_a_built_in_one_is_changed() {
    let text = "[thin]\nextends = \"stripe\"\n[thin.event]\nobject = [\"{/related_object/id}\", \"{/id}\"]\nunit = \"rfc3339\"";
    let (providers, found) = read(text);
    assert_eq!(found, [""; 0]);
    let mut problems = ConfigProblems::default();
    let thin = providers
        .find("", "thin", &mut problems)
        .expect("nothing is wrong");
    let stripe = source::built_in("stripe").expect("built in");
    assert_eq!(thin.signature.headers, stripe.signature.headers);
    assert_eq!((thin.event.object.len(), thin.uri == stripe.uri), (2, true));
}

#[test]
fn a_source_of_a_bad_provider_adds_nothing_to_what_is_named() {
    let (providers, found) = read(&with("tag = \"v1\"", ""));
    assert_eq!(found.len(), 1, "{found:?}");
    let mut problems = ConfigProblems::default();
    assert!(
        providers
            .find("source.a.provider", "lab", &mut problems)
            .is_none()
    );
    assert!(problems.is_empty(), "{problems}");
}
