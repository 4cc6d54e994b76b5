//! The record comes in pages that may change while they are read.

use std::time::Duration;

use futures_util::future::join_all;

use super::command::backfill;
use super::{RecoverySetup, failed, is_audited, old};
use crate::eventually::eventually_within;
use crate::harness::events_api::{Recorded, Row};

/// More than two pages of as many as are asked for at once.
const OLD: usize = 1100;
const MISSED: usize = 40;

/// What happens to the list while its pages are read.
type Change = fn(usize, &mut Vec<Row>);

/// The same rows: those that are to be found stand where the second page begins.
fn rows() -> Vec<Row> {
    let mut rows = old(OLD);
    let middle = rows.split_off(500);
    rows.into_iter()
        .chain(failed(MISSED))
        .chain(middle)
        .collect()
}

/// One run finds all that is missing, whatever happens to the pages.
async fn drifts(change: Change) -> Vec<Recorded> {
    let recovery = RecoverySetup::store().await.with("look_back", "\"1d\"");
    let recovery = recovery.with_spool().await;
    recovery.api.adds_all(rows());
    recovery.api.before_page(change);
    let ended = backfill(&recovery, &["--dry-run", "--json"]).await;
    let (missing, summary) = ended.with_code(0).lines();
    assert_eq!(missing.len(), MISSED, "{summary}");
    assert_eq!(summary["missing"], MISSED, "{summary}");
    recovery.api.assert_polite();
    recovery.api.recorded()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_and_go_between_pages_hide_nothing() {
    let changes: [Change; 4] = [
        // What follows moves to the page before, which has been read.
        |page, rows| {
            if page == 2 {
                rows.drain(..MISSED);
            }
        },
        // What was read last is read again.
        |page, rows| {
            if page == 2 {
                rows.splice(0..0, old(MISSED));
            }
        },
        // The last page grows.
        |page, rows| {
            if page == 3 {
                rows.extend(old(MISSED));
            }
        },
        // Both at once, and again in the second pass.
        |page, rows| {
            if page == 2 || page == 5 {
                rows.drain(..MISSED / 2);
                rows.extend(old(MISSED));
            }
        },
    ];
    join_all(changes.map(drifts)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_change_a_second_pass_is_the_last() {
    let recorded = drifts(|_, _| {}).await;
    let pages: Vec<&Recorded> = recorded.iter().filter(|one| one.is_listing()).collect();
    assert!((4..=6).contains(&pages.len()), "{pages:#?}");
    for page in pages {
        assert_eq!(page.request.parameter("per_page"), Some("500"));
        assert_eq!(page.request.header("x-pagination-style"), Some("cursor"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_one_page_is_asked_for_once() {
    let recovery = RecoverySetup::store().await.with_spool().await;
    recovery.api.adds_all(failed(MISSED));
    let ended = backfill(&recovery, &["--dry-run", "--json"]).await;
    assert_eq!(ended.with_code(0).lines().0.len(), MISSED);
    let recorded = recovery.api.recorded();
    assert_eq!(recorded.iter().filter(|one| one.is_listing()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_used_where_the_provider_offers_one() {
    let recovery = RecoverySetup::store().await.with("look_back", "\"1d\"");
    let recovery = recovery.with_spool().await;
    recovery.api.offers_cursors();
    recovery.api.adds_all(rows());
    // A cursor stays where it was.
    recovery.api.before_page(|page, rows| {
        if page == 2 {
            rows.drain(..MISSED);
        }
    });
    let ended = backfill(&recovery, &["--dry-run", "--json"]).await;
    assert_eq!(ended.with_code(0).lines().0.len(), MISSED);
    recovery.api.assert_polite();
    let recorded = recovery.api.recorded();
    let pages: Vec<&Recorded> = recorded.iter().filter(|one| one.is_listing()).collect();
    let with_cursor = pages
        .iter()
        .filter(|page| page.request.parameter("cursor").is_some());
    assert!(with_cursor.count() >= 2, "{pages:#?}");
    // The background finds the same.
    let bridge = recovery.start().await;
    recovery.published(&bridge, MISSED).await;
    recovery.assert_polite(&bridge);
}

/// The link is made of the page and its size alone: whoever follows it asks for every event.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_never_followed_and_each_page_has_the_filter() {
    let recovery = RecoverySetup::store().await.with("look_back", "\"1d\"");
    let bridge = recovery.start().await;
    is_audited(&recovery).await;
    recovery.looks_again(&bridge).await;
    recovery.api.records_anew();
    recovery.api.adds_all(rows());
    recovery.published(&bridge, MISSED).await;
    eventually_within(Duration::from_secs(60), "all pages are read", async || {
        let recorded = recovery.api.recorded();
        let page = |one: &Recorded| one.request.parameter("page") == Some("3");
        recorded.iter().any(page).then_some(())
    })
    .await;
    for one in recovery.api.recorded() {
        let filter = one.request.parameter("where").expect("a filter");
        let filter: serde_json::Value = serde_json::from_str(filter).expect("JSON");
        let expected = serde_json::json!({"status": {"$in": ["failed", "retryable"]}});
        assert_eq!(filter, expected, "{one:?}");
        assert!(one.request.parameter("sort").is_none(), "{one:?}");
    }
    recovery.assert_polite(&bridge);
}

/// An answer has a limit, and a page that goes beyond it is asked for again as smaller ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_too_large_is_read_as_smaller_ones() {
    let recovery = RecoverySetup::store().await;
    let large = "x".repeat(900 << 10);
    let rows = (0..40).map(|number| {
        let body = super::missed(&format!("large{number}"), super::HOUR, number);
        Row::object(&body.replace("\"note\":\"", &format!("\"note\":\"{large}")))
    });
    recovery.api.adds_all(rows);
    let bridge = recovery.start().await;
    recovery.published(&bridge, 40).await;
    recovery.assert_polite(&bridge);
}
