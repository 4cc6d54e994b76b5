//! A configuration as a hash for each key, to be held against another: which keys differ, and which
//! of those a running bridge cannot take over. Hashes, because a value may hold a password.
//!
//! A key needs a restart unless it is listed here, so that a new one cannot be forgotten.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::example::EXAMPLE;
use super::section::join;
use super::value::{ByteSize, TimeSpan};

/// The keys that a reload takes over, with all that is below them; `*` is any name.
const TAKEN_OVER: &[&str] = &[
    "acknowledge_timeout",
    "duplicates",
    "duplicate_window",
    "reload_interval",
    // Whether there is one at all is for a restart, as it is for TLS below.
    "admin.token.*",
    "admin.hosts",
    "ingress.max_body",
    "ingress.body_timeout",
    "ingress.max_in_flight",
    "ingress.max_body_memory",
    "ingress.health_path",
    "ingress.allow",
    "ingress.client_address",
    "ingress.trusted_proxies",
    "ingress.rate_limit_per_address",
    // Whether there is TLS at all is for a restart: a table that is lost must not open the listener.
    "ingress.tls.*",
    "spool.max_events",
    "spool.max_size",
    "log.filter",
    "provider",
    "source",
    "sink.*.max_in_flight",
    "sink.*.retry_delay_max",
    "sink.*.password",
    "sink.*.ca_file",
    "sink.*.client_certificate_file",
    "sink.*.client_key_file",
    "sink.*.sasl.username",
    "sink.*.sasl.password",
    "sink.*.sasl.token",
    "sink.*.tls.ca_file",
    "sink.*.tls.client_certificate_file",
    "sink.*.tls.client_key_file",
    "sink.*.tls.client_key_password",
    "route",
];

/// Each key's path with a hash of its value; keys that are left out have their defaults.
#[derive(Clone, Default)]
pub struct KeyHashes(BTreeMap<String, [u8; 32]>);

/// It prints no hash: a short password could be guessed from one.
impl fmt::Debug for KeyHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHashes")
    }
}

impl KeyHashes {
    /// The keys of a file, with the variables filled in.
    pub(super) fn of(file: &Table) -> Self {
        let mut defaults: Table = EXAMPLE
            .parse()
            .expect("the example is TOML: a test reads it");
        // The sources, sinks and routes of the example are its own.
        for named in ["source", "sink", "route"] {
            defaults.remove(named);
        }
        let mut hashes = BTreeMap::new();
        for table in [&defaults, file] {
            for (key, value) in table {
                add(key, value, &mut hashes);
            }
        }
        Self(hashes)
    }

    /// The paths of the keys that differ in `other` and that only a restart takes over, sorted. Of a
    /// table that one of them lacks, the table is named.
    #[must_use]
    pub fn restart_for(&self, other: &Self) -> Vec<String> {
        let all = self.0.keys().chain(other.0.keys());
        let differs = |path: &&String| self.0.get(*path) != other.0.get(*path);
        let mut differing: Vec<&String> = all.filter(differs).collect();
        differing.sort();
        differing.dedup();
        let mut found: Vec<String> = Vec::new();
        for path in differing.into_iter().filter(|path| !is_taken_over(path)) {
            let is_above = |above: &String| is_named_by(above, path);
            if !found.iter().any(is_above) {
                found.push(path.clone());
            }
        }
        found
    }
}

/// Adds what lies at `path` and below. A section that is left out is one without keys; whether any
/// other table is there says something by itself.
fn add(path: &str, value: &Value, hashes: &mut BTreeMap<String, [u8; 32]>) {
    let text = match value {
        Value::Table(_) => String::new(),
        Value::String(text) => meaning(path, text),
        other => format!("{other:?}"),
    };
    if !value.is_table() || path.contains('.') {
        hashes.insert(path.to_owned(), Sha256::digest(text).into());
    }
    for (key, value) in value.as_table().into_iter().flatten() {
        add(&join(path, key), value, hashes);
    }
}

/// What a text says: `"60s"` is `"1m"`, and a sink takes over the login in its URL.
fn meaning(path: &str, text: &str) -> String {
    if let Some(TimeSpan(span)) = read::<TimeSpan<0>>(text) {
        format!("{span:?}")
    } else if let Some(ByteSize(bytes)) = read::<ByteSize<0>>(text) {
        format!("{bytes} bytes")
    } else if path.starts_with("sink.") {
        without_login(text)
    } else {
        text.to_owned()
    }
}

/// Whether a reload takes over the key at this path, such as `sink.kafka.password`.
#[must_use]
pub fn is_taken_over(path: &str) -> bool {
    TAKEN_OVER.iter().any(|pattern| is_named_by(pattern, path))
}

/// Whether the path is at or below the pattern.
fn is_named_by(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
    pattern.all(|part| path.next().is_some_and(|key| part == "*" || part == key))
}

/// A broker's URL without the user in it.
fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", &rest[end..])
}

fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    T::deserialize(StrDeserializer::<Error>::new(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart_for(old: &str, new: &str) -> Vec<String> {
        let [old, new] = [old, new].map(|text| KeyHashes::of(&text.parse().expect("TOML")));
        old.restart_for(&new)
    }

    #[test]
    fn what_is_taken_over_needs_no_restart() {
        let old = "duplicates = \"suppress\"\n[ingress]\nmax_body = \"1KiB\"\n[source.a]\nprovider = \"x\"\n[[route]]\nsource = \"a\"";
        let new = "reload_interval = \"1s\"\n[ingress]\nallow = []\n[source.b]\nsecrets = []\n[log]\nfilter = \"debug\"";
        assert_eq!(restart_for(old, new), [""; 0]);
    }

    #[test]
    fn everything_else_is_named_by_its_path() {
        let old = "acknowledge = \"spooled\"\n[ingress]\nlisten = \"1.2.3.4:5\"\nhead_timeout = \"2s\"\n[spool]\npath = \"/a\"\n[sink.k]\nbrokers = \"a\"\n[sink.gone]\ntype = \"store\"";
        let new = "acknowledge = \"delivered\"\n[spool]\nmax_size = \"8MiB\"\n[ingress]\nlisten = \"1.2.3.4:6\"\n[admin]\nlisten = \"[::1]:7\"\n[sink.k]\nbrokers = \"b\"\n[sink.k.tls]\nca_file = \"c\"";
        assert_eq!(
            restart_for(old, new),
            [
                "acknowledge",
                "admin.listen",
                "ingress.head_timeout",
                "ingress.listen",
                "sink.gone",
                "sink.k.brokers",
                "sink.k.tls",
                "spool.path"
            ]
        );
        assert_eq!(restart_for(new, new), [""; 0]);
    }

    #[test]
    fn files_of_tls_are_taken_over_but_not_tls_itself() {
        let plain = "[ingress]\nhead_timeout = \"2s\"";
        let [one, other] = ["one", "other"]
            .map(|file| format!("{plain}\n[ingress.tls]\ncertificate_file = \"{file}\""));
        let clients = format!("{other}\nclient_ca_file = \"ca\"");
        assert_eq!(restart_for(&one, &clients), [""; 0]);
        assert_eq!(restart_for(plain, &one), ["ingress.tls"]);
        assert_eq!(restart_for(&one, plain), ["ingress.tls"]);
    }

    #[test]
    fn a_default_and_another_unit_are_no_difference() {
        let spelt_out = "shutdown_timeout = \"10000ms\"\n[ingress]\nkeep_alive = \"1m 15s\"\n[admin]\nlisten = \"127.0.0.1:8081\"";
        assert_eq!(restart_for("", "[spool]\nmax_events = 1000000"), [""; 0]);
        assert_eq!(restart_for("", spelt_out), [""; 0]);
        assert_eq!(restart_for(spelt_out, ""), [""; 0]);
        assert_eq!(
            restart_for("", "shutdown_timeout = \"10m\""),
            ["shutdown_timeout"]
        );
        let url = |text: &str| format!("[sink.s]\nurl = \"amqp://{text}\"");
        assert_eq!(
            restart_for(&url("a:b@c/d"), &url("x:y@z@c/d")),
            [""; 0],
            "only the login"
        );
        for other in ["a:b@other/d", "a:b@c/other", "a:b@c/d?heartbeat=1", "c/x@d"] {
            assert_eq!(restart_for(&url("a:b@c/d"), &url(other)), ["sink.s.url"]);
        }
        let collector = |user: &str| format!("[trace]\notlp_endpoint = \"http://{user}@c/\"");
        assert_eq!(
            restart_for(&collector("a:b"), &collector("a:c")),
            ["trace.otlp_endpoint"],
            "nobody takes that over"
        );
        let size = |text: &str| format!("[sink.s]\nmax_size = \"{text}\"");
        assert_eq!(restart_for(&size("1GiB"), &size("1024MiB")), [""; 0]);
    }

    #[test]
    fn every_key_that_is_taken_over_is_in_the_example() {
        let example = crate::config::example::whole_example();
        for pattern in TAKEN_OVER {
            let mut level = vec![Value::Table(example.clone())];
            for part in pattern.split('.') {
                let below = |value: &Value| -> Vec<Value> {
                    let table = value.as_table();
                    let pairs = table.into_iter().flatten();
                    let named = pairs.filter(|(key, _)| part == "*" || part == *key);
                    named.map(|(_, value)| value.clone()).collect()
                };
                level = level.iter().flat_map(below).collect();
            }
            assert!(!level.is_empty(), "{pattern} is no key");
        }
    }
}
