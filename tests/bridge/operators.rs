//! Who may look: the operators' listener asks for a token, goes by its own names, takes a change from
//! no form, and answers probes and scrapes whatever its readers do.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::eventually::eventually;
use crate::harness::setup::ADMIN_TOKEN;
use crate::harness::{Answer, Bridge, Connection, Report, Setup, event};

/// A setup whose operators' listener is on every address.
pub fn everywhere(setup: &Setup) -> String {
    let (here, text) = ("[admin]\nlisten = \"127.0.0.1:0\"", setup.text());
    assert!(text.contains(here), "{text}");
    text.replace(here, "[admin]\nlisten = \"0.0.0.0:0\"")
}

/// Starts a bridge with this configuration, and asks its operators' listener on loopback.
pub async fn start(setup: &Setup, text: &str) -> Bridge {
    let config = setup.path("hookferry.toml");
    std::fs::write(&config, text).unwrap();
    let mut bridge = Bridge::start(&config).await;
    bridge.admin.set_ip(Ipv4Addr::LOCALHOST.into());
    bridge
}

/// Has a changed configuration read again, and waits until it is in force. Nothing is asked for meanwhile:
/// too many wrong tokens would not be looked at.
pub async fn take_over(bridge: &Bridge) {
    let taken_over = || bridge.log().matches("is in force").count();
    let before = taken_over();
    bridge.signal("HUP");
    eventually("the new token is taken over", async || {
        (taken_over() > before).then_some(())
    })
    .await;
}

/// Asks with these headers and no others.
pub async fn ask(at: SocketAddr, line: &str, headers: &[(&str, &str)]) -> Answer {
    let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut connection = Connection::open(at).await.unwrap();
    connection.send(text.as_bytes()).await.unwrap();
    connection.answer().await.unwrap().expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_nobody_looks_without_the_token() {
    let setup = Setup::store();
    let config = setup.path("hookferry.toml");
    std::fs::write(&config, everywhere(&setup)).unwrap();
    let (code, said) = crate::harness::setup::ends(&config).await;
    assert_eq!(code, Some(2), "{said}");
    for part in ["admin.token: ", "not loopback", "[metrics] listen"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }

    let token = format!("token = {{ file = {:?} }}\n", setup.path("token"));
    let setup = setup.admin(&token);
    let bridge = start(&setup, &everywhere(&setup)).await;
    let host = bridge.admin.to_string();
    let right = format!("Bearer {ADMIN_TOKEN}");
    for path in ["/livez", "/readyz", "/metrics", "/topics", "/spool", "/no"] {
        let line = format!("GET {path}");
        let answer = ask(bridge.admin, &line, &[("host", &host)]).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (401, "token_missing".into())
        );
        let demanded = answer.header("www-authenticate");
        assert_eq!(demanded, Some("Bearer realm=\"hookferry\""));
        // No more of them in all than an address may show in a minute.
        let wrong = ["Bearer a-token-of-nobodys", "Basic YTph", "", ADMIN_TOKEN];
        let count = if path == "/livez" { wrong.len() } else { 1 };
        for wrong in &wrong[..count] {
            let headers = [("host", host.as_str()), ("authorization", wrong)];
            let answer = ask(bridge.admin, &line, &headers).await;
            assert_eq!(
                (answer.status, answer.reason()),
                (401, "wrong_token".into())
            );
        }
        let headers = [("host", host.as_str()), ("authorization", right.as_str())];
        let answer = ask(bridge.admin, &line, &headers).await;
        let expected = if path == "/no" { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{path}");
    }
    assert!(!bridge.log().contains(ADMIN_TOKEN));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_under_another_name_is_not_answered() {
    let setup = Setup::store().admin("hosts = [\"bridge.example.com\"]\n");
    let bridge = setup.start().await;
    let port = bridge.admin.port();
    let with_port = |host: &str| format!("{host}:{port}");
    for (host, status) in [
        ("localhost".to_owned(), 200),
        (with_port("localhost"), 200),
        (with_port("127.0.0.1"), 200),
        (with_port("[::1]"), 200),
        (with_port("Bridge.Example.com"), 200),
        (with_port("rebound.example.net"), 421),
        ("localhost.example.net".to_owned(), 421),
        ("192.0.2.1".to_owned(), 421),
    ] {
        for path in ["/livez", "/metrics", "/dead-letters"] {
            let answer = ask(bridge.admin, &format!("GET {path}"), &[("host", &host)]).await;
            assert_eq!(answer.status, status, "{host} {path}");
            if status == 421 {
                assert_eq!(answer.reason(), "foreign_host");
                let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains("admin.hosts"), "{detail}");
            }
        }
    }
    // The name in the target counts, and what a proxy is said to have seen does not.
    let headers = [("host", "localhost"), ("x-forwarded-host", "localhost")];
    let answer = ask(
        bridge.admin,
        "GET http://rebound.example.net/livez",
        &headers,
    )
    .await;
    assert_eq!(answer.status, 421);
    let headers = [("host", "rebound.example.net"), headers[1]];
    assert_eq!(ask(bridge.admin, "GET /livez", &headers).await.status, 421);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_changes_nothing() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let from = ("origin", "https://evil.example.net");
    for (line, let_through) in [
        ("POST /dead-letters/1-store/requeue", 404),
        ("DELETE /dead-letters/1-store", 404),
        ("DELETE /spool/sinks/store", 409),
    ] {
        let host = ("host", "localhost");
        let answer = ask(bridge.admin, line, &[host, form, from]).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (403, "header_missing".into()),
            "{line}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("X-Hookferry-Request"), "{detail}");
        let ours = ("x-hookferry-request", "1");
        let answer = ask(bridge.admin, line, &[host, ours]).await;
        assert_eq!(answer.status, let_through, "{line}");
    }
    // A script would have to be given leave, and is not.
    let asks = ("access-control-request-headers", "x-hookferry-request");
    let answer = ask(
        bridge.admin,
        "OPTIONS /dead-letters/1-store",
        &[("host", "localhost"), from, asks],
    )
    .await;
    assert!(answer.status >= 400);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    bridge.stop().await;
}

/// All that comes back, byte for byte.
async fn raw(at: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let mut setup = Setup::store();
    setup.more = "[metrics]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let bridge = setup.start().await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    assert!(!id.is_empty());
    bridge.drained().await;
    let topic = format!("/topics/{}.sample.uploaded/events", setup.source);
    let paths = [
        "/livez",
        "/readyz",
        "/metrics",
        "/topics",
        &topic,
        "/spool",
        "/spool/events",
        "/spool/events/7",
        "/dead-letters",
        "/dead-letters/7-store",
        "/topics/none/events",
    ];
    let of_metrics = bridge.metrics_listener.expect("it listens");
    let asked = paths.iter().map(|path| (bridge.admin, *path));
    for (at, path) in asked.chain(paths[..3].iter().map(|path| (of_metrics, *path))) {
        let parts = |answer: &str| {
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            let lines = head.lines().filter(|line| {
                let line = line.to_ascii_lowercase();
                // Numbers that change between the two may be longer.
                let numbers = ["/metrics", "/spool"].contains(&path);
                let varies = numbers && line.starts_with("content-length: ");
                !line.starts_with("date: ") && !varies
            });
            (lines.map(str::to_owned).collect::<Vec<_>>(), body.len())
        };
        let (get, body) = parts(&raw(at, "GET", path).await);
        let (head, nothing) = parts(&raw(at, "HEAD", path).await);
        assert_eq!(get, head, "{path}");
        assert!(body > 0 && nothing == 0, "{path}: {body}, {nothing}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_for_metrics_needs_no_token_and_shows_metrics_and_health_alone() {
    let setup = Setup::store();
    let token = format!("token = {{ file = {:?} }}\n", setup.path("token"));
    let mut setup = setup.admin(&token);
    setup.more = "[metrics]\nlisten = \"0.0.0.0:0\"\n".to_owned();
    let bridge = start(&setup, &everywhere(&setup)).await;
    let at = bridge.metrics_listener.expect("it listens");
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, at.port()));
    // As Prometheus and a kubelet call it: by whatever name leads there.
    let host = ("host", "hookferry:8082");
    for (path, text) in [
        ("/livez", "live"),
        ("/readyz", "ready"),
        ("/metrics", "hookferry_build_info"),
    ] {
        let answer = ask(at, &format!("GET {path}"), &[host]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
    }
    let ours = ("x-hookferry-request", "1");
    for line in [
        "GET /topics",
        "GET /spool",
        "GET /spool/events",
        "GET /dead-letters",
        "DELETE /spool/sinks/store",
        "DELETE /dead-letters/1-store",
        "POST /dead-letters/1-store/requeue",
        "POST /livez",
    ] {
        assert_eq!(ask(at, line, &[host, ours]).await.status, 404, "{line}");
    }
    bridge.stop().await;
}

/// A reader that waits for an event as long as one may.
async fn reader(at: SocketAddr) -> Connection {
    let mut connection = Connection::open(at).await.unwrap();
    let request = format!("GET /topics/none/events?wait=60 HTTP/1.1\r\nhost: {at}\r\n\r\n");
    connection.send(request.as_bytes()).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn row_47_readers_that_wait_keep_no_probe_out_and_one_that_hangs_up_frees_its_place() {
    let setup = Setup::store();
    // Few files, and so few connections: more than twelve readers may not wait.
    let through = ["prlimit", "--nofile=200:200"];
    let bridge = Bridge::start_through(&through, &setup.write()).await;
    let mut readers = Vec::new();
    let refused = eventually("no more readers may wait", async || {
        readers.push(reader(bridge.admin).await);
        let answer = bridge.ask("/topics/none/events?wait=1").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(
        (refused.status, refused.reason()),
        (503, "too_many_readers".into())
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Many more come, and come to nothing.
    let mut others = Vec::new();
    for _ in 0..300 {
        others.push(reader(bridge.admin).await);
    }
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    for path in ["/livez", "/readyz", "/metrics", "/spool"] {
        assert_eq!(bridge.ask(path).await.status, 200, "{path}");
    }
    // Who does not wait is no such reader.
    assert_eq!(bridge.ask("/topics/none/events").await.status, 404);
    drop(others);
    // Long before the minute is over that it would have waited.
    drop(readers.remove(0));
    eventually("its place is free", async || {
        let answer = bridge.ask("/topics/none/events?wait=1").await;
        (answer.status == 200).then_some(())
    })
    .await;
    // The rest of them are no reason to stop any later.
    bridge.stop().await;
    drop(readers);
    Report::row(47)
        .did("300 readers that wait for an event, where twelve may: deliveries, probes and `SIGTERM` meanwhile")
        .held();
}

/// A token changes like every other secret, and is not lost by a mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_over_a_new_token_and_does_not_open_the_listener() {
    let setup = Setup::store();
    let keys = format!("token = {{ file = {:?} }}\n", setup.path("token"));
    let setup = setup.admin(&keys);
    let bridge = setup.start().await;
    let (host, next) = (bridge.admin.to_string(), "the-next-token-of-the-tests");
    let status = async |token: Option<&str>| {
        let shown = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("host", host.as_str())];
        headers.extend(shown.as_deref().map(|shown| ("authorization", shown)));
        ask(bridge.admin, "GET /livez", &headers).await.status
    };
    assert_eq!(status(Some(ADMIN_TOKEN)).await, 200);
    std::fs::write(setup.path("token"), next).unwrap();
    take_over(&bridge).await;
    assert_eq!(status(Some(next)).await, 200);
    assert_eq!(status(Some(ADMIN_TOKEN)).await, 401);
    // Without the key, on loopback, the file is good; but what was closed stays closed.
    let text = setup.text();
    std::fs::write(setup.path("hookferry.toml"), text.replace(&keys, "")).unwrap();
    bridge.signal("HUP");
    let warning = eventually("it says that a restart is needed", async || {
        bridge.said("these keys have changed too")
    })
    .await;
    assert_eq!(warning["keys"], "admin.token");
    assert_eq!((status(None).await, status(Some(next)).await), (401, 200));
    bridge.stop().await;
}
