//! Deliveries that are signed and hostile all the same: bodies that are bombs, and requests that
//! were good once.

use std::time::Duration;

use super::bystander::Bystander;
use crate::eventually::eventually;
use crate::harness::delivery::{event, numbered};
use crate::harness::outlet::store_topic;
use crate::harness::{Bridge, Outlet, Post, Setup};

const MIB: f64 = 1024.0 * 1024.0;
const MILLION: usize = 1_000_000;
/// The most processor time one of them may cost.
const COST: Duration = Duration::from_millis(10);

/// What it is, and its bytes.
type Bomb = (&'static str, Vec<u8>);

/// A good event with one more member.
fn with_member(member: &str) -> Vec<u8> {
    let good = event("sample.uploaded", "bomb");
    let with = good.replacen(
        "\"number\":0",
        &format!("\"number\":0,\"more\":{member}"),
        1,
    );
    assert_ne!(with, good);
    with.into_bytes()
}

fn bombs() -> Vec<Bomb> {
    let good = event("sample.uploaded", "bomb");
    let text = |text: &str| text.as_bytes().to_vec();
    let keys: Vec<String> = (0..60_000)
        .map(|number| format!("\"k{number}\":0"))
        .collect();
    vec![
        ("arrays 10^6 deep", "[".repeat(MILLION).into_bytes()),
        (
            "objects 10^5 deep",
            "{\"a\":".repeat(MILLION / 10).into_bytes(),
        ),
        (
            "60 000 keys, the first one twice",
            with_member(&format!("{{{},\"k0\":0}}", keys.join(","))),
        ),
        (
            "one key 10^5 times",
            with_member(&format!("{{{}}}", ["\"a\":0"; MILLION / 10].join(","))),
        ),
        ("10^6 digits", "9".repeat(MILLION).into_bytes()),
        ("10^6 digits within", with_member(&"9".repeat(MILLION))),
        (
            "an exponent of 10^6 digits",
            with_member(&format!("1e{}", "9".repeat(MILLION))),
        ),
        ("1e400", with_member("1e400")),
        ("NUL", with_member("\"\0\"")),
        ("a lone surrogate", with_member("\"\\udfff\"")),
        (
            "10^5 lone surrogates",
            with_member(&format!("\"{}\"", "\\ud800".repeat(MILLION / 10))),
        ),
        ("a byte order mark", text(&format!("\u{feff}{good}"))),
        ("invalid UTF-8", [good.as_bytes(), b"\xc3\x28"].concat()),
        (
            "invalid UTF-8 at the end of a megabyte",
            [vec![b' '; MILLION], vec![0xff]].concat(),
        ),
        ("null", text("null")),
        ("an array", text("[]")),
        (
            "an array of 10^5 nulls",
            text(&format!("[{}null]", "null,".repeat(MILLION / 10))),
        ),
        (
            "a string of a megabyte",
            text(&format!("\"{}\"", "\\u0000".repeat(MILLION / 6))),
        ),
        ("empty", Vec::new()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn row_24_json_bombs_are_kept_byte_for_byte() {
    let bystander = Bystander::start(Setup::store()).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    let bombs = bombs();
    let mut ids = Vec::new();
    for (what, body) in &bombs {
        let answer = bridge.post(&Post::signed(&source, body.as_slice())).await;
        assert_eq!(
            (answer.status, answer.outcome().as_str()),
            (200, "quarantined"),
            "{what}: {answer:?}"
        );
        ids.push(answer.id());
    }
    Outlet::Store.has(bridge, &source, &ids).await;
    let topic = store_topic(bridge, &format!("{source}.quarantine")).await;
    assert_eq!(topic.len(), bombs.len(), "each once");
    for ((what, body), id) in bombs.iter().zip(&ids) {
        let seen = topic.iter().find(|seen| seen.id == *id).expect("it has it");
        assert!(seen.body == *body, "{what}: the very bytes");
        assert!(!seen.header("hookferry-reason").is_empty(), "{what}");
    }
    #[allow(clippy::cast_precision_loss, reason = "a handful")]
    bridge
        .shows("events_quarantined_total", &[], bombs.len() as f64)
        .await;
    let unharmed = bystander.unharmed(96.0 * MIB).await;
    unharmed.report(24, "19 JSON bombs, signed");
}

/// Good JSON that is as much work as it can be.
fn heavy() -> Bomb {
    let keys: Vec<String> = (0..70_000)
        .map(|number| format!("\"k{number}\":0"))
        .collect();
    (
        "70 000 keys, all different",
        with_member(&format!("{{{}}}", keys.join(","))),
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: processor time of an optimised bridge"]
async fn row_24_no_json_bomb_costs_more_than_10_ms() {
    const TIMES: u32 = 100;
    let setup = Setup::store();
    let bridge = setup.start().await;
    for (what, body) in bombs().into_iter().chain([heavy()]) {
        let post = Post::signed(&setup.source, body);
        // The copies cost what the first one did but the writing, and are judged in full.
        assert_eq!(bridge.post(&post).await.status, 200, "{what}");
        bridge.drained().await;
        let before = bridge.processor_time();
        for _ in 0..TIMES {
            let answer = bridge.post(&post).await;
            assert_eq!(
                (answer.status, answer.outcome().as_str()),
                (200, "duplicate"),
                "{what}"
            );
        }
        let cost = (bridge.processor_time() - before) / TIMES;
        println!("{what}: {cost:?}");
        assert!(cost <= COST, "{what} costs {cost:?}");
    }
}

/// Only how long ago it was signed makes the difference, so time must pass here.
#[tokio::test(flavor = "multi_thread")]
async fn row_33_what_was_good_once_is_a_duplicate_as_long_as_it_is_remembered_and_then_stale() {
    let setup = Setup::store()
        .top("duplicate_window = \"6s\"")
        .source_keys("tolerance = \"1s\"");
    let bystander = Bystander::start(setup).await;
    let (bridge, source) = (&bystander.bridge, bystander.setup.source.clone());
    let post = Post::signed(&source, numbered("sample.uploaded", "replayed", 1));
    let first = bridge.post(&post).await;
    assert_eq!((first.status, first.outcome().as_str()), (200, "accepted"));
    let again = bridge.post(&post).await;
    assert_eq!(
        (again.status, again.outcome().as_str(), again.id()),
        (200, "duplicate", first.id())
    );
    let stale = eventually("the request is too old", async || {
        let answer = bridge.post(&post).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(
        (stale.status, stale.reason().as_str()),
        (401, "timestamp_stale")
    );
    // Beyond the tolerance it was a duplicate all the same.
    bridge
        .counts("deliveries_late_total", &[("source", &source)], 1.0)
        .await;
    let labels = [("source", source.as_str()), ("reason", "timestamp_stale")];
    bridge
        .shows("deliveries_rejected_total", &labels, 1.0)
        .await;
    bridge
        .counts("events_duplicate_total", &[("source", &source)], 1.0)
        .await;
    assert_once(bridge, &source, &first.id()).await;
    bystander
        .unharmed(32.0 * MIB)
        .await
        .report(33, "a signed request, sent again and again");
}

async fn assert_once(bridge: &Bridge, source: &str, id: &str) {
    let seen = Outlet::Store.has(bridge, source, &[id.to_owned()]).await;
    assert_eq!(seen.iter().filter(|seen| seen.id == id).count(), 1);
}
