//! A scrape holds up nobody: what the system has to be asked for, such as how many files are open, is
//! gathered where no delivery waits for it.

use std::time::{Duration, Instant};

use crate::harness::{Bridge, Connection, Copies, Load, Outlet, Report, Setup, Target, Verdict};

/// Senders that go on meanwhile, and how often.
const SENDERS: usize = 8;
const EVERY: Duration = Duration::from_millis(2);
/// The longest answer while the bridge is scraped without a pause, as far as a test should judge it.
const STALL: Duration = Duration::from_millis(250);
const SCRAPES: usize = 100;

/// Scrapes again and again while so many connections are open.
async fn scraped_with(idle: usize) -> (Bridge, Verdict, Duration, Duration) {
    let limit = hookferry::descriptors::raise_limit();
    assert!(limit > idle + 1000, "the system allows only {limit} files");
    let setup = Setup::store().ingress("head_timeout = \"120s\"\n");
    let bridge = setup.start().await;
    let mut open = Vec::with_capacity(idle);
    for _ in 0..idle {
        open.push(Connection::open(bridge.ingress).await.unwrap());
    }
    #[allow(clippy::cast_precision_loss, reason = "ten thousand")]
    let least = idle as f64;
    bridge.counts("http_connections", &[], least).await;
    let target = Target::new(bridge.ingress);
    let load = Load::paced(&target, &setup.source, (SENDERS, usize::MAX), EVERY);
    load.reaches(20 * SENDERS).await;
    let began = Instant::now();
    for _ in 0..SCRAPES {
        assert!(bridge.metrics().await.process("open_fds") >= least);
    }
    let scrape = began.elapsed() / u32::try_from(SCRAPES).unwrap();
    load.reaches(load.answered() + 20 * SENDERS).await;
    let journal = load.stop().await;
    let took = journal
        .attempts()
        .filter(|attempt| attempt.began >= began)
        .map(|attempt| attempt.took);
    let longest = took.max().expect("some were sent");
    let statuses: Vec<u16> = journal.statuses().into_keys().collect();
    assert_eq!(statuses, [200], "somebody was refused");
    let ids = journal.ids();
    let seen = Outlet::Store.has(&bridge, &setup.source, &ids).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    println!("{idle} connections: a scrape takes {scrape:?}, the longest answer {longest:?}");
    (bridge, verdict, scrape, longest)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_scrapes_of_a_bridge_with_many_connections_hold_up_nobody() {
    scraped_with(1000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: 10 000 connections, and a time"]
async fn row_34_scrapes_of_a_bridge_with_ten_thousand_connections_hold_up_nobody() {
    let (_bridge, verdict, scrape, longest) = scraped_with(10_000).await;
    assert!(longest < STALL, "an answer took {longest:?}");
    Report::row(34)
        .sink("store")
        .did(format!(
            "{SCRAPES} scrapes of {} ms each with 10 000 open connections: no answer took more than {} ms",
            scrape.as_millis(),
            longest.as_millis()
        ))
        .write(&verdict);
}
