//! The URL of a source's webhook, as its sender knows it.

use super::super::problem::ConfigProblems;
use super::super::section::join;
use crate::source::Provider;

/// Reads the key `url` of the source at `path`: needed where the URL is signed, and of no use where
/// not.
pub(super) fn read(
    path: &str,
    url: Option<&str>,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Option<String> {
    let key = join(path, "url");
    let is_signed = |provider: &&Provider| provider.signature.signs_url();
    let Some(url) = url else {
        if let Some(provider) = provider.filter(is_signed) {
            problems.add(
                key,
                format!("the key is missing, and `{}` signs the URL", provider.name),
                "write the webhook's URL as it stands at the sender, without its query, such as \"https://bridge.example.com/webhooks/NAME\"",
            );
        }
        return None;
    };
    if let Err((found, remedy)) = check(url) {
        problems.add(&key, found, remedy);
    }
    if let Some(provider) = provider.filter(|provider| !is_signed(provider)) {
        let found = format!(
            "`{}` does not sign the URL, so nothing asks for it",
            provider.name
        );
        problems.warn(key, found, "take the key out");
    }
    Some(url.to_owned())
}

/// What is wrong with it, and what to do. A bracket is refused too, although the host of a URL may have
/// some (RFC 3986, section 3.2.2): JSON begins with one, and a signed URL must end before the body.
fn check(url: &str) -> Result<(), (&'static str, &'static str)> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or((
            "it begins with neither https:// nor http://",
            "write all of the URL, such as \"https://bridge.example.com/webhooks/NAME\"",
        ))?;
    if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
        return Err(("there is no host in it", "write all of the URL"));
    }
    if rest.contains(['?', '#']) {
        return Err((
            "there is a query or a fragment in it",
            "leave it out: the query of each request is added, as it came",
        ));
    }
    let is_char = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/@!$&'()*+,;=%".contains(&b);
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !rest.bytes().all(is_char) || !rest.split('%').skip(1).all(is_escape) {
        return Err((
            "there is a character in it that no URL has (RFC 3986), or a bracket",
            "write such characters as %XX, as the sender does",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::built_in;

    fn said(provider: &str, url: Option<&str>) -> (String, String) {
        let provider = built_in(provider).expect("built in");
        let mut problems = ConfigProblems::default();
        read("source.a", url, Some(&provider), &mut problems);
        let wrong = problems.to_string();
        let doubts: Vec<String> = problems
            .into_warnings()
            .iter()
            .map(ToString::to_string)
            .collect();
        (wrong, doubts.join("\n"))
    }

    #[test]
    fn it_is_needed_where_it_is_signed_and_doubted_where_not() {
        let url = Some("https://hooks.example.com:8443/webhooks/shop%20a/");
        let nothing = (String::new(), String::new());
        assert_eq!(said("square", url), nothing);
        assert_eq!(said("stripe", None), nothing);
        let (wrong, _) = said("square", None);
        assert!(
            wrong.starts_with("source.a.url: the key is missing"),
            "{wrong}"
        );
        assert!(wrong.contains("`square` signs the URL"), "{wrong}");
        let (wrong, doubt) = said("stripe", url);
        assert_eq!(wrong, "");
        assert!(
            doubt.starts_with("source.a.url: `stripe` does not sign"),
            "{doubt}"
        );
    }

    #[test]
    fn what_is_no_url_of_a_webhook_is_named_with_a_remedy() {
        for (url, part) in [
            ("", "neither https:// nor http://"),
            ("hooks.example.com/a", "neither https:// nor http://"),
            ("ftp://hooks.example.com/a", "neither https:// nor http://"),
            ("https:///a", "no host"),
            ("http://?x", "no host"),
            (
                "https://a.example/b?c=d",
                "the query of each request is added",
            ),
            ("https://a.example/b#c", "fragment"),
            ("https://a.example/b c", "%XX"),
            ("https://a.example/é", "%XX"),
            ("https://a.example/%2", "%XX"),
            ("https://a.example/%zz", "%XX"),
            ("https://[::1]/b", "bracket"),
            ("https://a.example/{\"x\"", "%XX"),
        ] {
            let (wrong, _) = said("square", Some(url));
            assert!(wrong.starts_with("source.a.url: "), "{url}: {wrong}");
            assert!(
                wrong.contains(part) && wrong.lines().count() == 1,
                "{url}: {wrong}"
            );
        }
    }
}
