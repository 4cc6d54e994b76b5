//! A webhook request while it is handled: what its head says, and the endpoint that it names.

use std::borrow::Cow;
use std::time::Instant;

use actix_web::dev;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};

use super::allowed_methods::AllowedMethods;
use super::body;
use super::endpoint::SourceEndpoint;
use super::path::{self, UNKNOWN_SOURCE};
use super::peer::Peer;
use super::problem::RequestProblem;
use super::rules::{HandlerRules, RequestLimits};
use crate::pipeline::Pipeline;
use crate::source::{self, Claim, HandshakeReply, Scheme};
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
    /// What stands behind the source's name in its path.
    secret: Option<Cow<'a, str>>,
}

impl<'a> WebhookRequest<'a> {
    pub fn of(head: &'a dev::RequestHead, peer: Option<&Peer>, rules: &'a HandlerRules) -> Self {
        let named = path::read(head.uri.path());
        let endpoint = named.as_ref().and_then(|named| {
            let endpoint = rules.endpoints.get(named.source.as_ref())?;
            let takes_secret = endpoint.source().provider.signature.scheme() == Scheme::Url;
            (named.secret.is_none() || takes_secret).then_some(endpoint)
        });
        Self {
            head,
            peer: *peer.expect("every connection has its peer as its data"),
            started: Instant::now(),
            rules,
            endpoint,
            secret: named.and_then(|named| named.secret),
        }
    }

    /// Whether it is a health check, which delivers nothing.
    pub fn is_health_check(&self) -> bool {
        let is_read = matches!(self.head.method, Method::GET | Method::HEAD);
        is_read && self.rules.health_path.as_deref() == Some(self.head.uri.path())
    }

    /// The limits of its body: the source may have one of its own.
    pub fn limits(&self) -> RequestLimits {
        let limits = self.rules.limits;
        let own = self.endpoint.and_then(|it| it.settings().max_body_bytes);
        RequestLimits {
            max_body_bytes: own.unwrap_or(limits.max_body_bytes),
            ..limits
        }
    }

    /// The answer to a handshake that the head alone decides; none where the request is no handshake.
    ///
    /// One by another method than POST whose conditions do not hold is answered 403, not 405: the
    /// source takes the method, but not from this one.
    pub fn handshake(&self) -> Result<Option<HandshakeReply>, RequestProblem> {
        let method = self.head.method.as_str();
        let endpoint = self
            .endpoint
            .filter(|it| it.source().has_unsigned_handshake(method));
        let Some(endpoint) = endpoint else {
            return Ok(None);
        };
        match endpoint.source().unsigned_handshake(self) {
            Some(reply) => Ok(Some(reply?)),
            None if self.head.method == Method::POST => Ok(None),
            None => Err(RequestProblem::HandshakeMismatch),
        }
    }

    /// What the head of a delivery alone decides.
    pub fn check(
        &self,
        pipeline: &Pipeline,
    ) -> Result<(&'a SourceEndpoint, Claim<'a>), RequestProblem> {
        let endpoint = self.endpoint.ok_or(RequestProblem::UnknownSource)?;
        if self.head.method != Method::POST {
            let allowed = AllowedMethods::of(&endpoint.source().provider.handshakes);
            return Err(RequestProblem::MethodNotAllowed(allowed));
        }
        body::check_headers(self.head, self.limits().max_body_bytes)?;
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
        self.secret.as_deref().filter(|secret| !secret.is_empty())
    }
}
