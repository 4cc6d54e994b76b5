//! HTTP as senders and proxies speak it: offers to upgrade, connections opened ahead of their use,
//! paths written in other ways, load balancers. What means no harm is taken.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::eventually::eventually;
use crate::harness::delivery::{self, event};
use crate::harness::setup::SECRET;
use crate::harness::{Answer, Bridge, Connection, Post, Setup, unique};

/// How many deliveries go over a connection that must be kept.
const DELIVERIES: usize = 20;

fn delivery() -> String {
    event("sample.uploaded", "7428cca4a3a04a8e")
}

async fn answered(connection: &mut Connection) -> Answer {
    connection.answer().await.unwrap().expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_to_upgrade_are_ignored_and_the_connection_is_kept() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for (connection_header, upgrade) in [
        ("upgrade", None),
        ("Upgrade, HTTP2-Settings", Some("h2c")),
        ("keep-alive, Upgrade", Some("websocket")),
        ("keep-alive", Some("WebSocket")),
    ] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        for number in 0..DELIVERIES {
            let mut post =
                Post::signed(&setup.source, delivery()).with("Connection", connection_header);
            if let Some(upgrade) = upgrade {
                post = post.with("Upgrade", upgrade);
            }
            let bytes = if number % 2 == 0 {
                post.bytes()
            } else {
                post.chunked(100)
            };
            // Cut in two anywhere, as networks do.
            let (first, rest) = bytes.split_at(bytes.len() * (number + 1) / (DELIVERIES + 1));
            connection.send(first).await.unwrap();
            connection.send(rest).await.unwrap();
            let answer = answered(&mut connection).await;
            assert_eq!(
                answer.status, 200,
                "{connection_header}, {upgrade:?}: {answer:?}"
            );
            assert_eq!(answer.header("connection"), None);
        }
    }
    bridge.shows("deliveries_rejected_total", &[], 0.0).await;
}

/// One that stands behind another request's bytes is not seen in time; its sender is told that the
/// connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_behind_another_request_ends_the_connection_and_says_so() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let mut bytes = Post::signed(&setup.source, delivery()).bytes();
    let offer = Post::signed(&setup.source, delivery()).with("Connection", "upgrade");
    bytes.extend(offer.bytes());
    connection.send(&bytes).await.unwrap();
    assert_eq!(answered(&mut connection).await.status, 200);
    let answer = answered(&mut connection).await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(connection.closed().await);
}

/// Java's own client offers `h2c` with every request.
#[tokio::test(flavor = "multi_thread")]
async fn javas_client_loses_nothing() {
    const CLIENT: &str = include_str!("http_clients/Client.java");
    let setup = Setup::store();
    let bridge = setup.start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Client.java");
    std::fs::write(&file, CLIENT).unwrap();
    let mut client = Command::new("timeout");
    client
        .args(["120", "java"])
        .arg(&file)
        .arg(format!(
            "http://{}/webhooks/{}",
            bridge.ingress, setup.source
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut lines = String::new();
    for number in 0..300 {
        let body = delivery::numbered("sample.uploaded", "java", number).replace('\n', " ");
        let signature = delivery::signature(SECRET, delivery::now(), body.as_bytes());
        writeln!(lines, "{signature}\t{body}").unwrap();
    }
    let output = tokio::task::spawn_blocking(move || {
        let mut running = client.spawn().expect("Java runs Kafka too");
        let mut input = running.stdin.take().expect("piped");
        input.write_all(lines.as_bytes()).expect("it reads them");
        drop(input);
        running.wait_with_output().expect("it ends")
    })
    .await
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.lines().filter(|line| *line == "200").count(),
        300,
        "{text}"
    );
}

/// nginx, ended with this value, in front of a bridge: as it is usually set up for web sockets.
struct Nginx {
    running: Child,
    folder: tempfile::TempDir,
}

impl Nginx {
    fn before(bridge: &Bridge) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {here}/pid;\nevents {{}}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {here}/body;\nproxy_temp_path {here}/proxy;\n\
             fastcgi_temp_path {here}/fastcgi;\nuwsgi_temp_path {here}/uwsgi;\nscgi_temp_path {here}/scgi;\n\
             upstream bridge {{ server {}; keepalive 8; }}\n\
             server {{ listen unix:{here}/socket; keepalive_requests 10000; location / {{\n\
             proxy_pass http://bridge;\nproxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";\n}} }}\n}}\n",
            bridge.ingress
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let running = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .spawn()
            .expect("tests/run installs nginx");
        Self { running, folder }
    }

    async fn connect(&self) -> Connection {
        let socket = self.folder.path().join("socket");
        let stream = eventually("nginx listens", async || {
            UnixStream::connect(&socket).await.ok()
        })
        .await;
        Connection::over(stream)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_that_offers_an_upgrade_with_every_request_loses_nothing() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let nginx = Nginx::before(&bridge);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (mut connection, source) = (nginx.connect().await, setup.source.clone());
        senders.spawn(async move {
            for _ in 0..100 {
                let post = Post::signed(&source, delivery());
                connection.send(&post.bytes()).await.unwrap();
                let answer = answered(&mut connection).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
    }
    senders.join_all().await;
    bridge.shows("events_accepted_total", &[], 500.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_that_encodes_nothing_is_none() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for value in ["identity", "Identity", ""] {
        let post = Post::signed(&setup.source, delivery()).with("Content-Encoding", value);
        let answer = bridge.post(&post).await;
        assert_eq!(answer.status, 200, "{value:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equivalent_paths_lead_to_the_same_source() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let name = &setup.source;
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for path in [
        format!("/webhooks/{name}/"),
        format!("/webhooks/{encoded}"),
        format!("/web%68ooks/./{}/", encoded.to_lowercase()),
        format!("/webhooks/{name}?from=somewhere"),
    ] {
        let answer = bridge
            .post(&Post::signed(name, delivery()).path(&path))
            .await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let labels = [("source", name.as_str()), ("code", "200")];
    bridge.shows("http_requests_total", &labels, 4.0).await;
}

/// Clients and proxies open connections before they have something to send.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_opened_ahead_waits_for_its_first_request() {
    let setup = Setup::store().ingress("head_timeout = \"1s\"\n");
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    // Longer than a head may take, which is what this is about.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let post = Post::signed(&setup.source, delivery());
    connection.send(&post.bytes()).await.unwrap();
    assert_eq!(answered(&mut connection).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_says_anything_is_closed_without_a_word() {
    let setup = Setup::store().ingress("keep_alive = \"1s\"\n");
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    assert!(connection.closed().await, "no answer that nobody asked for");
    bridge.shows("http_connections", &[], 0.0).await;
    bridge.shows("deliveries_rejected_total", &[], 0.0).await;
    bridge.shows("http_requests_total", &[], 0.0).await;
}

/// What the head decides is said before the body is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_before_sending_is_refused_before_sending() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let signed = || Post::signed(&setup.source, delivery());
    let framing = "content-length: 100\r\nexpect: 100-continue\r\n";
    for (post, status, reason) in [
        (signed().path("/webhooks/nobody"), 404, "unknown_source"),
        (signed().method("PUT"), 405, "method_not_allowed"),
        (
            signed().with("content-encoding", "gzip"),
            415,
            "content_encoding",
        ),
        (Post::unsigned(&setup.source, ""), 400, "signature_missing"),
    ] {
        // The harness's `answer` skips a 100, so it is looked for in the bytes.
        let mut connection = TcpStream::connect(bridge.ingress).await.unwrap();
        connection.write_all(&post.head(framing)).await.unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains(reason) && !text.contains(" 100 "), "{text}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
    }
    bridge.counts("deliveries_rejected_total", &[], 4.0).await;
    bridge.shows("http_requests_in_flight", &[], 0.0).await;
}

/// A body in chunks need never end; who is answered before it holds no connection with it.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_never_end_hold_no_connection() {
    let mut setup = Setup::store().ingress("health_path = \"/healthz\"\n");
    setup.more = "[metrics]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let bridge = setup.start().await;
    let expect = Post::unsigned(&setup.source, "").with("expect", "100-continue");
    let health = Post::unsigned("x", "").method("GET").path("/healthz");
    for (post, status) in [(expect, 400), (health, 200)] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let head = post.head("transfer-encoding: chunked\r\n");
        connection.send(&head).await.unwrap();
        assert_eq!(answered(&mut connection).await.status, status);
        assert!(connection.closed().await, "{status}");
    }
    for at in [bridge.admin, bridge.metrics_listener.expect("it listens")] {
        let mut connection = Connection::open(at).await.unwrap();
        let request = bridge.operators_request("GET", "/livez");
        let request = request.replace("content-length: 0", "transfer-encoding: chunked");
        let request = request.replace("connection: close\r\n", "");
        connection.send(request.as_bytes()).await.unwrap();
        assert_eq!(answered(&mut connection).await.status, 413);
        assert!(connection.closed().await);
    }
    bridge.shows("http_connections", &[], 0.0).await;
}

/// A body that looks like a head is not touched, however the requests were cut.
#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_body_is_changed_behind_another_request() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let body = "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let mut bytes = Post::signed(&setup.source, delivery()).bytes();
    let next = Post::signed(&setup.source, body).bytes();
    let end_of_head = next.len() - body.len();
    // The first request, and of the second all but the line break that ends its head.
    bytes.extend(&next[..end_of_head - 2]);
    connection.send(&bytes).await.unwrap();
    assert_eq!(answered(&mut connection).await.status, 200);
    connection.send(&next[end_of_head - 2..]).await.unwrap();
    let answer = answered(&mut connection).await;
    assert_eq!(
        (answer.status, answer.outcome().as_str()),
        (200, "quarantined")
    );
}

/// Some senders end a body with a line break more, and go on later.
#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_behind_a_body_begin_no_head() {
    let setup = Setup::store().ingress("head_timeout = \"1s\"\nkeep_alive = \"4s\"\n");
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let mut bytes = Post::signed(&setup.source, delivery()).bytes();
    connection.send(&bytes).await.unwrap();
    assert_eq!(answered(&mut connection).await.status, 200);
    connection.send(b"\r\n").await.unwrap();
    // Longer than a head may take, which is what this is about.
    tokio::time::sleep(Duration::from_millis(2000)).await;
    bytes = Post::signed(&setup.source, delivery()).bytes();
    connection.send(&bytes).await.unwrap();
    assert_eq!(answered(&mut connection).await.status, 200);
    connection.send(b"\r\n").await.unwrap();
    assert!(connection.closed().await, "idle for longer than keep_alive");
    bridge.shows("deliveries_rejected_total", &[], 0.0).await;
}

/// Asking first does not count twice against the limit of an address.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_before_sending_counts_once() {
    let setup = Setup::store().ingress("rate_limit_per_address = 1\n");
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery()).with("expect", "100-continue");
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection.send(&post.bytes()).await.unwrap();
    assert_eq!(answered(&mut connection).await.status, 200);
    let again = bridge.post(&Post::signed(&setup.source, delivery())).await;
    assert_eq!(
        (again.status, again.reason().as_str()),
        (429, "address_rate_limited")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_is_told_whether_deliveries_are_taken() {
    let setup = Setup::store().ingress("health_path = \"/healthz\"\nallow = [\"192.0.2.1\"]\n");
    let bridge = setup.start().await;
    let ask = |method: &str| Post::unsigned("x", "").method(method).path("/healthz");
    for method in ["GET", "HEAD"] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(&ask(method).bytes()).await.unwrap();
        assert_eq!(answered(&mut connection).await.status, 200);
        // The connection is kept, as load balancers like it.
        connection.send(&ask("GET").bytes()).await.unwrap();
        assert_eq!(answered(&mut connection).await.status, 200);
    }
    let answer = bridge.post(&ask("POST")).await;
    assert_eq!(answer.reason(), "address_not_allowed");
    let checks = [("code", "200")];
    bridge.shows("http_health_checks_total", &checks, 4.0).await;
    bridge.shows("http_requests_total", &[], 1.0).await;
    bridge.shows("events_accepted_total", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_health_path_there_is_none() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let ask = Post::unsigned("x", "").method("GET").path("/healthz");
    assert_eq!(bridge.post(&ask).await.status, 404);
}

/// What cannot be carried on is left out, not replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_type_is_carried_on_as_it_is_or_left_out() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let long = format!("application/json; x={}", "y".repeat(300));
    for (sent, expected) in [
        (Some("text/plain"), Some("text/plain")),
        (Some(long.as_str()), None),
        (Some("text/\u{e9}"), None),
        (None, None),
    ] {
        let object = unique("typed");
        let mut post = Post::signed(&setup.source, event("sample.uploaded", &object));
        post.headers.retain(|(name, _)| name != "content-type");
        if let Some(sent) = sent {
            post = post.with("content-type", sent);
        }
        let answer = bridge.post(&post).await;
        assert_eq!(answer.status, 200, "{sent:?}: {answer:?}");
        bridge.drained().await;
        let path = format!("/topics/{}.sample.uploaded/events?limit=1000", setup.source);
        let events = bridge.ask(&path).await.text();
        let line = events
            .lines()
            .find(|line| line.contains(&object))
            .expect("it was delivered");
        let found: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            found["headers"]["content-type"].as_str(),
            expected,
            "{sent:?}"
        );
    }
}

/// The memory of all bodies together is bounded, whoever sends them and whether or not they are signed.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_memory_and_what_is_beyond_it_is_503() {
    let setup = Setup::store()
        .ingress("max_body = \"64KiB\"\nmax_body_memory = \"128KiB\"\nbody_timeout = \"30s\"\n");
    let bridge = setup.start().await;
    let large = |signature: &str| {
        Post::unsigned(&setup.source, vec![b' '; 60_000]).with(delivery::SIGNATURE, signature)
    };
    let signature = delivery::signature("another secret", delivery::now(), b"");
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let bytes = large(&signature).bytes();
        connection.send(&bytes[..bytes.len() - 1]).await.unwrap();
        holding.push(connection);
    }
    bridge
        .counts("http_body_bytes_in_flight", &[], 119_000.0)
        .await;
    // Announced alone, a body takes nothing.
    let mut waiting = Connection::open(bridge.ingress).await.unwrap();
    let last = large(&signature);
    waiting
        .send(&last.head("content-length: 60000\r\n"))
        .await
        .unwrap();
    let small = bridge.post(&Post::signed(&setup.source, delivery())).await;
    assert_eq!(small.status, 200, "{small:?}");
    waiting.send(&last.body).await.unwrap();
    let answer = answered(&mut waiting).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "overloaded")
    );
    assert!(answer.header("retry-after").is_some());
    drop(holding);
    bridge.shows("http_body_bytes_in_flight", &[], 0.0).await;
}
