//! People who look at the operators' page: connections that are told the state once a second.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;

/// The viewers of a bridge; they leave when this is dropped.
pub struct Viewers(Vec<(TcpStream, JoinHandle<()>)>);

impl Viewers {
    /// So many, each of which has got its first message.
    pub fn of(admin: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let viewers = (0..count).map(|_| viewer(admin));
        Ok(Self(viewers.collect::<anyhow::Result<_>>()?))
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        for (connection, reader) in self.0.drain(..) {
            // Its reader then comes to the end.
            let _ = connection.shutdown(Shutdown::Both);
            let _ = reader.join();
        }
    }
}

fn viewer(admin: SocketAddr) -> anyhow::Result<(TcpStream, JoinHandle<()>)> {
    let mut connection = TcpStream::connect(admin)?;
    connection.write_all(format!("GET /live HTTP/1.1\r\nhost: {admin}\r\n\r\n").as_bytes())?;
    let mut reading = connection.try_clone()?;
    let mut buffer = vec![0; 1 << 16];
    let length = reading.read(&mut buffer)?;
    let begins = buffer[..length].starts_with(b"HTTP/1.1 200 ");
    anyhow::ensure!(begins, "the page's stream does not begin");
    let read = move || while reading.read(&mut buffer).is_ok_and(|length| length > 0) {};
    let reader = thread::Builder::new().spawn(read);
    Ok((connection, reader.context("no thread for a viewer")?))
}
