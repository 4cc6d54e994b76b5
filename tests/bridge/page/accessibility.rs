//! Everybody can use it: axe-core has nothing against it, in light and dark, on a phone and enlarged,
//! before the login and with a question open.

use crate::harness::setup::ADMIN_TOKEN;
use crate::harness::{Browser, Outlet, Post, Setup, Tab, amqp_url, event};
use crate::operators;

use super::{assert_content, dead_letters, find, large, look_at, narrow, page_of};

/// Nothing is cut off, and nothing has to be shifted to and fro to be read.
async fn assert_fits(tab: &Tab) {
    let widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]";
    let widths = tab.evaluate(widths).await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{widths}");
}

async fn assert_accessible(tab: &Tab, state: &str) {
    assert_eq!(tab.violations().await, [""; 0], "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_violation_in_any_state() {
    let setup = narrow(&amqp_url());
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let body = large(&event("sample.uploaded", "7428cca4a3a04a8e"));
    let id = bridge.accepted(&setup.source, body).await;
    let unsigned = Post::unsigned(&setup.source, "{}");
    assert_eq!(bridge.post(&unsigned).await.status, 400);
    bridge
        .counts("events_dead_lettered_total", &[("sink", "rabbitmq")], 1.0)
        .await;
    let name = dead_letters(&bridge).await.remove(0);
    let (_browser, tab) = look_at(&bridge).await;
    assert_accessible(&tab, "as it begins").await;
    find(&tab, &id).await;
    tab.shows("#event", &["dead letter"]).await;
    let topic = format!("{}.sample.uploaded", setup.source);
    tab.fill_in("#topics", "Topic", &topic).await;
    tab.click_in("#topics", "button", "Show body").await;
    tab.shows("#topics", &["event_type"]).await;
    for (width, height, scale) in [(1280, 900, 1), (320, 640, 3), (640, 450, 2)] {
        tab.resize(width, height, scale).await;
        for scheme in ["light", "dark"] {
            let state = format!("{scheme}, {width} wide");
            tab.prefers("prefers-color-scheme", scheme).await;
            assert_accessible(&tab, &state).await;
            tab.click("button", &format!("Requeue {name}")).await;
            tab.shows("dialog[open]", &["requeue"]).await;
            assert_accessible(&tab, &format!("{state}, asking")).await;
            assert_fits(&tab).await;
            tab.click_in("dialog[open]", "button", "Cancel").await;
        }
    }
    // It can say no.
    tab.evaluate("document.documentElement.removeAttribute('lang')")
        .await;
    let found = tab.violations().await;
    assert!(
        found.iter().any(|it| it.contains("html-has-lang")),
        "{found:?}"
    );
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_violation_in_the_login_and_in_the_runbook() {
    let setup = Setup::store();
    let keys = format!("token = {{ file = {:?} }}\n", setup.path("token"));
    let setup = setup.admin(&keys);
    let bridge = operators::start(&setup, &operators::everywhere(&setup)).await;
    let browser = Browser::start().await;
    let tab = browser.open(&page_of(&bridge)).await;
    tab.shows("#login", &["token"]).await;
    for scheme in ["light", "dark"] {
        tab.prefers("prefers-color-scheme", scheme).await;
        assert_accessible(&tab, scheme).await;
    }
    tab.resize(320, 640, 3).await;
    assert_fits(&tab).await;
    tab.fill("Token", ADMIN_TOKEN).await;
    tab.click("button", "Log in").await;
    tab.shows("#verdict", &["well"]).await;
    tab.go_to(&format!("{}runbook", page_of(&bridge))).await;
    for scheme in ["light", "dark"] {
        tab.prefers("prefers-color-scheme", scheme).await;
        assert_accessible(&tab, &format!("the runbook, {scheme}")).await;
        assert_fits(&tab).await;
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_as_wide_as_a_phone_and_as_large_as_somebody_wants_it() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for event_type in ["sample.uploaded", "analysis.succeeded"] {
        let body = event(event_type, "7428cca4a3a04a8e");
        bridge.accepted(&setup.source, body).await;
    }
    let unsigned = Post::unsigned(&setup.source, "{}");
    assert_eq!(bridge.post(&unsigned).await.status, 400);
    let (_browser, tab) = look_at(&bridge).await;
    // 320 is a phone, and 1280 at 400 %; 640 is 1280 at 200 %.
    for (width, height, scale) in [(320, 640, 3), (640, 450, 2), (1280, 900, 1)] {
        tab.resize(width, height, scale).await;
        tab.shows("#verdict", &["All is well"]).await;
        tab.shows("#deliveries", &["analysis.succeeded"]).await;
        assert_fits(&tab).await;
    }
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
