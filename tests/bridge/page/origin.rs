//! The page stands alone: one answer with all that it needs, under a policy that lets nothing else in.

use crate::harness::Setup;
use crate::repository::place;

use super::{assert_content, find, look_at, with_one_event};

/// The largest the page may be.
const PAGE_BYTES: u64 = 150_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_one_small_answer_with_a_strict_policy() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let answer = bridge.ask("/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(
        answer.body.len() as u64 <= PAGE_BYTES,
        "{}",
        answer.body.len()
    );
    let file = std::fs::metadata(place("src/admin/page.html")).unwrap();
    assert!(file.len() <= PAGE_BYTES, "{}", file.len());

    let policy = answer.header("content-security-policy").unwrap();
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    for directive in [
        "default-src 'none'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(directives.contains(&directive), "{directive}: {policy}");
    }
    for name in ["script-src ", "style-src "] {
        let mut of_it = directives.iter().filter_map(|it| it.strip_prefix(name));
        let sources = of_it.next().unwrap();
        assert!(
            sources
                .split(' ')
                .all(|source| source.starts_with("'sha256-")),
            "{policy}"
        );
    }
    for word in ["unsafe", "http:", "https:", "*"] {
        assert!(!policy.contains(word), "{policy}");
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_anybody_else_and_nothing_else_is_let_in() {
    let (setup, bridge, id) = with_one_event().await;
    let (browser, tab) = look_at(&bridge).await;
    find(&tab, &id).await;
    tab.click_in("#event", "button", "Show body").await;
    tab.shows("#event", &["event_type"]).await;
    let topic = format!("{}.sample.uploaded", setup.source);
    tab.fill_in("#topics", "Topic", &topic).await;
    tab.shows("#topics", &[&id]).await;
    assert_content(&tab, &bridge);
    assert_eq!(
        browser.others(&[&tab]).await,
        [""; 0],
        "no worker, no frame"
    );
    let kept = tab
        .evaluate("[localStorage.length, sessionStorage.length, document.cookie].join()")
        .await;
    assert_eq!(kept, "0,0,");

    // The policy can say no: a script that got in all the same could neither tell anybody nor write
    // into the page.
    let elsewhere = "fetch('http://192.0.2.1/').then(() => 'sent', () => 'kept')";
    assert_eq!(tab.evaluate(elsewhere).await, "kept");
    let written = "(() => { try { document.body.innerHTML = '<b>in</b>'; return 'in'; } catch { return 'out'; } })()";
    assert_eq!(tab.evaluate(written).await, "out");
    assert!(!tab.complaints().is_empty());
    bridge.stop().await;
}
