//! The header with which a proxy names the client of a connection, before anything else on it: the
//! PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>).
//!
//! Only as much is taken from the socket as the header has, so what follows, TLS or HTTP, begins where
//! it should. Parsing is strict: a proxy that is trusted writes it right, and a client's address that
//! was guessed would be worse than none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use actix_web::rt::net::TcpStream;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};

use super::connection_failure::ConnectionFailure;

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins.
const PREFIX: &[u8] = b"PROXY ";
/// The longest line of version 1, with its line break.
const LONGEST_LINE: usize = 107;
/// The addresses and ports of version 2's longest family that is read, IPv6.
const LONGEST_ADDRESSES: usize = 36;

/// The client that a header names; none where the proxy speaks for itself, as it does to look
/// whether this bridge is well, or does not know.
type NamedClient = Option<IpAddr>;

/// Takes the header from the socket, and not a byte more: the client that it names; none where the
/// proxy speaks for itself or does not know.
///
/// # Errors
/// When no header comes, or not all of it in time.
pub async fn read(
    socket: &mut TcpStream,
    deadline: Instant,
) -> Result<NamedClient, ConnectionFailure> {
    timeout_at(deadline, take(socket))
        .await
        .unwrap_or(Err(ConnectionFailure::ProxyTooSlow))
}

async fn take(socket: &mut TcpStream) -> Result<NamedClient, ConnectionFailure> {
    // Both versions are longer.
    let mut start = [0; SIGNATURE.len()];
    socket.read_exact(&mut start).await.map_err(truncated)?;
    let told = if start == SIGNATURE {
        take_binary(socket).await?
    } else if start.starts_with(PREFIX) {
        let line = take_line(socket, &start).await?;
        in_line(&line)
    } else {
        None
    };
    told.ok_or(ConnectionFailure::ProxyMalformed)
}

/// The rest of version 1's line, which ends within its limit.
async fn take_line(socket: &mut TcpStream, start: &[u8]) -> Result<Vec<u8>, ConnectionFailure> {
    let mut line = start.to_vec();
    let mut ahead = [0; LONGEST_LINE];
    while line.len() < LONGEST_LINE {
        let buffer = &mut ahead[..LONGEST_LINE - line.len()];
        let seen = socket.peek(buffer).await.map_err(truncated)?;
        let end = buffer[..seen].iter().position(|byte| *byte == b'\n');
        let taken = &mut buffer[..end.map_or(seen, |at| at + 1)];
        if taken.is_empty() {
            return Err(ConnectionFailure::ProxyTruncated);
        }
        socket.read_exact(taken).await.map_err(truncated)?;
        line.extend_from_slice(taken);
        if end.is_some() {
            return Ok(line);
        }
    }
    Err(ConnectionFailure::ProxyMalformed)
}

/// The rest of version 2, whose length stands in it. The outer none is a header that makes no sense.
#[allow(clippy::option_option, reason = "wrong and untold are two things")]
async fn take_binary(socket: &mut TcpStream) -> Result<Option<NamedClient>, ConnectionFailure> {
    let mut fixed = [0; 4];
    socket.read_exact(&mut fixed).await.map_err(truncated)?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let mut addresses = [0; LONGEST_ADDRESSES];
    let addresses = &mut addresses[..length.min(LONGEST_ADDRESSES)];
    socket.read_exact(addresses).await.map_err(truncated)?;
    // Extensions, which say nothing that is asked for here.
    let rest = (length - addresses.len()) as u64;
    let skipped = tokio::io::copy(&mut (&mut *socket).take(rest), &mut tokio::io::sink()).await;
    if skipped.map_err(truncated)? < rest {
        return Err(ConnectionFailure::ProxyTruncated);
    }
    Ok(in_binary(command, family, addresses))
}

fn truncated(_: io::Error) -> ConnectionFailure {
    ConnectionFailure::ProxyTruncated
}

/// What version 1's line tells (section 2.1).
#[allow(clippy::option_option, reason = "wrong and untold are two things")]
fn in_line(line: &[u8]) -> Option<NamedClient> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        // Whatever else stands there does not count.
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", ends @ ..] => source::<Ipv4Addr>(ends).map(Some),
        ["PROXY", "TCP6", ends @ ..] => source::<Ipv6Addr>(ends).map(Some),
        _ => None,
    }
}

/// The first of two addresses, and two ports after them.
fn source<A: FromStr + Into<IpAddr>>(ends: &[&str]) -> Option<IpAddr> {
    let [from, to, from_port, to_port] = ends else {
        return None;
    };
    to.parse::<A>().ok()?;
    let are_ports = is_port(from_port) && is_port(to_port);
    let from = from.parse::<A>().ok().filter(|_| are_ports)?;
    Some(from.into().to_canonical())
}

fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leads_with_zero = text.len() > 1 && text.starts_with('0');
    digits && !leads_with_zero && text.parse::<u16>().is_ok()
}

/// What version 2 tells (section 2.2): its command, its family, and the bytes that follow.
#[allow(clippy::option_option, reason = "wrong and untold are two things")]
fn in_binary(command: u8, family: u8, addresses: &[u8]) -> Option<NamedClient> {
    match (command, family) {
        // The proxy's own connection, whatever the rest says; and one whose client came to the proxy
        // by another way than TCP, which has no address that could be told.
        (0x20, _) | (0x21, 0x00 | 0x31 | 0x32) => Some(None),
        (0x21, 0x11) if addresses.len() >= 12 => {
            let from: [u8; 4] = *addresses.first_chunk()?;
            Some(Some(IpAddr::from(from)))
        }
        (0x21, 0x21) if addresses.len() >= 36 => {
            let from: [u8; 16] = *addresses.first_chunk()?;
            Some(Some(IpAddr::from(from).to_canonical()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn told(text: &str) -> Option<NamedClient> {
        Some(Some(text.parse().expect("an address")))
    }

    #[test]
    fn a_line_tells_its_first_address() {
        for (line, expected) in [
            ("TCP4 192.0.2.7 10.0.0.1 56324 443", told("192.0.2.7")),
            (
                "TCP4 255.255.255.255 255.255.255.255 65535 0",
                told("255.255.255.255"),
            ),
            ("TCP6 2001:db8::7 ::1 1 65535", told("2001:db8::7")),
            ("TCP6 ::ffff:192.0.2.7 ::1 1 2", told("192.0.2.7")),
            ("UNKNOWN", Some(None)),
            ("UNKNOWN what ever stands here", Some(None)),
        ] {
            assert_eq!(
                in_line(format!("PROXY {line}\r\n").as_bytes()),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_that_is_not_quite_right_tells_nothing() {
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 \r\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 056 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +56 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 65536\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 \r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
            "PROXY TCP4 ::1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY TCP4 192.0.2.7\u{0} 10.0.0.1 1 2\r\n",
        ] {
            assert_eq!(in_line(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(in_line(b"PROXY UNKNOWN \xff\r\n"), None);
    }

    #[test]
    fn bytes_tell_their_first_address_if_they_are_all_there() {
        let mut addresses = [0; LONGEST_ADDRESSES];
        addresses[..4].copy_from_slice(&[192, 0, 2, 7]);
        assert_eq!(in_binary(0x21, 0x11, &addresses[..12]), told("192.0.2.7"));
        assert_eq!(in_binary(0x21, 0x11, &addresses), told("192.0.2.7"));
        assert_eq!(in_binary(0x21, 0x11, &addresses[..11]), None);
        assert_eq!(in_binary(0x21, 0x21, &addresses), told("c000:207::"));
        assert_eq!(in_binary(0x21, 0x21, &addresses[..35]), None);
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_tells_nobody_else() {
        for (command, family) in [(0x20, 0x11), (0x20, 0xff), (0x21, 0x00), (0x21, 0x31)] {
            assert_eq!(
                in_binary(command, family, &[]),
                Some(None),
                "{command} {family}"
            );
        }
        for (command, family) in [
            (0x11, 0x11),
            (0x22, 0x11),
            (0x21, 0x12),
            (0x21, 0x41),
            (0, 0),
        ] {
            assert_eq!(
                in_binary(command, family, &[7; 36]),
                None,
                "{command} {family}"
            );
        }
    }

    /// What is told of these pieces, sent one after the other, and what is left for TLS or HTTP.
    async fn of_pieces(pieces: &[&[u8]]) -> (Result<NamedClient, ConnectionFailure>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let sends = async {
            let mut sender = TcpStream::connect(address).await.expect("it listens");
            sender.set_nodelay(true).expect("a socket");
            for piece in pieces {
                // The other side may have seen enough.
                let _ = sender.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = sender.shutdown().await;
            sender
        };
        let reads = async {
            let (mut socket, _) = listener.accept().await.expect("a sender");
            let told = take(&mut socket).await;
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
            (told, rest)
        };
        tokio::join!(sends, reads).1
    }

    /// A header of either version, with what it tells.
    fn header(version: bool, address: Ipv4Addr, extension: usize) -> Vec<u8> {
        if version {
            return format!("PROXY TCP4 {address} 10.0.0.1 1 443\r\n").into_bytes();
        }
        let length = u16::try_from(12 + extension).expect("short");
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x21, 0x11]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(address.octets());
        bytes.extend(vec![7; 8 + extension]);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However it comes in pieces, the header is read to its end, and not a byte further.
        #[test]
        fn exactly_the_header_is_taken(
            version: bool,
            address: Ipv4Addr,
            extension in 0..3_000_usize,
            rest in proptest::collection::vec(any::<u8>(), 0..200),
            size in 1..120_usize,
        ) {
            let bytes = [header(version, address, extension), rest.clone()].concat();
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let read = runtime.expect("a runtime").block_on(of_pieces(&pieces));
            prop_assert_eq!(read, (Ok(Some(IpAddr::V4(address))), rest));
        }

        /// Cut off anywhere, it tells nothing.
        #[test]
        fn a_part_of_a_header_is_none(version: bool, address: Ipv4Addr, cut in 1..200_usize) {
            let bytes = header(version, address, 150);
            let part = &bytes[..cut.min(bytes.len() - 1)];
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let (told, _) = runtime.expect("a runtime").block_on(of_pieces(&[part]));
            prop_assert_eq!(told, Err(ConnectionFailure::ProxyTruncated));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address: IpAddr, to: IpAddr, port: u16) {
            let (name, to) = match (address, to) {
                (IpAddr::V4(_), IpAddr::V4(_)) => ("TCP4", to),
                (IpAddr::V4(_), IpAddr::V6(_)) => ("TCP4", IpAddr::from([10, 0, 0, 1])),
                (IpAddr::V6(_), _) => ("TCP6", IpAddr::from([7; 16])),
            };
            let line = format!("PROXY {name} {address} {to} {port} 443\r\n");
            prop_assert!(line.len() <= LONGEST_LINE);
            prop_assert_eq!(in_line(line.as_bytes()), Some(Some(address.to_canonical())));
        }

        #[test]
        fn no_bytes_break_it(
            line in proptest::collection::vec(any::<u8>(), 0..=LONGEST_LINE),
            text in "PROXY [TCPUNKOW46 0-9.:f]{0,60}(\r\n)?",
            command in any::<u8>(),
            family in any::<u8>(),
        ) {
            in_line(&line);
            in_line(text.as_bytes());
            let length = line.len().min(LONGEST_ADDRESSES);
            in_binary(command, family, &line[..length]);
        }
    }
}
