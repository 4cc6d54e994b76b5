//! Reads the body once, within its limit and its deadline.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::web::{Bytes, Payload};
use futures_util::StreamExt as _;

use super::problem::Problem;

/// What the headers promise about the body, before any of it is read.
pub(super) fn check_headers(request: &HttpRequest, max_bytes: usize) -> Result<(), Problem> {
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::ContentEncoding);
    }
    // The server has refused a length that is no number.
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > max_bytes as u64 => Err(Problem::BodyTooLarge),
        _ => Ok(()),
    }
}

/// The whole body, in memory of its own size: a chunk would keep the connection's whole buffer alive.
pub(super) async fn read(
    payload: &mut Payload,
    max_bytes: usize,
    deadline: Duration,
) -> Result<Bytes, Problem> {
    tokio::time::timeout(deadline, collect(payload, max_bytes))
        .await
        .map_err(|_| Problem::BodyTimeout)?
}

async fn collect(payload: &mut Payload, max_bytes: usize) -> Result<Bytes, Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::BodyTruncated)?;
        if body.len() + chunk.len() > max_bytes {
            return Err(Problem::BodyTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(body))
}

/// The body of an answer that comes before the request's own has been read to its end.
///
/// It keeps hold of the rest of the request. Let go of it earlier, the server would read on to the
/// end of the chunks, so whoever never ends them could hold a connection for ever; like this the
/// server sees that the rest is unwanted, and hangs up.
pub(super) struct Early {
    text: Option<Bytes>,
    _unread: Payload,
}

impl Early {
    pub fn new(text: String, unread: Payload) -> Self {
        Self {
            text: Some(text.into()),
            _unread: unread,
        }
    }
}

impl MessageBody for Early {
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
