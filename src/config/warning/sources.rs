//! What the facts of a source's provider say against the rest of the configuration.

use super::super::max_body::MOST_BODY_BYTES;
use super::super::problem::ConfigProblems;
use super::super::settings::{Settings, SourceSettings};
use super::super::value::in_units;
use crate::source::{Replay, RetriesName, Scheme};
use crate::spool::Milestone;

/// Notes it for each source.
pub(super) fn warn(settings: &Settings, found: &mut ConfigProblems) {
    for source in &settings.sources {
        warn_of_deadline(settings, source, found);
        warn_of_large_bodies(settings, source, found);
        warn_of_lost_mismatches(source, found);
        warn_of_plain_secret(settings, source, found);
        warn_of_unsigned_types(source, found);
        warn_of_replays(source, found);
    }
}

fn key(source: &SourceSettings, key: &str) -> String {
    format!("source.{}.{key}", source.source.name)
}

/// A broker that is slow for longer than the sender waits makes it send again what will be accepted.
fn warn_of_deadline(settings: &Settings, source: &SourceSettings, found: &mut ConfigProblems) {
    let provider = &source.source.provider;
    let Some(deadline) = provider.facts.deadline else {
        return;
    };
    let timeout = settings.acknowledge_timeout;
    if settings.milestone != Milestone::Delivered || timeout <= deadline {
        return;
    }
    let [timeout, deadline] = [timeout, deadline].map(humantime::format_duration);
    let then = match provider.facts.retries {
        RetriesName::Nothing => "takes the delivery for failed that is published all the same",
        RetriesName::NonSuccess | RetriesName::ServerErrors => {
            "sends again what is published all the same"
        }
    };
    found.add(
        "acknowledge_timeout",
        format!(
            "a slow broker may keep `{}` (source.{}) waiting for {timeout}, and after {deadline} it {then}",
            provider.name, source.source.name
        ),
        format!("give less than \"{deadline}\", or set acknowledge = \"spooled\""),
    );
}

/// A body beyond the limit is answered 413.
fn warn_of_large_bodies(settings: &Settings, source: &SourceSettings, found: &mut ConfigProblems) {
    let provider = &source.source.provider;
    let Some(sent) = provider.facts.max_body_bytes else {
        return;
    };
    let own = source.endpoint.max_body_bytes;
    let most = own.unwrap_or(settings.ingress.max_body_bytes) as u64;
    if most >= sent.min(MOST_BODY_BYTES) {
        return;
    }
    let then = match provider.facts.retries {
        RetriesName::NonSuccess => "sent again in vain",
        RetriesName::ServerErrors | RetriesName::Nothing => "never sent again",
    };
    let least = in_units(sent.min(MOST_BODY_BYTES));
    let [most, sent] = [most, sent].map(in_units);
    found.add(
        key(source, "max_body"),
        format!(
            "`{}` sends bodies of up to {sent}, and one beyond {most} is answered 413 and {then}",
            provider.name
        ),
        format!("give \"{least}\", unless your deliveries are smaller"),
    );
}

/// A wrong secret is answered 401, which some senders take for an end.
fn warn_of_lost_mismatches(source: &SourceSettings, found: &mut ConfigProblems) {
    if source.endpoint.retries_mismatch {
        return;
    }
    let name = &source.source.provider.name;
    let (said, remedy) = match source.source.provider.facts.retries {
        RetriesName::NonSuccess => return,
        RetriesName::ServerErrors => (
            format!(
                "`{name}` sends nothing again that was answered 401: a wrong secret loses events"
            ),
            "set it to \"retry\" for the time of a rotation: what no secret has signed is answered 503 then",
        ),
        RetriesName::Nothing => (
            format!(
                "`{name}` sends nothing again, whatever the answer: a wrong secret loses events"
            ),
            "keep the old secret beside the new one in `secrets` for the time of a rotation, and have the sender deliver again by hand what was refused; \"retry\" (503 instead of 401) says that you know, and helps where the sender was set up to try again",
        ),
    };
    found.add(key(source, "on_mismatch"), said, remedy);
}

/// Whoever listens on the way has the secret, and can write any delivery.
fn warn_of_plain_secret(settings: &Settings, source: &SourceSettings, found: &mut ConfigProblems) {
    let ingress = &settings.ingress;
    let is_covered = ingress.tls.is_some()
        || !ingress.trusted_proxies.is_empty()
        || ingress.listen.ip().is_loopback();
    let place = match source.source.provider.signature.scheme() {
        Scheme::Token => "in a header",
        Scheme::Url => "in the URL",
        Scheme::Hmac(_) | Scheme::Ed25519 | Scheme::EcdsaP256 => return,
    };
    if is_covered {
        return;
    }
    let name = &source.source.provider.name;
    found.add(
        key(source, "provider"),
        format!("`{name}` signs nothing: its secret travels {place} of each request, and unencrypted"),
        "add [ingress.tls]; or have a proxy end TLS, name it in ingress.trusted_proxies, and set ingress.client_address",
    );
}

/// What somebody else could have written names no topic unless the operator has named it.
fn warn_of_unsigned_types(source: &SourceSettings, found: &mut ConfigProblems) {
    let provider = &source.source.provider;
    let is_signed = provider
        .event
        .event_type
        .iter()
        .all(|field| field.is_signed);
    if is_signed || !source.event_types.is_empty() {
        return;
    }
    found.add(
        key(source, "event_types"),
        format!(
            "no signature of `{}` covers the event type, and none is named here: every event goes to `other`",
            provider.name
        ),
        "name those that are to have topics of their own",
    );
}

/// Somebody with one captured delivery can send it again under another id.
fn warn_of_replays(source: &SourceSettings, found: &mut ConfigProblems) {
    let provider = &source.source.provider;
    let is_identity_signed = provider.event.is_identity_signed;
    let is_open = provider.signature.is_open_to_replays(is_identity_signed);
    if provider.replay != Replay::Id || !is_open {
        return;
    }
    let name = &provider.name;
    found.add(
        key(source, "provider"),
        format!(
            "no signature of `{name}` covers a time or the id, by which a repeated delivery is known: a captured one can be sent again under another id"
        ),
        format!(
            "extend `{name}` by a table with signature.replay = \"body\", unless two events may have the same bytes"
        ),
    );
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    /// The warnings of a configuration with one source of this provider.
    fn warnings(top: &str, provider: &str, source: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "{top}\n[spool]\npath = \"{folder}/spool\"\n[source.a]\nprovider = \"{provider}\"\nsecrets = [{{ env = \"PATH\" }}]\n{source}\n[sink.s]\ntype = \"store\"\npath = \"{folder}/topics\"\n[[route]]\nsource = \"a\"\nsinks = [\"s\"]",
            folder = folder.path().display()
        );
        let settings = parse(&text, &|_| None).expect("nothing is wrong");
        let warnings = settings.warnings();
        warnings.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn assert_one(found: &[String], key: &str, parts: &[&str]) {
        let mut named = found
            .iter()
            .filter(|line| line.starts_with(&format!("{key}: ")));
        let one = named
            .next()
            .unwrap_or_else(|| panic!("{key} is not in {found:#?}"));
        assert!(named.next().is_none(), "{found:#?}");
        for part in parts {
            assert!(one.contains(part), "{part} is not in {one}");
        }
    }

    #[track_caller]
    fn assert_none(found: &[String], key: &str) {
        let named = found
            .iter()
            .filter(|line| line.starts_with(&format!("{key}: ")));
        assert_eq!(named.count(), 0, "{found:#?}");
    }

    #[test]
    fn of_one_codex_and_stripe_there_is_nothing_to_say() {
        for provider in ["onecodex", "stripe"] {
            assert_eq!(warnings("", provider, ""), [""; 0], "{provider}");
            let delivered = "acknowledge = \"delivered\"";
            assert_eq!(warnings(delivered, "onecodex", ""), [""; 0]);
        }
    }

    #[test]
    fn a_timeout_beyond_the_deadline_makes_duplicates() {
        let key = "acknowledge_timeout";
        let delivered = "acknowledge = \"delivered\"";
        let parts = [
            "`slack` (source.a)",
            "for 10s",
            "after 3s",
            "sends again",
            "\"spooled\"",
        ];
        assert_one(&warnings(delivered, "slack", ""), key, &parts);
        assert_none(&warnings("", "slack", ""), key);
        let in_time = format!("{delivered}\nacknowledge_timeout = \"3s\"");
        assert_none(&warnings(&in_time, "slack", ""), key);
        let late = format!("{delivered}\nacknowledge_timeout = \"11s\"");
        let types = "event_types = [\"push\"]";
        assert_one(
            &warnings(&late, "github", types),
            key,
            &["takes the delivery for failed"],
        );
    }

    #[test]
    fn a_limit_below_the_largest_body_refuses_some() {
        let key = "source.a.max_body";
        let parts = [
            "`github` sends bodies of up to 25MiB",
            "beyond 1MiB is",
            "413",
            "never sent again",
        ];
        assert_one(&warnings("", "github", ""), key, &parts);
        assert_none(&warnings("", "github", "max_body = \"25MiB\""), key);
        assert_none(
            &warnings("[ingress]\nmax_body = \"25MiB\"", "github", ""),
            key,
        );
        let found = warnings(
            "[ingress]\nmax_body = \"25MiB\"",
            "github",
            "max_body = \"24MiB\"",
        );
        assert_one(&found, key, &["beyond 24MiB", "give \"25MiB\""]);
    }

    #[test]
    fn a_wrong_secret_loses_what_is_not_sent_again() {
        let key = "source.a.on_mismatch";
        let parts = [
            "answered 401",
            "loses events",
            "\"retry\" for the time of a rotation",
        ];
        assert_one(&warnings("", "pagerduty", ""), key, &parts);
        assert_one(
            &warnings("", "github", ""),
            key,
            &["whatever the answer", "by hand"],
        );
        for provider in ["pagerduty", "github"] {
            assert_none(&warnings("", provider, "on_mismatch = \"retry\""), key);
        }
        assert_none(&warnings("", "slack", ""), key);
    }

    #[test]
    fn a_secret_that_travels_is_to_be_encrypted() {
        let key = "source.a.provider";
        assert_one(
            &warnings("", "okta", ""),
            key,
            &["in a header of each request", "[ingress.tls]"],
        );
        assert_one(
            &warnings("", "docker_hub", ""),
            key,
            &["in the URL of each request"],
        );
        let proxy = "[ingress]\nclient_address = \"forwarded\"\ntrusted_proxies = [\"10.0.0.1\"]";
        for ingress in [proxy, "[ingress]\nlisten = \"127.0.0.1:8080\""] {
            assert_none(&warnings(ingress, "okta", ""), key);
        }
        assert_none(&warnings("", "slack", ""), key);
    }

    #[test]
    fn unsigned_types_have_topics_only_where_they_are_named() {
        let key = "source.a.event_types";
        assert_one(
            &warnings("", "github", ""),
            key,
            &["covers the event type", "`other`"],
        );
        assert_none(&warnings("", "github", "event_types = [\"push\"]"), key);
        assert_none(&warnings("", "slack", ""), key);
        assert_none(&warnings("", "docker_hub", ""), key);
    }

    #[test]
    fn a_repeated_delivery_under_another_id_is_warned_of() {
        let key = "source.a.provider";
        let parts = ["`dropbox` covers a time or the id", "replay = \"body\""];
        assert_one(&warnings("", "dropbox", ""), key, &parts);
        for provider in ["github", "slack", "onecodex"] {
            assert_none(&warnings("", provider, ""), key);
        }
        let by_id = "[provider.b]\nextends = \"github\"\nsignature = { replay = \"id\" }";
        assert_one(&warnings(by_id, "b", ""), key, &["extend `b`"]);
    }
}
