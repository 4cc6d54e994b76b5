//! Answers that come before the request has been read to its end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::web::Bytes;

/// The body of an answer that comes before the request's own has been read to its end.
///
/// It keeps hold of the rest of the request. Let go of it earlier, the server would read on to the
/// end of the chunks, so whoever never ends them could hold a connection for ever; like this the
/// server sees that the rest is unwanted, and hangs up.
pub struct Early {
    text: Option<Bytes>,
    _unread: Payload,
}

impl Early {
    /// An answer with this text; the rest of the request is what has not been read of it.
    #[must_use]
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
