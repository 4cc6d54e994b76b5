//! `health`, as a container's engine runs it: what it says, its exit code, and how soon.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{Setup, run};
use crate::harness::{Connection, free_port};
use crate::{eventually::eventually, harness};

#[test]
fn health_says_ready_and_live() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let said = run(&["health", "--url", &served.admin]).with_code(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("ready\n", ""));
    let said = run(&["health", "--live", "--url", &format!("{}/", served.admin)]).with_code(0);
    assert_eq!(said.out, "live\n");
}

#[test]
fn health_finds_a_bridge_that_listens_everywhere_by_its_configuration_even_one_spoilt_since() {
    let setup = Setup::with_store();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let token = setup.path("token");
    std::fs::write(&token, "a-token-of-the-operators").unwrap();
    for everywhere in ["0.0.0.0", "[::]"] {
        let listen = format!("{everywhere}:{}", free_port());
        let named = text.replace(
            "admin.listen = \"127.0.0.1:0\"",
            &format!(
                "admin.listen = \"${{NOT_SET_HERE:-{listen}}}\"\nadmin.token = {{ file = {token:?} }}"
            ),
        );
        assert_ne!(named, text);
        std::fs::write(setup.config(), &named).unwrap();
        let served = setup.serve();
        let said = run(&["health", "--config", &setup.config()]).with_code(0);
        assert_eq!(said.out, "ready\n");
        std::fs::remove_file(setup.secret()).unwrap();
        std::fs::write(
            setup.config(),
            format!("no_such_key = \"${{NONE}}\"\n{named}"),
        )
        .unwrap();
        run(&["check", "--config", &setup.config()]).with_code(2);
        run(&["health", "--config", &setup.config()]).with_code(0);
        drop(served);
        std::fs::write(setup.secret(), super::SECRET).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_why_a_bridge_is_not_ready() {
    // Nothing ends by a deadline here, however slow the machine: requests under way get half of the
    // time for the stop, and the held one has as long for its body.
    let setup = harness::Setup::rabbitmq("amqp://127.0.0.1:1")
        .top("shutdown_timeout = \"120s\"")
        .ingress("body_timeout = \"60s\"")
        .spool("max_events = 1");
    let mut bridge = setup.start().await;
    let admin = format!("http://{}", bridge.admin);
    bridge
        .accepted(&setup.source, harness::event("sample.uploaded", "a"))
        .await;
    let health = ["health", "--timeout", "60s", "--url", &admin];
    eventually("the spool is full", async || {
        let said = run(&health);
        (said.out == "unready: spool_full\n").then(|| said.with_code(1))
    })
    .await;
    run(&["health", "--live", "--timeout", "60s", "--url", &admin]).with_code(0);
    // A request that has begun and does not end holds up the stop.
    let mut held = Connection::open(bridge.ingress).await.unwrap();
    let post = harness::Post::signed(&setup.source, "not yet here");
    held.send(&post.head("content-length: 12\r\n"))
        .await
        .unwrap();
    bridge.shows("http_requests_in_flight", &[], 1.0).await;
    bridge.signal("TERM");
    eventually("it drains", async || {
        let said = run(&health);
        (said.out == "unready: draining\n").then(|| said.with_code(1))
    })
    .await;
    drop(held);
    bridge.ended().await;
    let said = run(&health).with_code(1);
    assert!(
        said.err.contains("the bridge does not answer"),
        "{}",
        said.err
    );
}

/// What is there, and is no bridge: each is a failure with one line, and soon.
#[test]
fn health_is_not_kept_waiting_and_not_fooled() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("http://{}", mute.local_addr().unwrap());
    let encrypted = mute.replace("http:", "https:");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let setup = Setup::with_store();
    let served = setup.serve();
    let spoilt = setup.path("spoilt.toml").display().to_string();
    std::fs::write(
        &spoilt,
        "admin.listen = \"nowhere\"\n[ingress]\nlisten = 1\n",
    )
    .unwrap();
    for (arguments, expected) in [
        (["--url", &mute], "the bridge does not answer"),
        (["--url", &encrypted], "the bridge does not answer"),
        (["--url", &nobody], "the bridge does not answer"),
        // The public listener knows no such page.
        (
            [
                "--url",
                served.webhook.trim_end_matches("/webhooks/onecodex"),
            ],
            "which is not a bridge's answer",
        ),
        (["--url", "no-url"], "the bridge does not answer"),
        (["--config", "/no/such/file.toml"], "cannot be read"),
        (["--config", &spoilt], "admin.listen: "),
        (["--config", &setup.config()], "port 0"),
    ] {
        let began = Instant::now();
        let said = run(&["health", "--timeout", "300ms", arguments[0], arguments[1]]).with_code(1);
        assert!(began.elapsed() < Duration::from_secs(5), "{arguments:?}");
        assert!(said.err.contains(expected), "{arguments:?}: {}", said.err);
        assert_eq!(
            (said.out.as_str(), said.err.lines().count()),
            ("", 1),
            "{}",
            said.err
        );
    }
    run(&["health"]).with_code(2);
}
