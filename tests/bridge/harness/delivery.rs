//! Deliveries as the provider sends them, signed by code of our own.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use super::setup::SECRET;
use super::{Answer, Connection};

/// The header that carries the signature.
pub const SIGNATURE: &str = "x-onecodex-signature";

static EVENTS: AtomicI64 = AtomicI64::new(0);

/// The Unix time.
pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// The hex HMAC-SHA256 over `seconds "." body`.
pub fn tag(secret: &str, seconds: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key will do");
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// The header's value.
pub fn signature(secret: &str, seconds: i64, body: &[u8]) -> String {
    format!("t={seconds} v1={}", tag(secret, &seconds.to_string(), body))
}

/// Whether the signature that came with an event covers these bytes: what a consumer checks.
pub fn verifies(secret: &str, signature: &str, body: &[u8]) -> bool {
    signature
        .split_once(" v1=")
        .is_some_and(|(time, given)| tag(secret, time.trim_start_matches("t="), body) == given)
}

/// A time that no other event of this run has.
pub fn fresh_time() -> Timestamp {
    let number = EVENTS.fetch_add(1, Ordering::Relaxed);
    Timestamp::now() + SignedDuration::from_micros(number)
}

/// The body of an event that has not been sent before.
pub fn event(event_type: &str, object: &str) -> String {
    numbered(event_type, object, 0)
}

/// As [`event`], with a number that the oracle finds again.
pub fn numbered(event_type: &str, object: &str, number: usize) -> String {
    event_at(event_type, object, &fresh_time().to_string(), number)
}

/// The body of an event of a given time.
pub fn event_at(event_type: &str, object: &str, time: &str, number: usize) -> String {
    let kind = event_type.split('.').next().unwrap_or_default();
    // White space and an escape that no parser would give back.
    format!(
        "{{ \"api_version\":\"v1\",  \"event_type\":\"{event_type}\",\"object_type\":\"{kind}\",\"triggered_at\":\"{time}\",\
         \"object\":{{\"$uri\":\"/api/v1/{kind}s/{object}\",\"note\":\"gr\\u00fcn ü\",\"number\":{number}}}}}\n"
    )
}

/// A request, as it will be sent.
#[derive(Debug, Clone)]
pub struct Post {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Post {
    /// A delivery without a signature.
    pub fn unsigned(source: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: format!("/webhooks/{source}"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.into(),
        }
    }

    /// A delivery signed now.
    pub fn signed(source: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::signed_with(source, body, SECRET, now())
    }

    /// A delivery signed with any secret at any time.
    pub fn signed_with(source: &str, body: impl Into<Vec<u8>>, secret: &str, seconds: i64) -> Self {
        let post = Self::unsigned(source, body);
        let value = signature(secret, seconds, &post.body);
        post.with(SIGNATURE, &value)
    }

    /// One more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    /// Another path.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    /// The head, with these lines of framing.
    pub fn head(&self, framing: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: bridge\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str(framing);
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// The whole request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(&format!("content-length: {}\r\n", self.body.len()));
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The whole request in chunks of `size`.
    pub fn chunked(&self, size: usize) -> Vec<u8> {
        let mut bytes = self.head("transfer-encoding: chunked\r\n");
        for part in self.body.chunks(size) {
            bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    /// Sends it on a connection of its own.
    pub async fn to(&self, address: SocketAddr) -> io::Result<Answer> {
        self.on(Connection::open(address).await?).await
    }

    /// Sends it on a connection of its own, from an address of ours.
    pub async fn sent_from(&self, source: IpAddr, address: SocketAddr) -> io::Result<Answer> {
        self.on(Connection::open_from(source, address).await?).await
    }

    async fn on(&self, mut connection: Connection) -> io::Result<Answer> {
        connection.send(&self.bytes()).await?;
        let answer = connection.answer().await?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
