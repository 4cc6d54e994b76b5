//! A configuration as it was written, to be held against another: which keys are different, and
//! which of those a running bridge cannot take over.
//!
//! A key needs a restart unless it is listed here, so that a new one cannot be forgotten.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use toml::{Table, Value};

use super::EXAMPLE;
use super::section::join;
use super::value::{Size, Span};

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
    "source.*",
    "sink.*.max_in_flight",
    "sink.*.retry_delay",
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

/// The file's tables, with the variables filled in.
#[derive(Clone, Default)]
pub struct Written(Table);

/// It may hold an address with a password in it.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

impl Written {
    pub(super) fn new(table: Table) -> Self {
        Self(table)
    }

    /// The paths of the keys that differ in `other` and that only a restart takes over, sorted.
    #[must_use]
    pub fn restart_for(&self, other: &Self) -> Vec<String> {
        let defaults: Table = EXAMPLE
            .parse()
            .expect("the example is TOML: a test reads it");
        let mut found = Vec::new();
        for (section, default) in &defaults {
            let pair = (self.0.get(section), other.0.get(section));
            differ(section, pair, Some(default), &mut found);
        }
        for section in keys(&self.0, &other.0).filter(|key| !defaults.contains_key(*key)) {
            let pair = (self.0.get(section), other.0.get(section));
            differ(section, pair, None, &mut found);
        }
        found.sort();
        found
    }
}

/// Notes what differs at `path` and below, and is not taken over.
fn differ(
    path: &str,
    (old, new): (Option<&Value>, Option<&Value>),
    default: Option<&Value>,
    found: &mut Vec<String>,
) {
    if is_taken_over(path) {
        return;
    }
    let empty = Table::new();
    let is_section = !path.contains('.');
    let (old_table, new_table) = match (old, new) {
        (Some(Value::Table(old)), Some(Value::Table(new))) => (old, new),
        (Some(Value::Table(old)), None) if is_section => (old, &empty),
        (None, Some(Value::Table(new))) if is_section => (&empty, new),
        (None, None) => return,
        (old, new) => {
            let (old, new) = (old.or(default), new.or(default));
            let login_alone = path.starts_with("sink.") && is_same_but_for_login(old, new);
            if !login_alone && !is_same(old, new) {
                found.push(path.to_owned());
            }
            return;
        }
    };
    // The sinks of the example are its own.
    let defaults = default.and_then(Value::as_table).filter(|_| path != "sink");
    for key in keys(old_table, new_table) {
        let default = defaults.and_then(|defaults| defaults.get(key));
        let pair = (old_table.get(key), new_table.get(key));
        differ(&join(path, key), pair, default, found);
    }
}

fn keys<'a>(a: &'a Table, b: &'a Table) -> impl Iterator<Item = &'a str> {
    let all: BTreeSet<&str> = a.keys().chain(b.keys()).map(String::as_str).collect();
    all.into_iter()
}

/// Whether a reload takes over the key at this path, such as `sink.kafka.password`.
#[must_use]
pub fn is_taken_over(path: &str) -> bool {
    TAKEN_OVER.iter().any(|pattern| is_named_by(pattern, path))
}

fn is_named_by(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
    pattern.all(|part| path.next().is_some_and(|key| part == "*" || part == key))
}

/// Whether two values mean the same: `"60s"` is `"1m"`.
fn is_same(old: Option<&Value>, new: Option<&Value>) -> bool {
    if old == new {
        return true;
    }
    let (Some(Value::String(old)), Some(Value::String(new))) = (old, new) else {
        return false;
    };
    let is = |equal: Option<bool>| equal == Some(true);
    is(read::<Span<0>>(old)
        .zip(read::<Span<0>>(new))
        .map(|(a, b)| a == b))
        || is(read::<Size<0>>(old)
            .zip(read::<Size<0>>(new))
            .map(|(a, b)| a == b))
}

/// Whether two URLs differ in the user alone, whom a sink takes over, and nothing else does.
fn is_same_but_for_login(old: Option<&Value>, new: Option<&Value>) -> bool {
    let url = |value: Option<&Value>| value.and_then(Value::as_str).map(without_login);
    url(old).is_some_and(|old| Some(old) == url(new))
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

    fn written(text: &str) -> Written {
        Written(text.parse().expect("TOML"))
    }

    fn restart_for(old: &str, new: &str) -> Vec<String> {
        written(old).restart_for(&written(new))
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
        let new = "acknowledge = \"delivered\"\n[spool]\nin_memory = true\n[ingress]\nlisten = \"1.2.3.4:6\"\n[admin]\nlisten = \"[::1]:7\"\n[sink.k]\nbrokers = \"b\"\n[sink.k.tls]\nca_file = \"c\"";
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
                "spool.in_memory",
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
        assert_eq!(restart_for("", "[spool]\nin_memory = false"), [""; 0]);
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
        let example = super::super::tests::whole_example();
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
