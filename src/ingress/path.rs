//! The path of a webhook endpoint: which source a request's path names, in whatever equivalent form, and
//! the secret behind it.

use std::borrow::Cow;

/// The label of requests that name no configured source.
pub(super) const UNKNOWN_SOURCE: &str = "unknown";
/// What stands before a source's name.
const BASE: &str = "/webhooks/";

/// What the path of a webhook names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebhookPath<'a> {
    /// The source.
    pub source: Cow<'a, str>,
    /// What stands behind its name, which may be a secret.
    pub secret: Option<Cow<'a, str>>,
}

/// Reads a path, which may be written in any way that RFC 3986 (section 6.2.2) calls equivalent: with
/// letters that need no percent-encoding encoded, or with dot segments. One trailing slash makes no
/// difference.
pub(super) fn read(path: &str) -> Option<WebhookPath<'_>> {
    let is_plain = !path.contains('%') && !path.contains("/.") && !path.ends_with('/');
    if is_plain {
        let (source, secret) = split(path.strip_prefix(BASE)?);
        return Some(WebhookPath {
            source: Cow::Borrowed(source),
            secret: secret.map(Cow::Borrowed),
        });
    }
    let path = without_dot_segments(&decoded(path)?);
    let name = path.strip_prefix(BASE)?;
    let (source, secret) = split(name.strip_suffix('/').unwrap_or(name));
    Some(WebhookPath {
        source: Cow::Owned(source.to_owned()),
        secret: secret.map(|secret| Cow::Owned(secret.to_owned())),
    })
}

fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('/') {
        Some((source, secret)) => (source, Some(secret)),
        None => (name, None),
    }
}

/// The path as it may be shown to people: without what follows a source's name, which may be a secret.
/// Of a path that is no webhook's only the first segment is left: it may be a webhook's with a mistake
/// in it, and the secret is right all the same.
pub(super) fn shown(path: &str) -> String {
    const HIDDEN: &str = "/[redacted]";
    if let Some(WebhookPath { source, secret }) = read(path) {
        let hidden = secret.map_or("", |_| HIDDEN);
        return format!("{BASE}{source}{hidden}");
    }
    let second_slash = path.match_indices('/').nth(1);
    second_slash.map_or_else(
        || path.to_owned(),
        |(at, _)| format!("{}{HIDDEN}", &path[..at]),
    )
}

/// The path with its unreserved characters (section 2.3) as they are; none where a `%` begins no
/// encoding. The others stay encoded: `%2F` is no slash.
#[must_use]
pub fn decoded(path: &str) -> Option<String> {
    let mut text = String::with_capacity(path.len());
    let mut parts = path.split('%');
    text.push_str(parts.next()?);
    for part in parts {
        let digits = part.get(..2)?;
        let mut octet = [0];
        hex::decode_to_slice(digits, &mut octet).ok()?;
        let letter = char::from(octet[0]);
        if letter.is_ascii_alphanumeric() || "-._~".contains(letter) {
            text.push(letter);
        } else {
            text.push('%');
            text.push_str(digits);
        }
        text.push_str(&part[2..]);
    }
    Some(text)
}

/// Section 5.2.4, for a path that begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_dots = segment == "." || segment == "..";
        if segment == ".." {
            kept.pop();
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            // A folder, as `/a/.` is.
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equivalent_leads_to_the_same_source() {
        for path in [
            "/webhooks/one-codex",
            "/webhooks/one-codex/",
            "/webhooks/one%2Dcodex",
            "/%77ebhooks/%6Fne-code%78/",
            "/webhooks/./one-codex",
            "/webhooks/other/../one-codex",
            "/./webhooks/%2e/one-codex",
            "/../webhooks/one-codex/.",
        ] {
            assert_eq!(named(path), Some(("one-codex".to_owned(), None)), "{path}");
        }
    }

    #[test]
    fn what_stands_behind_the_name_is_a_secret_in_every_equivalent_form() {
        for path in [
            "/webhooks/lab/s-e_c.r~t",
            "/webhooks/lab/s-e_c.r~t/",
            "/webhooks/lab/%73-e%5Fc%2er%7Et",
            "/webhooks/./other/../lab/s-e_c.r~t",
        ] {
            let expected = ("lab".to_owned(), Some("s-e_c.r~t".to_owned()));
            assert_eq!(named(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_is_another_path_does_not() {
        for path in [
            "/",
            "/webhooks",
            "//webhooks/one-codex",
            "/WEBHOOKS/one-codex",
            "/webhooks%2Fone-codex",
            "/webhooks/../one-codex",
            "/webhooks/%6",
            "/webhooks/%zz",
            "/webhooks/%\u{e9}",
            "*",
            "",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
        // These name sources that nothing can be called, or have something behind the name.
        for (path, source, secret) in [
            ("/webhooks/", "", None),
            ("/webhooks/one-codex//", "one-codex", Some("")),
            ("/webhooks//one-codex", "", Some("one-codex")),
            ("/webhooks/one%2fcodex", "one%2fcodex", None),
            ("/webhooks/one-codex/more", "one-codex", Some("more")),
            ("/webhooks/one-codex/a/b", "one-codex", Some("a/b")),
        ] {
            let expected = (source.to_owned(), secret.map(str::to_owned));
            assert_eq!(named(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_path_is_shown_without_what_may_be_a_secret() {
        for (path, expected) in [
            ("/webhooks/lab", "/webhooks/lab"),
            ("/webhooks/lab/", "/webhooks/lab"),
            ("/webhooks/lab/hush", "/webhooks/lab/[redacted]"),
            ("/webhooks/lab/hush/..", "/webhooks/lab"),
            ("/%77ebhooks/./lab/%68ush", "/webhooks/lab/[redacted]"),
            ("/webhooks/lab/100%hush", "/webhooks/[redacted]"),
            ("/hooks/lab/hush", "/hooks/[redacted]"),
            ("/lab/hush", "/lab/[redacted]"),
            ("//webhooks/lab/hush", "//[redacted]"),
            ("/webhooks", "/webhooks"),
            ("*", "*"),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }

    /// The source and the secret that a path names.
    fn named(path: &str) -> Option<(String, Option<String>)> {
        let WebhookPath { source, secret } = read(path)?;
        Some((source.into_owned(), secret.map(Cow::into_owned)))
    }
}
