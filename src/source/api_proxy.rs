//! The proxy on the way to providers' APIs, as the environment names it: `HTTPS_PROXY`, but for the hosts of
//! `NO_PROXY`. Both are also read in lower case.

use ureq::{Proxy, ProxyProtocol};

/// Why the proxy cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiProxyError {
    /// It is no URL of a proxy.
    #[error("HTTPS_PROXY is no URL of a proxy")]
    NoUrl,
    /// It speaks another protocol.
    #[error("HTTPS_PROXY names a proxy that does not speak HTTP")]
    NotHttp,
}

/// The proxy; none where the environment names none.
///
/// # Errors
/// When it names one that cannot be used.
pub fn of_environment() -> Result<Option<Proxy>, ApiProxyError> {
    let variable = |upper: &str| {
        let set = std::env::var(upper).or_else(|_| std::env::var(upper.to_lowercase()));
        set.ok().filter(|text| !text.is_empty())
    };
    let excepted = variable("NO_PROXY").unwrap_or_default();
    let proxy = variable("HTTPS_PROXY").map(|url| read(&url, &excepted));
    proxy.transpose()
}

fn read(url: &str, excepted: &str) -> Result<Proxy, ApiProxyError> {
    let proxy = Proxy::new(url).map_err(|_| ApiProxyError::NoUrl)?;
    let protocol = proxy.protocol();
    if !matches!(protocol, ProxyProtocol::Http | ProxyProtocol::Https) {
        return Err(ApiProxyError::NotHttp);
    }
    let mut built = Proxy::builder(protocol)
        .host(proxy.host())
        .port(proxy.port());
    if let Some(user) = proxy.username() {
        built = built.username(user);
    }
    if let Some(password) = proxy.password() {
        built = built.password(password);
    }
    for host in excepted
        .split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty())
    {
        built = built.no_proxy(host);
    }
    built.build().map_err(|_| ApiProxyError::NoUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_what_it_is_not_for() {
        let proxy = read(
            "http://user:p%40ss@proxy.example:3128",
            "a.example, .b.example",
        );
        let proxy = proxy.expect("a proxy");
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
        assert_eq!(
            (proxy.username(), proxy.password()),
            (Some("user"), Some("p@ss"))
        );
        for (url, is_for) in [
            ("https://a.example/", false),
            ("https://x.b.example/", false),
            ("https://c.example/", true),
        ] {
            let url = url.parse().expect("a URL");
            assert_eq!(proxy.is_no_proxy(&url), !is_for, "{url}");
        }
    }

    #[test]
    fn one_that_cannot_be_used_is_named() {
        assert_eq!(
            read("socks5://proxy.example", "").err(),
            Some(ApiProxyError::NotHttp)
        );
        assert_eq!(read("http://", "").err(), Some(ApiProxyError::NoUrl));
        assert_eq!(
            read("ftp://proxy.example", "").err(),
            Some(ApiProxyError::NoUrl)
        );
    }
}
