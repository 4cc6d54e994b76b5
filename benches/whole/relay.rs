//! A relay before a broker, which can stop passing bytes on: for whoever is connected through it the
//! broker then hangs, while it goes on for everybody else.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

/// The port of an AMQP URL that names none.
const PORT: u16 = 5672;
/// How often it looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

/// A running relay. When it is dropped, whatever it holds goes on.
#[derive(Debug)]
pub struct Relay {
    /// The URL of the broker through it.
    pub url: String,
    is_held: Arc<AtomicBool>,
}

impl Relay {
    /// A relay before the broker of this URL.
    pub fn before(url: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (broker, url) = through(url, listener.local_addr()?).context("no URL of a broker")?;
        let is_held = Arc::new(AtomicBool::new(false));
        let held = Arc::clone(&is_held);
        // It waits for connections until the process ends.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Where the broker is away, the connection ends, which says so.
                let _ = pass_on(connection, &broker, &held);
            }
        });
        Ok(Self { url, is_held })
    }

    /// From now on it passes nothing on.
    pub fn hold(&self) {
        self.is_held.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_held.store(false, Ordering::Relaxed);
    }
}

/// The broker's host and port, and the URL with those of the relay in their place.
fn through(url: &str, relay: SocketAddr) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let broker = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:{PORT}")
    };
    Some((broker, format!("{scheme}://{user}{relay}{path}")))
}

fn pass_on(near: TcpStream, broker: &str, is_held: &Arc<AtomicBool>) -> io::Result<()> {
    let far = TcpStream::connect(broker)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let is_held = Arc::clone(is_held);
        thread::spawn(move || copy(from, to, &is_held));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, is_held: &AtomicBool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while is_held.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // One end has hung up already; the other learns of it.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
