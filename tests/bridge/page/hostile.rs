//! What a sender wrote is a text, whatever it is written like.

use crate::harness::{Post, Setup, Tab, event};

use super::{assert_content, find, look_at};

const MARKUP: &str = "<img src=x onerror=alert(1)><script>window.broken = true</script>";
/// Right to left, and turned around.
const TURNED: &str = "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{202e}gnihton";

/// Nothing of it has become a part of the page.
async fn assert_is_text(tab: &Tab) {
    let broken = tab.evaluate("window.broken === true").await;
    assert_eq!(broken, false);
    let parts = tab
        .evaluate("document.querySelectorAll('img, iframe, object, script').length")
        .await;
    assert_eq!(parts, 1, "its own script alone");
    let wide = tab
        .evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        .await;
    assert_eq!(wide, false, "it is no wider than its window");
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_every_field_is_shown_as_text() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let good = event("sample.uploaded", "a");
    let with = |from: &str, to: &str| {
        let escaped = serde_json::json!(to).to_string();
        good.replacen(from, escaped.trim_matches('"'), 1)
    };
    let (_browser, tab) = look_at(&bridge).await;
    let mut ids = Vec::new();
    for body in [
        with("sample.uploaded", MARKUP),
        with("/samples/a", &format!("/samples/{MARKUP}")),
        with("gr\\u00fcn", MARKUP),
        with("gr\\u00fcn", TURNED),
        good.replacen("\"number\":0", "\"number\":0,\"\u{1b}[2J\":0", 1),
    ] {
        let post = Post::signed(&setup.source, body).with("traceparent", MARKUP);
        let answer = bridge.post(&post).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        ids.push(answer.id());
    }
    let path = "/webhooks/%3Cimg%20src=x%20onerror=alert(1)%3E";
    let elsewhere = Post::unsigned(&setup.source, MARKUP).path(path);
    assert_eq!(bridge.post(&elsewhere).await.status, 404);
    bridge.drained().await;
    for id in &ids {
        find(&tab, id).await;
        tab.shows("#event", &["received", "answered"]).await;
        tab.click_in("#event", "button", "Show body").await;
        tab.shows("#event", &["event_type"]).await;
        assert_is_text(&tab).await;
    }
    find(&tab, MARKUP).await;
    assert_is_text(&tab).await;
    // Also where it comes back from the page's own address.
    for label in ["Source", "Event type", "Object id"] {
        tab.fill_in("#deliveries", label, MARKUP).await;
    }
    tab.reload().await;
    tab.shows("#connection", &["live"]).await;
    assert_is_text(&tab).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_letters_around_or_cannot_be_seen_is_shown_and_kept_apart() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    let body = format!("{{\"{TURNED}\":\"\u{0}\u{1b}[31m\u{7f}\"}}");
    let odd = bridge.post(&Post::signed(&setup.source, body)).await;
    assert_eq!(odd.outcome(), "quarantined");
    bridge.drained().await;
    find(&tab, &odd.id()).await;
    tab.click_in("#event", "button", "Show body").await;
    tab.shows(
        "#event",
        &[
            "\u{2400}\u{241b}[31m\u{2421}",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
        ],
    )
    .await;
    // Its letters turn around themselves and nothing beside them.
    let apart = tab
        .evaluate(
            "(() => {
                const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                while (texts.nextNode()) {
                    const of = texts.currentNode.parentElement;
                    if (!texts.currentNode.data.includes('\u{5e9}') || !of.checkVisibility()) continue;
                    const way = getComputedStyle(of).unicodeBidi;
                    if (!['isolate', 'plaintext', 'isolate-override'].includes(way)) return of.outerHTML;
                }
                return '';
            })()",
        )
        .await;
    assert_eq!(apart, "");
    assert_is_text(&tab).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_mebibyte_can_be_looked_at() {
    let setup = Setup::store().ingress("max_body = \"2MiB\"\n");
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    let good = event("sample.uploaded", "a");
    let long = "9".repeat(1 << 20);
    let body = good.replacen("gr", &long, 1);
    assert!(body.len() > 1 << 20);
    let id = bridge.accepted(&setup.source, body).await;
    bridge.drained().await;
    find(&tab, &id).await;
    tab.click_in("#event", "button", "Show body").await;
    tab.shows("#event", &["event_type", "99999999"]).await;
    assert_is_text(&tab).await;
    tab.click_in("#event", "button", "Hide body").await;
    tab.hides("#event", "99999999").await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
