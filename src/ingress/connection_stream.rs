//! The byte stream of a sender's connection, watched for what never becomes a request.
//!
//! A head that is malformed or too large is answered by the HTTP server itself, and the handler never
//! sees it; a sender may also hang up in the middle of one. All of that is seen here, where the
//! bytes pass, so that it is counted like every other refusal. Here are also the deadlines for heads,
//! each from its own first byte on: the server's own would begin with the connection, and take one
//! that was opened ahead of its first request for a slow sender's.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection_failure::ConnectionFailure;
use super::open_connection::OpenConnection;
use super::path::UNKNOWN_SOURCE;
use super::peer::Peer;
use super::transport::Transport;
use super::upgrade::UpgradeFilter;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has been sent since the last answer.
    Idle,
    /// Bytes have come, but no request yet.
    Head,
    /// The handler has a request.
    Request,
    /// The last answer has been given and counted; nothing more is read.
    Done,
}

/// What the handler tells the connection of a request.
#[derive(Debug)]
pub(super) struct RequestProgress {
    phase: Cell<Phase>,
    /// Whether there has been a request; from then on the server's own keep-alive holds between two.
    has_request: Cell<bool>,
}

impl RequestProgress {
    /// A request has reached the handler.
    pub fn reached(&self) {
        self.phase.set(Phase::Request);
        self.has_request.set(true);
    }

    /// It is answered, and another may follow on this connection, or not.
    pub fn answered(&self, another: bool) {
        self.phase
            .set(if another { Phase::Idle } else { Phase::Done });
    }
}

/// The timeouts of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionTimeouts {
    /// For a whole head, from its first byte on.
    pub head_timeout: Duration,
    /// For the first byte of all.
    pub keep_alive: Duration,
}

/// The connection.
pub(super) struct ConnectionStream {
    transport: Transport,
    peer: Peer,
    progress: Rc<RequestProgress>,
    timeouts: ConnectionTimeouts,
    /// When the first byte, or the rest of the head that has begun, is overdue.
    deadline: Instant,
    /// Wakes at the deadline; there is none until something has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    filter: UpgradeFilter,
    /// Whether line breaks have come since the last answer, and nothing else.
    has_line_breaks: bool,
    /// Whether the other side does not take what is written.
    is_blocked: bool,
    open: OpenConnection,
}

impl ConnectionStream {
    pub fn new(
        transport: Transport,
        peer: Peer,
        open: OpenConnection,
        timeouts: ConnectionTimeouts,
    ) -> Self {
        let progress = RequestProgress {
            phase: Cell::new(Phase::Idle),
            has_request: Cell::new(false),
        };
        Self {
            transport,
            peer,
            progress: Rc::new(progress),
            timeouts,
            deadline: Instant::now() + timeouts.keep_alive,
            timer: None,
            filter: UpgradeFilter::new(),
            has_line_breaks: false,
            is_blocked: false,
            open,
        }
    }

    /// The progress that the handler tells of.
    pub fn progress(&self) -> Rc<RequestProgress> {
        Rc::clone(&self.progress)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Bytes have come. The first ones, and those after an answer, begin a head, and its time.
    fn received(&mut self, bytes: &mut [u8]) {
        if self.progress.phase.get() == Phase::Idle {
            if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                // Behind a body some senders have one, which begins no head (RFC 9112, section 2.2).
                self.has_line_breaks = true;
                // The server waits for the rest of a head now, without a time of its own.
                self.deadline = Instant::now() + self.timeouts.keep_alive;
                self.timer = None;
                return;
            }
            self.progress.phase.set(Phase::Head);
            self.deadline = Instant::now() + self.timeouts.head_timeout;
            self.timer = None;
            // Line breaks may as well end a head that began while the last answer was waited for: then
            // this is a body, and its bytes are not to be touched.
            self.filter = if std::mem::take(&mut self.has_line_breaks) {
                UpgradeFilter::unseen()
            } else {
                UpgradeFilter::new()
            };
        }
        if self.progress.phase.get() == Phase::Head {
            self.filter.overwrite(bytes);
        }
    }

    /// Whether the first byte, or the rest of a head, is overdue.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let is_awaited = match self.progress.phase.get() {
            Phase::Idle => !self.progress.has_request.get() || self.has_line_breaks,
            Phase::Head => true,
            Phase::Request | Phase::Done => false,
        };
        let deadline = self.deadline;
        is_awaited
            && self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)))
                .as_mut()
                .poll(cx)
                .is_ready()
    }

    /// Gives the connection up. One that has not sent anything is closed without an answer, which is no
    /// failure; a head that does not end has its answer, if the other side takes it.
    fn give_up(&mut self, cx: &mut Context<'_>) {
        const ANSWER: &[u8] =
            b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        if self.progress.phase.replace(Phase::Done) == Phase::Idle {
            return;
        }
        ConnectionFailure::TooSlow.count(self.open.metrics());
        if !self.is_blocked
            && Pin::new(&mut self.transport)
                .poll_write(cx, ANSWER)
                .is_ready()
        {
            self.count_answer("408");
        }
    }

    /// Counts an answer that the handler has not given.
    fn count_answer(&self, code: &str) {
        self.open
            .metrics()
            .http_requests_total
            .with_label_values(&[UNKNOWN_SOURCE, code])
            .inc();
    }

    fn count(&self, failure: ConnectionFailure) {
        self.progress.phase.set(Phase::Done);
        failure.count(self.open.metrics());
    }
}

impl AsyncRead for ConnectionStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.transport).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.received(&mut buffer.filled_mut()[before..]);
        } else if read.is_pending() && this.is_overdue(cx) {
            this.give_up(cx);
            // As if the other side had ended: the server closes the connection in order.
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for ConnectionStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.progress.phase.get() != Phase::Done
            && let Some((failure, code)) = ConnectionFailure::in_answer(bytes)
        {
            this.count(failure);
            this.count_answer(code);
        }
        let written = Pin::new(&mut this.transport).poll_write(cx, bytes);
        this.is_blocked = written.is_pending();
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}

impl Drop for ConnectionStream {
    fn drop(&mut self) {
        if self.progress.phase.get() == Phase::Head {
            self.count(ConnectionFailure::Abandoned);
        }
    }
}
