//! A sender's connection, watched for what never becomes a request.
//!
//! A head that is malformed or too large is answered by the HTTP server itself, and the door never
//! hears of it; a sender may also hang up in the middle of one. All of that is seen here, where the
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

use super::caller::Caller;
use super::door::UNKNOWN;
use super::open::Open;
use super::unheard::Unheard;
use super::upgrade::Head;
use super::wire::Wire;

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
    /// Whether there has been a request; from then on the server's own keep-alive holds between two.
    has_request: Cell<bool>,
}

impl Progress {
    /// A request has reached the door.
    pub fn reached(&self) {
        self.phase.set(Phase::Request);
        self.has_request.set(true);
    }

    /// It is answered, and another may follow on this connection, or not.
    pub fn answered(&self, another: bool) {
        self.phase
            .set(if another { Phase::Quiet } else { Phase::Over });
    }
}

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// For a whole head, from its first byte on.
    pub head_timeout: Duration,
    /// For the first byte of all.
    pub keep_alive: Duration,
}

/// The connection.
pub(super) struct Stream {
    wire: Wire,
    caller: Caller,
    progress: Rc<Progress>,
    waits: Waits,
    /// When the first byte, or the rest of the head that has begun, is overdue.
    deadline: Instant,
    /// Wakes at the deadline; there is none until something has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    head: Head,
    /// Whether line breaks have come since the last answer, and nothing else.
    has_line_breaks: bool,
    /// Whether the other side does not take what is written.
    is_blocked: bool,
    open: Open,
}

impl Stream {
    pub fn new(wire: Wire, caller: Caller, open: Open, waits: Waits) -> Self {
        let progress = Progress {
            phase: Cell::new(Phase::Quiet),
            has_request: Cell::new(false),
        };
        Self {
            wire,
            caller,
            progress: Rc::new(progress),
            waits,
            deadline: Instant::now() + waits.keep_alive,
            timer: None,
            head: Head::new(),
            has_line_breaks: false,
            is_blocked: false,
            open,
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

    /// Bytes have come. The first ones, and those after an answer, begin a head, and its time.
    fn received(&mut self, bytes: &mut [u8]) {
        if self.progress.phase.get() == Phase::Quiet {
            if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                // Behind a body some senders have one, which begins no head (RFC 9112, section 2.2).
                self.has_line_breaks = true;
                // The server waits for the rest of a head now, without a time of its own.
                self.deadline = Instant::now() + self.waits.keep_alive;
                self.timer = None;
                return;
            }
            self.progress.phase.set(Phase::Head);
            self.deadline = Instant::now() + self.waits.head_timeout;
            self.timer = None;
            // Line breaks may as well end a head that began while the last answer was waited for: then
            // this is a body, and its bytes are not to be touched.
            self.head = if std::mem::take(&mut self.has_line_breaks) {
                Head::unseen()
            } else {
                Head::new()
            };
        }
        if self.progress.phase.get() == Phase::Head {
            self.head.overwrite(bytes);
        }
    }

    /// Whether the first byte, or the rest of a head, is overdue.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let is_awaited = match self.progress.phase.get() {
            Phase::Quiet => !self.progress.has_request.get() || self.has_line_breaks,
            Phase::Head => true,
            Phase::Request | Phase::Over => false,
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

    /// Gives the connection up. One that has not sent anything is closed without a word, which is no
    /// failure; a head that does not end has its answer, if the other side takes it.
    fn give_up(&mut self, cx: &mut Context<'_>) {
        const ANSWER: &[u8] =
            b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        if self.progress.phase.replace(Phase::Over) == Phase::Quiet {
            return;
        }
        Unheard::TooSlow.count(self.open.metrics());
        if !self.is_blocked && Pin::new(&mut self.wire).poll_write(cx, ANSWER).is_ready() {
            self.count_answer("408");
        }
    }

    /// Counts an answer that the door has not given.
    fn count_answer(&self, code: &str) {
        self.open
            .metrics()
            .http_requests_total
            .with_label_values(&[UNKNOWN, code])
            .inc();
    }

    fn count(&self, unheard: Unheard) {
        self.progress.phase.set(Phase::Over);
        unheard.count(self.open.metrics());
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
        let read = Pin::new(&mut this.wire).poll_read(cx, buffer);
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
            this.count_answer(code);
        }
        let written = Pin::new(&mut this.wire).poll_write(cx, bytes);
        this.is_blocked = written.is_pending();
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.progress.phase.get() == Phase::Head {
            self.count(Unheard::Abandoned);
        }
    }
}
