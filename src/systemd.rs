//! What the program says to systemd: that it is ready, reloads, stops, and is alive. The protocol is
//! a datagram of lines to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); where nothing is
//! named, nothing is said.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long one message may wait for room in systemd's queue.
const SEND_DEADLINE: Duration = Duration::from_secs(1);

/// Whoever started the program, if it wants to be told.
#[derive(Debug)]
pub struct Systemd {
    line: Option<Line>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// What the environment says: where to send to, and how often a sign of life is expected.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = |name| std::env::var(name).ok();
        let line = std::env::var_os("NOTIFY_SOCKET").and_then(|address| {
            let line = Line::to(&address);
            line.inspect_err(|error| {
                tracing::warn!(?address, %error, "NOTIFY_SOCKET: systemd cannot be told anything there");
            })
            .ok()
        });
        let own = std::process::id();
        Self {
            watchdog: watchdog(text("WATCHDOG_USEC"), text("WATCHDOG_PID"), own)
                .filter(|_| line.is_some()),
            line,
        }
    }

    /// How long systemd waits for a sign of life before it ends the program; none where it does not
    /// watch.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The program does what it is there for.
    pub fn ready(&self) {
        self.say("READY=1\nSTATUS=ready");
    }

    /// A reload has begun. The time is for `Type=notify-reload`, which tells by it whether this is
    /// the reload that was asked for.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.say(&format!(
            "RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reading the configuration again"
        ));
    }

    /// The reload is over, well or not. A bad configuration is no state of the program: it goes on
    /// with the old one, and the status says so.
    pub fn reloaded(&self, taken_over: bool) {
        self.say(if taken_over {
            "READY=1\nSTATUS=ready, with the new configuration"
        } else {
            "READY=1\nSTATUS=ready; the new configuration has mistakes, the old one stays: see the log"
        });
    }

    /// The program stops, because it was told to or because a part of it failed.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping: answering what is under way");
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, message: &str) {
        let Some(line) = &self.line else { return };
        if let Err(error) = line.send(message) {
            tracing::warn!(%error, "systemd could not be told");
        }
    }
}

/// The way to systemd.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Line {
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
        socket.set_write_timeout(Some(SEND_DEADLINE))?;
        Ok(Self { socket, address })
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.socket
            .send_to_addr(message.as_bytes(), &self.address)
            .map(drop)
    }
}

/// The period, where it is given and meant for this process.
fn watchdog(period: Option<String>, process: Option<String>, own: u32) -> Option<Duration> {
    let meant = process.is_none_or(|process| process.parse() == Ok(own));
    let microseconds: u64 = period?.parse().ok()?;
    (meant && microseconds > 0).then(|| Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let of = |period: Option<&str>, process: Option<&str>| {
            watchdog(period.map(str::to_owned), process.map(str::to_owned), 7)
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(of(Some("1000000"), None), second);
        assert_eq!(of(Some("1000000"), Some("7")), second);
        for (period, process) in [
            (None, Some("7")),
            (Some("1000000"), Some("8")),
            (Some("1000000"), Some("")),
            (Some("0"), None),
            (Some("-1"), None),
            (Some("soon"), None),
        ] {
            assert_eq!(of(period, process), None, "{period:?} {process:?}");
        }
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        let line = |address: &str| Line::to(OsStr::new(address));
        let path = line("/run/systemd/notify").expect("a path").address;
        assert!(path.as_pathname().is_some());
        let name = line("@one").expect("a name").address;
        assert_eq!(name.as_abstract_name(), Some(b"one".as_slice()));
        let long = "/".repeat(200);
        for bad in ["", "notify", "vsock:2:1234", &long] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }
}
