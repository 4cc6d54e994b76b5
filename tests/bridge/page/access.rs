//! Who may look, and who may change something: beyond loopback whoever has the token, which is shown once
//! to look and again with each change.

use std::net::{IpAddr, Ipv4Addr};

use crate::harness::setup::ADMIN_TOKEN;
use crate::harness::{
    Answer, Bridge, Browser, Connection, EventStream, Metrics, Outlet, Setup, Tab, amqp_url, event,
};
use crate::operators::{self, ask};

use super::{assert_content, dead_letters, large, narrow, page_of, with_one_event};

/// Another token than that of the tests.
const OTHER_TOKEN: &str = "another-token-of-the-tests";

/// A bridge whose operators' listener demands the token, on every address.
async fn guarded(setup: Setup) -> (Setup, Bridge) {
    let keys = format!("token = {{ file = {:?} }}\n", setup.path("token"));
    let mut setup = setup.admin(&keys);
    setup.more = "[metrics]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let bridge = operators::start(&setup, &operators::everywhere(&setup)).await;
    (setup, bridge)
}

/// Tries to log in with a token, from 127.0.0.`host`.
async fn log_in(bridge: &Bridge, host: u8, token: &str) -> Answer {
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
    let mut connection = Connection::open_from(from, bridge.admin).await.unwrap();
    let request = bridge.operators_request("POST", "/login");
    let request = request.replace(ADMIN_TOKEN, token);
    connection.send(request.as_bytes()).await.unwrap();
    connection.answer().await.unwrap().expect("an answer")
}

/// The cookie of a login, as a browser sends it back.
async fn cookie(bridge: &Bridge) -> String {
    let answer = log_in(bridge, 1, ADMIN_TOKEN).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let set = answer.header("set-cookie").unwrap();
    let (pair, attributes) = set.split_once(';').unwrap();
    let attributes: Vec<String> = attributes
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase())
        .collect();
    for wanted in ["httponly", "samesite=strict", "path=/"] {
        assert!(attributes.iter().any(|part| part == wanted), "{set}");
    }
    let elsewhere = |part: &String| part.starts_with("domain");
    assert!(!attributes.iter().any(elsewhere), "{set}");
    assert!(!set.contains(ADMIN_TOKEN), "the token itself is not kept");
    pair.to_owned()
}

async fn logged_in(bridge: &Bridge) -> (Browser, Tab) {
    let browser = Browser::start().await;
    let tab = browser.open(&page_of(bridge)).await;
    log_in_at(&tab, ADMIN_TOKEN).await;
    (browser, tab)
}

/// Logs in at the page that is shown.
async fn log_in_at(tab: &Tab, token: &str) {
    tab.fill_in("#login", "Token", token).await;
    tab.click_in("#login", "button", "Log in").await;
    tab.shows("#connection", &["live"]).await;
}

/// How many wrong tokens were counted so.
async fn refused(bridge: &Bridge, reason: &str) -> f64 {
    let at = bridge.metrics_listener.expect("it listens");
    let answer = ask(at, "GET /metrics", &[("host", "localhost")]).await;
    Metrics::parse(&answer.text()).sum("admin_tokens_refused_total", &[("reason", reason)])
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_the_page_asks_for_the_token_and_says_when_it_is_wrong() {
    let (setup, bridge) = guarded(Setup::store()).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "for-nobody-else"))
        .await;
    let browser = Browser::start().await;
    let tab = browser.open(&page_of(&bridge)).await;
    tab.shows("#login", &["token"]).await;
    assert_eq!(tab.text("#verdict").await, "");
    assert_eq!(tab.text("#deliveries").await, "");
    tab.fill_in("#login", "Token", "a-token-of-nobodys").await;
    tab.click_in("#login", "button", "Log in").await;
    tab.shows("#login", &["this is not the token"]).await;
    let document = tab.evaluate("document.documentElement.outerHTML").await;
    assert!(!document.to_string().contains("for-nobody-else"));

    log_in_at(&tab, ADMIN_TOKEN).await;
    tab.shows("#deliveries", &["for-nobody-else"]).await;
    assert_eq!(tab.text("#login").await, "");
    // It is kept where no script finds it, and outlasts a reload.
    let found = tab
        .evaluate("document.cookie + JSON.stringify([{...localStorage}, {...sessionStorage}]) + location.href")
        .await;
    assert!(!found.to_string().contains(ADMIN_TOKEN), "{found}");
    assert!(found.as_str().unwrap().starts_with("[{},{}]"), "{found}");
    tab.reload().await;
    tab.shows("#deliveries", &["for-nobody-else"]).await;
    assert_eq!(tab.text("#login").await, "");

    tab.click("button", "Log out").await;
    tab.shows("#login", &["token"]).await;
    tab.reload().await;
    tab.shows("#login", &["token"]).await;
    assert!(!bridge.log().contains(ADMIN_TOKEN));
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_without_a_token_nobody_is_asked_for_one() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (_browser, tab) = super::look_at(&bridge).await;
    assert_eq!(tab.text("#login").await, "");
    assert!(!tab.has("button", "Log out").await);
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_lets_somebody_look_and_change_nothing() {
    let (setup, bridge) = guarded(narrow(&amqp_url())).await;
    let _outlet = Outlet::rabbitmq(&setup).await;
    let body = large(&event("sample.uploaded", "a"));
    bridge.accepted(&setup.source, body).await;
    bridge
        .counts("events_dead_lettered_total", &[("sink", "rabbitmq")], 1.0)
        .await;
    let name = dead_letters(&bridge).await.remove(0);
    let (host, cookie) = (bridge.admin.to_string(), cookie(&bridge).await);
    let shown = [("host", host.as_str()), ("cookie", cookie.as_str())];
    for path in ["/spool", "/deliveries", "/dead-letters", "/topics"] {
        let line = format!("GET {path}");
        assert_eq!(ask(bridge.admin, &line, &shown).await.status, 200, "{path}");
        let nothing = ask(bridge.admin, &line, &shown[..1]).await;
        assert_eq!(
            (nothing.status, nothing.reason()),
            (401, "token_missing".into())
        );
        let (other, _) = cookie.split_once('=').unwrap();
        let forged = format!("{other}=0123456789abcdef0123456789abcdef");
        let headers = [shown[0], ("cookie", forged.as_str())];
        assert_eq!(ask(bridge.admin, &line, &headers).await.status, 401);
    }
    let ours = ("x-hookferry-request", "1");
    for line in [
        format!("POST /dead-letters/{name}/requeue"),
        format!("DELETE /dead-letters/{name}"),
        "DELETE /spool/sinks/rabbitmq".to_owned(),
    ] {
        let headers = [shown[0], shown[1], ours];
        let answer = ask(bridge.admin, &line, &headers).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (403, "token_header_missing".into()),
            "{line}"
        );
    }
    assert_eq!(dead_letters(&bridge).await, [name]);
    let headers = [shown[0], shown[1], ours];
    let left = ask(bridge.admin, "POST /logout", &headers).await;
    assert_eq!(left.status, 204);
    let cleared = left.header("set-cookie").unwrap().to_ascii_lowercase();
    assert!(cleared.contains("max-age=0") || cleared.contains("expires="));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_asks_for_the_token_again_once_the_page_was_loaded_anew() {
    let (setup, bridge) = guarded(narrow(&amqp_url())).await;
    let _outlet = Outlet::rabbitmq(&setup).await;
    for object in ["a", "b"] {
        let body = large(&event("sample.uploaded", object));
        bridge.accepted(&setup.source, body).await;
    }
    bridge
        .counts("events_dead_lettered_total", &[("sink", "rabbitmq")], 2.0)
        .await;
    let names = dead_letters(&bridge).await;
    let (_browser, tab) = logged_in(&bridge).await;
    // Whoever has just shown it is not asked again.
    tab.click("button", &format!("Drop {}", names[0])).await;
    tab.shows("dialog[open]", &[&names[0]]).await;
    let dialog = tab.text("dialog[open]").await;
    assert!(!dialog.contains("Token"), "{dialog}");
    tab.click_in("dialog[open]", "button", "Drop it").await;
    tab.hides("#dead-letter-list", &names[0]).await;

    tab.reload().await;
    tab.click("button", &format!("Drop {}", names[1])).await;
    tab.shows("dialog[open]", &[names[1].as_str(), "Token"])
        .await;
    tab.fill_in("dialog[open]", "Token", "a-token-of-nobodys")
        .await;
    tab.click_in("dialog[open]", "button", "Drop it").await;
    tab.shows("dialog[open]", &["this is not the token"]).await;
    assert_eq!(dead_letters(&bridge).await, names[1..]);
    tab.fill_in("dialog[open]", "Token", ADMIN_TOKEN).await;
    tab.click_in("dialog[open]", "button", "Drop it").await;
    tab.hides("#dead-letter-list", &names[1]).await;
    assert_eq!(dead_letters(&bridge).await, [""; 0]);
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_limited_and_counted() {
    let (_setup, bridge) = guarded(Setup::store()).await;
    let (host, cookie) = (bridge.admin.to_string(), cookie(&bridge).await);
    let assert_wrong = |answer: Answer| {
        let told = (answer.status, answer.reason());
        assert_eq!(told, (401, "wrong_token".into()));
    };
    for number in 0..10 {
        let guess = format!("guess-number-{number}");
        assert_wrong(log_in(&bridge, 1, &guess).await);
    }
    let limited = log_in(&bridge, 1, "one-guess-more").await;
    assert_eq!(
        (limited.status, limited.reason()),
        (429, "too_many_wrong_tokens".into())
    );
    let later = limited.header("retry-after").unwrap();
    assert!(later.parse::<u64>().unwrap() >= 1, "{later}");
    // The same one again and again is no guess, but not looked at for ever either.
    let of_before = "the-token-of-last-year";
    for _ in 0..20 {
        assert_wrong(log_in(&bridge, 8, of_before).await);
    }
    assert_eq!(log_in(&bridge, 8, of_before).await.status, 429);
    for (reason, count) in [("wrong", 30.0), ("rate_limited", 2.0)] {
        let counted = refused(&bridge, reason).await;
        assert!(
            (counted - count).abs() < f64::EPSILON,
            "{reason}: {counted}"
        );
    }
    // Who is logged in goes on looking.
    let shown = [("host", host.as_str()), ("cookie", cookie.as_str())];
    assert_eq!(ask(bridge.admin, "GET /spool", &shown).await.status, 200);
    // Not even the right one is looked at, or it could be guessed; the page says how long.
    let browser = Browser::start().await;
    let tab = browser.open(&page_of(&bridge)).await;
    tab.fill_in("#login", "Token", ADMIN_TOKEN).await;
    tab.click_in("#login", "button", "Log in").await;
    tab.shows("#login", &["too many wrong tokens", "seconds"])
        .await;
    // Somebody else is none the worse for it.
    let answer = log_in(&bridge, 9, ADMIN_TOKEN).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_answered_is_kept_by_a_browser() {
    let (setup, bridge, id) = with_one_event().await;
    let topic = format!("/topics/{}.sample.uploaded/events", setup.source);
    let event = format!("/events/{id}");
    for path in [
        "/spool",
        "/spool/events?bodies=true",
        "/spool/events/7",
        "/dead-letters?bodies=true",
        "/dead-letters/7-store",
        "/topics",
        &topic,
        "/deliveries",
        &event,
        "/events?object=a",
        "/events/no-id",
    ] {
        let answer = bridge.ask(path).await;
        let kept = answer.header("cache-control");
        assert_eq!(kept, Some("no-store"), "{path}: {answer:?}");
    }
    let request = bridge.operators_request("GET", "/live");
    let stream = EventStream::open(bridge.admin, &request).await.unwrap();
    assert_eq!(stream.header("cache-control"), Some("no-store"));
    drop(stream);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_ends_the_streams_and_the_sessions_of_the_old_one() {
    let (setup, bridge) = guarded(Setup::store()).await;
    let (host, cookie) = (bridge.admin.to_string(), cookie(&bridge).await);
    let request = format!("GET /live HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\n\r\n");
    let mut stream = EventStream::open(bridge.admin, &request).await.unwrap();
    assert!(stream.next().await.is_some());
    assert_eq!(stream.event, "");
    let (_browser, tab) = logged_in(&bridge).await;

    std::fs::write(setup.path("token"), OTHER_TOKEN).unwrap();
    operators::take_over(&bridge).await;
    while stream.next().await.is_some() {}
    assert_eq!(stream.event, "renew");
    let shown = [("host", host.as_str()), ("cookie", cookie.as_str())];
    let answer = ask(bridge.admin, "GET /spool", &shown).await;
    assert_eq!(
        (answer.status, answer.reason()),
        (401, "token_missing".into())
    );
    tab.shows("#login", &["token"]).await;
    log_in_at(&tab, OTHER_TOKEN).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bridges_on_one_host_leave_each_others_logins_alone() {
    let (_setup, bridge) = guarded(Setup::store()).await;
    let setup = Setup::store();
    std::fs::write(setup.path("token"), OTHER_TOKEN).unwrap();
    let (_other_setup, other) = guarded(setup).await;
    let (browser, tab) = logged_in(&bridge).await;
    let other_tab = browser.open(&page_of(&other)).await;
    log_in_at(&other_tab, OTHER_TOKEN).await;
    for (tab, bridge) in [(&tab, &bridge), (&other_tab, &other)] {
        tab.reload().await;
        tab.shows("#connection", &["live"]).await;
        assert_content(tab, bridge);
    }
    bridge.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_is_answered_nothing_and_somebody_who_follows_a_link_is() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let host = bridge.admin.to_string();
    let asks = async |path: &str, site: &str, mode: &str| {
        let headers = [
            ("host", host.as_str()),
            ("sec-fetch-site", site),
            ("sec-fetch-mode", mode),
        ];
        ask(bridge.admin, &format!("GET {path}"), &headers).await
    };
    for path in [
        "/live",
        "/deliveries",
        "/events?object=a",
        "/spool",
        "/dead-letters",
        "/topics",
        "/metrics",
        "/runbook",
    ] {
        for (site, mode) in [("cross-site", "no-cors"), ("same-site", "cors")] {
            let answer = asks(path, site, mode).await;
            let told = (answer.status, answer.reason());
            assert_eq!(told, (403, "foreign_page".into()), "{path} {site}");
        }
        for (site, mode) in [("cross-site", "navigate"), ("same-origin", "cors")] {
            assert_eq!(asks(path, site, mode).await.status, 200, "{path} {site}");
        }
    }
    for (site, mode) in [("cross-site", "navigate"), ("none", "navigate")] {
        assert_eq!(asks("/", site, mode).await.status, 200, "{site}");
    }
    bridge.stop().await;
}
