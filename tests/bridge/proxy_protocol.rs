//! The PROXY protocol, where it is configured: who the client is, what is cut off and counted, and
//! that nobody is believed where it is not.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::eventually::eventually;
use crate::harness::delivery::event;
use crate::harness::{Authority, Bridge, Connection, Post, Setup, Tls};

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A bridge that listens to proxies at this address only.
fn proxied(trusted: &str) -> Setup {
    Setup::store().ingress(&format!(
        "head_timeout = \"1s\"\nproxy_protocol = true\ntrusted_proxies = [\"{trusted}\"]\n"
    ))
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn ipv4() -> Vec<u8> {
    vec![192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 1, 0xbb]
}

/// Headers that are right, one of each kind.
fn good() -> Vec<Vec<u8>> {
    let ipv6 = [[0x20; 16], [1; 16]].concat();
    let ipv6 = [ipv6.as_slice(), &[0, 1, 0, 2]].concat();
    // Extensions: a type, a length, a value, as long as they like.
    let extended = [ipv4(), vec![4, 0, 2, 7, 7], vec![0x30; 60_000]].concat();
    vec![
        b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::ffff ffff::ffff 65535 65535\r\n".to_vec(),
        version_2(0x21, 0x11, &ipv4()),
        version_2(0x21, 0x21, &ipv6),
        version_2(0x21, 0x11, &extended),
        version_2(0x21, 0x00, &[]),
        version_2(0x21, 0x31, &[7; 216]),
        version_2(0x20, 0x00, &[]),
        version_2(0x20, 0x11, &ipv4()),
    ]
}

/// The status of a delivery after these bytes.
async fn status_after(header: &[u8], setup: &Setup, bridge: &Bridge) -> Option<u16> {
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let bytes = [header, &post.bytes()].concat();
    connection.send(&bytes).await.ok()?;
    let answer = connection.answer().await.ok()??;
    Some(answer.status)
}

async fn counted(bridge: &Bridge, reason: &str, count: f64) {
    let labels = [("source", "unknown"), ("reason", reason)];
    bridge
        .shows("deliveries_rejected_total", &labels, count)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_come_in_behind_every_kind_of_header() {
    let setup = proxied("127.0.0.0/8");
    let bridge = setup.start().await;
    for header in good() {
        let shown = String::from_utf8_lossy(&header).into_owned();
        assert_eq!(
            status_after(&header, &setup, &bridge).await,
            Some(200),
            "{shown:?}"
        );
    }
    bridge.shows("deliveries_rejected_total", &[], 0.0).await;
    let count = good().len() as f64;
    bridge.shows("events_accepted_total", &[], count).await;
}

/// The header in any pieces, the request behind it, and more requests behind that.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_come_in_pieces_and_only_once() {
    let setup = proxied("127.0.0.1");
    let bridge = setup.start().await;
    for header in good() {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        for piece in header.chunks(7.max(header.len() / 20)) {
            connection.send(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
            connection.send(&post.bytes()).await.unwrap();
            let answer = connection.answer().await.unwrap().unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        // A second header is no HTTP.
        connection.send(b"PROXY UNKNOWN\r\n\r\n").await.unwrap();
        let answer = connection.answer().await.unwrap().unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    counted(&bridge, "head_malformed", good().len() as f64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_malformed_header_ends_the_connection_and_is_counted() {
    let setup = proxied("127.0.0.1");
    let bridge = setup.start().await;
    let long = [
        b"PROXY UNKNOWN ".to_vec(),
        vec![b'x'; 100],
        b"\r\n".to_vec(),
    ]
    .concat();
    let bad = [
        b"".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n".to_vec(),
        b"PROXY UNKNOWN\n\n".to_vec(),
        b"proxy unknown\r\n".to_vec(),
        long,
        version_2(0x11, 0x11, &ipv4()),
        version_2(0x22, 0x11, &ipv4()),
        version_2(0x21, 0x12, &ipv4()),
        version_2(0x21, 0x11, &ipv4()[..11]),
        version_2(0x21, 0x21, &ipv4()),
        vec![0xff; 200],
    ];
    for header in &bad {
        assert_eq!(
            status_after(header, &setup, &bridge).await,
            None,
            "{header:?}"
        );
    }
    counted(&bridge, "proxy_header_malformed", bad.len() as f64).await;
    let metrics = bridge.metrics().await;
    assert_eq!(metrics.sum("events_accepted_total", &[]), 0.0);
    assert_eq!(
        metrics.sum("deliveries_rejected_total", &[]),
        bad.len() as f64
    );
    assert_eq!(
        status_after(b"PROXY UNKNOWN\r\n", &setup, &bridge).await,
        Some(200)
    );
    bridge.shows("http_connections", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_ends_early_or_comes_slowly_is_counted() {
    let setup = proxied("127.0.0.1");
    let bridge = setup.start().await;
    let whole = version_2(0x21, 0x11, &ipv4());
    let parts = [
        &b"PRO"[..],
        b"PROXY TCP4 192.0.2.7",
        &whole[..14],
        &whole[..20],
    ];
    for part in parts {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(part).await.unwrap();
        connection.finish().await.unwrap();
        assert!(connection.is_over().await);
    }
    counted(&bridge, "proxy_header_truncated", 4.0).await;
    let mut slow = Vec::new();
    for part in parts {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(part).await.unwrap();
        slow.push(connection);
    }
    assert_eq!(
        status_after(b"PROXY UNKNOWN\r\n", &setup, &bridge).await,
        Some(200)
    );
    for connection in &mut slow {
        assert!(connection.is_over().await);
    }
    counted(&bridge, "proxy_header_timeout", 4.0).await;
    // Who only looks whether the port is open is nobody's delivery.
    drop(Connection::open(bridge.ingress).await.unwrap());
    bridge.shows("http_connections", &[], 0.0).await;
    bridge.shows("deliveries_rejected_total", &[], 8.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_trusted_proxy_may_connect() {
    let mut setup = proxied("10.0.0.0/8");
    let bridge = setup.start().await;
    for header in [&b"PROXY TCP4 10.0.0.7 10.0.0.1 56324 443\r\n"[..], b""] {
        assert_eq!(status_after(header, &setup, &bridge).await, None);
    }
    counted(&bridge, "peer_untrusted", 2.0).await;
    // Trusted from now on, without a restart.
    setup.ingress = setup.ingress.replace("10.0.0.0/8", "127.0.0.1");
    setup.write();
    bridge.signal("HUP");
    eventually("the proxy is trusted", async || {
        let status = status_after(b"PROXY UNKNOWN\r\n", &setup, &bridge).await;
        (status == Some(200)).then_some(())
    })
    .await;
}

/// The guards go by the client that the header names, and by the proxy where it names none.
#[tokio::test(flavor = "multi_thread")]
async fn the_named_client_is_the_one_that_is_let_in_and_limited() {
    let setup = proxied("127.0.0.1");
    let keys = "allow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\nrate_limit_per_address = 1\n";
    let keys = format!("{}{keys}", setup.ingress);
    let setup = setup.ingress(&keys);
    let bridge = setup.start().await;
    for (header, status) in [
        ("TCP4 192.0.2.7 10.0.0.1 56324 443", 200),
        ("TCP4 203.0.113.7 10.0.0.1 56324 443", 403),
        ("TCP6 2001:db8::7 ::1 56324 443", 200),
        ("TCP6 ::ffff:192.0.2.8 ::1 56324 443", 200),
        ("UNKNOWN", 403),
    ] {
        let bytes = format!("PROXY {header}\r\n");
        let answered = status_after(bytes.as_bytes(), &setup, &bridge).await;
        assert_eq!(answered, Some(status), "{header}");
    }
    // One client's second delivery is too many, at another port too, and not another client's.
    let limited = eventually("the client is limited", async || {
        let header = b"PROXY TCP4 192.0.2.9 10.0.0.1 1 443\r\n";
        let status = status_after(header, &setup, &bridge).await;
        (status == Some(429)).then_some(())
    });
    limited.await;
    let header = b"PROXY TCP4 192.0.2.10 10.0.0.1 1 443\r\n";
    assert_eq!(status_after(header, &setup, &bridge).await, Some(200));
}

/// Two proxies in a row: the first names the client in a header, the second names the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_http_is_believed_from_a_named_client_that_is_trusted() {
    let setup = Setup::store().ingress(
        "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\nclient_address = \"forwarded\"\nallow = [\"192.0.2.7\"]\n",
    );
    let bridge = setup.start().await;
    for (first, status) in [("10.0.0.5", 200), ("203.0.113.5", 403)] {
        let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
        let post = post.with("forwarded", "for=192.0.2.7");
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let header = format!("PROXY TCP4 {first} 10.0.0.1 1 443\r\n");
        connection.send(header.as_bytes()).await.unwrap();
        connection.send(&post.bytes()).await.unwrap();
        let answer = connection.answer().await.unwrap().unwrap();
        assert_eq!(answer.status, status, "{first}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_not_configured_a_header_is_malformed_http() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for header in [&good()[0], &good()[4]] {
        let answered = status_after(header, &setup, &bridge).await;
        assert!(matches!(answered, None | Some(400)), "{answered:?}");
    }
    counted(&bridge, "head_malformed", 2.0).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
}

async fn over_tls(address: SocketAddr, header: &[u8], tls: &Tls) -> std::io::Result<Connection> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(header).await?;
    Ok(tls.over(socket).await?.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_comes_before_tls() {
    let authority = Authority::new();
    let pair = authority.vouches("IP:127.0.0.1", 2);
    let setup = proxied("127.0.0.1");
    let keys = format!(
        "{}[ingress.tls]\ncertificate_file = {pair:?}\nkey_file = {pair:?}\n",
        setup.ingress
    );
    let setup = setup.ingress(&keys);
    let bridge = setup.start().await;
    let tls = Tls::trusting(&authority.certificate());
    for header in good() {
        let connection = over_tls(bridge.ingress, &header, &tls).await;
        let mut connection = connection.unwrap();
        let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
        connection.send(&post.bytes()).await.unwrap();
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
    assert!(over_tls(bridge.ingress, b"", &tls).await.is_err());
    counted(&bridge, "proxy_header_malformed", 1.0).await;
    // The header, and then no TLS.
    assert_eq!(status_after(&good()[0], &setup, &bridge).await, None);
    let labels = [("reason", "not_tls")];
    bridge
        .shows("tls_handshake_failures_total", &labels, 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_turned_on_for_nobody_or_for_nonsense() {
    for (keys, path) in [
        ("proxy_protocol = true\n", "ingress.trusted_proxies: "),
        (
            "proxy_protocol = true\ntrusted_proxies = []\n",
            "ingress.trusted_proxies: ",
        ),
        (
            "trusted_proxies = [\"::1\", \"proxy.example\"]\n",
            "ingress.trusted_proxies[1]: ",
        ),
    ] {
        let (code, said) = Setup::store().ingress(keys).fails().await;
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(&format!("\n{path}")) && said.contains("; "),
            "{said}"
        );
    }
}
