//! HTTP as the commands speak it: a status is an answer, not an error.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;

use super::Failure;
use crate::crypto;

/// The largest answer read: a page is bounded in bytes, but holds at least one event, whose body of
/// 64 MiB takes six times as much where JSON has to escape every byte.
const MAX_ANSWER_BYTES: u64 = 1 << 30;

/// A client with a deadline for each request.
#[derive(Debug, Clone)]
pub(super) struct Http(Agent);

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client for a bridge on this machine, whose requests may take this long: no proxy that the
    /// environment may name stands in between.
    pub(super) fn new(timeout: Duration) -> Self {
        Self(config(timeout).proxy(None).build().into())
    }

    /// A client for strangers' addresses, which may go through such a proxy.
    pub(super) fn to_strangers(timeout: Duration, tls: TlsConfig) -> Self {
        Self(config(timeout).tls_config(tls).build().into())
    }

    /// GET.
    pub(super) fn get(&self, url: &str) -> anyhow::Result<Answer> {
        answer(self.0.get(url).call()).with_context(|| url.to_owned())
    }

    /// POST with a body.
    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let request = headers
            .iter()
            .fold(self.0.post(url), |request, (name, value)| {
                request.header(*name, *value)
            });
        answer(request.send(body)).with_context(|| url.to_owned())
    }

    /// DELETE.
    pub(super) fn delete(&self, url: &str) -> anyhow::Result<Answer> {
        answer(self.0.delete(url).call()).with_context(|| url.to_owned())
    }
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
) -> Result<Answer, ureq::Error> {
    let mut response = result?;
    Ok(Answer {
        status: response.status().as_u16(),
        body: response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()?,
    })
}

impl Answer {
    /// The body as the value it should be; any other status than 200 fails with what was said.
    pub(super) fn value<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.status != 200 {
            return Err(Failure::Failed(anyhow!("{}", self.said())));
        }
        let value = serde_json::from_slice(&self.body)
            .context("the answer is not the bridge's: does --admin name its admin listener?");
        value.map_err(Failure::Failed)
    }

    /// What an answer that is not 200 says.
    pub(super) fn said(&self) -> String {
        let field = |name: &str| {
            let document: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
            Some(document.get(name)?.as_str()?.to_owned())
        };
        let text = || {
            let text = String::from_utf8_lossy(&self.body);
            text.trim().chars().take(200).collect()
        };
        field("error")
            .or_else(|| field("detail"))
            .or_else(|| field("reason"))
            .unwrap_or_else(text)
    }
}
