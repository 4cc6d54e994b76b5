//! A proxy for HTTPS as companies have them: it is asked to connect, and forwards bytes it cannot read.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The proxy; it stops when it is dropped.
pub struct ConnectProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    acceptor: JoinHandle<()>,
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl ConnectProxy {
    /// One that connects to `upstream`, whichever name it is asked for.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        let acceptor = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, upstream, Arc::clone(&noted)));
            }
        });
        Self {
            address,
            asked,
            acceptor,
        }
    }

    /// What an environment names it by.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whom it was asked to connect to.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn connect(
    client: TcpStream,
    upstream: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut first = String::new();
    client.read_line(&mut first).await.ok()?;
    let host = first.strip_prefix("CONNECT ")?.split(' ').next()?;
    asked.lock().expect("no panic").push(host.to_owned());
    let mut line = String::new();
    while client.read_line(&mut line).await.ok()? > "\r\n".len() {
        line.clear();
    }
    let mut server = TcpStream::connect(upstream).await.ok()?;
    client
        .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        .await
        .ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut server)
        .await
        .ok()?;
    Some(())
}
