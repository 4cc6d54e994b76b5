//! The CloudEvents `source` of a source's events, or of a provider's.

use super::problem::ConfigProblems;

/// CloudEvents 1.0: `source` is a URI reference and not empty. A consumer's library refuses an event
/// without one. `path` is the key's.
pub(super) fn check(path: &str, uri: Option<&str>, problems: &mut ConfigProblems) {
    let found = match uri {
        Some("") => "it is empty, and every CloudEvent has a source",
        Some(uri) if uri.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            "there is white space or a control character in it, which no URI has"
        }
        _ => return,
    };
    let remedy = "write a URI such as \"https://app.onecodex.com\", or leave the key out";
    problems.add(path, found, remedy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_not_empty_and_has_no_white_space() {
        let said = |uri: Option<&str>| {
            let mut problems = ConfigProblems::default();
            check("source.a.uri", uri, &mut problems);
            problems.to_string()
        };
        assert_eq!(said(None), "");
        assert_eq!(said(Some("urn:lab:1")), "");
        for uri in ["", " ", "https://lab /", "a\nb"] {
            assert!(said(Some(uri)).starts_with("source.a.uri: "), "{uri:?}");
        }
    }
}
