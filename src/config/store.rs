//! The store sink's section of the file.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::ConfigProblems;
use super::value::{ByteSize, TimeSpan};
use crate::route::Template;
use crate::sink::store::StoreSettings;

const DEFAULT_TOPIC: &str = "{source}.{event_type}";

/// How long entries are kept unless the file says otherwise: a consumer may fail on a Friday
/// evening.
const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How much is kept unless the file says otherwise, in bytes.
const DEFAULT_MAX_SIZE_BYTES: u64 = 1 << 30;

/// The least size: a store gives up a segment at a time, and has sixteen of at least 1 MiB, or an
/// entry could be deleted before anyone reads it.
const LEAST_MAX_SIZE_BYTES: u64 = 16 << 20;

/// The least retention, for the same reason.
const LEAST_RETENTION_MS: u64 = 60_000;

/// A store: a durable topic log in a folder of the bridge, read over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreFile {
    /// The folder, for the store alone. It is made where it is missing, in one that must exist and
    /// be writable; a file in it, `lock`, keeps a second bridge away. Required.
    pub path: Option<PathBuf>,
    /// The topic, a template; a store keeps 10000 topics at most. Default:
    /// `"{source}.{event_type}"`.
    pub topic: Option<String>,
    /// Events older than this are deleted, an eighth of this span at a time. Default: `"7d"`.
    pub retention: Option<TimeSpan<LEAST_RETENTION_MS>>,
    /// Beyond this size of all files the oldest events are deleted, a sixteenth or at most 16 MiB
    /// at a time; at least four segments and two deliveries of the largest `max_body`. Default:
    /// `"1GiB"`.
    pub max_size: Option<ByteSize<LEAST_MAX_SIZE_BYTES>>,
}

impl StoreFile {
    /// What the store runs on; none where something is wrong, which is noted. `path` is the
    /// section's key path, such as `sink.local`.
    pub(super) fn settings(
        self,
        path: &str,
        problems: &mut ConfigProblems,
    ) -> Option<StoreSettings> {
        let folder = problems.require(
            &format!("{path}.path"),
            self.path.filter(|path| !path.as_os_str().is_empty()),
            "name the folder, such as \"/var/lib/hookferry/topics\"",
        );
        let topic = problems.take(
            &format!("{path}.topic"),
            Template::parse(self.topic.as_deref().unwrap_or(DEFAULT_TOPIC)),
            "write a template such as \"{source}.{event_type}\"",
        );
        Some(StoreSettings {
            path: folder?,
            topic: topic?,
            retention: self.retention.map_or(DEFAULT_RETENTION, |span| span.0),
            max_size_bytes: self.max_size.map_or(DEFAULT_MAX_SIZE_BYTES, |size| size.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section;

    fn read(text: &str) -> (Option<StoreSettings>, String) {
        let mut problems = ConfigProblems::default();
        let table = text.parse().expect("TOML");
        let file: StoreFile = section::read("sink.local", table, &mut problems);
        let settings = file.settings("sink.local", &mut problems);
        (settings, problems.to_string())
    }

    #[test]
    fn a_path_is_enough() {
        let (settings, problems) = read("path = \"topics\"");
        assert_eq!(problems, "");
        let settings = settings.expect("nothing is wrong");
        assert_eq!(settings.path, PathBuf::from("topics"));
        assert_eq!(settings.topic.to_string(), "{source}.{event_type}");
        assert_eq!(settings.retention.as_secs(), 604_800);
        assert_eq!(settings.max_size_bytes, 1_073_741_824);
    }

    #[test]
    fn every_key_is_heard() {
        let (settings, problems) =
            read("path = \"t\"\ntopic = \"a\"\nretention = \"2h\"\nmax_size = \"20MiB\"");
        assert_eq!(problems, "");
        let settings = settings.expect("nothing is wrong");
        assert_eq!(settings.topic.to_string(), "a");
        assert_eq!(
            (settings.retention.as_secs(), settings.max_size_bytes),
            (7200, 20 << 20)
        );
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let (settings, problems) =
            read("topic = \"{subject}\"\nretention = \"1s\"\nmax_size = \"1MiB\"");
        assert!(settings.is_none());
        for key in ["path", "topic", "retention", "max_size"] {
            assert!(
                problems.contains(&format!("sink.local.{key}: ")),
                "{key} is not in {problems}"
            );
        }
        assert_eq!(problems.lines().count(), 4);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<StoreFile>("paht = \"topics\"").is_err());
    }
}
