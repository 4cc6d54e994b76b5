//! The path of a webhook endpoint: which source a request's path names, in whatever equivalent form.

use std::borrow::Cow;

/// The label of requests that name no configured source.
pub(super) const UNKNOWN_SOURCE: &str = "unknown";
/// What stands before a source's name.
const BASE: &str = "/webhooks/";

/// The name in a path, which may be written in any way that RFC 3986 (section 6.2.2) calls equivalent:
/// with letters that need no percent-encoding encoded, or with dot segments. One trailing slash makes
/// no difference.
pub(super) fn source(path: &str) -> Option<Cow<'_, str>> {
    let is_plain = !path.contains('%') && !path.contains("/.") && !path.ends_with('/');
    if is_plain {
        return path.strip_prefix(BASE).map(Cow::Borrowed);
    }
    let path = without_dot_segments(&decoded(path)?);
    let name = path.strip_prefix(BASE)?;
    Some(Cow::Owned(
        name.strip_suffix('/').unwrap_or(name).to_owned(),
    ))
}

/// The path with its unreserved characters (section 2.3) as they are; none where a `%` begins no
/// encoding. The others stay encoded: `%2F` is no slash.
fn decoded(path: &str) -> Option<String> {
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
            assert_eq!(source(path).as_deref(), Some("one-codex"), "{path}");
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
            let found = source(path);
            assert!(
                found.is_none() || found.as_deref() == Some(""),
                "{path}: {found:?}"
            );
        }
        // These name sources that nothing can be called.
        for (path, name) in [
            ("/webhooks/one-codex//", "one-codex/"),
            ("/webhooks//one-codex", "/one-codex"),
            ("/webhooks/one%2fcodex", "one%2fcodex"),
            ("/webhooks/one-codex/more", "one-codex/more"),
        ] {
            assert_eq!(source(path).as_deref(), Some(name));
        }
    }
}
