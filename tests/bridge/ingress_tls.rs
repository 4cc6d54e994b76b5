//! TLS on the public listener: who gets through, who does not and is counted, and certificates that
//! are renewed while deliveries come in.

mod files;

use std::path::{Path, PathBuf};

use tokio::net::TcpStream;
use tokio_rustls::rustls::version;

use crate::eventually::eventually;
use crate::harness::delivery::event;
use crate::harness::outlet::store_topic;
use crate::harness::tls::certificates;
use crate::harness::{Authority, Bridge, Connection, Load, Post, Setup, Target, Tls};

const DAYS: i32 = 2;
const HERE: &str = "IP:127.0.0.1";

/// A bridge's files, at places of their own, so that others can take their places.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    clients: PathBuf,
}

impl Files {
    /// Puts a certificate and its key, which are in one file, into their places.
    fn renew(&self, pair: &Path) {
        std::fs::copy(pair, &self.certificate).unwrap();
        std::fs::copy(pair, &self.key).unwrap();
    }
}

/// A bridge with this certificate; `more` are keys of the table.
fn encrypted(pair: &Path, more: &str) -> (Setup, Files) {
    let setup = Setup::store();
    let files = Files {
        certificate: setup.path("bridge.crt"),
        key: setup.path("bridge.key"),
        clients: setup.path("clients.crt"),
    };
    files.renew(pair);
    let table = format!(
        "head_timeout = \"1s\"\n[ingress.tls]\ncertificate_file = {:?}\nkey_file = {:?}\n{more}",
        files.certificate, files.key
    );
    (setup.ingress(&table), files)
}

/// The same, which asks senders for certificates of this authority.
fn asking(pair: &Path, clients: &Authority, more: &str) -> (Setup, Files) {
    let (mut setup, files) = encrypted(pair, more);
    std::fs::copy(clients.certificate(), &files.clients).unwrap();
    setup
        .ingress
        .push_str(&format!("client_ca_file = {:?}\n", files.clients));
    (setup, files)
}

/// One signed delivery over this connection: its status; none where there was no answer.
async fn status(setup: &Setup, tls: &Tls, bridge: &Bridge) -> Option<u16> {
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let mut connection = tls.open(bridge.ingress).await.ok()?;
    connection.send(&post.bytes()).await.ok()?;
    let answer = connection.answer().await.ok()??;
    Some(answer.status)
}

/// A client may open a connection, and even shake hands, before it has something to send.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_opened_ahead_waits_for_its_handshake_and_for_its_first_request() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let tls = Tls::trusting(&authority.certificate());
    let mut shaken = tls.open(bridge.ingress).await.unwrap();
    let silent = tokio::net::TcpStream::connect(bridge.ingress)
        .await
        .unwrap();
    // Longer than a head or a handshake may take, which is what this is about.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let (mut late, _) = tls.over(silent).await.unwrap();
    for connection in [&mut shaken, &mut late] {
        connection.send(&post.bytes()).await.unwrap();
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
    bridge.shows("tls_handshake_failures_total", &[], 0.0).await;
}

async fn counted(bridge: &Bridge, reason: &str, count: f64) {
    let labels = [("reason", reason)];
    bridge
        .shows("tls_handshake_failures_total", &labels, count)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_delivery_arrives_over_both_versions() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let ca = authority.certificate();
    for version in [&version::TLS12, &version::TLS13] {
        let tls = Tls::in_version(&ca, version);
        assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    }
    bridge.drained().await;
    let topic = format!("{}.sample.uploaded", setup.source);
    assert_eq!(store_topic(&bridge, &topic).await.len(), 2);
    let metrics = bridge.metrics().await;
    assert_eq!(metrics.sum("tls_handshake_failures_total", &[]), 0.0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_deliveries() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let tls = Tls::trusting(&authority.certificate());
    let mut connection = tls.open(bridge.ingress).await.unwrap();
    for size in [10, 100_000, 900_000] {
        let body = event("sample.uploaded", "a").replace("gr", &"g".repeat(size));
        let post = Post::signed(&setup.source, body);
        connection.send(&post.bytes()).await.unwrap();
        let answer = connection.answer().await.unwrap().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // A rejection over TLS looks like any other, and ends the connection in the same way.
    let wrong = Post::unsigned(&setup.source, event("sample.uploaded", "a"));
    connection.send(&wrong.bytes()).await.unwrap();
    let answer = connection.answer().await.unwrap().unwrap();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (400, "signature_missing")
    );
    assert!(connection.closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_may_come_with_those_that_vouch_for_it() {
    let root = Authority::new();
    let between = root.vouches_for_authority();
    let pair = between.vouches(HERE, DAYS);
    let (setup, files) = encrypted(&pair, "");
    let chain = [&pair, &between.certificate()].map(|file| std::fs::read(file).unwrap());
    std::fs::write(&files.certificate, chain.concat()).unwrap();
    let bridge = setup.start().await;
    let tls = Tls::trusting(&root.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    // Its own end counts, not that of the others.
    let labels = [("component", "ingress"), ("file", "certificate_file")];
    let end = root.expiry_of(&pair);
    let name = "tls_certificate_expiry_timestamp_seconds";
    bridge.shows(name, &labels, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_does_not_trust_the_bridge_says_so_and_is_counted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let stranger = Tls::trusting(&other.certificate());
    assert_eq!(status(&setup, &stranger, &bridge).await, None);
    counted(&bridge, "server_certificate", 1.0).await;
    let elsewhere = Tls::trusting(&authority.certificate()).calling("elsewhere.test");
    assert_eq!(status(&setup, &elsewhere, &bridge).await, None);
    counted(&bridge, "server_certificate", 2.0).await;
    let tls = Tls::trusting(&authority.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_senders_with_a_good_certificate_get_through_where_it_is_required() {
    let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let (setup, _) = asking(&authority.vouches(HERE, DAYS), &clients, "");
    let bridge = setup.start().await;
    let ca = authority.certificate();
    let good = clients.vouches("DNS:sender.test", DAYS);
    assert_eq!(
        status(&setup, &Tls::showing(&ca, &good), &bridge).await,
        Some(200)
    );
    let bad = [
        Tls::trusting(&ca),
        Tls::showing(&ca, &other.vouches("DNS:sender.test", DAYS)),
        Tls::showing(&ca, &clients.vouches("DNS:sender.test", -1)),
    ];
    for (tls, count) in bad.iter().zip([1.0, 2.0, 3.0]) {
        assert_eq!(status(&setup, tls, &bridge).await, None);
        counted(&bridge, "client_certificate", count).await;
    }
    let labels = [("component", "ingress"), ("file", "client_ca_file")];
    let name = "tls_certificate_expiry_timestamp_seconds";
    bridge.shows(name, &labels, clients.expiry()).await;
    let labels = [("source", setup.source.as_str()), ("code", "200")];
    bridge.shows("http_requests_total", &labels, 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_certificate_may_be_left_out_but_not_be_wrong() {
    let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let optional = "client_certificates = \"optional\"\n";
    let (setup, _) = asking(&authority.vouches(HERE, DAYS), &clients, optional);
    let bridge = setup.start().await;
    let ca = authority.certificate();
    let good = Tls::showing(&ca, &clients.vouches("DNS:sender.test", DAYS));
    for tls in [Tls::trusting(&ca), good] {
        assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    }
    let wrong = Tls::showing(&ca, &other.vouches("DNS:sender.test", DAYS));
    assert_eq!(status(&setup, &wrong, &bridge).await, None);
    counted(&bridge, "client_certificate", 1.0).await;
}

/// A ClientHello of TLS 1.1, and of nothing newer.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, one cipher suite, no compression.
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut bytes = vec![
        22,
        3,
        1,
        0,
        hello.len() as u8 + 4,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    bytes.extend(hello);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_modern_tls_is_counted_by_its_reason() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let plain = Post::signed(&setup.source, event("sample.uploaded", "a")).bytes();
    let broken = [22, 3, 3, 0, 4, 1, 2, 3, 4].to_vec();
    for (bytes, reason) in [
        (plain, "not_tls"),
        (b"\x80\x2e\x01\x00\x02".to_vec(), "not_tls"),
        (hello_of_tls_1_1(), "incompatible"),
        (broken, "other"),
    ] {
        let before = bridge.metrics().await;
        let before = before.sum("tls_handshake_failures_total", &[("reason", reason)]);
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(&bytes).await.unwrap();
        counted(&bridge, reason, before + 1.0).await;
        assert!(connection.is_over().await, "{reason}");
    }
    // Half a hello, and gone.
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection.send(&hello_of_tls_1_1()[..20]).await.unwrap();
    drop(connection);
    counted(&bridge, "abandoned", 1.0).await;
    // Nobody who only looks whether the port is open is a failure.
    drop(Connection::open(bridge.ingress).await.unwrap());
    let tls = Tls::trusting(&authority.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    let total = bridge.metrics().await;
    assert_eq!(total.sum("tls_handshake_failures_total", &[]), 5.0);
    bridge.shows("http_connections", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handshake_is_cut_off_and_nobody_waits_for_it() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let mut slow = Vec::new();
    for length in [1, 20] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection
            .send(&hello_of_tls_1_1()[..length])
            .await
            .unwrap();
        slow.push(connection);
    }
    // They count as connections while they last.
    bridge.shows("http_connections", &[], 2.0).await;
    let tls = Tls::trusting(&authority.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    counted(&bridge, "timeout", 2.0).await;
    for connection in &mut slow {
        assert!(connection.is_over().await);
    }
    bridge.shows("http_connections", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_count_towards_the_most_connections() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    // Few files, and so few connections.
    let through = ["prlimit", "--nofile=64:64"];
    let bridge = Bridge::start_through(&through, &setup.write()).await;
    let most = bridge.metrics().await.sum("http_max_connections", &[]);
    assert!((4.0..40.0).contains(&most), "{most}");
    let mut held = Vec::new();
    for _ in (1..=40_u8).take_while(|count| f64::from(*count) <= most) {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(&hello_of_tls_1_1()[..1]).await.unwrap();
        held.push(connection);
    }
    bridge.shows("http_connections", &[], most).await;
    // The next waits in the system's queue until the handshakes have had their time.
    let tls = Tls::trusting(&authority.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    let metrics = bridge.metrics().await;
    assert!(metrics.sum("tls_handshake_failures_total", &[("reason", "timeout")]) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_stops_does_not_wait_for_handshakes() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let keys = setup.ingress.replace("\"1s\"", "\"60s\"");
    let setup = setup.ingress(&keys);
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection.send(&hello_of_tls_1_1()[..20]).await.unwrap();
    bridge.shows("http_connections", &[], 1.0).await;
    let began = std::time::Instant::now();
    bridge.stop().await;
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
    assert!(connection.is_over().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_under_load_without_a_gap() {
    let authority = Authority::new();
    let pair = |_| authority.vouches(HERE, DAYS);
    let pairs: Vec<PathBuf> = (0..4).map(pair).collect();
    let (setup, files) = encrypted(&pairs[0], "");
    let bridge = setup.start().await;
    let tls = Tls::trusting(&authority.certificate());
    let kept = Target::new(bridge.ingress).by(&tls);
    let fresh = kept.clone().anew();
    let loads = [
        Load::endless(&kept, &setup.source, 4),
        Load::endless(&fresh, &setup.source, 4),
    ];
    for (count, pair) in pairs.iter().enumerate().skip(1) {
        for load in &loads {
            load.reaches(load.answered() + 50).await;
        }
        // A handshake under way ends with the certificate it began with.
        let before = tls.shown(bridge.ingress).await.unwrap();
        assert_eq!(before, certificates(&pairs[count - 1])[0]);
        files.renew(pair);
        bridge.signal("HUP");
        eventually("the new certificate is shown", async || {
            let shown = tls.shown(bridge.ingress).await.unwrap();
            (shown == certificates(pair)[0]).then_some(())
        })
        .await;
    }
    for load in &loads {
        load.reaches(load.answered() + 50).await;
    }
    for load in loads {
        let journal = load.stop().await;
        let refused = journal.attempts().filter(|it| it.status != Some(200));
        assert_eq!(refused.count(), 0);
        assert!(journal.0.len() >= 200, "{}", journal.0.len());
    }
    let metrics = bridge.metrics().await;
    assert_eq!(metrics.sum("tls_handshake_failures_total", &[]), 0.0);
    assert_eq!(metrics.sum("config_last_reload_successful", &[]), 1.0);
    let labels = [("component", "ingress"), ("file", "certificate_file")];
    let end = authority.expiry_of(&pairs[3]);
    let name = "tls_certificate_expiry_timestamp_seconds";
    bridge.shows(name, &labels, end).await;
}

/// What began before a reload ends as it began, even if nothing has been said yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_under_way_ends_with_the_certificate_it_began_with() {
    let authority = Authority::new();
    let [old, new] = [(); 2].map(|()| authority.vouches(HERE, DAYS));
    let (setup, files) = encrypted(&old, "");
    let keys = setup.ingress.replace("\"1s\"", "\"30s\"");
    let setup = setup.ingress(&keys);
    let bridge = setup.start().await;
    let tls = Tls::trusting(&authority.certificate());
    let begun = TcpStream::connect(bridge.ingress).await.unwrap();
    bridge.shows("http_connections", &[], 1.0).await;
    files.renew(&new);
    bridge.signal("HUP");
    eventually("the new certificate is shown", async || {
        let shown = tls.shown(bridge.ingress).await.unwrap();
        (shown == certificates(&new)[0]).then_some(())
    })
    .await;
    let (mut connection, shown) = tls.over(begun).await.unwrap();
    assert_eq!(shown, certificates(&old)[0]);
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    connection.send(&post.bytes()).await.unwrap();
    let answer = connection.answer().await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What never becomes a request is counted over TLS as it is without.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_broken_heads_are_counted_over_tls_too() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let tls = Tls::trusting(&authority.certificate());
    for (bytes, hangs_up, reason) in [
        (
            &b"POST /webhooks/x HTTP/1.1\r\nhost: a\r\nx: "[..],
            false,
            "head_timeout",
        ),
        (
            b"POST /webhooks/x HTTP/1.1\r\nhost: a\r\nx: ",
            true,
            "head_truncated",
        ),
        (b"\0\0\0\r\n\r\n", false, "head_malformed"),
    ] {
        let mut connection = tls.open(bridge.ingress).await.unwrap();
        connection.send(bytes).await.unwrap();
        if hangs_up {
            drop(connection);
        } else {
            assert!(connection.is_over().await, "{reason}");
        }
        let labels = [("source", "unknown"), ("reason", reason)];
        bridge
            .shows("deliveries_rejected_total", &labels, 1.0)
            .await;
    }
    // The head of a later request has its time too.
    let mut connection = tls.open(bridge.ingress).await.unwrap();
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    connection.send(&post.bytes()).await.unwrap();
    assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    connection.send(b"POST /web").await.unwrap();
    assert!(connection.is_over().await);
    let labels = [("source", "unknown"), ("reason", "head_timeout")];
    bridge
        .shows("deliveries_rejected_total", &labels, 2.0)
        .await;
    bridge.shows("http_connections", &[], 0.0).await;
}

/// An open connection goes on though its sender's authority is trusted no more; a new one does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_senders_authority_is_renewed_for_new_connections() {
    let (authority, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let (setup, files) = asking(&authority.vouches(HERE, DAYS), &old, "");
    let bridge = setup.start().await;
    let ca = authority.certificate();
    let [by_old, by_new] = [&old, &new].map(|clients| {
        let identity = clients.vouches("DNS:sender.test", DAYS);
        Tls::showing(&ca, &identity)
    });
    let mut open = by_old.open(bridge.ingress).await.unwrap();
    assert_eq!(status(&setup, &by_new, &bridge).await, None);
    std::fs::copy(new.certificate(), &files.clients).unwrap();
    bridge.signal("HUP");
    eventually("the new authority counts", async || {
        (status(&setup, &by_new, &bridge).await == Some(200)).then_some(())
    })
    .await;
    // It has spoken before, so that a session could be resumed, and must not be.
    assert_eq!(status(&setup, &by_old, &bridge).await, None);
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    open.send(&post.bytes()).await.unwrap();
    assert_eq!(open.answer().await.unwrap().unwrap().status, 200);
    // Nobody is asked any more, and the file that nobody names expires no more.
    let text = setup.text().replace("client_ca_file", "# client_ca_file");
    std::fs::write(setup.path("hookferry.toml"), text).unwrap();
    bridge.signal("HUP");
    eventually("nobody is asked", async || {
        let status = status(&setup, &Tls::trusting(&ca), &bridge).await;
        (status == Some(200)).then_some(())
    })
    .await;
    let name = "tls_certificate_expiry_timestamp_seconds";
    let labels = [("component", "ingress"), ("file", "client_ca_file")];
    assert_eq!(bridge.metrics().await.sum_or_zero(name, &labels), 0.0);
}
