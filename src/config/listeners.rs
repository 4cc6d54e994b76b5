//! The `ingress`, `admin` and `metrics` tables: where senders, operators and scrapers are listened to.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::file::{AdminFile, IngressFile, MetricsFile};
use super::problem::ConfigProblems;
use super::section;
use super::settings::{AdminSettings, IngressSettings};
use super::value::{SecretReference, span};
use super::{guards, ingress_tls, max_body};
use crate::admin::{AccessRules, AdminToken, Host};

/// The largest body unless the file says otherwise, in bytes.
const DEFAULT_MAX_BODY_BYTES: usize = 1 << 20;

/// Reads the senders' listener.
pub(super) fn ingress(mut table: Table, problems: &mut ConfigProblems) -> IngressSettings {
    let tls = match table.remove("tls") {
        Some(Value::Table(table)) => ingress_tls::read(table, problems),
        Some(_) => {
            let found = "this is not a table";
            problems.add("ingress.tls", found, "write it as [ingress.tls]");
            None
        }
        None => None,
    };
    let file: IngressFile = section::read("ingress", table, problems);
    let max_body = max_body::read("ingress.max_body", file.max_body, problems);
    IngressSettings {
        trusted_proxies: guards::trusted_proxies(&file, problems),
        guard: guards::settings(&file, problems),
        listen: file
            .listen
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8080))),
        max_body_bytes: max_body.unwrap_or(DEFAULT_MAX_BODY_BYTES),
        head_timeout: span(file.head_timeout, 5),
        body_timeout: span(file.body_timeout, 10),
        keep_alive: span(file.keep_alive, 75),
        proxy_protocol: file.proxy_protocol.unwrap_or_default(),
        tls,
    }
}

/// Reads the operators' listener. Whoever reaches it could read events and drop them, so beyond
/// loopback it needs a token.
pub(super) fn admin(table: Table, problems: &mut ConfigProblems) -> AdminSettings {
    let file: AdminFile = section::read("admin", table, problems);
    let listen = admin_address(&file);
    if file.token.is_none() && !Host::Address(listen.ip()).is_loopback() {
        problems.add(
            "admin.token",
            format!("the key is missing, and admin.listen ({listen}) is not loopback: whoever reaches it could read events and drop them"),
            "name a token, such as { file = \"/run/secrets/hookferry-admin\" }, which `openssl rand -hex 32` makes; or listen on 127.0.0.1, and serve scrapers and probes by [metrics] listen",
        );
    }
    let hosts = file.hosts.unwrap_or_default();
    let rules = AccessRules {
        token: file.token.and_then(|token| read_token(&token, problems)),
        hosts: read_hosts(&hosts, problems),
    };
    AdminSettings { listen, rules }
}

/// Reads where the operators' listener listens, for whoever does not need its token.
pub(super) fn admin_listen(table: Table, problems: &mut ConfigProblems) -> SocketAddr {
    admin_address(&section::read("admin", table, problems))
}

fn admin_address(file: &AdminFile) -> SocketAddr {
    let default = || SocketAddr::from(([127, 0, 0, 1], 8081));
    file.listen.unwrap_or_else(default)
}

fn read_token(reference: &SecretReference, problems: &mut ConfigProblems) -> Option<AdminToken> {
    let key = "admin.token";
    let text = reference.take_text(key, "put the token there", problems)?;
    let remedy = "put one word of at least 16 visible ASCII characters there, such as `openssl rand -hex 32` makes";
    problems.take(key, AdminToken::parse(&text), remedy)
}

fn read_hosts(hosts: &[String], problems: &mut ConfigProblems) -> Vec<Host> {
    let read = |(at, text): (usize, &String)| {
        let remedy = "give a name or an address without scheme, port and path, such as \"bridge.example.com\"";
        problems.take(&format!("admin.hosts[{at}]"), Host::parse(text), remedy)
    };
    hosts.iter().enumerate().filter_map(read).collect()
}

/// Reads the listener for scrapers and probes; none unless the table says where.
pub(super) fn metrics(table: Table, problems: &mut ConfigProblems) -> Option<SocketAddr> {
    let file: MetricsFile = section::read("metrics", table, problems);
    file.listen
}

/// Two listeners cannot share an address. Each comes with its key.
pub(super) fn check(listeners: &[(&str, SocketAddr)], problems: &mut ConfigProblems) {
    for (at, (key, listen)) in listeners.iter().enumerate() {
        let taken = listeners[..at]
            .iter()
            .find(|(_, other)| overlap(*listen, *other));
        if let Some((other_key, other)) = taken {
            problems.add(
                *key,
                format!("{listen} is also where {other_key} ({other}) listens"),
                "give it another port",
            );
        }
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_ip
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with an `admin` table.
    fn wrong_with(text: &str) -> String {
        let mut problems = ConfigProblems::default();
        admin(text.parse().expect("TOML"), &mut problems);
        problems.to_string()
    }

    #[test]
    fn beyond_loopback_a_token_is_demanded() {
        for loopback in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(wrong_with(&format!("listen = {loopback:?}")), "");
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.5:1", "[fd00::5]:1"] {
            let said = wrong_with(&format!("listen = {other:?}"));
            for part in [
                "admin.token: ",
                "not loopback",
                "file = ",
                "[metrics] listen",
            ] {
                assert!(said.contains(part), "{other}: {part} is not in {said}");
            }
        }
        assert_eq!(wrong_with(""), "");
    }

    #[test]
    fn a_token_is_read_and_a_bad_one_named_but_not_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let with = |text: &str| {
            std::fs::write(&file, text).expect("written");
            wrong_with(&format!(
                "listen = \"0.0.0.0:1\"\ntoken = {{ file = {file:?} }}"
            ))
        };
        assert_eq!(with("0123456789abcdef0123456789abcdef\n"), "");
        for (bad, found) in [
            ("hush", "can be guessed"),
            ("two words of a token", "no header"),
        ] {
            let said = with(bad);
            assert!(
                said.starts_with("admin.token: ") && said.contains(found),
                "{said}"
            );
            assert!(!said.contains(bad) && said.lines().count() == 1, "{said}");
        }
        assert!(
            wrong_with("token = { env = \"HOOKFERRY_NOT_SET\" }").contains("HOOKFERRY_NOT_SET")
        );
        let said = wrong_with("token = \"0123456789abcdef\"");
        assert!(
            said.contains("admin.token") && !said.contains("0123456789"),
            "{said}"
        );
    }

    #[test]
    fn a_host_that_is_none_is_named_by_its_place() {
        assert_eq!(wrong_with("hosts = [\"bridge\", \"10.0.0.5\"]"), "");
        let said = wrong_with("hosts = [\"bridge\", \"http://bridge/\"]");
        assert!(said.starts_with("admin.hosts[1]: "), "{said}");
    }

    #[test]
    fn listeners_that_share_an_address_are_named() {
        let check = |listeners: &[(&str, &str)]| {
            let listeners = listeners.iter();
            let listeners: Vec<(&str, SocketAddr)> = listeners
                .map(|(key, at)| (*key, at.parse().expect("an address")))
                .collect();
            let mut problems = ConfigProblems::default();
            super::check(&listeners, &mut problems);
            problems.to_string()
        };
        let (ingress, admin) = (
            ("ingress.listen", "0.0.0.0:80"),
            ("admin.listen", "127.0.0.1:81"),
        );
        assert_eq!(
            check(&[ingress, admin, ("metrics.listen", "0.0.0.0:82")]),
            ""
        );
        assert_eq!(check(&[("a", "0.0.0.0:0"), ("b", "0.0.0.0:0")]), "");
        let said = check(&[ingress, admin, ("metrics.listen", "0.0.0.0:81")]);
        assert!(
            said.starts_with("metrics.listen: ") && said.contains("admin.listen"),
            "{said}"
        );
    }
}
