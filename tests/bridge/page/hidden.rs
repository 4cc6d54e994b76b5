//! A page that nobody sees costs nothing: no connection, no request, no timer.

use crate::eventually::eventually;
use crate::harness::{Bridge, Setup, Tab, event};

use super::{assert_content, look_at};

/// The connections to the operators' listener, as the kernel counts them: those that are established
/// and have this local port.
fn connections(bridge: &Bridge) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let port = format!(":{:04X}", bridge.admin.port());
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        local.is_some_and(|local| local.ends_with(&port)) && state == Some("01")
    };
    table.lines().filter(is_one).count()
}

/// Seconds that are known to have gone by: as many states were told to somebody else.
async fn seconds(bridge: &Bridge, count: usize) {
    let request = bridge.operators_request("GET", "/live");
    let stream = crate::harness::EventStream::open(bridge.admin, &request);
    let mut stream = stream.await.unwrap();
    for _ in 0..count {
        stream.next().await.expect("it goes on");
    }
}

/// How often it has begun to watch.
fn streams(tab: &Tab) -> usize {
    let requests = tab.requests();
    requests.iter().filter(|url| url.contains("/live")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_tab_asks_for_nothing_and_goes_on_when_it_is_seen_again() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    assert!(connections(&bridge) > 0);
    tab.minimise().await;
    tab.shows("#connection", &["paused"]).await;
    // The stream is closed; the browser keeps other connections for a while, unused.
    let (asked, opened) = (tab.requests().len(), streams(&tab));
    bridge
        .accepted(&setup.source, event("sample.uploaded", "meanwhile"))
        .await;
    seconds(&bridge, 6).await;
    assert_eq!(tab.requests().len(), asked, "{:?}", tab.requests());
    let list = tab.text("#deliveries").await;
    assert!(!list.contains("meanwhile"), "{list}");
    eventually("no connection is left that is used", async || {
        (connections(&bridge) == 0).then_some(())
    })
    .await;

    tab.restore().await;
    tab.shows("#connection", &["live"]).await;
    tab.shows("#deliveries", &["meanwhile"]).await;
    assert_eq!(streams(&tab), opened + 1);
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
