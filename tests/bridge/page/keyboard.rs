//! All of it is done without a pointer: logging in, finding an event, requeueing a dead letter.

use crate::eventually::eventually;
use crate::harness::setup::ADMIN_TOKEN;
use crate::harness::tab::{ENTER, ESCAPE, SPACE, TAB};
use crate::harness::{Browser, Outlet, Tab, amqp_url, event};
use crate::operators;

use super::{assert_content, dead_letters, large, look_at, narrow, page_of};

/// Waits until what has this name has the focus.
async fn is_at(tab: &Tab, name: &str) {
    eventually(&format!("the focus is on {name:?}"), async || {
        (tab.focused().await == name).then_some(())
    })
    .await;
}

/// It can be seen where the focus is.
async fn assert_focus_is_seen(tab: &Tab) {
    let seen = tab
        .evaluate(
            "(() => {
                const style = getComputedStyle(document.activeElement);
                const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
                return outlined || style.boxShadow !== 'none';
            })()",
        )
        .await;
    assert_eq!(seen, true, "{}", tab.focused().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_found_and_requeued_without_a_pointer() {
    let setup = narrow(&amqp_url());
    let keys = format!("token = {{ file = {:?} }}\n", setup.path("token"));
    let setup = setup.admin(&keys);
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = operators::start(&setup, &operators::everywhere(&setup)).await;
    let body = large(&event("sample.uploaded", "a"));
    let id = bridge.accepted(&setup.source, body).await;
    bridge
        .counts("events_dead_lettered_total", &[("sink", "rabbitmq")], 1.0)
        .await;
    let name = dead_letters(&bridge).await.remove(0);
    let browser = Browser::start().await;
    let tab = browser.open(&page_of(&bridge)).await;
    tab.shows("#login", &["token"]).await;
    if tab.focused().await != "Token" {
        tab.tab_to("Token").await;
    }
    tab.write(ADMIN_TOKEN).await;
    tab.press(ENTER).await;
    tab.shows("#connection", &["live"]).await;

    tab.tab_to("Event id or object id").await;
    assert_focus_is_seen(&tab).await;
    tab.write(&id).await;
    tab.press(ENTER).await;
    tab.shows("#event", &["dead letter", &name]).await;

    let requeue = format!("Requeue {name}");
    tab.tab_to(&requeue).await;
    assert_focus_is_seen(&tab).await;
    tab.press(SPACE).await;
    tab.shows("dialog[open]", &["requeue"]).await;
    // The rest of the page cannot be reached meanwhile.
    for _ in 0..6 {
        let within = tab
            .evaluate("document.activeElement === document.body || document.activeElement.closest('dialog') !== null")
            .await;
        assert_eq!(within, true, "{}", tab.focused().await);
        tab.press(TAB).await;
    }
    tab.press(ESCAPE).await;
    tab.comes_to("document.querySelector('dialog[open]') === null")
        .await;
    is_at(&tab, &requeue).await;
    assert_eq!(dead_letters(&bridge).await, [name.as_str()]);

    tab.press(ENTER).await;
    tab.shows("dialog[open]", &["requeue"]).await;
    tab.tab_to("Requeue it").await;
    tab.press(ENTER).await;
    // It is as large as before, so it is set aside once more, under another name.
    eventually("it was tried again", async || {
        let names = dead_letters(&bridge).await;
        (names.len() == 1 && names[0] != name).then_some(())
    })
    .await;
    tab.hides("#dead-letter-list", &name).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_step_leads_past_the_header_and_every_section_has_a_heading() {
    let setup = crate::harness::Setup::store();
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.press(TAB).await;
    assert_focus_is_seen(&tab).await;
    let to = tab
        .evaluate("document.querySelector(document.activeElement.getAttribute('href'))?.tagName")
        .await;
    assert_eq!(to, "MAIN", "{}", tab.focused().await);
    tab.press(ENTER).await;
    tab.press(TAB).await;
    let within = tab
        .evaluate("document.activeElement.closest('main') !== null")
        .await;
    assert_eq!(within, true, "{}", tab.focused().await);
    tab.press_shifted(TAB).await;
    let headings = tab.texts("main section h2").await;
    let expected = [
        "Status",
        "Flow",
        "Deliveries",
        "Event",
        "Rejections",
        "Waiting and set aside",
        "Topics of the store",
    ];
    assert_eq!(headings, expected);
    let roles =
        "[document.querySelectorAll('h1').length, document.documentElement.lang, document.title]";
    let found = tab.evaluate(roles).await;
    assert_eq!(found, serde_json::json!([1, "en", "Hookferry"]));
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
