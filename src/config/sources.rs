//! The `source` tables.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use toml::Table;

use super::file::SourceFile;
use super::problem::ConfigProblems;
use super::section::{self, join};
use super::settings::SourceSettings;
use crate::event::Event;
use crate::ingress::EndpointSettings;
use crate::name::{EventType, SourceName};
use crate::route::RESERVED_EVENT_TYPES;
use crate::source::{DeduplicationWindow, MAX_SECRETS, Provider, Secret, Source, built_in};

const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Reads one source; none where something is wrong with it. Ids are remembered for so long, if they
/// are.
pub(super) fn source(
    name: &str,
    table: Table,
    remembered: Option<Duration>,
    problems: &mut ConfigProblems,
) -> Option<SourceSettings> {
    let path = join("source", name);
    let before = problems.iter().count();
    let file: SourceFile = section::read(&path, table, problems);
    let name = problems.take(&path, SourceName::parse(name), "rename the source");
    let provider = provider(&path, file.provider.as_deref(), problems);
    let secrets = secrets(&path, &file, provider.as_deref(), problems);
    let event_types = event_types(&path, &file, provider.as_deref(), problems);
    check_uri(&path, file.uri.as_deref(), problems);
    let rate_limit = match file.rate_limit.map(NonZeroU32::new) {
        Some(None) => {
            problems.add(
                join(&path, "rate_limit"),
                "0 would refuse every delivery",
                "leave the key out for no limit",
            );
            None
        }
        limit => limit.flatten(),
    };
    let (name, provider) = (name?, provider?);
    (problems.iter().count() == before).then(|| SourceSettings {
        endpoint: EndpointSettings {
            rate_limit,
            answer: provider.answer,
            ..EndpointSettings::default()
        },
        source: Source {
            uri: file.uri.as_deref().unwrap_or(&provider.uri).into(),
            tolerance: file.tolerance.map_or(DEFAULT_TOLERANCE, |span| span.0),
            deduplication: remembered.map(|window| DeduplicationWindow {
                window,
                own_time: Event::own_time,
            }),
            forward_signature: file.forward_signature.unwrap_or(true),
            ..Source::new(name, provider, secrets)
        },
        event_types,
    })
}

fn provider(
    path: &str,
    name: Option<&str>,
    problems: &mut ConfigProblems,
) -> Option<Arc<Provider>> {
    let path = join(path, "provider");
    let name = problems.require(&path, name, "name the provider, such as \"onecodex\"")?;
    let found = built_in(name);
    if found.is_none() {
        let remedy = "`hookferry config providers` names them";
        problems.add(path, format!("there is no provider {name:?}"), remedy);
    }
    found
}

fn secrets(
    path: &str,
    file: &SourceFile,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Vec<Secret> {
    let form = provider.map(|provider| provider.signature.secret.clone());
    let form = form.unwrap_or_default();
    let path = join(path, "secrets");
    let references = file.secrets.as_deref().unwrap_or_default();
    if !(1..=MAX_SECRETS).contains(&references.len()) {
        // A mistake inside the list has been noted already, and took the list with it.
        if !problems
            .iter()
            .any(|problem| problem.path.starts_with(&path))
        {
            let found = format!("there are {} secrets", references.len());
            problems.add(
                path,
                found,
                format!("name 1 to {MAX_SECRETS}, each as {{ file = \"…\" }} or {{ env = \"…\" }}"),
            );
        }
        return Vec::new();
    }
    let read = |(index, reference): (usize, &super::value::SecretReference)| {
        let at = format!("{path}[{index}]");
        let remedy = "put the webhook's secret there, alone and readable for this user";
        reference.take_key(&form, &at, remedy, problems)
    };
    references.iter().enumerate().filter_map(read).collect()
}

fn event_types(
    path: &str,
    file: &SourceFile,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Vec<EventType> {
    let path = join(path, "event_types");
    let Some(named) = &file.event_types else {
        return provider.map_or_else(Vec::new, |provider| provider.event_types.clone());
    };
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

/// CloudEvents 1.0: `source` is a URI reference and not empty. A consumer's library refuses an event
/// without one.
fn check_uri(path: &str, uri: Option<&str>, problems: &mut ConfigProblems) {
    let found = match uri {
        Some("") => "it is empty, and every CloudEvent has a source",
        Some(uri) if uri.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            "there is white space or a control character in it, which no URI has"
        }
        _ => return,
    };
    let remedy = "write a URI such as \"https://app.onecodex.com\", or leave the key out";
    problems.add(join(path, "uri"), found, remedy);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a source that has these keys besides those it needs.
    fn problems_of(keys: &str) -> Vec<String> {
        let text = format!("provider = \"onecodex\"\nsecrets = [{{ env = \"PATH\" }}]\n{keys}");
        let mut problems = ConfigProblems::default();
        let read = source("a", text.parse().expect("TOML"), None, &mut problems);
        assert_eq!(read.is_none(), !problems.is_empty());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_uri_is_not_empty_and_has_no_white_space() {
        assert_eq!(problems_of("uri = \"urn:lab:1\""), [""; 0]);
        for uri in ["", " ", "https://lab /", "a\\nb"] {
            let problems = problems_of(&format!("uri = \"{uri}\""));
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with("source.a.uri: "), "{problems:?}");
        }
    }

    #[test]
    fn the_names_of_the_catch_alls_are_no_event_types() {
        assert_eq!(problems_of("event_types = [\"other.sample\"]"), [""; 0]);
        let problems = problems_of("event_types = [\"x\", \"other\", \"quarantine\"]");
        assert_eq!(problems.len(), 2, "{problems:?}");
        for (problem, at) in problems.iter().zip([1, 2]) {
            let path = format!("source.a.event_types[{at}]: ");
            assert!(problem.starts_with(&path) && problem.contains("leave it out"));
        }
    }

    #[test]
    fn a_tolerance_of_nothing_is_refused() {
        let problems = problems_of("tolerance = \"0s\"");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("source.a.tolerance: "));
    }
}
