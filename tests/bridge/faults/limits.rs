//! Limits that the system sets: open files and memory.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::bystander::Bystander;
use crate::harness::delivery::{event, now};
use crate::harness::{Bridge, Connection, MemoryGroup, Outlet, Post, Report, Setup};
use crate::order::proxied;

const MIB: usize = 1024 * 1024;

/// Senders that hold a connection for longer than others wait for one.
const CROWD: usize = 500;

async fn with_64_files(setup: Setup) -> Bystander {
    let bridge = Bridge::start_through(&["prlimit", "--nofile=64:64"], &setup.write()).await;
    Bystander::of(setup, bridge).await
}

/// Connects, and says nothing. The system completes the connections that the bridge does not take.
async fn crowd(bridge: &Bridge) -> Vec<Connection> {
    let mut crowd = Vec::with_capacity(CROWD);
    for _ in 0..CROWD {
        crowd.push(
            Connection::open(bridge.ingress)
                .await
                .expect("the queue holds them"),
        );
    }
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_senders_cannot_take_the_last_file() {
    let setup = Setup::store().ingress("head_timeout = \"30s\"\n");
    let bystander = with_64_files(setup).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    let warning = bridge
        .said("the limit on open files leaves")
        .expect("it is said");
    assert_eq!(
        (&warning["level"], &warning["limit"]),
        (&"WARN".into(), &64.into())
    );
    let most = bridge.metrics().await.sum("http_max_connections", &[]);
    assert!((4.0..40.0).contains(&most), "{most}");
    let crowd = crowd(bridge).await;
    bridge.shows("http_connections", &[], most).await;
    // The spool and the sink go on, and operators see it.
    bystander.get_on().await;
    let metrics = bridge.metrics().await;
    assert!((metrics.process("max_fds") - 64.0).abs() < f64::EPSILON);
    assert!(
        metrics.process("open_fds") < 60.0,
        "{}",
        metrics.process("open_fds")
    );
    assert_eq!(bridge.ask("/readyz").await.status, 200);
    drop(crowd);
    // Whoever comes now is served.
    bridge
        .accepted(&source, event("sample.uploaded", "late"))
        .await;
    let unharmed = bystander.unharmed(48.0 * 1024.0 * 1024.0).await;
    unharmed.bridge.shows("http_connections", &[], 0.0).await;
    unharmed.report(28, "500 connections where 64 files may be open");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: processor time, and a p99"]
async fn row_28_a_crowd_of_connections_costs_nothing() {
    let bystander = with_64_files(Setup::store().ingress("head_timeout = \"30s\"\n")).await;
    let crowd = crowd(&bystander.bridge).await;
    bystander.get_on().await;
    let unharmed = bystander
        .unharmed(48.0 * 1024.0 * 1024.0)
        .await
        .assert_as_fast();
    // Nobody sends any more, so whatever is done now is done for the crowd: a second of it.
    let before = unharmed.bridge.processor_time();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = unharmed.bridge.processor_time() - before;
    assert!(spent <= Duration::from_millis(100), "{spent:?} of a second");
    drop(crowd);
    unharmed.bridge.shows("http_connections", &[], 0.0).await;
}

/// A connection that breaks is made anew from the reserve.
#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_sink_connects_again_behind_a_crowd() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url).ingress("head_timeout = \"60s\"\n");
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let before = ["prlimit", "--nofile=64:64"];
    let bridge = Bridge::start_through(&before, &setup.write()).await;
    let mut honest = Connection::open(bridge.ingress).await.unwrap();
    let mut ids = Vec::new();
    let mut waiting = Vec::new();
    for round in 0..3 {
        let body = event("sample.uploaded", "behind");
        honest
            .send(&Post::signed(&setup.source, body).bytes())
            .await
            .unwrap();
        let answer = honest.answer().await.unwrap().expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        ids.push(answer.id());
        outlet.has(&bridge, &setup.source, &ids).await;
        if round == 0 {
            waiting = crowd(&bridge).await;
        }
        proxy.cut();
        bridge.shows("sink_connected", &[], 0.0).await;
        proxy.restore();
        bridge.shows("sink_connected", &[], 1.0).await;
    }
    bridge.counts("sink_reconnects_total", &[], 3.0).await;
    let open = bridge.metrics().await.process("open_fds");
    assert!(open < 64.0, "{open}");
    drop(waiting);
}

fn serve_under(limit: &str, setup: &Setup) -> Output {
    Command::new("prlimit")
        .arg(format!("--nofile={limit}"))
        .arg(env!("CARGO_BIN_EXE_hookferry"))
        .args(["serve", "--config"])
        .arg(setup.write())
        .output()
        .expect("prlimit is there")
}

#[test]
fn row_28_a_limit_that_leaves_nothing_is_refused_with_a_remedy() {
    let output = serve_under("40:40", &Setup::store());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("LimitNOFILE=") && said.contains("40 files"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_the_bridge_raises_its_own_limit() {
    let setup = Setup::store();
    let before = ["prlimit", "--nofile=64:2048"];
    let bridge = Bridge::start_through(&before, &setup.write()).await;
    let limit = bridge.metrics().await.process("max_fds");
    assert!((limit - 2048.0).abs() < f64::EPSILON, "{limit}");
}

/// An event of a size.
fn padded(size: usize, object: &str) -> Vec<u8> {
    let mut body = event("sample.uploaded", object).into_bytes();
    body.resize(size, b' ');
    body
}

/// Sends as fast as it can; returns how many were answered 200 and how many 503.
async fn flood(
    bridge: &Bridge,
    source: &str,
    (senders, each): (usize, usize),
    size: usize,
) -> (usize, usize) {
    let mut flood = JoinSet::new();
    for sender in 0..senders {
        let (to, source) = (bridge.ingress, source.to_owned());
        flood.spawn(async move {
            let mut counts = (0, 0);
            for _ in 0..each {
                let post = Post::signed(&source, padded(size, &format!("flood{sender}")));
                match post.to(to).await.expect("an answer").status {
                    200 => counts.0 += 1,
                    503 => counts.1 += 1,
                    other => panic!("{other} is neither 200 nor 503"),
                }
            }
            counts
        });
    }
    let (mut kept, mut refused) = (0, 0);
    while let Some(ended) = flood.join_next().await {
        let counts = ended.expect("no panic inside");
        kept += counts.0;
        refused += counts.1;
    }
    (kept, refused)
}

/// A broker that is not there: the spool fills up, to a bound.
fn stuffed() -> Setup {
    Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f").spool("max_size = \"32MiB\"\n")
}

async fn assert_full(bridge: &Bridge, (kept, refused): (usize, usize)) {
    assert!(kept > 0 && refused > 0, "{kept} kept, {refused} refused");
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("rabbitmq");
    assert!(metrics.sum("spool_bytes", &[]) <= metrics.sum("spool_max_bytes", &[]));
    assert!(metrics.sum("deliveries_refused_total", &[("reason", "spool_full")]) > 0.0);
    assert!(metrics.sum("panics_total", &[]).abs() < f64::EPSILON);
}

/// Without a control group, which needs root: the most memory it ever had is what is measured.
#[tokio::test(flavor = "multi_thread")]
async fn row_31_a_flood_fills_bounded_queues() {
    let setup = stuffed();
    let bridge = setup.start().await;
    let counts = flood(&bridge, &setup.source, (16, 10), MIB / 2).await;
    assert_full(&bridge, counts).await;
    let peak = bridge.peak_memory_bytes();
    assert!(peak <= 160 * MIB as u64, "{peak} bytes at the peak");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a control group, which needs root"]
async fn row_31_a_flood_within_a_memory_limit_ends_in_200_or_503() {
    let group = MemoryGroup::limited(192 * MIB);
    let setup = stuffed();
    let bridge = group.start(&setup).await;
    let counts = flood(&bridge, &setup.source, (48, 40), MIB).await;
    assert_full(&bridge, counts).await;
    let peak = bridge.peak_memory_bytes() as usize / MIB;
    bridge.stop().await;
    Report::row(31)
        .did(format!(
            "48 senders of 40 bodies of 1 MiB each, within a control group of 192 MiB: 200 and 503 only, {peak} MiB at the peak"
        ))
        .held();
}

/// The smallest limit on memory, in MiB, that a shipped configuration sets itself.
fn shipped_limit_mib() -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes");
    let files = [
        "base/statefulset.yaml",
        "overlays/stateless/deployment.yaml",
    ];
    let limits = files.map(|file| {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let limit = text.split("limits: { memory: ").nth(1).expect("a limit");
        let limit = limit.split_once(" }").unwrap().0;
        let (number, mib) = match limit.strip_suffix("Gi") {
            Some(number) => (number, 1024),
            None => (limit.strip_suffix("Mi").expect("a unit"), 1),
        };
        number.parse::<usize>().unwrap() * mib
    });
    limits.into_iter().min().unwrap()
}

/// Sends all of a body but its last byte, until the bridge has enough of it.
async fn nearly_all(to: std::net::SocketAddr, bytes: Arc<[u8]>) -> Option<Connection> {
    let mut connection = Connection::open(to).await.expect("there is room");
    let sent = connection.send(&bytes[..bytes.len() - 1]).await;
    sent.is_ok().then_some(connection)
}

/// Nobody has proven anything yet, and all of it is in memory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: 2 GB of bodies, which other tests would wait behind"]
async fn row_31_slow_senders_of_large_bodies_stay_within_the_shipped_limit() {
    const SENDERS: usize = 2000;
    let files = hookferry::descriptors::raise_limit();
    assert!(
        files > SENDERS + 100,
        "the system allows only {files} open files"
    );
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed_with(&setup.source, vec![b' '; MIB], "another secret", now());
    let (bytes, mut senders) = (Arc::from(post.bytes()), JoinSet::new());
    for _ in 0..SENDERS {
        senders.spawn(nearly_all(bridge.ingress, Arc::clone(&bytes)));
    }
    let held = senders.join_all().await;
    bridge
        .counts("deliveries_refused_total", &[("reason", "overloaded")], 1.0)
        .await;
    drop(held);
    bridge.shows("http_body_bytes_in_flight", &[], 0.0).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "honest"))
        .await;
    let peak = bridge.peak_memory_bytes() as usize / MIB;
    let limit = shipped_limit_mib();
    assert!(peak <= limit * 3 / 4, "{peak} of {limit} MiB");
    Report::row(31)
        .did(format!(
            "{SENDERS} slow senders of 1 MiB each, nothing of it proven: {peak} MiB at the peak with the default limits, where {limit} MiB is the smallest limit that is shipped"
        ))
        .held();
}
