//! An HTTPS server as far as a test needs one: HTTP/1.1 over TLS, whose answers a test can spoil.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::http::Stream;
use super::tls::certificates;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    pub at: Instant,
    pub method: String,
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// By their names in small letters.
    pub headers: Vec<(String, String)>,
}

impl ApiRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        value(&self.query, name)
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(head).ok()?;
        let (path, query) = request.path?.split_once('?').unwrap_or((request.path?, ""));
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = request.headers.iter();
        Some(Self {
            at: Instant::now(),
            method: request.method?.to_owned(),
            path: path.to_owned(),
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers: headers
                .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
                .collect(),
        })
    }
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// What becomes of an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It comes as it is.
    Whole,
    /// The connection ends in the middle of it.
    Cut,
    /// It never comes, and the connection stays open.
    Hang,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Whether the body comes in chunks, as it does behind some proxies.
    pub is_chunked: bool,
    pub fate: Fate,
}

/// Bytes of a chunk.
const CHUNK: usize = 1000;

impl Reply {
    /// JSON that comes as it is.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.into(),
            is_chunked: false,
            fate: Fate::Whole,
        }
    }

    /// One more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.is_chunked {
            head += &format!("content-length: {}\r\n\r\n", self.body.len());
            return [head.as_bytes(), &self.body].concat();
        }
        let mut bytes = (head + "transfer-encoding: chunked\r\n\r\n").into_bytes();
        for chunk in self.body.chunks(CHUNK) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// What answers the requests.
pub type Answering = Arc<dyn Fn(ApiRequest) -> BoxFuture<'static, Reply> + Send + Sync>;

/// The server; it and its connections end when it is dropped.
pub struct HttpsServer {
    pub address: SocketAddr,
    acceptor: JoinHandle<()>,
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl HttpsServer {
    /// One with the certificate and the key of a PEM file.
    pub async fn start(pair: &Path, answering: Answering) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let acceptor = tokio::spawn(accept(listener, acceptor(pair), answering));
        Self { address, acceptor }
    }
}

fn acceptor(pair: &Path) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_file(pair).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("known")
        .with_no_client_auth()
        .with_single_cert(certificates(pair), key)
        .expect("a pair");
    Arc::new(config).into()
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, answering: Answering) {
    // They end with the server.
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let (tls, answering) = (tls.clone(), Arc::clone(&answering));
        connections.spawn(async move { encrypted(connection, &tls, &answering).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn encrypted(connection: TcpStream, tls: &TlsAcceptor, answering: &Answering) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    // Whoever does not trust it hangs up.
    serve(tls.accept(connection).await.ok()?, answering).await
}

/// Answers the requests of one connection, until it ends.
async fn serve(mut connection: impl Stream, answering: &Answering) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let request = next(&mut connection, &mut bytes).await?;
        let reply = answering(request).await;
        let bytes = reply.bytes();
        match reply.fate {
            Fate::Whole => connection.write_all(&bytes).await.ok()?,
            Fate::Cut => {
                let half = bytes.len() - reply.body.len().div_ceil(2);
                connection.write_all(&bytes[..half]).await.ok()?;
                connection.flush().await.ok()?;
                return None;
            }
            Fate::Hang => std::future::pending().await,
        }
        connection.flush().await.ok()?;
    }
}

/// The next request. A body that it has is left out.
async fn next(connection: &mut impl Stream, bytes: &mut Vec<u8>) -> Option<ApiRequest> {
    let end = loop {
        match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(connection, bytes).await?,
        }
    };
    let request = ApiRequest::parse(&bytes[..end])?;
    let length = request.header("content-length").unwrap_or("0");
    let length: usize = length.parse().ok()?;
    while bytes.len() < end + length {
        more(connection, bytes).await?;
    }
    bytes.drain(..end + length);
    Some(request)
}

async fn more(connection: &mut impl Stream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = connection.read_buf(bytes).await.ok()?;
    (read > 0).then_some(())
}
