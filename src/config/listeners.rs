//! The `ingress` and `admin` tables: where senders and operators are listened to.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::file::{AdminFile, IngressFile};
use super::problem::Problems;
use super::section::{self, join};
use super::settings::IngressSettings;
use super::value::span;
use super::{guards, ingress_tls};

/// Reads the senders' listener.
pub(super) fn ingress(mut table: Table, problems: &mut Problems) -> IngressSettings {
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
    let at_least_one =
        |key: &str, value: Option<usize>, default: usize, problems: &mut Problems| match value {
            Some(0) => {
                problems.add(
                    join("ingress", key),
                    "0 would receive nothing",
                    "give at least 1",
                );
                default
            }
            value => value.unwrap_or(default),
        };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let max_body = file.max_body.map_or(1 << 20, |size| size.0);
    if max_body > 64 << 20 {
        problems.add(
            "ingress.max_body",
            format!("{max_body} bytes is too much"),
            "give at most \"64MiB\"",
        );
    }
    IngressSettings {
        trusted_proxies: guards::trusted_proxies(&file, problems),
        guard: guards::settings(&file, max_body, problems),
        listen: file
            .listen
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8080))),
        max_body_bytes: usize::try_from(max_body).unwrap_or(usize::MAX),
        head_timeout: span(file.head_timeout, 5),
        body_timeout: span(file.body_timeout, 10),
        keep_alive: span(file.keep_alive, 75),
        max_connections: at_least_one("max_connections", file.max_connections, 10_000, problems),
        workers: at_least_one("workers", file.workers, processors, problems),
        proxy_protocol: file.proxy_protocol.unwrap_or_default(),
        tls,
    }
}

/// Reads the operators' listener.
pub(super) fn admin(table: Table, problems: &mut Problems) -> SocketAddr {
    let file: AdminFile = section::read("admin", table, problems);
    file.listen
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8081)))
}

/// Two listeners cannot share an address.
pub(super) fn check(ingress: SocketAddr, admin: SocketAddr, problems: &mut Problems) {
    let same_ip =
        ingress.ip() == admin.ip() || ingress.ip().is_unspecified() || admin.ip().is_unspecified();
    if ingress.port() != 0 && ingress.port() == admin.port() && same_ip {
        problems.add(
            "admin.listen",
            format!("{admin} is also where ingress.listen ({ingress}) listens"),
            "give it another port",
        );
    }
}
