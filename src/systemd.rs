//! Notifications to the service manager, systemd: ready, reloading, stopping, and the watchdog's.
//!
//! The states, their form and the watchdog's variables are those of `sd-notify`. The socket is our own:
//! that crate knows no names of the abstract namespace, which containers are given, and would wait
//! without a limit for room in systemd's queue.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState::{self, Ready, Reloading, Status, Stopping, Watchdog};

/// How long one message may wait for room in systemd's queue.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The service manager that started the program, if it wants to be told.
#[derive(Debug)]
pub struct Systemd {
    socket: Option<NotifySocket>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// What the environment says: where to send to, and the watchdog's period.
    #[must_use]
    pub fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|address| {
            let socket = NotifySocket::to(&address);
            socket.inspect_err(|error| {
                tracing::warn!(?address, %error, "NOTIFY_SOCKET: systemd cannot be told anything there");
            })
            .ok()
        });
        let period = sd_notify::watchdog_enabled();
        Self {
            watchdog: period.filter(|period| socket.is_some() && !period.is_zero()),
            socket,
        }
    }

    /// How long systemd waits for a watchdog notification before it ends the program; none where it does
    /// not watch.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The program serves.
    pub fn ready(&self) {
        self.notify(&[Ready, Status("ready")]);
    }

    /// A reload has begun. The time is for `Type=notify-reload`, which tells by it whether this is
    /// the reload that was asked for.
    pub fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now().expect("Linux has a monotonic clock");
        self.notify(&[Reloading, now, Status("reading the configuration again")]);
    }

    /// The reload is over, well or not. A bad configuration is no state of the program: it goes on
    /// with the old one, and the status says so.
    pub fn reloaded(&self, taken_over: bool) {
        let status = if taken_over {
            "ready, with the new configuration"
        } else {
            "ready; the new configuration has mistakes, the old one stays: see the log"
        };
        self.notify(&[Ready, Status(status)]);
    }

    /// The program stops, because it was told to or because a part of it failed.
    pub fn stopping(&self) {
        self.notify(&[Stopping, Status("stopping: answering what is under way")]);
    }

    /// Tells the watchdog that the program works.
    pub fn notify_watchdog(&self) {
        self.notify(&[Watchdog]);
    }

    fn notify(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        if let Err(error) = socket.send(&lines.join("\n")) {
            tracing::warn!(%error, "systemd could not be told");
        }
    }
}

/// The datagram socket that `NOTIFY_SOCKET` names (sd_notify(3)).
#[derive(Debug)]
struct NotifySocket {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl NotifySocket {
    /// A path, or a name in the abstract namespace where it begins with an `@`.
    fn to(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(address),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "neither a path nor an abstract name",
            )),
        }?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, address })
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.socket
            .send_to_addr(message.as_bytes(), &self.address)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        let socket = |address: &str| NotifySocket::to(OsStr::new(address));
        let path = socket("/run/systemd/notify").expect("a path").address;
        assert!(path.as_pathname().is_some());
        let name = socket("@one").expect("a name").address;
        assert_eq!(name.as_abstract_name(), Some(b"one".as_slice()));
        let long = "/".repeat(200);
        for bad in ["", "notify", "vsock:2:1234", &long] {
            assert!(socket(bad).is_err(), "{bad}");
        }
    }
}
