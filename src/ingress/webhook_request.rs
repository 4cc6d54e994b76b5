//! A webhook request while it is handled: what its head says, and the endpoint that it names.

use std::time::Instant;

use actix_web::dev;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};

use super::body;
use super::endpoint::SourceEndpoint;
use super::path::{self, UNKNOWN_SOURCE};
use super::peer::Peer;
use super::problem::RequestProblem;
use super::rules::HandlerRules;
use crate::pipeline::Pipeline;
use crate::source::{self, Claim};
use crate::trace::TraceContext;

/// A request that is being handled.
pub(super) struct WebhookRequest<'a> {
    pub head: &'a dev::RequestHead,
    pub peer: Peer,
    pub started: Instant,
    /// What held when it came.
    pub rules: &'a HandlerRules,
    /// The endpoint that its path names, if there is such a source.
    pub endpoint: Option<&'a SourceEndpoint>,
}

impl<'a> WebhookRequest<'a> {
    pub fn of(head: &'a dev::RequestHead, peer: Option<&Peer>, rules: &'a HandlerRules) -> Self {
        let name = path::source(head.uri.path());
        Self {
            head,
            peer: *peer.expect("every connection has its peer as its data"),
            started: Instant::now(),
            rules,
            endpoint: name.and_then(|name| rules.endpoints.get(name.as_ref())),
        }
    }

    /// Whether it is a health check, which delivers nothing.
    pub fn is_health_check(&self) -> bool {
        let is_read = matches!(self.head.method, Method::GET | Method::HEAD);
        is_read && self.rules.health_path.as_deref() == Some(self.head.uri.path())
    }

    /// What the head alone decides.
    pub fn check(
        &self,
        pipeline: &Pipeline,
    ) -> Result<(&'a SourceEndpoint, Claim<'a>), RequestProblem> {
        let endpoint = self.endpoint.ok_or(RequestProblem::UnknownSource)?;
        if self.head.method != Method::POST {
            return Err(RequestProblem::MethodNotAllowed);
        }
        body::check_headers(self.head, self.rules.limits.max_body_bytes)?;
        pipeline.open()?;
        let claim = endpoint.source().read_signature(self)?;
        Ok((endpoint, claim))
    }

    /// Under which label it is counted.
    pub fn label(&self) -> &str {
        self.endpoint
            .map_or(UNKNOWN_SOURCE, |endpoint| endpoint.source().name.as_str())
    }

    /// The content type, which travels with the event; one that is too long for AMQP's short string, or
    /// is not visible ASCII, does not.
    pub fn content_type(&self) -> Option<String> {
        let value = self.head.headers().get(header::CONTENT_TYPE)?;
        let value = value.to_str().ok()?;
        (value.len() <= usize::from(u8::MAX)).then(|| value.to_owned())
    }

    /// The trace that the request says it belongs to.
    pub fn trace_context(&self) -> Option<TraceContext> {
        let mut parents = self.head.headers().get_all("traceparent");
        // Two of them contradict each other.
        let (parent, None) = (parents.next()?, parents.next()) else {
            return None;
        };
        let states = self.head.headers().get_all("tracestate");
        TraceContext::received(
            parent.to_str().ok(),
            states.filter_map(|value| value.to_str().ok()),
        )
    }
}

impl source::RequestHead for WebhookRequest<'_> {
    fn header(&self, name: &str) -> source::HeaderValue<'_> {
        let values = self.head.headers().get_all(name);
        source::HeaderValue::of(values.map(HeaderValue::as_bytes))
    }

    fn method(&self) -> &str {
        self.head.method.as_str()
    }

    fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }

    fn path_secret(&self) -> Option<&str> {
        None
    }
}
