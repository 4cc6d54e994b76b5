//! The commands' HTTP client. Any status is an answer, not an error.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::{StatusCode, Uri};
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, BodyReader, Error, RequestBuilder};

use super::command_error::CommandError;
use crate::admin::{AdminToken, REQUEST_HEADER};
use crate::crypto;
use crate::threads;

/// The largest answer read: a page is bounded in bytes, but holds at least one event, whose body of
/// 64 MiB takes six times as much where JSON has to escape every byte.
const MAX_ANSWER_BYTES: u64 = 1 << 30;

/// How many addresses of a name are tried: so many the client has room for.
const MAX_ADDRESSES: usize = 16;

/// A client with a deadline for each request.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    agent: Agent,
    /// Shown with every request.
    token: Option<AdminToken>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpClient {
    /// A client for a bridge on this machine, whose requests may take this long: no proxy that the
    /// environment may name stands in between.
    pub(super) fn new(timeout: Duration) -> Self {
        let config = config(timeout).proxy(None).build();
        Self {
            agent: agent(config),
            token: None,
        }
    }

    /// The same, showing this token with every request.
    pub(super) fn to_operators(timeout: Duration, token: Option<AdminToken>) -> Self {
        Self {
            token,
            ..Self::new(timeout)
        }
    }

    /// A client for any address, through the proxy that the environment may name.
    pub(super) fn to_anywhere(timeout: Duration, tls: TlsConfig) -> Self {
        Self {
            agent: agent(config(timeout).tls_config(tls).build()),
            token: None,
        }
    }

    /// GET.
    pub(super) fn get(&self, url: &str) -> anyhow::Result<HttpResponse> {
        answer(self.authorized(self.agent.get(url)).call()).with_context(|| url.to_owned())
    }

    /// POST with a body.
    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<HttpResponse> {
        let request = headers
            .iter()
            .fold(self.agent.post(url), |request, (name, value)| {
                request.header(*name, *value)
            });
        answer(self.authorized(request).send(body)).with_context(|| url.to_owned())
    }

    /// POST without a body, to the operators' listener.
    pub(super) fn change(&self, url: &str) -> anyhow::Result<HttpResponse> {
        self.post(url, &[(REQUEST_HEADER, "1")], b"")
    }

    /// The same, for an answer that is read while it comes. One of another status than 200 fails with
    /// what was said.
    pub(super) fn change_and_follow(
        &self,
        url: &str,
    ) -> anyhow::Result<Result<BodyReader<'static>, CommandError>> {
        let request = self.agent.post(url).header(REQUEST_HEADER, "1");
        let answer = self.authorized(request).send_empty();
        let answer = answer.with_context(|| url.to_owned())?;
        if answer.status() == StatusCode::OK {
            return Ok(Ok(answer.into_body().into_reader()));
        }
        let said = HttpResponse::read(answer)?.message();
        Ok(Err(CommandError::Failed(anyhow!("{said}"))))
    }

    /// DELETE, at the operators' listener.
    pub(super) fn delete(&self, url: &str) -> anyhow::Result<HttpResponse> {
        let request = self.agent.delete(url).header(REQUEST_HEADER, "1");
        answer(self.authorized(request).call()).with_context(|| url.to_owned())
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", token.expose_as_header()),
            None => request,
        }
    }
}

/// Resolves an IP address and `localhost` without a thread: a health check must work where the bridge
/// has taken all the threads that there may be. Any other name is looked up on a thread of its own,
/// because the system's lookup keeps no deadline; ureq's own resolver panics where there can be none.
#[derive(Debug)]
struct Addresses;

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let addresses = match known(uri) {
            Some(addresses) => addresses,
            None => looked_up(uri, timeout)?,
        };
        let mut found = self.empty();
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            found.push(address);
        }
        if found.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(found)
    }
}

/// The addresses of a URL's host, where nobody has to be asked for them: `localhost` is always this
/// machine (RFC 6761, 6.3). What is said last of several that do not answer is said of the IPv4 one.
fn known(uri: &Uri) -> Option<Vec<SocketAddr>> {
    let host = uri.host()?;
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let default = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let port = uri.port_u16().unwrap_or(default);
    let addresses: Vec<IpAddr> = if host.eq_ignore_ascii_case("localhost") {
        vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
    } else {
        vec![host.parse().ok()?]
    };
    let with_port = |ip| SocketAddr::new(ip, port);
    Some(addresses.into_iter().map(with_port).collect())
}

/// What the system says of a URL's host, within the time that is left. A lookup that takes longer goes
/// on by itself.
fn looked_up(uri: &Uri, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    let (scheme, authority) = uri
        .scheme()
        .zip(uri.authority())
        .ok_or_else(|| Error::BadUri(uri.to_string()))?;
    let name = DefaultResolver::host_and_port(scheme, authority)
        .ok_or_else(|| Error::BadUri(uri.to_string()))?;
    let (tell, told) = mpsc::sync_channel(1);
    let look_up = move || {
        let found: io::Result<Vec<SocketAddr>> = name.to_socket_addrs().map(Iterator::collect);
        // Nobody waits any more where it took too long.
        let _ = tell.send(found);
    };
    threads::start("lookup", look_up).map_err(|error| {
        let host = authority.host();
        let text = format!(
            "{host} cannot be looked up, for which a thread is needed: {error}; or name an address"
        );
        Error::Io(io::Error::other(text))
    })?;
    match told.recv_timeout(*timeout.after) {
        Ok(found) => Ok(found?),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::Timeout(timeout.reason)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
    }
}

fn agent(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Addresses)
}

fn config(timeout: Duration) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections_per_host(64)
        .user_agent(concat!("hookferry/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(timeout))
        .tls_config(crypto::requests().build())
}

fn answer(
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<HttpResponse, ureq::Error> {
    HttpResponse::read(result?)
}

impl HttpResponse {
    fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Self, ureq::Error> {
        Ok(Self {
            status: response.status().as_u16(),
            body: response
                .body_mut()
                .with_config()
                .limit(MAX_ANSWER_BYTES)
                .read_to_vec()?,
        })
    }

    /// The body as the value it should be; any other status than 200 fails with what was said.
    pub(super) fn value<T: DeserializeOwned>(&self) -> Result<T, CommandError> {
        if self.status != 200 {
            return Err(CommandError::Failed(anyhow!("{}", self.message())));
        }
        let value = serde_json::from_slice(&self.body)
            .context("the answer is not the bridge's: does --admin name its admin listener?");
        value.map_err(CommandError::Failed)
    }

    /// What an answer that is not 200 says.
    pub(super) fn message(&self) -> String {
        let field = |name: &str| {
            let document: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
            Some(document.get(name)?.as_str()?.to_owned())
        };
        let text = || {
            let text = String::from_utf8_lossy(&self.body);
            text.trim().chars().take(200).collect()
        };
        field("detail")
            .or_else(|| field("reason"))
            .unwrap_or_else(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_this_machine_need_no_lookup() {
        let known = |url: &str| {
            let addresses = known(&url.parse().expect("a URL")).unwrap_or_default();
            addresses.iter().map(SocketAddr::to_string).collect()
        };
        let both = &["[::1]:8081", "127.0.0.1:8081"][..];
        for (url, expected) in [
            ("http://127.0.0.1:8081/livez", &["127.0.0.1:8081"][..]),
            ("http://[::1]:8081/livez", &["[::1]:8081"][..]),
            ("http://10.0.0.5/", &["10.0.0.5:80"][..]),
            ("https://10.0.0.5/", &["10.0.0.5:443"][..]),
            ("http://localhost:8081/", both),
            ("http://LocalHost:8081/", both),
            ("http://localhost.example:8081/", &[][..]),
            ("http://bridge.example:8081/", &[][..]),
        ] {
            let found: Vec<String> = known(url);
            assert_eq!(found, expected, "{url}");
        }
    }

    fn resolved(url: &str, after: Duration) -> Result<Vec<SocketAddr>, Error> {
        let timeout = NextTimeout {
            after: after.into(),
            ..NextTimeout::default()
        };
        let uri = url.parse().expect("a URL");
        let found = Addresses.resolve(&uri, &Config::default(), timeout)?;
        Ok(found.iter().copied().collect())
    }

    #[test]
    fn a_name_is_looked_up_within_its_time() {
        // An address to the system alone, which asks no name server for it.
        let found = resolved("http://0x7f.1:8081/", Duration::from_secs(30)).expect("known");
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 8081))]);
        let late = resolved("http://bridge.invalid:8081/", Duration::ZERO);
        assert!(
            matches!(late, Err(Error::Timeout(_) | Error::Io(_))),
            "{late:?}"
        );
    }
}
