//! The errors that a webhook request is answered with, and the status of each. Nowhere else is one
//! chosen.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::Bytes;
use serde::Serialize;

use super::allowed_methods::AllowedMethods;
use super::rate_limit::RateLimitExceeded;
use super::request_id::RequestId;
use crate::pipeline::Refusal;
use crate::seeded::{self, Bug};
use crate::source::{HandshakeRefused, Rejection};
use crate::spool::SpoolUnavailable;

/// Why a request is not answered 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestProblem {
    /// No such path, or no such source.
    #[error("there is no such webhook")]
    UnknownSource,
    /// A method that the source does not take.
    #[error("webhooks are received by POST")]
    MethodNotAllowed(AllowedMethods),
    /// A request that is a handshake by its method alone.
    #[error("the handshake does not say what this webhook asks for")]
    HandshakeMismatch,
    /// A handshake that wants something back that is not given.
    #[error("the handshake cannot be answered")]
    HandshakeRefused,
    /// A `Content-Encoding`: decoding would change the bytes that were signed.
    #[error("a content encoding is not supported")]
    ContentEncoding,
    /// A body over the limit.
    #[error("the body is too large")]
    BodyTooLarge,
    /// A body that did not come in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// A body that ended early or was framed wrongly.
    #[error("the body ended early")]
    BodyTruncated,
    /// A client that may not send anything.
    #[error("deliveries are not taken from this address")]
    AddressNotAllowed,
    /// More requests than an address may send.
    #[error("too many requests from this address")]
    AddressRateLimited(RateLimitExceeded),
    /// More deliveries than the source may send.
    #[error("too many deliveries")]
    RateLimited(RateLimitExceeded),
    /// As many requests as may be answered at once, or as many bytes of their bodies.
    #[error("too many requests at once")]
    Overloaded,
    /// The delivery is not proven.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The delivery is not proven, and the source asks its sender to repeat such ones: its secret may
    /// be about to change.
    #[error("{}", Rejection::SignatureMismatch)]
    RetriedMismatch,
    /// The delivery cannot be kept now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A bug.
    #[error("internal error")]
    Internal,
}

impl From<HandshakeRefused> for RequestProblem {
    fn from(_: HandshakeRefused) -> Self {
        Self::HandshakeRefused
    }
}

/// The answer's body (RFC 9457), and no more than this: details are for the operator.
#[derive(Serialize)]
struct Document<'a> {
    title: String,
    status: u16,
    reason: &'a str,
    request_id: &'a str,
}

impl RequestProblem {
    /// The reasons of rejections that HTTP itself gives; [`Rejection`] has the others.
    pub const REJECTIONS: [Self; 10] = [
        Self::UnknownSource,
        Self::MethodNotAllowed(AllowedMethods::POST),
        Self::ContentEncoding,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::BodyTruncated,
        Self::AddressNotAllowed,
        Self::AddressRateLimited(RateLimitExceeded::LEAST),
        Self::RateLimited(RateLimitExceeded::LEAST),
        Self::Internal,
    ];

    /// Those of requests that name no source.
    pub const OF_NO_SOURCE: [Self; 3] = [
        Self::UnknownSource,
        Self::AddressNotAllowed,
        Self::AddressRateLimited(RateLimitExceeded::LEAST),
    ];

    /// The stable name of the reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::HandshakeMismatch => "handshake_mismatch",
            Self::HandshakeRefused => "handshake_refused",
            Self::ContentEncoding => "content_encoding",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTruncated => "body_truncated",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::AddressRateLimited(_) => "address_rate_limited",
            Self::RateLimited(_) => "rate_limited",
            Self::Overloaded => Refusal::Spool(SpoolUnavailable::Overloaded).reason(),
            Self::Rejected(rejection) => rejection.reason(),
            Self::RetriedMismatch => Rejection::SignatureMismatch.reason(),
            Self::Refused(refusal) => refusal.reason(),
            Self::Internal => "internal",
        }
    }

    /// Whether it is counted as a refusal, for which the sender is not to blame, and not as a
    /// rejection.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::Refused(_) | Self::Overloaded)
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::UnknownSource => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTruncated | Self::HandshakeRefused => StatusCode::BAD_REQUEST,
            Self::AddressNotAllowed | Self::HandshakeMismatch => StatusCode::FORBIDDEN,
            Self::AddressRateLimited(_) | Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Rejected(
                Rejection::SignatureMissing
                | Rejection::SignatureRepeated
                | Rejection::SignatureTooLong
                | Rejection::SignatureMalformed
                | Rejection::SignedHeaderMissing
                | Rejection::TimestampMalformed,
            ) => StatusCode::BAD_REQUEST,
            Self::Rejected(_) => StatusCode::UNAUTHORIZED,
            Self::Refused(_) if seeded::is(Bug::BlameSender) => StatusCode::BAD_REQUEST,
            Self::Refused(_) | Self::Overloaded | Self::RetriedMismatch => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// How long the sender should wait, in seconds, where waiting helps.
    fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::Refused(_) => Some(5),
            // Somebody has to change the secret.
            Self::RetriedMismatch => Some(60),
            // Others end all the time.
            Self::Overloaded => Some(1),
            Self::AddressRateLimited(wait) | Self::RateLimited(wait) => {
                Some(wait.retry_after_seconds)
            }
            _ => None,
        }
    }

    /// The answer. It ends the connection: whoever has proven nothing must not get as far as a second
    /// request on it.
    pub(super) fn response(self, unread: Payload, request_id: &RequestId) -> HttpResponse {
        let status = self.status();
        let mut response = HttpResponse::build(status);
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds() {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Self::MethodNotAllowed(allowed) = self {
            response.insert_header((header::ALLOW, allowed.to_string()));
        }
        response.force_close();
        let document = Document {
            title: self.to_string(),
            status: status.as_u16(),
            reason: self.reason(),
            request_id: request_id.as_str(),
        };
        let text = serde_json::to_string(&document)
            .expect("a struct of strings and a number is always JSON");
        response.body(EarlyBody::new(text, unread))
    }
}

/// The body of an answer that comes before the request's own has been read to its end.
///
/// It keeps hold of the rest of the request. Let go of it earlier, the server would read on to the
/// end of the chunks, so whoever never ends them could hold a connection for ever; like this the
/// server sees that the rest is unwanted, and hangs up.
pub struct EarlyBody {
    text: Option<Bytes>,
    _unread: Payload,
}

impl EarlyBody {
    /// An answer with this text; the rest of the request is what has not been read of it.
    #[must_use]
    pub fn new(text: String, unread: Payload) -> Self {
        Self {
            text: Some(text.into()),
            _unread: unread,
        }
    }
}

impl MessageBody for EarlyBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.text.take().map(Ok))
    }
}
