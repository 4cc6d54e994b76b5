//! What is lost and found: a reload, a connection, the bridge itself. It is said, and gone on from.

use crate::harness::{Bridge, Setup, event};

use super::{assert_content, at_one_port, find, look_at, with_one_event};

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_shows_what_was_looked_at() {
    let (_setup, bridge, id) = with_one_event().await;
    let (browser, tab) = look_at(&bridge).await;
    find(&tab, &id).await;
    tab.shows("#event", &["confirmed", "position 1"]).await;
    tab.reload().await;
    tab.shows("#event", &["confirmed", "position 1"]).await;
    // Its address can be handed on.
    let handed_on = browser.open(&tab.url().await).await;
    handed_on
        .shows("#event", &["confirmed", "position 1"])
        .await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_ends_is_missed_and_its_restart_is_said() {
    let setup = Setup::store();
    let config = at_one_port(&setup);
    let bridge = Bridge::start(&config).await;
    let before = bridge
        .accepted(&setup.source, event("sample.uploaded", "sent-before"))
        .await;
    bridge.drained().await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.shows("#deliveries", &["sent-before"]).await;
    bridge.kill();
    tab.shows("#connection", &["connection lost at", "trying again"])
        .await;
    let bridge = Bridge::start(&config).await;
    tab.shows("#connection", &["the bridge was restarted at"])
        .await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "sent-after"))
        .await;
    tab.shows("#deliveries", &["sent-after"]).await;
    for id in [id, before] {
        find(&tab, &id).await;
        tab.shows("#event", &[&id]).await;
    }
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_frozen_is_missed_and_gone_on_with() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    // Its connections stay open, and nothing comes.
    bridge.signal("STOP");
    tab.shows("#connection", &["connection lost at"]).await;
    bridge.signal("CONT");
    tab.shows("#connection", &["live"]).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "afterwards"))
        .await;
    tab.shows("#deliveries", &["afterwards"]).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_away_is_said_and_what_it_was_asked_for() {
    let (_setup, bridge, id) = with_one_event().await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.offline(true).await;
    find(&tab, &id).await;
    tab.reads("#event", "that nothing could be asked", |text| {
        !text.contains("confirmed") && text.contains("cannot be reached")
    })
    .await;
    tab.offline(false).await;
    find(&tab, &id).await;
    tab.shows("#event", &["confirmed", "position 1"]).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
