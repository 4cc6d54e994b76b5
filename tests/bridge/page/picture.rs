//! The picture of the page in README and in the book: made of a real run, and never older than the page.
//!
//! The file names the page that it shows: the sum of its bytes stands in a text chunk (the W3C's
//! recommendation of PNG, section 11.3.3) with the keyword `page`.

mod png;

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::generated::is_renewed;
use crate::harness::delivery::now;
use crate::harness::{Bridge, Browser, Load, Outlet, Post, Setup, Target, amqp_url, event};
use crate::repository::{place, read};

use super::{every_sink, find, page_of};

const FILE: &str = "docs/src/images/page.png";
const RENEWAL: &str = "HOOKFERRY_WRITE_BOOK=1 tests/run page::picture";
const KEYWORD: &str = "page";
/// What a reader of the README waits for.
const MOST_BYTES: usize = 300_000;

/// The pace of each sender.
const EVERY: Duration = Duration::from_millis(500);

/// A morning's deliveries: most of them good, a few repeated, odd or refused.
async fn deliver(bridge: &Bridge, setup: &Setup) -> String {
    let source = &setup.source;
    let objects = ["7428cca4a3a04a8e", "495d7e4c16934e12", "b1c0a96f5d3e4f27"];
    let types = ["sample.uploaded", "analysis.succeeded", "analysis.failed"];
    let mut last = String::new();
    for number in 0..24 {
        let body = event(types[number % 3], objects[number % 3]);
        last = bridge.accepted(source, body.as_str()).await;
        if number % 9 == 4 {
            bridge.post(&Post::signed(source, body.as_str())).await;
        }
        if number % 12 == 7 {
            bridge.post(&Post::signed(source, "odd")).await;
        }
        if number % 12 == 2 {
            let forged = Post::signed_with(source, body, "another secret", now());
            assert_eq!(bridge.post(&forged).await.status, 401);
        }
    }
    let stale = Post::signed_with(source, "{}", crate::harness::setup::SECRET, now() - 172_800);
    assert_eq!(bridge.post(&stale).await.status, 401);
    last
}

/// The page of a bridge that has just been at work.
async fn taken() -> Vec<u8> {
    let mut setup = every_sink(&amqp_url());
    // As it is called everywhere in the book.
    setup.source = "onecodex".to_owned();
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let browser = Browser::start().await;
    let tab = browser.open(&page_of(&bridge)).await;
    tab.resize(1280, 900, 1).await;
    tab.prefers("prefers-color-scheme", "light").await;
    tab.shows("#connection", &["live"]).await;
    // Half a minute of it draws the lines of the last two.
    let target = Target::new(bridge.ingress);
    let load = Load::paced(&target, &setup.source, (4, 60), EVERY);
    load.finish().await;
    let id = deliver(&bridge, &setup).await;
    bridge.drained().await;
    find(&tab, &id).await;
    tab.shows("#event", &["partition", "routing key", "position"])
        .await;
    tab.shows("#deliveries", &["signature_mismatch", "timestamp_stale"])
        .await;
    tab.shows("#verdict", &["well"]).await;
    tab.evaluate("document.activeElement.blur(); scrollTo({ top: 0, behavior: 'instant' })")
        .await;
    let picture = tab.picture().await;
    bridge.stop().await;
    picture
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_shows_the_page_as_it_is() {
    let page = hex::encode(Sha256::digest(read("src/admin/page.html")));
    if is_renewed() {
        let picture = png::with_text(&taken().await, KEYWORD, &page);
        std::fs::create_dir_all(place(FILE).parent().unwrap()).unwrap();
        std::fs::write(place(FILE), picture).unwrap();
    }
    let picture = std::fs::read(place(FILE)).unwrap_or_default();
    let made_of = png::text(&picture, KEYWORD);
    assert_eq!(
        made_of.as_deref(),
        Some(page.as_str()),
        "{FILE} is stale; renew it: {RENEWAL}"
    );
    assert!(picture.len() <= MOST_BYTES, "{}", picture.len());
}
