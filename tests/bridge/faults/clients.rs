//! Clients that hold connections, send what is no request, or send too much of it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::bystander::{Bystander, Unharmed};
use crate::harness::{Bridge, Connection, Post, Setup, delivery};

const MIB: f64 = 1024.0 * 1024.0;
/// Between two bytes of a slow sender. The deadlines of these tests are 1 s.
const TRICKLE: Duration = Duration::from_millis(100);

fn impatient() -> Setup {
    Setup::store().ingress("head_timeout = \"1s\"\nbody_timeout = \"1s\"\nkeep_alive = \"3s\"\n")
}

/// Sends what there is at once, then the rest a byte at a time, until the bridge has enough of it.
/// Returns the status it was answered with, if any.
async fn trickle(bridge: std::net::SocketAddr, at_once: Vec<u8>, rest: Vec<u8>) -> Option<u16> {
    let mut connection = Connection::open(bridge).await.expect("there is room");
    connection.send(&at_once).await.expect("it listens");
    for byte in rest {
        // How slow a sender is is the point here.
        tokio::time::sleep(TRICKLE).await;
        if connection.send(&[byte]).await.is_err() {
            break;
        }
    }
    let status = connection.answer().await.ok().flatten();
    status.map(|answer| answer.status)
}

/// Many slow senders at once: how often each status came.
async fn slow_senders(bridge: &Bridge, count: usize, source: &str) {
    let body = delivery::event("sample.uploaded", "slow");
    let bytes = Post::signed(source, body).bytes();
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let mut senders = JoinSet::new();
    for number in 0..count {
        let (to, bytes) = (bridge.ingress, bytes.clone());
        // A head, a body, and nothing at all.
        let at = [10, head + 2, 0][number % 3];
        let rest = if at == 0 {
            Vec::new()
        } else {
            bytes[at..].to_vec()
        };
        senders.spawn(async move { (number % 3, trickle(to, bytes[..at].to_vec(), rest).await) });
    }
    while let Some(ended) = senders.join_next().await {
        let (kind, status) = ended.expect("no panic inside");
        // A sender that still sends may find the connection reset instead of an answer.
        assert!(
            matches!(status, None | Some(408)),
            "kind {kind}: {status:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_slow_senders_are_cut_off_and_hold_nobody_up() {
    let bystander = Bystander::start(impatient()).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    slow_senders(bridge, 60, &source).await;
    let head = [("source", "unknown"), ("reason", "head_timeout")];
    bridge.shows("deliveries_rejected_total", &head, 20.0).await;
    let body = [("source", source.as_str()), ("reason", "body_timeout")];
    bridge.shows("deliveries_rejected_total", &body, 20.0).await;
    bridge
        .counts("http_requests_total", &[("code", "408")], 40.0)
        .await;
    let unharmed = bystander.unharmed(64.0 * MIB).await;
    unharmed.bridge.shows("http_connections", &[], 0.0).await;
    unharmed.report(20, "60 senders that trickle a head, a body, or nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_slow_head_after_a_good_delivery_is_cut_off_too() {
    let setup = impatient();
    let bridge = setup.start().await;
    let body = || delivery::event("sample.uploaded", "slow");
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    for _ in 0..2 {
        let post = Post::signed(&setup.source, body());
        connection.send(&post.bytes()).await.unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(answer.status, 200);
    }
    connection.send(b"POST /web").await.unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_eq!(answer.status, 408);
    assert!(connection.closed().await);
    let labels = [("source", "unknown"), ("reason", "head_timeout")];
    bridge
        .shows("deliveries_rejected_total", &labels, 1.0)
        .await;
    bridge.shows("http_connections", &[], 0.0).await;
}

/// One that is between two deliveries is not in the middle of a head: `keep_alive` is its deadline.
#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_pause_between_deliveries_is_no_slow_head() {
    let setup = impatient();
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    for _ in 0..2 {
        let body = delivery::event("sample.uploaded", "patient");
        connection
            .send(&Post::signed(&setup.source, body).bytes())
            .await
            .unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(answer.status, 200);
        // Longer than a head may take, which is what this is about.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    bridge
        .shows("deliveries_rejected_total", &[("source", "unknown")], 0.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: 10 000 connections, and a p99"]
async fn row_20_ten_thousand_idle_connections_hold_nobody_up() {
    const IDLE: usize = 10_000;
    let limit = hookferry::descriptors::raise_limit();
    assert!(
        limit > 2 * IDLE - 1000,
        "the system allows only {limit} open files"
    );
    // Not one may be cut off before all are there.
    let setup = Setup::store().ingress("head_timeout = \"60s\"\n");
    let bystander = Bystander::start(setup).await;
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(Connection::open(bystander.bridge.ingress).await.unwrap());
    }
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    bystander
        .bridge
        .counts("http_connections", &[], IDLE as f64)
        .await;
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        bystander.get_on().await;
    }
    let unharmed = bystander.unharmed(512.0 * MIB).await.assert_as_fast();
    unharmed.report(20, "10 000 idle connections");
    drop(idle);
    unharmed.bridge.shows("http_connections", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a p99"]
async fn row_20_a_thousand_slow_senders_hold_nobody_up() {
    let bystander = Bystander::start(impatient()).await;
    let source = bystander.setup.source.clone();
    for _ in 0..3 {
        slow_senders(&bystander.bridge, 999, &source).await;
    }
    let unharmed = bystander.unharmed(256.0 * MIB).await.assert_as_fast();
    unharmed.report(
        20,
        "3 × 999 senders that trickle a head, a body, or nothing",
    );
}

/// What is wrong with a request, its bytes, the bytes that follow until the bridge hangs up, and
/// the reason it is counted with.
struct Oversize {
    what: &'static str,
    bytes: Vec<u8>,
    endless: Vec<u8>,
    reason: &'static str,
}

fn oversizes(source: &str) -> Vec<Oversize> {
    let post = || Post::signed(source, delivery::event("sample.uploaded", "big"));
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let of = |what, bytes, endless: &[u8], reason| Oversize {
        what,
        bytes,
        endless: endless.to_vec(),
        reason,
    };
    let both = "content-length: 5\r\ntransfer-encoding: chunked\r\n";
    let long = post().with("x-long", &"a".repeat(128 * 1024));
    vec![
        of(
            "a huge body",
            post().head("content-length: 1000000000\r\n"),
            &[b' '; 0x10000],
            "body_too_large",
        ),
        of(
            "endless chunks",
            post().head("transfer-encoding: chunked\r\n"),
            &chunk,
            "body_too_large",
        ),
        of(
            "a length of 20 digits",
            post().head("content-length: 99999999999999999999\r\n"),
            b" ",
            "head_malformed",
        ),
        of(
            "a length and chunks",
            post().head(both),
            b" ",
            "head_malformed",
        ),
        of("a head of 128 KiB", long.bytes(), b" ", "head_too_large"),
        of(
            "an endless head",
            b"POST / HTTP/1.1\r\nx: ".to_vec(),
            &[b'a'; 0x4000],
            "head_too_large",
        ),
        of(
            "no HTTP",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            b" ",
            "head_malformed",
        ),
    ]
}

/// Sends it all, and more, until the bridge hangs up.
async fn overwhelm(bridge: std::net::SocketAddr, oversize: &Oversize) {
    let mut connection = Connection::open(bridge).await.expect("there is room");
    let began = Instant::now();
    let _ = connection.send(&oversize.bytes).await;
    while connection.send(&oversize.endless).await.is_ok() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{}: the connection is still open",
            oversize.what
        );
        tokio::task::yield_now().await;
    }
}

async fn overwhelms(rounds: usize) -> Bystander {
    let bystander = Bystander::start(Setup::store()).await;
    let (bridge, source) = (&bystander.bridge, &bystander.setup.source);
    for round in 0..rounds {
        for oversize in oversizes(source) {
            let at_once = (0..4).map(|_| overwhelm(bridge.ingress, &oversize));
            futures_util::future::join_all(at_once).await;
            let labels = [("reason", oversize.reason)];
            let least = 4.0 * f64::from(u32::try_from(round + 1).unwrap());
            bridge
                .counts("deliveries_rejected_total", &labels, least)
                .await;
        }
    }
    let metrics = bridge.metrics().await;
    let all = metrics.sum("deliveries_rejected_total", &[]);
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let sent = (4 * rounds * oversizes(source).len()) as f64;
    assert!(
        (all - sent).abs() < f64::EPSILON,
        "{all} of {sent} are counted"
    );
    bystander
}

/// So many senders of a body of 1 MiB whose signature is wrong: each sends all but its last byte, as far
/// as it is let, and waits. They hang up when this is dropped.
fn unproven(bystander: &Bystander, count: usize) -> JoinSet<()> {
    let signature = delivery::signature("another secret", delivery::now(), b"");
    let body = vec![b' '; 1 << 20];
    let post = Post::unsigned(&bystander.setup.source, body).with(delivery::SIGNATURE, &signature);
    let bytes = Arc::new(post.bytes());
    let to = bystander.bridge.ingress;
    let mut senders = JoinSet::new();
    for _ in 0..count {
        let bytes = Arc::clone(&bytes);
        senders.spawn(async move {
            let mut connection = Connection::open(to).await.expect("there is room");
            // One that is refused before its end may find the connection reset.
            let _ = connection.send(&bytes[..bytes.len() - 1]).await;
            std::future::pending().await
        });
    }
    senders
}

async fn floods(count: usize) -> Bystander {
    // The rest is for small bodies, such as those of the others.
    const FOR_LARGE: f64 = 57.0 * MIB;
    let setup = Setup::store().ingress("max_body_memory = \"64MiB\"\nbody_timeout = \"60s\"\n");
    let bystander = Bystander::start(setup).await;
    let senders = unproven(&bystander, count);
    let bridge = &bystander.bridge;
    let overloaded = [("reason", "overloaded")];
    bridge
        .counts("deliveries_refused_total", &overloaded, 1.0)
        .await;
    bystander.get_on().await;
    let held = bridge.metrics().await.sum("http_body_bytes_in_flight", &[]);
    assert!((MIB..=FOR_LARGE).contains(&held), "{held} bytes");
    drop(senders);
    bystander
}

/// Beside the bodies' own 64 MiB: the buffers of the connections, and what the allocator keeps for a
/// while of the memory of those that were refused.
const FLOODED_MIB: f64 = 512.0;

fn report_flood(count: usize, unharmed: &Unharmed) {
    let grown = unharmed.grown_mib();
    unharmed.report(
        48,
        &format!("{count} senders of 1 MiB without a right signature, 64 MiB of memory for bodies; the bridge grew by {grown:.0} MiB at most"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn row_48_bodies_without_a_right_signature_are_bounded_in_bytes() {
    let unharmed = floods(200).await.unharmed(FLOODED_MIB * MIB).await;
    let bytes = "http_body_bytes_in_flight";
    unharmed.bridge.shows(bytes, &[], 0.0).await;
    report_flood(200, &unharmed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: 2,000 connections"]
async fn row_48_two_thousand_large_bodies_without_a_right_signature_are_bounded_too() {
    let limit = hookferry::descriptors::raise_limit();
    assert!(limit > 5000, "the system allows only {limit} open files");
    let unharmed = floods(2000).await.unharmed(FLOODED_MIB * MIB).await;
    report_flood(2000, &unharmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_what_is_too_large_or_lies_is_never_kept_in_memory() {
    let bystander = overwhelms(1).await;
    let unharmed = bystander.unharmed(48.0 * MIB).await;
    unharmed.report(
        21,
        "bodies and heads that are too large, endless or contradict themselves",
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a p99"]
async fn row_21_what_is_too_large_or_lies_slows_nobody() {
    let bystander = overwhelms(20).await;
    let unharmed = bystander.unharmed(48.0 * MIB).await.assert_as_fast();
    unharmed.report(
        21,
        "20 rounds of bodies and heads that are too large, endless or contradict themselves",
    );
}

/// A length that is too short leaves bytes behind that are the next request, and no good one; one
/// that is too long leaves the body unfinished.
#[tokio::test(flavor = "multi_thread")]
async fn row_21_a_wrong_length_is_never_accepted() {
    let setup = impatient();
    let bridge = setup.start().await;
    let post = || Post::signed(&setup.source, delivery::event("sample.uploaded", "liar"));
    let body = post().body;
    for (length, hangs_up, reason) in [
        (body.len() - 10, false, "signature_mismatch"),
        (body.len() + 10, true, "body_truncated"),
        (body.len() + 10, false, "body_timeout"),
    ] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let mut bytes = post().head(&format!("content-length: {length}\r\n"));
        bytes.extend_from_slice(&body);
        connection.send(&bytes).await.unwrap();
        if hangs_up {
            connection.finish().await.unwrap();
        }
        let labels = [("source", setup.source.as_str()), ("reason", reason)];
        bridge
            .shows("deliveries_rejected_total", &labels, 1.0)
            .await;
    }
    bridge.shows("events_accepted_total", &[], 0.0).await;
}

/// Later requests of a connection are no exception.
#[tokio::test(flavor = "multi_thread")]
async fn row_21_what_is_malformed_behind_a_good_delivery_is_counted() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let good = || Post::signed(&setup.source, delivery::event("sample.uploaded", "first"));
    let labels = [("source", "unknown"), ("reason", "head_malformed")];
    // Once after the answer, and once in the same breath.
    for (number, at_once) in [(1.0, false), (2.0, true)] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let mut bytes = good().bytes();
        if at_once {
            bytes.extend_from_slice(b"garbage\r\n\r\n");
        }
        connection.send(&bytes).await.unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(answer.status, 200);
        if !at_once {
            connection.send(b"garbage\r\n\r\n").await.unwrap();
        }
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (400, 0));
        assert!(connection.closed().await);
        bridge
            .shows("deliveries_rejected_total", &labels, number)
            .await;
    }
    bridge.shows("events_accepted_total", &[], 2.0).await;
}

/// Who hangs up in the middle of a head is counted; who only looks whether the port is open is not.
#[tokio::test(flavor = "multi_thread")]
async fn row_21_half_a_head_is_counted_and_a_look_at_the_port_is_not() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    drop(Connection::open(bridge.ingress).await.unwrap());
    let mut half = Connection::open(bridge.ingress).await.unwrap();
    half.send(b"POST /webhooks/").await.unwrap();
    drop(half);
    let labels = [("source", "unknown"), ("reason", "head_truncated")];
    bridge
        .shows("deliveries_rejected_total", &labels, 1.0)
        .await;
    bridge.shows("http_connections", &[], 0.0).await;
    bridge.shows("deliveries_rejected_total", &[], 1.0).await;
}

/// 256 MiB of zeros, as small as gzip makes them.
fn bomb() -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["-9", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is there");
    let mut zeros = gzip.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        let block = vec![0; 1 << 20];
        for _ in 0..256 {
            zeros.write_all(&block).expect("gzip reads");
        }
    });
    let bomb = gzip.wait_with_output().expect("gzip ends").stdout;
    writer.join().expect("no panic inside");
    bomb
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_a_gzip_bomb_is_turned_away_unread() {
    let bystander = Bystander::start(Setup::store()).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    let bomb = tokio::task::spawn_blocking(bomb).await.unwrap();
    assert!(bomb.len() < 1 << 20, "within the limit of a body");
    for encoding in ["gzip", "x-gzip", "gzip, gzip", "identity, gzip"] {
        let post = Post::signed(&source, bomb.clone()).with("content-encoding", encoding);
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        // The head alone: the answer must not wait for more.
        let head = post.head(&format!("content-length: {}\r\n", bomb.len()));
        connection.send(&head).await.unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (415, "content_encoding")
        );
        let _ = connection.send(&bomb).await;
    }
    let labels = [("source", source.as_str()), ("reason", "content_encoding")];
    bridge
        .shows("deliveries_rejected_total", &labels, 4.0)
        .await;
    let unharmed = bystander.unharmed(32.0 * MIB).await;
    unharmed.report(22, "256 MiB of zeros as gzip");
}
