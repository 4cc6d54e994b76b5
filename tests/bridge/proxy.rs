//! A TCP forwarder between a sink and its broker that can be cut, frozen, made mute and made slow.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Cut,
    Frozen,
    /// What the client sends arrives, and nothing comes back.
    Mute,
    /// The client's bytes take their time, so many a second.
    Slow(usize),
}

/// The way a byte goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// A slow connection forwards this often in a second.
const TICKS: usize = 20;

/// Forwards every connection to one upstream; dropping it cuts them all.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// A forwarder on a free port of the loopback.
    pub async fn start(upstream: String) -> Self {
        Self::start_at("127.0.0.1:0", upstream).await
    }

    /// A forwarder that listens at a given address.
    pub async fn start_at(listen: &str, upstream: String) -> Self {
        let listener = TcpListener::bind(listen).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (mode, receiver) = watch::channel(Mode::Open);
        Self {
            address,
            mode,
            acceptor: tokio::spawn(accept(listener, upstream, receiver)),
        }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and each new one as soon as it is made.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Keeps every connection open and lets no byte through; new ones too.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    /// Keeps back everything that the upstream says: a connection that is half open.
    pub fn mute(&self) {
        self.mode.send_replace(Mode::Mute);
    }

    /// Forwards so many bytes a second on each connection, and no more.
    pub fn slow(&self, bytes_per_second: usize) {
        self.mode.send_replace(Mode::Slow(bytes_per_second));
    }

    /// Forwards again, the bytes held back included.
    pub fn restore(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, upstream: String, mode: watch::Receiver<Mode>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        tokio::spawn(forward(client, upstream.clone(), mode.clone()));
    }
}

async fn forward(client: TcpStream, upstream: String, mut mode: watch::Receiver<Mode>) {
    if !opened(&mut mode, Way::There).await {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = pump(client_read, server_write, mode.clone(), Way::There) => {}
        () = pump(server_read, client_write, mode.clone(), Way::Back) => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    way: Way,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let slow = match (way, *mode.borrow()) {
            (Way::There, Mode::Slow(bytes_per_second)) => Some(bytes_per_second / TICKS),
            _ => None,
        };
        let most = slow.unwrap_or(buffer.len());
        let Ok(count @ 1..) = from.read(&mut buffer[..most]).await else {
            return;
        };
        if slow.is_some() {
            tokio::time::sleep(Duration::from_secs(1) / TICKS as u32).await;
        }
        if !opened(&mut mode, way).await || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits while nothing may pass; answers whether the way is open then.
async fn opened(mode: &mut watch::Receiver<Mode>, way: Way) -> bool {
    let shut = |mode: &Mode| match mode {
        Mode::Frozen => true,
        Mode::Mute => way == Way::Back,
        Mode::Open | Mode::Cut | Mode::Slow(_) => false,
    };
    mode.wait_for(|mode| !shut(mode))
        .await
        .is_ok_and(|mode| *mode != Mode::Cut)
}
