//! What must hold for any bytes that are to say who has called: the PROXY header of a connection, and
//! the forwarding headers of a request. As in `targets.rs`, each function panics
//! where a property does not hold.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hookferry::ingress::{
    AddressOrigin, Client, ClientAddress, ConnectionFailure, IpNet, networks, read_proxy_header,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The longest that a header whose bytes are all there is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes of a connection: they name the client that the plain reading below finds in them, and
/// what follows the header is left to the last byte; or they name nobody, for a reason.
pub fn proxy_header(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (read, rest) = runtime.expect("a runtime").block_on(received(data));
    match (read, plainly(data)) {
        (Ok(told), Some((expected, length))) => {
            assert_eq!(told, expected);
            assert!(rest == data[length..], "{} bytes are left", rest.len());
        }
        (Err(failure), None) => assert!(
            [
                ConnectionFailure::ProxyMalformed,
                ConnectionFailure::ProxyTruncated
            ]
            .contains(&failure),
            "{failure:?}"
        ),
        other => panic!("the two readings disagree: {other:?}"),
    }
}

/// What the program takes from a socket with these bytes, and what it leaves there.
async fn received(data: &[u8]) -> (Result<Option<IpAddr>, ConnectionFailure>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let sends = async {
        let mut sender = TcpStream::connect(address).await.expect("it listens");
        // Closed without a trace: many thousands of them come and go.
        sender.set_zero_linger().expect("a socket");
        sender.set_nodelay(true).expect("a socket");
        for piece in data.chunks(1 + data.len() % 61) {
            sender.write_all(piece).await.expect("it is read");
        }
        sender.shutdown().await.expect("it is open");
        sender
    };
    let reads = async {
        let (mut socket, _) = listener.accept().await.expect("a sender");
        let told = read_proxy_header(&mut socket, Instant::now() + PATIENCE).await;
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.expect("up to its end");
        (told, rest)
    };
    let (sender, read) = tokio::join!(sends, reads);
    drop(sender);
    read
}

/// The header once more, in the plainest way: whom it names, and how long it is.
fn plainly(data: &[u8]) -> Option<(Option<IpAddr>, usize)> {
    if data.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        let after = usize::from(*data.get(14)?) * 256 + usize::from(*data.get(15)?);
        let addresses = data.get(16..16 + after)?;
        let client = match (data[12], data[13]) {
            (0x20, _) | (0x21, 0x00 | 0x31 | 0x32) => None,
            (0x21, 0x11) if after >= 12 => {
                let [a, b, c, d] = [0, 1, 2, 3].map(|at| addresses[at]);
                Some(IpAddr::from([a, b, c, d]))
            }
            (0x21, 0x21) if after >= 36 => {
                let bytes: Vec<u8> = addresses[..16].to_vec();
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).expect("16"));
                Some(address.to_canonical())
            }
            _ => return None,
        };
        return Some((client, 16 + after));
    }
    let length = 1 + data.iter().take(107).position(|byte| *byte == b'\n')?;
    let line = String::from_utf8(data[..length].to_vec()).ok()?;
    let line = line.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match (words[0], words.len()) {
        ("UNKNOWN", _) => None,
        (family @ ("TCP4" | "TCP6"), 5) => {
            let is_port = |text: &str| (0..=65535).any(|port: u32| port.to_string() == text);
            let ends = [words[1], words[2]].map(|text| text.parse::<IpAddr>().ok());
            let [Some(from), Some(to)] = ends else {
                return None;
            };
            let is_v4 = family == "TCP4";
            let all = from.is_ipv4() == is_v4 && to.is_ipv4() == is_v4;
            if !all || !is_port(words[3]) || !is_port(words[4]) {
                return None;
            }
            Some(from.to_canonical())
        }
        _ => return None,
    };
    Some((client, length))
}

/// A forwarding header, a line of the input for each of its lines: nobody but a trusted proxy is
/// believed; whoever is found is written there; and nothing that stands before what the proxy adds
/// changes whom that names.
pub fn forwarded(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    for (origin, added) in [
        (AddressOrigin::XForwardedFor, &b"203.0.113.7"[..]),
        (
            AddressOrigin::Forwarded,
            &b"for=203.0.113.7;proto=https"[..],
        ),
    ] {
        let address = ClientAddress {
            origin,
            trusted_proxies: trusted(),
        };
        let of = |peer: &str, lines: &[&[u8]]| address.told(ip(peer), lines.iter().copied());
        assert_eq!(of("192.0.2.1", &lines), Client::Known(ip("192.0.2.1")));
        let found = of(PROXY, &lines);
        match found {
            Client::Hidden(proxy) => assert!(networks::contain(&trusted(), proxy), "{proxy}"),
            Client::Known(client) => assert!(client == ip(PROXY) || names(data, client)),
        }
        assert_eq!(of(PROXY, &[&lines.join(&b","[..])]), found, "one list");
        let with = [&lines[..], &[added]].concat();
        for lines in [&with[..], &[&with.join(&b", "[..])]] {
            assert_eq!(of(PROXY, lines), Client::Known(ip("203.0.113.7")));
        }
    }
}

const PROXY: &str = "10.0.0.1";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn trusted() -> Vec<IpNet> {
    let texts = ["10.0.0.0/8", "2001:db8:1::/48"];
    texts
        .map(|text| networks::parse(text).expect("a network"))
        .into()
}

/// Whether the address stands anywhere in the bytes, with a port behind it or without.
fn names(data: &[u8], address: IpAddr) -> bool {
    let is_of_one = |byte: &u8| byte.is_ascii_hexdigit() || b".:".contains(byte);
    let words = data.split(|byte| !is_of_one(byte));
    let texts = words.filter_map(|word| std::str::from_utf8(word).ok());
    let is_it = |text: &str| {
        text.parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical() == address)
    };
    texts
        .flat_map(|text| [Some(text), text.split(':').next()])
        .flatten()
        .any(is_it)
}
