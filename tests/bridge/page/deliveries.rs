//! The last deliveries: they appear by themselves, are filtered by each of their fields, and stand still
//! while somebody reads.

use crate::harness::delivery::now;
use crate::harness::{Bridge, Post, Setup, Tab, event};

use super::{assert_content, look_at};

/// What stands in the list, a delivery each.
const ROWS: &str = "#deliveries tbody tr";

/// A bridge that was sent one delivery of each kind, and what became of them.
struct Sent {
    setup: Setup,
    bridge: Bridge,
    accepted: String,
    quarantined: String,
}

impl Sent {
    async fn start() -> Self {
        let setup = Setup::store();
        let bridge = setup.start().await;
        let body = event("sample.uploaded", "7428cca4a3a04a8e");
        let accepted = bridge.accepted(&setup.source, body.as_str()).await;
        let again = bridge.post(&Post::signed(&setup.source, body)).await;
        assert_eq!(again.outcome(), "duplicate");
        let odd = bridge.post(&Post::signed(&setup.source, "odd")).await;
        assert_eq!(odd.outcome(), "quarantined");
        let body = event("analysis.failed", "495d7e4c16934e12");
        let forged = Post::signed_with(&setup.source, body, "another secret", now());
        assert_eq!(bridge.post(&forged).await.status, 401);
        Self {
            setup,
            bridge,
            accepted,
            quarantined: odd.id(),
        }
    }
}

/// Waits until the list has as many deliveries, each with all of this.
async fn lists(tab: &Tab, count: usize, parts: &[&str]) {
    let what = format!("{count} deliveries with {parts:?} and no others");
    crate::eventually::eventually(&what, async || {
        let rows = tab.texts(ROWS).await;
        let is_so = |row: &String| parts.iter().all(|part| row.contains(part));
        (rows.len() == count && rows.iter().all(is_so)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_appear_by_themselves_with_answer_and_reason() {
    let sent = Sent::start().await;
    let (_browser, tab) = look_at(&sent.bridge).await;
    let source = sent.setup.source.as_str();
    // Those from before it was opened.
    lists(&tab, 4, &[]).await;
    for parts in [
        [
            source,
            "sample.uploaded",
            "7428cca4a3a04a8e",
            "accepted",
            "200",
        ],
        [
            source,
            "sample.uploaded",
            "7428cca4a3a04a8e",
            "duplicate",
            "200",
        ],
        [source, "", "", "quarantined", "200"],
        ["", "", "rejected", "signature_mismatch", "401"],
    ] {
        let rows = tab.texts(ROWS).await;
        let is_it = |row: &&String| parts.iter().all(|part| row.contains(part));
        assert_eq!(rows.iter().filter(is_it).count(), 1, "{parts:?}: {rows:#?}");
    }
    // And one that nobody asked for again.
    let asked = |tab: &Tab| {
        let requests = tab.requests().into_iter();
        requests
            .filter(|url| url.contains("/live") || url.contains("/deliveries"))
            .count()
    };
    let before = asked(&tab);
    let body = event("analysis.succeeded", "0011223344556677");
    sent.bridge.accepted(source, body).await;
    tab.shows(
        ROWS,
        &["analysis.succeeded", "0011223344556677", "accepted"],
    )
    .await;
    assert_eq!(asked(&tab), before);
    // What nobody signed is not listed as if it were true.
    let rows = tab.texts(ROWS).await.join("\n");
    assert!(!rows.contains("495d7e4c16934e12"), "{rows}");
    assert_content(&tab, &sent.bridge);
    sent.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_lists_what_it_asks_for_and_nothing_else() {
    let sent = Sent::start().await;
    let (_browser, tab) = look_at(&sent.bridge).await;
    let source = sent.setup.source.as_str();
    lists(&tab, 4, &[]).await;
    for (label, wanted, count, part) in [
        ("Outcome", "accepted", 1, "accepted"),
        ("Outcome", "duplicate", 1, "duplicate"),
        ("Outcome", "quarantined", 1, "quarantined"),
        ("Outcome", "rejected", 1, "signature_mismatch"),
        ("Event type", "sample.uploaded", 2, "sample.uploaded"),
        ("Object id", "7428cca4a3a04a8e", 2, "7428cca4a3a04a8e"),
        ("Event id", &sent.accepted, 2, "sample.uploaded"),
        ("Event id", &sent.quarantined, 1, "quarantined"),
        ("Source", source, 4, ""),
    ] {
        tab.fill_in("#deliveries", label, wanted).await;
        lists(&tab, count, &[part]).await;
        tab.click_in("#deliveries", "button", "Clear filters").await;
        lists(&tab, 4, &[]).await;
    }
    // Several at once, also for what comes, and after a reload.
    tab.fill_in("#deliveries", "Outcome", "accepted").await;
    tab.fill_in("#deliveries", "Event type", "analysis.failed")
        .await;
    lists(&tab, 0, &[]).await;
    for (event_type, object) in [("sample.uploaded", "a"), ("analysis.failed", "b")] {
        sent.bridge
            .accepted(source, event(event_type, object))
            .await;
    }
    lists(&tab, 1, &["analysis.failed", "accepted"]).await;
    tab.reload().await;
    lists(&tab, 1, &["analysis.failed", "accepted"]).await;
    assert_content(&tab, &sent.bridge);
    sent.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_the_list_and_resuming_shows_what_came_meanwhile() {
    let sent = Sent::start().await;
    let (_browser, tab) = look_at(&sent.bridge).await;
    lists(&tab, 4, &[]).await;
    tab.click_in("#deliveries", "button", "Pause").await;
    let before = tab.texts(ROWS).await;
    for number in 0..3 {
        let object = format!("meanwhile{number}");
        let body = event("sample.uploaded", &object);
        sent.bridge.accepted(&sent.setup.source, body).await;
    }
    // Everything else goes on.
    tab.shows("#flow-picture", &["accepted 5"]).await;
    tab.shows("#deliveries", &["3 came meanwhile"]).await;
    assert_eq!(tab.texts(ROWS).await, before);
    tab.click_in("#deliveries", "button", "Resume").await;
    lists(&tab, 7, &[]).await;
    assert_content(&tab, &sent.bridge);
    sent.bridge.stop().await;
}
