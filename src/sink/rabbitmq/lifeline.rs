//! A second hold on a connection's socket. lapin runs each connection on a thread of its own, and
//! when a broker is frozen or has blocked us, closing politely waits for an answer that does not
//! come. Cutting the socket ends that thread at once, so a broker that hangs for an hour costs
//! nothing but the attempts.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

/// The owner's end: dropping it cuts the socket, now or as soon as there is one.
#[derive(Debug, Default)]
pub(super) struct Lifeline(Hold);

/// The connecting end.
#[derive(Debug, Default, Clone)]
pub(super) struct Hold(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    Held(TcpStream),
    Cut,
}

impl Lifeline {
    /// The end for whoever opens the socket.
    pub fn hold(&self) -> Hold {
        self.0.clone()
    }
}

impl Hold {
    /// Takes hold of a socket.
    ///
    /// # Errors
    /// When the owner has cut the line already, or the system has no file descriptor left.
    pub fn take(&self, socket: &impl AsFd) -> io::Result<()> {
        let second = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(*state, State::Cut) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *state = State::Held(second);
        Ok(())
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let mut state = self
            .0
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let State::Held(socket) = &*state {
            // A socket that is closed already cannot be shut down, and need not be.
            let _ = socket.shutdown(Shutdown::Both);
        }
        *state = State::Cut;
    }
}
