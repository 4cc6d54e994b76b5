//! The `trace` table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Table;

use super::certificate;
use super::problem::ConfigProblems;
use super::section::{self, join};
use super::value::SecretReference;
use crate::crypto::Authorities;
use crate::trace::{CAN_EXPORT, TraceSettings};

/// Of the traces that start here; a busy source would fill a collector with all of them.
const DEFAULT_SAMPLE_RATIO: f64 = 0.01;

/// The export of spans to an OpenTelemetry collector, in a build with `--features otlp`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceFile {
    /// The collector's URL for traces, OTLP over HTTP, such as `"http://localhost:4318/v1/traces"`.
    /// Required.
    pub otlp_endpoint: Option<String>,
    /// The share of the traces that start here which is recorded, from 0 to 1. A trace that a
    /// delivery came with is recorded where its sender records it. Default: `0.01`.
    pub sample_ratio: Option<f64>,
    /// Headers for the collector by name, each a secret, such as `{ authorization = { file = "…" }
    /// }`. Default: none.
    pub headers: Option<BTreeMap<String, SecretReference>>,
    /// PEM: the authorities that vouch for the collector; for `https`. Default: the system's.
    pub ca_file: Option<PathBuf>,
}

/// Reads the table; none where something is wrong with it.
pub(super) fn trace(table: Table, problems: &mut ConfigProblems) -> Option<TraceSettings> {
    let before = problems.iter().count();
    if !CAN_EXPORT {
        problems.add(
            "trace",
            "this build exports no traces",
            "build with `--features otlp`, or remove the table; trace contexts pass through without it",
        );
    }
    let file: TraceFile = section::read("trace", table, problems);
    let endpoint = endpoint(file.otlp_endpoint.as_deref(), problems);
    let sample_ratio = file.sample_ratio.unwrap_or(DEFAULT_SAMPLE_RATIO);
    if !(0.0..=1.0).contains(&sample_ratio) {
        problems.add(
            "trace.sample_ratio",
            format!("{sample_ratio} is out of range"),
            "give 0 to 1",
        );
    }
    let headers = headers(file.headers.unwrap_or_default(), problems);
    let authorities = file
        .ca_file
        .and_then(|file| authorities(&file, endpoint.as_deref(), problems));
    let endpoint = endpoint?;
    (problems.iter().count() == before).then_some(TraceSettings {
        endpoint,
        sample_ratio,
        headers,
        authorities,
    })
}

fn authorities(
    file: &Path,
    endpoint: Option<&str>,
    problems: &mut ConfigProblems,
) -> Option<Authorities> {
    if endpoint.is_some_and(|url| !url.starts_with("https:")) {
        problems.add(
            "trace.ca_file",
            "the collector's URL is not encrypted",
            "write trace.otlp_endpoint with https://, or remove the key",
        );
    }
    certificate::authorities("trace.ca_file", file, problems)
}

fn endpoint(url: Option<&str>, problems: &mut ConfigProblems) -> Option<String> {
    let remedy = "write it as \"http://host:4318/v1/traces\", or with https://";
    let url = problems.require("trace.otlp_endpoint", url, remedy)?;
    let parsed: Result<ureq::http::Uri, _> = url.parse();
    let uri = problems.take("trace.otlp_endpoint", parsed, remedy)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        problems.add("trace.otlp_endpoint", "this is no HTTP URL", remedy);
        return None;
    }
    Some(url.to_owned())
}

fn headers(
    named: BTreeMap<String, SecretReference>,
    problems: &mut ConfigProblems,
) -> Vec<(String, String)> {
    let read = |(name, reference): (String, SecretReference)| {
        let at = join("trace.headers", &name);
        let named = name.parse::<ureq::http::HeaderName>();
        let known = problems.take(
            &at,
            named,
            "give the header a name of letters, digits and -",
        );
        let text = reference.take_text(&at, "put the header's value there", problems);
        let value = text?;
        // What is wrong with the value is not repeated, because it is secret.
        let fits =
            ureq::http::HeaderValue::from_str(&value).map_err(|_| "no header can hold the value");
        problems.take(&at, fits, "put one line of visible ASCII there")?;
        known.map(|_| (name, value))
    };
    named.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigProblem;
    use crate::config::certificate::tests::{UNTIL_2027, written};

    fn problems_of(text: &str) -> Vec<String> {
        let mut problems = ConfigProblems::default();
        let read = trace(text.parse().expect("TOML"), &mut problems);
        assert_eq!(read.is_none(), !problems.is_empty());
        let path = |problem: &ConfigProblem| problem.path.clone();
        problems.iter().map(path).collect()
    }

    /// What every table is told in a build that cannot export.
    fn and(paths: &[&str]) -> Vec<String> {
        let build = (!CAN_EXPORT).then_some("trace");
        let all = build.into_iter().chain(paths.iter().copied());
        all.map(str::to_owned).collect()
    }

    #[test]
    fn a_good_table_is_taken_where_the_build_can_export() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "Bearer x\n").expect("written");
        let authority = written(UNTIL_2027);
        let text = format!(
            "otlp_endpoint = \"https://collector/v1/traces\"\nheaders = {{ authorization = {{ file = {token:?} }} }}\nca_file = {:?}",
            authority.path()
        );
        assert_eq!(problems_of(&text), and(&[]));
        let plain = text.replace("https:", "http:");
        assert_eq!(problems_of(&plain), and(&["trace.ca_file"]));
        let no_certificate = format!("otlp_endpoint = \"https://c/\"\nca_file = {token:?}");
        assert_eq!(problems_of(&no_certificate), and(&["trace.ca_file"]));
    }

    #[test]
    fn every_mistake_is_named() {
        assert_eq!(problems_of(""), and(&["trace.otlp_endpoint"]));
        for url in ["", "collector:4318", "ftp://collector", "http://"] {
            let text = format!("otlp_endpoint = \"{url}\"");
            assert_eq!(problems_of(&text), and(&["trace.otlp_endpoint"]), "{url:?}");
        }
        let text = "otlp_endpoint = \"http://c/\"\nsample_ratio = 1.5\nendpoint = 1\n[headers]\n\"a b\" = { env = \"PATH\" }\nx = { file = \"/nowhere\" }";
        assert_eq!(
            problems_of(text),
            and(&[
                "trace.endpoint",
                "trace.sample_ratio",
                "trace.headers.a b",
                "trace.headers.x"
            ])
        );
    }
}
