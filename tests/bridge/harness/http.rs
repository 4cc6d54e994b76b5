//! HTTP/1.1, byte by byte, so that a test can also say what no client library would.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// Nothing that is waited for here takes longer on purpose.
const DEADLINE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The stable reason of a refusal.
    pub fn reason(&self) -> String {
        self.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The event's id.
    pub fn id(&self) -> String {
        self.json()["id"].as_str().expect("an id").to_owned()
    }

    /// `accepted`, `duplicate`, `quarantined` or `dropped`.
    pub fn outcome(&self) -> String {
        self.json()["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// What bytes go over, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection, kept alive as long as the server likes.
pub struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// The same over what has been opened already.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self(BufReader::new(Box::new(stream)))
    }

    /// The same from an address of ours, such as another one of the loopback's.
    pub async fn open_from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = match source {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(source, 0))?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timely(async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        })
        .await
    }

    /// Sends no more, but still reads.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    /// The next final answer; none where the server closes instead.
    pub async fn answer(&mut self) -> io::Result<Option<Answer>> {
        loop {
            match timely(self.next()).await? {
                Some(answer) if answer.status == 100 => {}
                other => return Ok(other),
            }
        }
    }

    /// Whether the server has closed: reads to the end, which must hold nothing more.
    pub async fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match timely(self.0.read_to_end(&mut rest)).await {
            Ok(_) => rest.is_empty(),
            // Reset instead of closed: the server did not read what we still sent.
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Whether the server has ended it, whatever it said before that.
    pub async fn is_over(&mut self) -> bool {
        let read = timely(self.0.read_to_end(&mut Vec::new())).await;
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    async fn next(&mut self) -> io::Result<Option<Answer>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let count = match self.0.read_line(&mut line).await {
                Err(error)
                    if lines.is_empty() && error.kind() == io::ErrorKind::ConnectionReset =>
                {
                    0
                }
                other => other?,
            };
            if count == 0 {
                return if lines.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let status = lines[0]
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(invalid)?;
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(Ok(0), |(_, value)| value.parse())
            .map_err(|_| invalid())?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Some(Answer {
            status,
            headers,
            body,
        }))
    }
}

async fn timely<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
