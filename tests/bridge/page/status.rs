//! Is it well? One line says so, and where it is not, which sink it is and what to do.

use crate::harness::{Browser, Node, Post, Setup, Tab, event};

use super::{assert_content, look_at, store_and_kafka};

/// Where the link of what is wrong leads to.
async fn runbook(tab: &Tab) -> String {
    tab.comes_to("document.querySelector('#verdict a[href^=\"/runbook#\"]') !== null")
        .await;
    let href = tab
        .evaluate("document.querySelector('#verdict a[href^=\"/runbook#\"]').href")
        .await;
    href.as_str().unwrap().to_owned()
}

/// The link leads to a section of the runbook with this heading.
async fn assert_leads_to(browser: &Browser, url: &str, heading: &str) {
    let manual = browser.open(url).await;
    manual.shows("body", &[heading]).await;
    let pointed_at = manual
        .evaluate("document.getElementById(location.hash.slice(1))?.innerText ?? ''")
        .await;
    let pointed_at = pointed_at.as_str().unwrap();
    assert!(pointed_at.contains(heading), "{url}: {pointed_at}");
    assert_eq!(manual.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_is_named_with_its_runbook_until_it_is_back() {
    let mut node = Node::kafka().await;
    let setup = store_and_kafka(&node.brokers());
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    let (browser, tab) = look_at(&bridge).await;
    tab.shows("#verdict", &["All is well"]).await;

    node.kill();
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    tab.shows("#verdict", &["kafka"]).await;
    let said = tab.text("#verdict").await;
    assert!(!said.contains("All is well"), "{said}");
    assert_leads_to(&browser, &runbook(&tab).await, "A broker is down").await;

    node.restart().await;
    tab.shows("#verdict", &["All is well"]).await;
    bridge.drained().await;
    super::find(&tab, &id).await;
    tab.shows("#event", &["confirmed", "partition"]).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_turns_deliveries_away_is_not_called_well() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (browser, tab) = look_at(&bridge).await;
    tab.shows("#verdict", &["All is well"]).await;

    bridge.limit_files(Some(0));
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let answer = bridge.post(&post).await;
    assert_eq!(answer.status, 503);
    tab.hides("#verdict", "All is well").await;
    assert_leads_to(&browser, &runbook(&tab).await, "The spool's disk").await;
    tab.shows("#deliveries", &["refused", "503", &answer.reason()])
        .await;

    bridge.limit_files(None);
    tab.shows("#verdict", &["All is well"]).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
