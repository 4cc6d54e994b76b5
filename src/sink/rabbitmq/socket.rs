//! A second handle on a connection's socket, to close it. lapin runs each connection on a thread of
//! its own, and when a broker is frozen or has blocked us, closing politely waits for an answer that
//! does not come. Shutting the socket down ends that thread at once.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The owner's end: dropping it shuts the socket down, now or as soon as there is one.
#[derive(Debug, Default)]
pub(super) struct SocketGuard(SocketSlot);

/// The connecting end: where the socket is put once it is open.
#[derive(Debug, Default, Clone)]
pub(super) struct SocketSlot(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unopened,
    Open(TcpStream),
    Closed,
}

impl SocketGuard {
    /// The end for whoever opens the socket.
    pub fn slot(&self) -> SocketSlot {
        self.0.clone()
    }
}

impl SocketSlot {
    /// Keeps a handle on a socket.
    ///
    /// # Errors
    /// When the guard is gone already, or the system has no file descriptor left.
    pub fn put(&self, socket: &impl AsFd) -> io::Result<()> {
        let second = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *state = State::Open(second);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let State::Open(socket) = &*state {
            // A socket that is closed already cannot be shut down, and need not be.
            let _ = socket.shutdown(Shutdown::Both);
        }
        *state = State::Closed;
    }
}
