//! The commands' HTTP client. Any status is an answer, not an error.

use std::net::{IpAddr, SocketAddr};
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

/// The largest answer read: a page is bounded in bytes, but holds at least one event, whose body of
/// 64 MiB takes six times as much where JSON has to escape every byte.
const MAX_ANSWER_BYTES: u64 = 1 << 30;

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
            agent: Agent::with_parts(config, DefaultConnector::default(), Addresses::default()),
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
            agent: config(timeout).tls_config(tls).build().into(),
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

/// Resolves an IP address without a thread: a health check must work where the bridge has taken all the
/// threads that there may be.
#[derive(Debug, Default)]
struct Addresses(DefaultResolver);

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        match address(uri) {
            Some(address) => {
                let mut found = self.empty();
                found.push(address);
                Ok(found)
            }
            None => self.0.resolve(uri, config, timeout),
        }
    }
}

/// The address that a URL names, where it names one and no name.
fn address(uri: &Uri) -> Option<SocketAddr> {
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
    Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, port))
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
    fn an_address_needs_no_lookup() {
        let address = |url: &str| address(&url.parse().expect("a URL")).map(|it| it.to_string());
        for (url, expected) in [
            ("http://127.0.0.1:8081/livez", Some("127.0.0.1:8081")),
            ("http://[::1]:8081/livez", Some("[::1]:8081")),
            ("http://10.0.0.5/", Some("10.0.0.5:80")),
            ("https://10.0.0.5/", Some("10.0.0.5:443")),
            ("http://localhost:8081/", None),
        ] {
            assert_eq!(address(url).as_deref(), expected, "{url}");
        }
    }
}
