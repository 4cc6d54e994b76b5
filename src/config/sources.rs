//! The `source` tables.

mod headers;
pub(super) mod recovery;
mod secrets;
mod url;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use toml::Table;

use super::file::{MismatchFile, SourceFile};
use super::problem::ConfigProblems;
use super::providers::Providers;
use super::section::{self, join};
use super::settings::SourceSettings;
use super::{event_types, max_body, uri};
use crate::event::Event;
use crate::ingress::EndpointSettings;
use crate::name::SourceName;
use crate::source::{DEFAULT_TOLERANCE, DeduplicationWindow, Provider, Source};

/// Reads one source; none where something is wrong with it. Ids are remembered for so long, if they
/// are.
pub(super) fn source(
    name: &str,
    mut table: Table,
    remembered: Option<Duration>,
    providers: &Providers,
    problems: &mut ConfigProblems,
) -> Option<SourceSettings> {
    let path = join("source", name);
    let before = problems.iter().count();
    let recovery = recovery::take(&path, &mut table, problems);
    let file: SourceFile = section::read(&path, table, problems);
    let name = problems.take(&path, SourceName::parse(name), "rename the source");
    let provider = provider(&path, file.provider.as_deref(), providers, problems);
    let of = provider.as_deref();
    let secrets = secrets::read(&path, file.secrets.as_deref(), of, problems);
    let verify = secrets::verify(&path, file.verify.as_ref(), of, problems);
    let url = url::read(&path, file.url.as_deref(), of, problems);
    let headers = file.headers.as_deref().unwrap_or_default();
    let headers = headers::read(&path, headers, of, problems);
    let named = file.event_types.as_deref();
    let named = named.map(|named| event_types::read(&join(&path, "event_types"), named, problems));
    uri::check(&join(&path, "uri"), file.uri.as_deref(), problems);
    let endpoint = endpoint(&path, &file, of, problems);
    doubt_tolerance(&path, &file, of, problems);
    let recovery = recovery.and_then(|table| recovery::read(&path, table, of, problems));
    let (name, provider) = (name?, provider?);
    (problems.iter().count() == before).then(|| SourceSettings {
        endpoint,
        recovery,
        event_types: named.unwrap_or_else(|| provider.event_types.clone()),
        source: Source {
            uri: file.uri.as_deref().unwrap_or(&provider.uri).into(),
            tolerance: file.tolerance.map_or(DEFAULT_TOLERANCE, |span| span.0),
            deduplication: remembered.map(|window| DeduplicationWindow {
                window,
                own_time: Event::own_time,
            }),
            forward_signature: file.forward_signature.unwrap_or(true),
            url,
            headers,
            verify,
            ..Source::new(name, provider, secrets)
        },
    })
}

fn provider(
    path: &str,
    name: Option<&str>,
    providers: &Providers,
    problems: &mut ConfigProblems,
) -> Option<Arc<Provider>> {
    let path = join(path, "provider");
    let remedy = "name the provider, such as \"onecodex\"; `hookferry config providers` lists all";
    let name = problems.require(&path, name, remedy)?;
    providers.find(&path, name, problems)
}

/// How its endpoint treats requests.
fn endpoint(
    path: &str,
    file: &SourceFile,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> EndpointSettings {
    let rate_limit = file.rate_limit.map(NonZeroU32::new);
    if rate_limit == Some(None) {
        problems.add(
            join(path, "rate_limit"),
            "0 would refuse every delivery",
            "leave the key out for no limit",
        );
    }
    let answer = file.answer.or(provider.map(|provider| provider.answer));
    EndpointSettings {
        rate_limit: rate_limit.flatten(),
        max_body_bytes: max_body::read(&join(path, "max_body"), file.max_body, problems),
        answer: answer.unwrap_or_default(),
        retries_mismatch: file.on_mismatch == Some(MismatchFile::Retry),
    }
}

/// Where no time is signed, a delivery is neither early nor late.
fn doubt_tolerance(
    path: &str,
    file: &SourceFile,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) {
    let untimed = provider.filter(|provider| provider.signature.timestamp.is_none());
    if let (Some(provider), Some(_)) = (untimed, file.tolerance) {
        let found = format!(
            "`{}` signs no time, so nothing is held against it",
            provider.name
        );
        problems.warn(join(path, "tolerance"), found, "take the key out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::AnswerForm;

    /// The source with these keys besides its secrets, what is wrong with it, and what is doubted.
    fn read(keys: &str) -> (Option<SourceSettings>, Vec<String>, Vec<String>) {
        let text = format!("secrets = [{{ env = \"PATH\" }}]\n{keys}");
        let mut problems = ConfigProblems::default();
        let providers = Providers::read(Table::new(), &mut problems);
        let table = text.parse().expect("TOML");
        let read = source("a", table, None, &providers, &mut problems);
        assert_eq!(read.is_none(), !problems.is_empty());
        let wrong = problems.iter().map(ToString::to_string).collect();
        let doubts = problems.into_warnings();
        let doubts = doubts.iter().map(ToString::to_string).collect();
        (read, wrong, doubts)
    }

    /// What is wrong with a source of One Codex that has these keys too.
    fn problems_of(keys: &str) -> Vec<String> {
        read(&format!("provider = \"onecodex\"\n{keys}")).1
    }

    #[test]
    fn a_tolerance_of_nothing_is_refused() {
        let problems = problems_of("tolerance = \"0s\"");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("source.a.tolerance: "));
    }

    #[test]
    fn every_key_is_heard() {
        let (source, wrong, doubts) = read(
            "provider = \"square\"\nurl = \"https://a.example/b\"\nmax_body = \"2MiB\"\nanswer = \"empty\"\nheaders = [\"X-A\"]\non_mismatch = \"retry\"\nrate_limit = 7\nuri = \"urn:a\"\nevent_types = [\"b.c\"]\nforward_signature = false",
        );
        assert_eq!((wrong, doubts), (Vec::new(), Vec::new()));
        let SourceSettings {
            source,
            event_types,
            endpoint,
            recovery,
        } = source.expect("nothing is wrong");
        assert!(recovery.is_none());
        assert_eq!(source.provider.name, "square");
        assert_eq!(source.url.as_deref(), Some("https://a.example/b"));
        assert_eq!(
            (source.headers.as_slice(), &*source.uri),
            (&["x-a".to_owned()][..], "urn:a")
        );
        assert!(!source.forward_signature && source.verify.is_none());
        assert_eq!(event_types.len(), 1);
        let expected = EndpointSettings {
            rate_limit: NonZeroU32::new(7),
            max_body_bytes: Some(2 << 20),
            answer: AnswerForm::Empty,
            retries_mismatch: true,
        };
        assert_eq!(endpoint, expected);
        let source = read("provider = \"meta\"\nverify = { env = \"PATH\" }").0;
        assert!(source.expect("nothing is wrong").source.verify.is_some());
    }

    #[test]
    fn what_is_left_out_is_as_the_provider_has_it() {
        let (source, wrong, _) = read("provider = \"twilio\"\nurl = \"https://a.example/b\"");
        assert_eq!(wrong, [""; 0]);
        let settings = source.expect("nothing is wrong");
        assert_eq!(settings.endpoint.answer, settings.source.provider.answer);
        assert_eq!(&*settings.source.uri, settings.source.provider.uri);
        let (source, ..) = read("provider = \"onecodex\"");
        let settings = source.expect("nothing is wrong");
        assert_eq!(settings.endpoint, EndpointSettings::default());
        assert_eq!(settings.event_types, settings.source.provider.event_types);
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let keys = "url = \"nowhere\"\nmax_body = \"65MiB\"\nanswer = \"jsn\"\nheaders = [\"ce-id\"]\non_mismatch = \"maybe\"\nverify = { env = \"PATH\" }\nrate_limit = 0\nuri = \"\"\nevent_types = [\"other\"]\nmax_bdy = 1";
        let mut problems = problems_of(keys);
        problems.sort();
        let mut paths = [
            "answer",
            "event_types[0]",
            "headers[0]",
            "max_bdy",
            "max_body",
            "on_mismatch",
            "rate_limit",
            "uri",
            "url",
            "verify",
        ];
        paths.sort_unstable();
        assert_eq!(problems.len(), paths.len(), "{problems:#?}");
        for (problem, path) in problems.iter().zip(paths) {
            assert!(
                problem.starts_with(&format!("source.a.{path}: ")),
                "{path}: {problem}"
            );
            assert!(problem.contains("; "), "{problem}");
        }
    }

    #[test]
    fn an_unknown_provider_is_named_with_the_nearest_name() {
        let wrong = read("provider = \"gihtub\"").1;
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("source.a.provider: "), "{wrong:?}");
        assert!(wrong[0].contains("did you mean \"github\"?"), "{wrong:?}");
        let wrong = read("").1;
        assert!(
            wrong[0].starts_with("source.a.provider: the key is missing"),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_tolerance_is_doubted_where_no_time_is_signed() {
        let (_, wrong, doubts) = read("provider = \"github\"\ntolerance = \"60s\"");
        assert_eq!(wrong, [""; 0]);
        assert!(
            doubts[0].starts_with("source.a.tolerance: `github` signs no time"),
            "{doubts:?}"
        );
        for keys in [
            "provider = \"stripe\"\ntolerance = \"60s\"",
            "provider = \"github\"",
        ] {
            assert_eq!(read(keys).2, [""; 0], "{keys}");
        }
    }
}
