//! Server-sent events, read byte by byte: an answer in chunks that does not end, with a message before
//! each empty line.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A message comes every second, on a busy machine too.
const DEADLINE: Duration = Duration::from_secs(30);

/// A stream of messages, which ends for the server when it is dropped.
pub struct EventStream {
    stream: BufReader<TcpStream>,
    /// What has come and is no whole message yet.
    begun: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The name of the event that was read last; empty where it has none.
    pub event: String,
}

impl EventStream {
    /// Asks for it with this request, and reads the head of its answer.
    pub async fn open(address: SocketAddr, request: &str) -> io::Result<Self> {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(request.as_bytes()).await?;
        let mut opened = Self {
            stream,
            begun: String::new(),
            status: 0,
            headers: Vec::new(),
            event: String::new(),
        };
        tokio::time::timeout(DEADLINE, opened.head()).await??;
        Ok(opened)
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The next message; none where the server has ended the stream.
    pub async fn next(&mut self) -> Option<Value> {
        let next = tokio::time::timeout(DEADLINE, self.message()).await;
        next.expect("a message in time").ok()
    }

    /// Reads on to the first message that is so.
    pub async fn first(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let message = self.message().await.expect("the stream goes on");
                if is(&message) {
                    return message;
                }
            }
        };
        let found = tokio::time::timeout(DEADLINE, found).await;
        found.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
    }

    async fn head(&mut self) -> io::Result<()> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        self.status = status.ok_or(io::ErrorKind::InvalidData)?;
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(());
            };
            let header = (name.to_ascii_lowercase(), value.trim().to_owned());
            self.headers.push(header);
        }
    }

    async fn message(&mut self) -> io::Result<Value> {
        loop {
            if let Some((message, rest)) = self.begun.split_once("\n\n") {
                let field = |name: &str| -> String {
                    let lines = message.lines();
                    lines.filter_map(|line| line.strip_prefix(name)).collect()
                };
                let (event, data) = (field("event: "), field("data: "));
                self.begun = rest.to_owned();
                // Without data it only keeps the connection open.
                if !data.is_empty() {
                    self.event = event;
                    return Ok(serde_json::from_str(&data).expect("JSON"));
                }
                continue;
            }
            let chunk = self.chunk().await?;
            self.begun.push_str(&chunk);
        }
    }

    /// A chunk never ends within a character: each holds whole messages.
    async fn chunk(&mut self) -> io::Result<String> {
        let line = self.line().await?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(size);
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
