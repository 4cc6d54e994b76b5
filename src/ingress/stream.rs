//! A sender's connection, watched for what never becomes a request.
//!
//! A head that is malformed, too large or too slow is answered by the HTTP server itself, and the
//! door never hears of it; a sender may also hang up in the middle of one. All of that is seen
//! here, where the bytes pass, so that it is counted like every other refusal. Here is also the
//! deadline for the heads of later requests: the server's own is for a connection's first head only.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::caller::Caller;
use super::door::UNKNOWN;
use crate::metrics::Metrics;

/// Why bytes did not become a request. The reasons are a closed set, because they are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// No HTTP, or HTTP that contradicts itself.
    Malformed,
    /// A head over the server's limit.
    TooLarge,
    /// A head that did not come in time.
    TooSlow,
    /// A sender that hung up in the middle of a head.
    Abandoned,
}

impl Unheard {
    /// Every reason, so that each has a series from the first scrape on.
    pub const ALL: [Self; 4] = [
        Self::Malformed,
        Self::TooLarge,
        Self::TooSlow,
        Self::Abandoned,
    ];

    /// The stable name of the reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "head_malformed",
            Self::TooLarge => "head_too_large",
            Self::TooSlow => "head_timeout",
            Self::Abandoned => "head_truncated",
        }
    }

    /// What an answer that the server gave by itself says, and the status it has.
    ///
    /// The server's answers have no body; the door's always have one, except to HEAD, which the
    /// door answers with none of these statuses.
    fn in_answer(bytes: &[u8]) -> Option<(Self, &str)> {
        const START: &[u8] = b"HTTP/1.1 ";
        if !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let last = bytes.windows(START.len()).rposition(|part| part == START)?;
        let code = bytes.get(last + START.len()..)?.get(..3)?;
        let unheard = match code {
            b"400" => Self::Malformed,
            b"408" => Self::TooSlow,
            b"431" => Self::TooLarge,
            _ => return None,
        };
        Some((unheard, std::str::from_utf8(code).ok()?))
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has been sent since the last answer.
    Quiet,
    /// Bytes have come, but no request yet.
    Head,
    /// The door has a request.
    Request,
    /// What had to be said has been said and counted; the rest does not matter.
    Over,
}

/// What the door tells the connection of a request.
#[derive(Debug)]
pub(super) struct Progress {
    phase: Cell<Phase>,
    /// Whether this is beyond the first request, whose head the server times itself.
    later: Cell<bool>,
}

impl Progress {
    /// A request has reached the door.
    pub fn reached(&self) {
        self.phase.set(Phase::Request);
        self.later.set(true);
    }

    /// It is answered, and another may follow on this connection, or not.
    pub fn answered(&self, another: bool) {
        self.phase
            .set(if another { Phase::Quiet } else { Phase::Over });
    }
}

/// The connection.
pub(super) struct Stream {
    socket: TcpStream,
    caller: Caller,
    progress: Rc<Progress>,
    head_timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    metrics: Arc<Metrics>,
}

impl Stream {
    pub fn new(
        socket: TcpStream,
        caller: Caller,
        head_timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.http_connections.inc();
        let progress = Progress {
            phase: Cell::new(Phase::Quiet),
            later: Cell::new(false),
        };
        Self {
            socket,
            caller,
            progress: Rc::new(progress),
            head_timeout,
            deadline: None,
            metrics,
        }
    }

    /// The progress that the door tells of.
    pub fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    /// Who is at the other end.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Bytes have come. After an answer they begin the next head, and its time.
    fn received(&mut self) {
        if self.progress.phase.get() == Phase::Quiet {
            self.progress.phase.set(Phase::Head);
            let timed = self.progress.later.get();
            self.deadline = timed.then(|| Box::pin(sleep(self.head_timeout)));
        }
    }

    /// Whether the head that has begun is overdue.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let reading = self.progress.phase.get() == Phase::Head;
        let deadline = self.deadline.as_mut().filter(|_| reading);
        deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }

    fn count(&self, unheard: Unheard) {
        self.progress.phase.set(Phase::Over);
        self.metrics
            .deliveries_rejected_total
            .with_label_values(&[UNKNOWN, unheard.reason()])
            .inc();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.received();
        } else if read.is_pending() && this.is_overdue(cx) {
            this.count(Unheard::TooSlow);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.progress.phase.get() != Phase::Over
            && let Some((unheard, code)) = Unheard::in_answer(bytes)
        {
            this.count(unheard);
            this.metrics
                .http_requests_total
                .with_label_values(&[UNKNOWN, code])
                .inc();
        }
        Pin::new(&mut this.socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.metrics.http_connections.dec();
        if self.progress.phase.get() == Phase::Head {
            self.count(Unheard::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_answers_are_taken_for_its_own() {
        let said = |text: &str| Unheard::in_answer(text.as_bytes()).map(|(unheard, _)| unheard);
        let bare = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(said(&bare("400 Bad Request")), Some(Unheard::Malformed));
        assert_eq!(said(&bare("408 Request Timeout")), Some(Unheard::TooSlow));
        assert_eq!(
            said(&bare("431 Request Header Fields Too Large")),
            Some(Unheard::TooLarge)
        );
        // The answer to the request before may share the write.
        let both = format!("HTTP/1.1 200 OK\r\n\r\n{{}}{}", bare("400 Bad Request"));
        assert_eq!(said(&both), Some(Unheard::Malformed));
        for text in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 4\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\n\r\n{\"reason\":\"signature_missing\"}",
        ] {
            assert_eq!(said(text), None, "{text:?}");
        }
    }
}
