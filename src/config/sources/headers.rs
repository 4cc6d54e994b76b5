//! The headers of a request that its message carries besides.

use super::super::problem::ConfigProblems;
use super::super::section::join;
use crate::source::{Provider, is_header_name};

/// More of them are not copied: a message's headers count for its size, and somebody reads them.
const MAX_HEADERS: usize = 16;
/// Headers that the bridge writes into each message itself.
const WRITTEN: [&str; 3] = ["content-type", "traceparent", "tracestate"];
/// What the names of others that it writes begin with.
const WRITTEN_PREFIXES: [&str; 4] = ["ce-", "ce_", "cloudevents", "hookferry-"];
/// Headers that hold secrets, which no consumer should have.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Reads the key `headers` of the source at `path`: names, in lower case.
pub(super) fn read(
    path: &str,
    named: &[String],
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Vec<String> {
    let key = join(path, "headers");
    if named.len() > MAX_HEADERS {
        let found = format!("there are {} headers", named.len());
        problems.add(&key, found, format!("name at most {MAX_HEADERS}"));
    }
    let mut names: Vec<String> = Vec::new();
    for (index, name) in named.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        let refusal = refusal(&name, provider).or_else(|| {
            let is_known = names.contains(&name);
            is_known.then(|| ("it is named twice".to_owned(), "take one of the two out"))
        });
        match refusal {
            Some((found, remedy)) => problems.add(format!("{key}[{index}]"), found, remedy),
            None => names.push(name),
        }
    }
    names
}

/// Why no message may carry the header, and what to do.
fn refusal(name: &str, provider: Option<&Provider>) -> Option<(String, &'static str)> {
    let is_written = WRITTEN.contains(&name)
        || WRITTEN_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
    let proves = |provider: &&Provider| provider.signature.headers.iter().any(|it| it == name);
    if !is_header_name(name) {
        let found = format!("{name:?} is no name of a header");
        return Some((found, "correct the name"));
    }
    if is_written {
        let found = format!("the bridge writes `{name}`, or headers of such a name, itself");
        return Some((found, "take it out"));
    }
    if SECRET.contains(&name) {
        let found = format!("`{name}` holds a secret, and every consumer would have it");
        return Some((found, "take it out"));
    }
    let provider = provider.filter(proves)?;
    if provider.signature.scheme().signs() {
        let found = format!("`{name}` is the signature of `{}`", provider.name);
        return Some((
            found,
            "take it out: the message carries it as hookferry-signature",
        ));
    }
    let found = format!("`{name}` holds the secret of `{}`", provider.name);
    Some((found, "take it out: every consumer would have it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::built_in;

    fn read(provider: &str, named: &[&str]) -> (Vec<String>, Vec<String>) {
        let provider = built_in(provider).expect("built in");
        let named: Vec<String> = named.iter().map(ToString::to_string).collect();
        let mut problems = ConfigProblems::default();
        let names = super::read("source.a", &named, Some(&provider), &mut problems);
        (names, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_are_read_in_lower_case() {
        let (names, said) = read("github", &["X-GitHub-Hook-Id", "user-agent"]);
        assert_eq!(said, [""; 0]);
        assert_eq!(names, ["x-github-hook-id", "user-agent"]);
    }

    #[test]
    fn what_the_bridge_writes_or_nobody_should_have_is_refused() {
        for (name, part) in [
            ("", "no name"),
            ("x y", "no name"),
            ("x:y", "no name"),
            ("Content-Type", "itself"),
            ("traceparent", "itself"),
            ("tracestate", "itself"),
            ("ce-id", "itself"),
            ("ce_id", "itself"),
            ("cloudEvents_id", "itself"),
            ("Hookferry-Url", "itself"),
            ("authorization", "secret"),
            ("Cookie", "secret"),
            ("proxy-authorization", "secret"),
            ("x-hub-signature-256", "hookferry-signature"),
            ("user-agent", "named twice"),
        ] {
            let (names, said) = read("github", &["user-agent", name]);
            assert_eq!(names, ["user-agent"], "{name}");
            assert_eq!(said.len(), 1, "{name}: {said:?}");
            assert!(said[0].starts_with("source.a.headers[1]: "), "{said:?}");
            assert!(said[0].contains(part), "{part} is not in {said:?}");
        }
        let (_, said) = read("gitlab_token", &["x-gitlab-token"]);
        assert!(
            said[0].contains("holds the secret of `gitlab_token`"),
            "{said:?}"
        );
    }

    #[test]
    fn there_are_not_too_many() {
        let names: Vec<String> = (0..17).map(|at| format!("x-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(read("github", &names[..16]).1, [""; 0]);
        let (_, said) = read("github", &names);
        assert_eq!(
            said,
            ["source.a.headers: there are 17 headers; name at most 16"]
        );
    }
}
