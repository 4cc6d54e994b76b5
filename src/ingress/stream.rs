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
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::caller::Caller;
use super::door::UNKNOWN;
use super::open::Open;
use super::unheard::Unheard;
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
    wire: Wire,
    caller: Caller,
    progress: Rc<Progress>,
    head_timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    open: Open,
}

impl Stream {
    pub fn new(wire: Wire, caller: Caller, open: Open, head_timeout: Duration) -> Self {
        let progress = Progress {
            phase: Cell::new(Phase::Quiet),
            later: Cell::new(false),
        };
        Self {
            wire,
            caller,
            progress: Rc::new(progress),
            head_timeout,
            deadline: None,
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
            this.open
                .metrics()
                .http_requests_total
                .with_label_values(&[UNKNOWN, code])
                .inc();
        }
        Pin::new(&mut this.wire).poll_write(cx, bytes)
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
