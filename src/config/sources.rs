//! The `source` tables.

use std::num::NonZeroU32;
use std::time::Duration;

use toml::Table;

use super::file::SourceFile;
use super::problem::Problems;
use super::section::{self, join};
use super::settings::SourceSettings;
use crate::name::{EventType, SourceName};
use crate::source::{MAX_SECRETS, PROVIDERS, Provider, Secret, Source};

const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Reads one source; none where something is wrong with it.
pub(super) fn source(name: &str, table: Table, problems: &mut Problems) -> Option<SourceSettings> {
    let path = join("source", name);
    let before = problems.iter().count();
    let file: SourceFile = section::read(&path, table, problems);
    let name = problems.take(&path, SourceName::parse(name), "rename the source");
    let provider = provider(&path, file.provider.as_deref(), problems);
    let secrets = secrets(&path, &file, problems);
    let event_types = event_types(&path, &file, provider, problems);
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
        source: Source {
            name,
            provider,
            uri: file.uri.as_deref().unwrap_or(provider.uri).into(),
            secrets,
            tolerance: file.tolerance.map_or(DEFAULT_TOLERANCE, |span| span.0),
        },
        event_types,
        rate_limit,
    })
}

fn provider(path: &str, name: Option<&str>, problems: &mut Problems) -> Option<&'static Provider> {
    let path = join(path, "provider");
    let known = || {
        PROVIDERS
            .iter()
            .map(|provider| provider.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let name = problems.require(&path, name, &format!("name the provider: {}", known()))?;
    let found = PROVIDERS
        .iter()
        .find(|provider| provider.name == name)
        .copied();
    if found.is_none() {
        problems.add(
            path,
            format!("there is no provider {name:?}"),
            format!("name one of {}", known()),
        );
    }
    found
}

fn secrets(path: &str, file: &SourceFile, problems: &mut Problems) -> Vec<Secret> {
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
        let text = problems.take(
            &at,
            reference.read(),
            "put the webhook's secret there, readable for this user",
        )?;
        problems.take(&at, Secret::new(&text), "put the webhook's secret there")
    };
    references.iter().enumerate().filter_map(read).collect()
}

fn event_types(
    path: &str,
    file: &SourceFile,
    provider: Option<&Provider>,
    problems: &mut Problems,
) -> Vec<EventType> {
    let path = join(path, "event_types");
    let Some(named) = &file.event_types else {
        let documented = provider.map_or(&[][..], |provider| provider.event_types);
        return documented
            .iter()
            .filter_map(|text| EventType::parse(text).ok())
            .collect();
    };
    let parse = |(index, text): (usize, &String)| {
        problems.take(
            &format!("{path}[{index}]"),
            EventType::parse(text),
            "correct the event type",
        )
    };
    named.iter().enumerate().filter_map(parse).collect()
}
