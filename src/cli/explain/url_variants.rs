//! The URLs that a sender may have signed instead of the one that was given: a proxy, a redirect or
//! whoever entered it has changed it.

use percent_encoding::percent_decode_str;

use super::given_request::GivenRequest;
use super::variant::{Variant, combined};

/// Ports that a URL need not name.
const DEFAULT_PORTS: [(&str, &str); 2] = [("https://", ":443"), ("http://", ":80")];

/// The request at other URLs; none where none was given.
pub(super) fn url_variants(request: &GivenRequest) -> Vec<Variant<GivenRequest>> {
    let mut all = combined(
        request.clone(),
        &[&schemes, &ports, &slashes, &queries, &escapes],
        2,
    );
    all.remove(0);
    all
}

/// One edit of the URL, where it changes something.
fn edited(
    request: &GivenRequest,
    difference: &str,
    url: Option<String>,
) -> Option<Variant<GivenRequest>> {
    let mut edited = request.clone();
    edited.url = Some(url?);
    Some(Variant::of(difference, edited))
}

/// Where the host ends, and the host with its port.
fn authority(url: &str) -> Option<(usize, &str)> {
    let begin = url.find("://")? + 3;
    let length = url[begin..].find('/').unwrap_or(url.len() - begin);
    Some((begin + length, &url[begin..begin + length]))
}

fn schemes(request: &GivenRequest) -> Vec<Variant<GivenRequest>> {
    let url = request.url.as_deref().unwrap_or_default();
    let replaced = |from: &str, to: &str| {
        let rest = url.strip_prefix(from)?;
        let difference = format!("if the URL began with {to}");
        edited(request, &difference, Some(format!("{to}{rest}")))
    };
    let both = [
        replaced("http://", "https://"),
        replaced("https://", "http://"),
    ];
    both.into_iter().flatten().collect()
}

fn ports(request: &GivenRequest) -> Vec<Variant<GivenRequest>> {
    let url = request.url.as_deref().unwrap_or_default();
    let Some((end, authority)) = authority(url) else {
        return Vec::new();
    };
    let (before, path) = url.split_at(end);
    if let Some((host, _)) = authority.rsplit_once(':') {
        let begin = &before[..before.len() - authority.len()];
        let bare = format!("{begin}{host}{path}");
        let bare = edited(request, "if the URL had no port", Some(bare));
        return bare.into_iter().collect();
    }
    let default = DEFAULT_PORTS
        .iter()
        .find(|(scheme, _)| url.starts_with(scheme));
    let with_port = default.and_then(|(_, port)| {
        let difference = format!("if the URL had the port {port} in it");
        edited(request, &difference, Some(format!("{before}{port}{path}")))
    });
    with_port.into_iter().collect()
}

fn slashes(request: &GivenRequest) -> Vec<Variant<GivenRequest>> {
    let url = request.url.as_deref().unwrap_or_default();
    let found = match url.strip_suffix('/') {
        Some(rest) => edited(
            request,
            "if the URL's path had no slash at its end",
            Some(rest.into()),
        ),
        None if url.is_empty() => None,
        None => edited(
            request,
            "if the URL's path had a slash at its end",
            Some(format!("{url}/")),
        ),
    };
    found.into_iter().collect()
}

fn queries(request: &GivenRequest) -> Vec<Variant<GivenRequest>> {
    if request.query.is_none() {
        return Vec::new();
    }
    let mut without = request.clone();
    without.query = None;
    vec![Variant::of("if the URL had no query", without)]
}

/// The URL with its `%XX` decoded, as HubSpot signs some of them.
fn escapes(request: &GivenRequest) -> Vec<Variant<GivenRequest>> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut without = request.clone();
    without.url = request.url.as_deref().map(decoded);
    without.query = request.query.as_deref().map(decoded);
    let is_same = without.url == request.url && without.query == request.query;
    let difference = "if the URL's %XX were decoded";
    (!is_same)
        .then(|| Variant::of(difference, without))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(url: &str, query: Option<&str>) -> Vec<String> {
        let request = GivenRequest {
            url: Some(url.to_owned()),
            query: query.map(str::to_owned),
            ..GivenRequest::of_body(b"{}")
        };
        let variants = url_variants(&request).into_iter();
        let urls = variants.map(|it| {
            assert!(!it.differences.is_empty());
            let query = it.value.query.map(|query| format!("?{query}"));
            it.value.url.expect("given") + &query.unwrap_or_default()
        });
        urls.collect()
    }

    #[test]
    fn each_part_of_a_url_may_have_been_another() {
        let found = urls("https://a.example/hook", Some("b=%7Ec"));
        for url in [
            "http://a.example/hook?b=%7Ec",
            "https://a.example:443/hook?b=%7Ec",
            "https://a.example/hook/?b=%7Ec",
            "https://a.example/hook",
            "https://a.example/hook?b=~c",
            "http://a.example:80/hook?b=%7Ec",
            "http://a.example/hook",
        ] {
            assert!(
                found.iter().any(|it| it == url),
                "{url} is not in {found:?}"
            );
        }
    }

    #[test]
    fn what_is_there_may_have_been_missing() {
        let found = urls("http://a.example:80/", None);
        for url in [
            "http://a.example/",
            "http://a.example:80",
            "https://a.example/",
        ] {
            assert!(
                found.iter().any(|it| it == url),
                "{url} is not in {found:?}"
            );
        }
        assert!(
            urls("https://a.example", None)
                .iter()
                .all(|it| it != "https://a.example")
        );
    }
}
