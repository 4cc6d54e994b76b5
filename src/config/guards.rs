//! The keys of the `ingress` table that say who may come, and how much.

use std::num::NonZeroU32;

use super::file::{IngressFile, OriginFile};
use super::problem::ConfigProblems;
use super::settings::GuardSettings;
use super::value::ByteSize;
use crate::ingress::{AddressOrigin, IpNet, networks};

const DEFAULT_MAX_IN_FLIGHT: usize = 4096;
const DEFAULT_MAX_BODY_MEMORY: ByteSize = ByteSize(256 << 20);

/// Reads them; what is wrong is noted.
pub(super) fn settings(file: &IngressFile, problems: &mut ConfigProblems) -> GuardSettings {
    let ByteSize(max_body_memory) = file.max_body_memory.unwrap_or(DEFAULT_MAX_BODY_MEMORY);
    GuardSettings {
        allow: allow(file.allow.as_deref(), problems),
        origin: origin(file),
        rate_limit_per_address: rate_limit(file.rate_limit_per_address, problems),
        max_in_flight: max_in_flight(file.max_in_flight, problems),
        max_body_bytes_in_flight: usize::try_from(max_body_memory).unwrap_or(usize::MAX),
        health_path: health_path(file.health_path.as_deref(), problems),
    }
}

fn allow(listed: Option<&[String]>, problems: &mut ConfigProblems) -> Option<Vec<IpNet>> {
    let listed = listed?;
    if listed.is_empty() {
        problems.add(
            "ingress.allow",
            "an empty list lets nobody in",
            "name the networks of the senders, or leave the key out to let everybody in",
        );
    }
    Some(read_networks("ingress.allow", listed, problems))
}

fn origin(file: &IngressFile) -> AddressOrigin {
    match file.client_address {
        None | Some(OriginFile::Peer) => AddressOrigin::Peer,
        Some(OriginFile::Forwarded) => AddressOrigin::Forwarded,
        Some(OriginFile::XForwardedFor) => AddressOrigin::XForwardedFor,
    }
}

/// Reads the proxies whose word about a client's address counts.
pub(super) fn trusted_proxies(file: &IngressFile, problems: &mut ConfigProblems) -> Vec<IpNet> {
    let key = "ingress.trusted_proxies";
    let listed = file.trusted_proxies.as_deref().unwrap_or_default();
    let trusted = read_networks(key, listed, problems);
    if trusted.iter().any(|network| network.prefix_len() == 0) {
        problems.add(
            key,
            "every sender would be believed, whatever address it claims",
            "name only the networks of your proxies",
        );
    }
    let is_asked = origin(file) != AddressOrigin::Peer || file.proxy_protocol == Some(true);
    if file.trusted_proxies.is_some() && !is_asked {
        problems.add(
            key,
            "nothing asks a proxy for an address",
            "set ingress.client_address to \"forwarded\" or \"x_forwarded_for\", or ingress.proxy_protocol to true, or take the key out",
        );
    }
    if is_asked && listed.is_empty() {
        problems.add(
            key,
            "without a trusted proxy nobody's word about a client is believed",
            "name the networks of your proxies, or take ingress.client_address and ingress.proxy_protocol out",
        );
    }
    trusted
}

/// The networks that can be read.
fn read_networks(key: &str, listed: &[String], problems: &mut ConfigProblems) -> Vec<IpNet> {
    let read = |(index, text): (usize, &String)| {
        problems.take(
            &format!("{key}[{index}]"),
            networks::parse(text),
            "write it as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.7\"",
        )
    };
    listed.iter().enumerate().filter_map(read).collect()
}

fn rate_limit(limit: Option<u32>, problems: &mut ConfigProblems) -> Option<NonZeroU32> {
    let limit = NonZeroU32::new(limit?);
    if limit.is_none() {
        problems.add(
            "ingress.rate_limit_per_address",
            "0 would refuse every delivery",
            "leave the key out for no limit",
        );
    }
    limit
}

fn max_in_flight(most: Option<usize>, problems: &mut ConfigProblems) -> usize {
    let most = most.unwrap_or(DEFAULT_MAX_IN_FLIGHT);
    if most == 0 {
        problems.add(
            "ingress.max_in_flight",
            "0 would refuse every delivery",
            "give at least 1",
        );
    }
    most
}

/// Whatever leads to a webhook must not answer a load balancer, and what no request can ask for is a
/// mistake.
fn health_path(path: Option<&str>, problems: &mut ConfigProblems) -> Option<String> {
    let path = path?;
    let is_path = path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic())
        && !path.contains(['?', '#', '%'])
        && !path.starts_with("/webhooks");
    if !is_path {
        problems.add(
            "ingress.health_path",
            format!("{path:?} is not a path that a load balancer can ask at"),
            "write it as \"/healthz\": it begins with a slash, but not with /webhooks, and has no query",
        );
    }
    Some(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (GuardSettings, Vec<IpNet>, Vec<String>) {
        let file: IngressFile = toml::from_str(text).expect("well-formed");
        let mut problems = ConfigProblems::default();
        let settings = settings(&file, &mut problems);
        let proxies = trusted_proxies(&file, &mut problems);
        let paths = problems.iter().map(|problem| problem.path.clone());
        (settings, proxies, paths.collect())
    }

    #[test]
    fn without_a_word_everybody_may_come() {
        let (settings, proxies, problems) = read("");
        assert_eq!(problems, [""; 0]);
        assert!(settings.allow.is_none() && settings.rate_limit_per_address.is_none());
        assert_eq!(settings.origin, AddressOrigin::Peer);
        assert!(proxies.is_empty());
        assert_eq!(settings.max_in_flight, 4096);
        assert_eq!(settings.max_body_bytes_in_flight, 256 << 20);
        assert_eq!(settings.health_path, None);
    }

    #[test]
    fn every_key_is_heard() {
        let (settings, proxies, problems) = read(
            "allow = [\"192.0.2.0/24\", \"::1\"]\nclient_address = \"x_forwarded_for\"\ntrusted_proxies = [\"10.0.0.1\"]\nrate_limit_per_address = 7\nmax_in_flight = 9\nmax_body_memory = \"2MiB\"\nhealth_path = \"/up\"",
        );
        assert_eq!(problems, [""; 0]);
        let address = |text: &str| text.parse().expect("an address");
        let allow = settings.allow.expect("it is given");
        assert!(
            networks::contain(&allow, address("192.0.2.9"))
                && networks::contain(&allow, address("::1"))
        );
        assert!(!networks::contain(&allow, address("::2")));
        assert_eq!(settings.origin, AddressOrigin::XForwardedFor);
        assert!(
            networks::contain(&proxies, address("10.0.0.1"))
                && !networks::contain(&proxies, address("10.0.0.2"))
        );
        assert_eq!(settings.rate_limit_per_address, NonZeroU32::new(7));
        assert_eq!(settings.max_in_flight, 9);
        assert_eq!(settings.max_body_bytes_in_flight, 2 << 20);
        assert_eq!(settings.health_path.as_deref(), Some("/up"));
    }

    #[test]
    fn what_would_let_nobody_in_or_believe_anybody_is_a_problem() {
        for (text, key) in [
            ("allow = []", "ingress.allow"),
            ("allow = [\"::1\", \"localhost\"]", "ingress.allow[1]"),
            (
                "trusted_proxies = [\"10.0.0.1\"]",
                "ingress.trusted_proxies",
            ),
            (
                "client_address = \"peer\"\ntrusted_proxies = []",
                "ingress.trusted_proxies",
            ),
            ("client_address = \"forwarded\"", "ingress.trusted_proxies"),
            ("proxy_protocol = true", "ingress.trusted_proxies"),
            (
                "proxy_protocol = false\ntrusted_proxies = [\"10.0.0.1\"]",
                "ingress.trusted_proxies",
            ),
            (
                "client_address = \"forwarded\"\ntrusted_proxies = []",
                "ingress.trusted_proxies",
            ),
            (
                "client_address = \"forwarded\"\ntrusted_proxies = [\"::/0\"]",
                "ingress.trusted_proxies",
            ),
            (
                "client_address = \"x_forwarded_for\"\ntrusted_proxies = [\"10.0.0.0/33\"]",
                "ingress.trusted_proxies[0]",
            ),
            (
                "rate_limit_per_address = 0",
                "ingress.rate_limit_per_address",
            ),
            ("max_in_flight = 0", "ingress.max_in_flight"),
            ("health_path = \"\"", "ingress.health_path"),
            ("health_path = \"up\"", "ingress.health_path"),
            ("health_path = \"/up?x\"", "ingress.health_path"),
            ("health_path = \"/u p\"", "ingress.health_path"),
            ("health_path = \"/webhooks/up\"", "ingress.health_path"),
        ] {
            assert_eq!(read(text).2, [key], "{text}");
        }
    }
}
