//! The `recovery` table of a source: how it asks the provider's own record for what was missed.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::{Table, Value};

use super::super::certificate;
use super::super::event_types;
use super::super::file::RecoveryFile;
use super::super::problem::ConfigProblems;
use super::super::section::{self, join};
use super::super::settings::SourceSettings;
use super::super::value::span;
use crate::backfill::{RecordFacts, RecoverySettings, record_facts};
use crate::name::EventType;
use crate::source::{ApiKey, ApiSettings, Provider, RecordName, api_proxy};
use crate::spool::SpoolLocation;

/// Takes the table out of a source's, which is at `path`.
pub(super) fn take(path: &str, source: &mut Table, problems: &mut ConfigProblems) -> Option<Table> {
    match source.remove("recovery")? {
        Value::Table(table) => Some(table),
        _ => {
            let path = join(path, "recovery");
            let remedy = format!("write it as [{path}]");
            problems.add(path, "this is not a table", remedy);
            None
        }
    }
}

/// Reads the table of the source at `path`; none where something is wrong with it.
pub(super) fn read(
    path: &str,
    table: Table,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Option<RecoverySettings> {
    let path = join(path, "recovery");
    let file: RecoveryFile = section::read(&path, table, problems);
    let key = key(&join(&path, "key"), &file, problems);
    let record = record(&path, provider, problems);
    let facts = record.map(record_facts);
    let url = facts.and_then(|facts| url(&join(&path, "url"), &file, &facts, problems));
    let ca_file = file.ca_file.as_ref();
    let authorities =
        ca_file.and_then(|file| certificate::authorities(&join(&path, "ca_file"), file, problems));
    let event_types = event_types(&join(&path, "event_types"), &file, problems);
    let kept = facts.map_or(Duration::ZERO, |facts| facts.kept);
    let look_back = file.look_back.map_or(kept, |span| span.0);
    let younger_than = span(file.younger_than, 10 * 60);
    if record.is_some() && younger_than >= look_back {
        let found = "no event is both older than this and younger than look_back";
        problems.add(join(&path, "younger_than"), found, "give less");
    }
    Some(RecoverySettings {
        record: record?,
        api: ApiSettings {
            url: url?,
            key: key?,
            authorities,
        },
        every: span(file.every, 15 * 60),
        audit: span(file.audit, 24 * 60 * 60),
        look_back,
        younger_than,
        event_types,
        max_body_bytes: usize::MAX,
    })
}

fn event_types(
    path: &str,
    file: &RecoveryFile,
    problems: &mut ConfigProblems,
) -> Option<BTreeSet<EventType>> {
    let named = file.event_types.as_ref()?;
    if named.is_empty() {
        let found = "without a type nothing would be fetched";
        problems.add(path, found, "name some, or take the key out for all");
    }
    let types = event_types::read(path, named, problems);
    Some(BTreeSet::from_iter(types))
}

fn key(path: &str, file: &RecoveryFile, problems: &mut ConfigProblems) -> Option<ApiKey> {
    let Some(reference) = &file.key else {
        // A mistake inside the reference has been noted already, and took it along.
        if !problems.iter().any(|problem| problem.path == path) {
            let remedy = "name the key of the provider's API, as { file = \"…\" } or { env = \"…\" }; it may be the webhook's secret";
            problems.add(path, "the key is missing", remedy);
        }
        return None;
    };
    let text = reference.take_text(path, "put the key of the provider's API there", problems)?;
    let remedy = "put the key there as the provider shows it, on one line";
    problems.take(path, ApiKey::parse(&text), remedy)
}

fn record(
    path: &str,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Option<RecordName> {
    let provider = provider?;
    let Some(record) = provider.recovery else {
        problems.add(
            path,
            format!("of `{}` no API is known that keeps a record of its events", provider.name),
            "take the table out; a provider of your own that has One Codex's or GitHub's API says so with `recovery`",
        );
        return None;
    };
    if record_facts(record).has_events && !provider.is_known_by_its_body() {
        problems.add(
            path,
            format!(
                "the record of `{}` has bodies alone, and its events are known by more than a body says",
                provider.name
            ),
            "give its table `replay = \"id\"`, and templates of the body alone for the event; or take this table out",
        );
    }
    Some(record)
}

fn url(
    path: &str,
    file: &RecoveryFile,
    facts: &RecordFacts,
    problems: &mut ConfigProblems,
) -> Option<String> {
    let remedy = "write it as \"https://HOST/PATH\", without a query";
    let url = file.url.as_deref().or(facts.url);
    let url = problems.require(path, url, facts.url_remedy)?;
    let parsed: Result<ureq::http::Uri, _> = url.parse();
    let uri = problems.take(path, parsed, remedy)?;
    if uri.scheme_str() != Some("https") || uri.host().is_none_or(str::is_empty) {
        let found = "the API is asked over TLS alone: what it answers is the proof of an event";
        problems.add(path, found, remedy);
        return None;
    }
    let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    if uri.query().is_some() || has_user {
        problems.add(path, "there is a query or a user in it", remedy);
        return None;
    }
    Some(url.trim_end_matches('/').to_owned())
}

/// Bounds what is fetched by what the endpoint of its source takes; of one that says nothing, by what all
/// take.
pub(in super::super) fn bound_bodies(sources: &mut [SourceSettings], max_body_bytes: usize) {
    for source in sources {
        if let Some(recovery) = &mut source.recovery {
            let of_source = source.endpoint.max_body_bytes;
            recovery.max_body_bytes = of_source.unwrap_or(max_body_bytes);
        }
    }
}

/// Holds the recovery of all sources against the spool that remembers what was accepted.
pub(in super::super) fn check(
    sources: &[SourceSettings],
    location: &SpoolLocation,
    window: Duration,
    problems: &mut ConfigProblems,
) {
    let mut recovers = false;
    for source in sources {
        let name = &source.source.name;
        let Some(recovery) = &source.recovery else {
            continue;
        };
        recovers = true;
        let is_known_by_id = record_facts(recovery.record).has_events;
        if *location == SpoolLocation::Memory {
            problems.add(
                format!("source.{name}.recovery"),
                "with the spool in memory nobody knows after a restart what was accepted, and all of the provider's record would be published again",
                "give the spool a path, or take the table out",
            );
        } else if is_known_by_id && window < recovery.look_back {
            let look_back = humantime::format_duration(recovery.look_back);
            problems.add(
                "duplicate_window",
                format!(
                    "{} is shorter than source.{name}.recovery.look_back ({look_back}): what was accepted and forgotten would be published again",
                    humantime::format_duration(window)
                ),
                format!("set it to \"{look_back}\" or more, or look_back to less"),
            );
        }
    }
    if let (true, Err(error)) = (recovers, api_proxy::of_environment()) {
        problems.add(
            "source.*.recovery",
            error.to_string(),
            "set the environment's HTTPS_PROXY to the URL of an HTTP proxy, such as http://proxy.example:3128, or unset it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::built_in;

    /// What is read, and what is wrong.
    fn read(provider: &str, keys: &str) -> (Option<RecoverySettings>, String) {
        let provider = built_in(provider).expect("built in");
        let mut problems = ConfigProblems::default();
        let table = keys.parse().expect("TOML");
        let read = super::read("source.a", table, Some(&provider), &mut problems);
        (read.filter(|_| problems.is_empty()), problems.to_string())
    }

    const KEY: &str = "key = { env = \"HOME\" }\n";

    #[test]
    fn what_is_left_out_is_as_the_manual_says() {
        let (read, wrong) = read("onecodex", KEY);
        assert_eq!(wrong, "");
        let read = read.expect("nothing is wrong");
        assert_eq!(read.api.url, "https://app.onecodex.com");
        let minutes = [read.every, read.audit, read.look_back, read.younger_than];
        let minutes = minutes.map(|span| span.as_secs() / 60);
        assert_eq!(minutes, [15, 24 * 60, 30 * 24 * 60, 10]);
        assert_eq!((read.event_types, read.api.authorities), (None, None));
    }

    #[test]
    fn every_key_is_heard() {
        let keys = "url = \"https://api.example.com/v3/\"\nevery = \"1m\"\naudit = \"2h\"\nlook_back = \"3d\"\nyounger_than = \"0s\"\nevent_types = [\"a.b\"]";
        let (read, wrong) = read("github", &format!("{KEY}{keys}"));
        assert_eq!(wrong, "");
        let read = read.expect("nothing is wrong");
        assert_eq!(read.record, RecordName::Github);
        assert_eq!(read.api.url, "https://api.example.com/v3");
        let seconds = [read.every, read.audit, read.look_back, read.younger_than];
        let seconds = seconds.map(|span| span.as_secs());
        assert_eq!(seconds, [60, 7200, 3 * 86_400, 0]);
        assert_eq!(read.event_types.map(|types| types.len()), Some(1));
    }

    /// A provider, its keys, the key that is named, and a part of what is said.
    const MISTAKES: &[(&str, &str, &str, &str)] = &[
        ("onecodex", "", "key", "the key is missing"),
        ("onecodex", "key = \"hush\"", "key", "never here"),
        (
            "onecodex",
            "key = { env = \"HOOKFERRY_NOT_SET\" }",
            "key",
            "not set",
        ),
        ("github", KEY, "url", "hooks/ID"),
        (
            "onecodex",
            "url = \"http://a.example\"",
            "url",
            "over TLS alone",
        ),
        ("onecodex", "url = \"a.example\"", "url", "over TLS alone"),
        (
            "onecodex",
            "url = \"https://u:p@a.example\"",
            "url",
            "a user",
        ),
        (
            "onecodex",
            "url = \"https://a.example/?b=c\"",
            "url",
            "a query",
        ),
        ("onecodex", "every = \"0s\"", "every", "the least is"),
        (
            "onecodex",
            "look_back = \"1s\"",
            "look_back",
            "the least is",
        ),
        ("onecodex", "evry = \"1m\"", "evry", "did you mean `every`"),
        (
            "onecodex",
            "ca_file = \"/nowhere\"",
            "ca_file",
            "cannot read",
        ),
        (
            "onecodex",
            "event_types = []",
            "event_types",
            "nothing would",
        ),
        (
            "onecodex",
            "younger_than = \"30d\"",
            "younger_than",
            "give less",
        ),
        (
            "onecodex",
            "event_types = [\"other\"]",
            "event_types[0]",
            "catch-all",
        ),
    ];

    #[test]
    fn every_mistake_is_named_with_a_remedy() {
        for &(provider, keys, path, part) in MISTAKES {
            let keys = if keys.contains("key =") || part.contains("missing") {
                keys.to_owned()
            } else {
                format!("{KEY}{keys}")
            };
            let (read, wrong) = read(provider, &keys);
            assert!(read.is_none(), "{keys}");
            let begins = format!("source.a.recovery.{path}: ");
            assert!(wrong.starts_with(&begins), "{keys}: {wrong}");
            assert!(
                wrong.contains(part) && wrong.lines().count() == 1,
                "{keys}: {wrong}"
            );
            assert!(!wrong.contains("hush"), "{wrong}");
        }
        let (_, wrong) = read("stripe", KEY);
        assert!(
            wrong.starts_with("source.a.recovery: of `stripe`"),
            "{wrong}"
        );
    }
}
