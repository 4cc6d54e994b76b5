//! An OpenTelemetry collector, as far as a test needs one: it takes traces by OTLP over HTTP, and
//! reads the protobuf field by field, without the library that wrote it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::version::TLS13;

use super::http::Stream;
use super::tls::certificates;

/// A span, as it came.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    pub name: String,
    /// 2 is a server's, 4 a producer's.
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub times: (u64, u64),
    pub attributes: Vec<(String, String)>,
    /// What the status says; empty where it says nothing.
    pub error: String,
}

impl Exported {
    /// The value of an attribute; empty where there is none.
    pub fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

#[derive(Debug, Default)]
struct Taken {
    heads: Vec<String>,
    spans: Vec<Exported>,
}

/// The collector; it stops when it is dropped.
pub struct Collector {
    scheme: &'static str,
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    acceptor: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Collector {
    /// One that answers every request with `status`.
    pub async fn start(status: &'static str) -> Self {
        Self::listen(status, None).await
    }

    /// One that takes everything, over TLS with the certificate and the key of a PEM file.
    pub async fn encrypted(pair: &Path) -> Self {
        let key = PrivateKeyDer::from_pem_file(pair).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("known")
            .with_no_client_auth()
            .with_single_cert(certificates(pair), key)
            .expect("a pair");
        Self::listen("200 OK", Some(Arc::new(config).into())).await
    }

    async fn listen(status: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let taken = Arc::<Mutex<Taken>>::default();
        let to = Arc::clone(&taken);
        let acceptor = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (tls, to) = (tls.clone(), Arc::clone(&to));
                tokio::spawn(async move {
                    match tls {
                        None => serve(connection, status, to).await,
                        // Whoever does not trust it hangs up.
                        Some(tls) => serve(tls.accept(connection).await.ok()?, status, to).await,
                    }
                });
            }
        });
        Self {
            scheme,
            address,
            taken,
            acceptor,
        }
    }

    /// The URL that takes traces.
    pub fn url(&self) -> String {
        format!("{}://{}/v1/traces", self.scheme, self.address)
    }

    /// The spans that have come.
    pub fn spans(&self) -> Vec<Exported> {
        self.taken.lock().expect("no panic").spans.clone()
    }

    /// The heads of the requests that have come.
    pub fn heads(&self) -> Vec<String> {
        self.taken.lock().expect("no panic").heads.clone()
    }
}

/// Answers the requests of one connection, until it ends.
async fn serve(mut connection: impl Stream, status: &str, to: Arc<Mutex<Taken>>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => more(&mut connection, &mut bytes).await?,
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1)?.lines().next()?;
        let length: usize = length.parse().ok()?;
        while bytes.len() < end + length {
            more(&mut connection, &mut bytes).await?;
        }
        {
            let mut taken = to.lock().expect("no panic");
            taken.heads.push(head);
            taken.spans.extend(spans(&bytes[end..end + length]));
        }
        bytes.drain(..end + length);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        connection.write_all(answer.as_bytes()).await.ok()?;
        connection.flush().await.ok()?;
    }
}

async fn more(connection: &mut impl Stream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = connection.read_buf(bytes).await.ok()?;
    (read > 0).then_some(())
}

/// The spans of an `ExportTraceServiceRequest`: of every resource, of every scope.
fn spans(request: &[u8]) -> Vec<Exported> {
    let resources = fields(request)
        .into_iter()
        .filter(|field| field.number == 1);
    let scopes = resources.flat_map(|resource| fields(resource.bytes));
    let scopes = scopes.filter(|field| field.number == 2);
    let spans = scopes.flat_map(|scope| fields(scope.bytes));
    let spans = spans.filter(|field| field.number == 2);
    spans.map(|span| exported(span.bytes)).collect()
}

fn exported(span: &[u8]) -> Exported {
    let mut exported = Exported::default();
    for field in fields(span) {
        match field.number {
            1 => exported.trace = hex::encode(field.bytes),
            2 => exported.id = hex::encode(field.bytes),
            3 => exported.state = field.text(),
            4 => exported.parent = hex::encode(field.bytes),
            5 => exported.name = field.text(),
            6 => exported.kind = field.value,
            7 => exported.times.0 = field.value,
            8 => exported.times.1 = field.value,
            9 => exported.attributes.push(attribute(field.bytes)),
            15 => exported.error = part(field.bytes, 2).text(),
            _ => {}
        }
    }
    exported
}

fn attribute(bytes: &[u8]) -> (String, String) {
    let value = part(bytes, 2);
    (part(bytes, 1).text(), part(value.bytes, 1).text())
}

/// A field of a message: a number, or bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Field<'a> {
    number: u64,
    value: u64,
    bytes: &'a [u8],
}

impl Field<'_> {
    fn text(self) -> String {
        String::from_utf8(self.bytes.to_vec()).expect("UTF-8")
    }
}

/// The field with this number; an empty one where there is none.
fn part(message: &[u8], number: u64) -> Field<'_> {
    let found = fields(message)
        .into_iter()
        .find(|field| field.number == number);
    found.unwrap_or_default()
}

/// The fields of a message (the Protocol Buffers encoding: varints, 64 bits, bytes, 32 bits).
fn fields(mut message: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let mut field = Field {
            number: tag >> 3,
            ..Field::default()
        };
        match tag & 7 {
            0 => field.value = varint(&mut message),
            1 => field.value = fixed(&mut message, 8),
            2 => {
                let length = usize::try_from(varint(&mut message)).expect("small");
                (field.bytes, message) = message.split_at(length);
            }
            5 => field.value = fixed(&mut message, 4),
            kind => panic!("wire type {kind}"),
        }
        fields.push(field);
    }
    fields
}

fn fixed(message: &mut &[u8], length: usize) -> u64 {
    let (bytes, rest) = message.split_at(length);
    *message = rest;
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = fixed(message, 1);
        value |= (byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    value
}
