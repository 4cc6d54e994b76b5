//! A TCP forwarder between a sink and its broker that can be cut, frozen and slowed down.

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
    /// So many bytes a second, each way of each connection.
    Slow(usize),
    Cut,
    Frozen,
}

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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
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

    /// Lets only so many bytes a second through, each way of each connection.
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
    if !opened(&mut mode).await {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = pump(client_read, server_write, mode.clone()) => {}
        () = pump(server_read, client_write, mode.clone()) => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// How often a slow connection lets something through.
const TICK: Duration = Duration::from_millis(50);

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let most = match *mode.borrow() {
            Mode::Slow(rate) => (rate / 20).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let Ok(count @ 1..) = from.read(&mut buffer[..most]).await else {
            return;
        };
        if !opened(&mut mode).await || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        if most < buffer.len() {
            tokio::time::sleep(TICK).await;
        }
    }
}

/// Waits while frozen; answers whether the way is open then.
async fn opened(mode: &mut watch::Receiver<Mode>) -> bool {
    mode.wait_for(|mode| *mode != Mode::Frozen)
        .await
        .is_ok_and(|mode| *mode != Mode::Cut)
}
