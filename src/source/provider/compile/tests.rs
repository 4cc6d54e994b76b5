//! What is wrong with a provider's table is named, all at once.

use super::*;
use crate::source::scheme::Replay;

/// The problems of a sound table with these changes.
fn problems(changes: &str) -> Vec<String> {
    let base =
        "[signature]\nheader = \"x-signature\"\n[event]\nid = \"{/id}\"\ntype = \"{/type}\"\n";
    let mut table: toml::Table = base.parse().expect("TOML");
    for (key, value) in changes.parse::<toml::Table>().expect("TOML") {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(own)), toml::Value::Table(changes)) => own.extend(changes),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
    let table: ProviderTable = toml::Value::Table(table).try_into().expect("of this shape");
    match provider("lab", &table) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_sound_table_has_no_problems() {
    assert_eq!(problems(""), [""; 0]);
    assert_eq!(
        problems(
            "[signature]\nsigned = \"{item.t}.{body}\"\ntimestamp = \"{item.t}\"\nitems = \",\"\npair = \"=\"\ntag = \"v1\""
        ),
        [""; 0]
    );
}

/// What is changed, the key that is named, and words of what is said.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "[signature]\nsigned = \"{timestamp}.{body}\"",
        "signature.signed",
        "`{timestamp}` is no variable",
    ),
    (
        "[signature]\nsigned = \"{header.x-id}\"",
        "signature.signed",
        "the body is not in it",
    ),
    (
        "[signature]\nsigned = \"{/a}{body}\"",
        "signature.signed",
        "does not go here",
    ),
    (
        "[signature]\ntimestamp = \"{header.x-time}\"",
        "signature.timestamp",
        "not in `signed`",
    ),
    (
        "[signature]\ntimestamp = \"at {header.x-time}\"",
        "signature.timestamp",
        "not one variable alone",
    ),
    (
        "[signature]\ntimestamp = \"{body}\"",
        "signature.timestamp",
        "is no time",
    ),
    (
        "[signature]\nunit = \"ms\"",
        "signature.unit",
        "there is no `timestamp`",
    ),
    (
        "[signature]\npair = \"=\"",
        "signature.tag",
        "none of them is said",
    ),
    (
        "[signature]\nheader = \"x signature\"",
        "signature.header",
        "no name of a header",
    ),
    (
        "[signature]\nheader = []",
        "signature.header",
        "there is none",
    ),
    (
        "[signature]\nkey = \"pem\"",
        "signature.key",
        "PEM is for public keys",
    ),
    (
        "[signature]\nscheme = \"ed25519\"",
        "signature.key",
        "not the text itself",
    ),
    (
        "[signature]\nscheme = \"ed25519\"\nkey = \"pem\"\nhash = \"sha1\"",
        "signature.hash",
        "only an HMAC",
    ),
    (
        "[signature]\nscheme = \"token\"\nsigned = \"{body}\"",
        "signature.signed",
        "nothing is signed",
    ),
    (
        "[signature]\nscheme = \"url\"",
        "signature.header",
        "stands in the URL",
    ),
    (
        "[event]\ntype = \"{body}\"",
        "event.type",
        "does not go here",
    ),
    ("[event]\ntype = []", "event.type", "the list is empty"),
    ("[event]\nlist = \"data\"", "event.list", "JSON pointer"),
    (
        "[event.attributes]\nApi = \"{/a}\"",
        "event.attributes.Api",
        "extension attribute",
    ),
    (
        "[event.attributes]\nsubject = \"{/a}\"",
        "event.attributes.subject",
        "extension attribute",
    ),
    ("[facts]\ndeadline = \"soon\"", "facts.deadline", ""),
    ("[facts]\nmax_body = \"big\"", "facts.max_body", ""),
    ("[sample]\nheaders = {}", "sample.body", "there is none"),
    ("event_types = [\"a b\"]", "event_types", "event type"),
    (
        "[[handshake]]\nwhen = { \"{/a}\" = \"b\" }",
        "handshake[0].answer",
        "there is none",
    ),
    (
        "[[handshake]]\nwhen = {}\nanswer = \"\"",
        "handshake[0].when",
        "every delivery",
    ),
    (
        "[signature]\nsigned = \"{item.t}.{body}\"",
        "signature.signed",
        "there is no `pair`",
    ),
    (
        "[signature]\npair = \"=\"\ntag = \"v1\"\nsigned = \"{item.v1}.{body}\"",
        "signature.signed",
        "is the signature itself",
    ),
    (
        "[signature]\nsigned = \"{header.x-time}.{body}\"\ntimestamp = \"{header.x-time}\"\nstray_letter = true",
        "signature.stray_letter",
        "no item",
    ),
    (
        "[signature]\nscheme = \"token\"\nkey = \"base64\"",
        "signature.key",
        "as it is written",
    ),
    (
        "[signature]\nscheme = \"token\"\nkey_prefix = \"whsec_\"",
        "signature.key_prefix",
        "as it is written",
    ),
    (
        "[signature]\nscheme = \"token\"\n[event]\ntype = \"{header.x-signature}\"",
        "event.type",
        "does not go here",
    ),
    (
        "[event]\ntype = \"{item.kind}\"",
        "event.type",
        "does not go here",
    ),
    (
        "[[handshake]]\nanswer = \"{/a}\"",
        "handshake[0].when",
        "there is none",
    ),
    (
        "[[handshake]]\nmethod = \"GET\"\nwhen = {}\nanswer = \"{/a}\"",
        "handshake[0].answer",
        "does not go here",
    ),
    (
        "[[handshake]]\nmethod = \"GET\"\nsigned = true\nwhen = {}\nanswer = \"\"",
        "handshake[0].signed",
        "only a POST",
    ),
    (
        "[[handshake]]\nwhen = { \"{/a}\" = { secret = \"x\" } }\nanswer = \"\"",
        "handshake[0].when",
        "verify",
    ),
];

#[test]
fn each_mistake_is_named_with_its_key_and_a_remedy() {
    for (changes, key, words) in MISTAKES {
        let problems = problems(changes);
        assert_eq!(problems.len(), 1, "{changes}: {problems:?}");
        let (problem, expected) = (&problems[0], format!("{key}: "));
        assert!(
            problem.starts_with(&expected) && problem.contains(words),
            "{problem}"
        );
        assert!(problem.contains("; "), "a remedy: {problem}");
    }
}

#[test]
fn all_are_named_at_once() {
    let found = problems(
        "[signature]\npair = \"=\"\ntag = \"v1\"\nsigned = \"{item.t}\"\ntimestamp = \"{header.x}\"\n[event]\ntype = \"{what}\"\nlist = \"a\"",
    );
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn without_an_id_the_others_are_needed() {
    let table: ProviderTable =
        toml::from_str("[signature]\nheader = \"x-signature\"\n[event]\ntype = \"{/type}\"")
            .expect("of this shape");
    let keys: Vec<String> = provider("lab", &table)
        .expect_err("neither")
        .into_iter()
        .map(|problem| problem.key)
        .collect();
    assert_eq!(keys, ["event.object", "event.time"]);
}

/// The time is a part of the id, and so is which of two tables gives it.
#[test]
fn an_id_is_signed_with_all_that_makes_it() {
    let is_signed = |text: &str| {
        let table: ProviderTable = toml::from_str(text).expect("of this shape");
        let provider = provider("lab", &table).expect("sound");
        assert_eq!(
            provider.replay == Replay::Id,
            provider.event.is_identity_signed
        );
        provider.event.is_identity_signed
    };
    let base =
        "[signature]\nheader = \"x-signature\"\n[event]\ntype = \"{/type}\"\nid = \"{/id}\"\n";
    assert!(is_signed(base));
    assert!(is_signed(&format!("{base}time = \"{{/time}}\"")));
    assert!(!is_signed(&format!("{base}time = \"{{header.x-time}}\"")));
    let structured = "[structured]\ntype = \"{/type}\"\nid = \"{/other}\"";
    assert!(!is_signed(&format!("{base}{structured}")));
}

#[test]
fn what_no_signature_covers_is_known() {
    let of = |name: &str| crate::source::built_in(name).expect("built in");
    assert!(of("onecodex").event.is_identity_signed);
    assert!(of("standard_webhooks").event.is_identity_signed);
    assert!(of("stripe").event.event_type[0].is_signed);
    let github = of("github");
    assert!(!github.event.is_identity_signed && !github.event.event_type[0].is_signed);
    assert!(github.event.object.iter().all(|field| field.is_signed));
    assert!(!of("gitlab_token").event.object[0].is_signed);
    // Without the header, which anybody can take away, the id of the body is another one.
    assert!(!of("zendesk").event.id[1].is_signed);
    assert!(!of("twilio").event.id[5].is_signed);
    for (name, replay) in [
        ("onecodex", Replay::Id),
        ("github", Replay::Body),
        ("shopify", Replay::Body),
        ("linear", Replay::Id),
        ("stripe", Replay::Id),
        ("gitlab_token", Replay::Id),
    ] {
        assert_eq!(of(name).replay, replay, "{name}");
    }
}
