//! Rows 17 and 39: the spool's files are damaged, in any byte or from any length on. The bridge
//! starts, delivers what is readable, counts the rest exactly and for good, keeps the segment as it
//! was, and publishes what was lost when it is sent again.

mod original;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::harness::load::Sent;
use crate::harness::{
    Bridge, Copies, Journal, Load, Metrics, Outlet, Post, Report, Setup, Target, Verdict, event,
};
use crate::spool::layout;
use original::{Damage, Left, Original};

/// Of the bytes that give the log its structure, and of all others, the quick tests take one in so
/// many: primes, so that every kind is met.
const QUICK: [usize; 2] = [29, 997];
/// What is cut within one record is alike.
const CUT_STRIDE: usize = 61;
/// Of the bodies, which a checksum covers like everything else, the long tests take one byte in so
/// many where a segment was not left by a spool that was closed.
const BODY_STRIDE: usize = 3;
/// Of what is between the parts and is never looked at.
const PADDING_STRIDE: usize = 61;

const WAYS: [Left; 3] = [Left::Closed, Left::Killed, Left::Earlier];

/// One in so many of the bytes that give the log its structure, and of all others.
fn places(original: &Original, [of_structure, of_rest]: [usize; 2]) -> Vec<usize> {
    let is_place = |at: &usize| {
        let stride = if original.is_structure(*at) {
            of_structure
        } else {
            of_rest
        };
        at.is_multiple_of(stride)
    };
    (0..original.segment.len()).filter(is_place).collect()
}

/// Every byte that means something, but for part of the bodies, and some that mean nothing.
fn every_byte(original: &Original, of_bodies: usize) -> Vec<usize> {
    let is_place = |at: &usize| {
        let stride = if original.is_structure(*at) {
            1
        } else if original.is_used(*at) {
            of_bodies
        } else {
            PADDING_STRIDE
        };
        at.is_multiple_of(stride)
    };
    (0..original.segment.len()).filter(is_place).collect()
}

/// Does the damage at all these places, in as many threads as the machine has processors.
fn everywhere(original: &Original, places: &[usize], damage: fn(usize) -> Damage) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                while let Some(at) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let damage = damage(*at);
                    let survives = || runtime.block_on(original.survives(damage));
                    let survived = catch_unwind(AssertUnwindSafe(survives));
                    assert!(survived.is_ok(), "{damage:?} of a segment");
                }
            });
        }
    });
}

/// Does it to a segment that was left in each of the ways; how many starts that were.
async fn in_every_way(
    places: impl Fn(Left, &Original) -> Vec<usize>,
    damage: fn(usize) -> Damage,
) -> usize {
    let mut starts = 0;
    for left in WAYS {
        let original = Original::make(left).await;
        let places = places(left, &original);
        starts += places.len();
        println!("{left:?}: {} starts", places.len());
        tokio::task::block_in_place(|| everywhere(&original, &places, damage));
    }
    starts
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_an_undamaged_spool_is_whole_however_it_was_left() {
    for left in WAYS {
        let original = Original::make(left).await;
        original.survives(Damage::Cut(original.segment.len())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_39_a_changed_bit_is_survived_and_what_it_costs_is_counted() {
    in_every_way(|_, original| places(original, QUICK), Damage::Bit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_segment_that_was_cut_off_is_survived_and_what_it_costs_is_counted() {
    in_every_way(|_, original| places(original, QUICK), Damage::Cut).await;
}

#[ignore = "tests/run --faults: tens of thousands of starts take minutes"]
#[tokio::test(flavor = "multi_thread")]
async fn row_39_a_changed_bit_is_survived_in_every_byte() {
    let places = |left, original: &Original| {
        let of_bodies = if left == Left::Closed { 1 } else { BODY_STRIDE };
        every_byte(original, of_bodies)
    };
    let starts = in_every_way(places, Damage::Bit).await;
    Report::row(39)
        .did(format!(
            "a bit of each byte of a segment changed, in its header, heads, items and records: {starts} starts"
        ))
        .held();
}

#[ignore = "tests/run --faults: thousands of starts take minutes"]
#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_cut_is_survived_at_every_length() {
    let places = |_, original: &Original| places(original, [1, CUT_STRIDE]);
    let starts = in_every_way(places, Damage::Cut).await;
    Report::row(17)
        .did(format!(
            "a segment cut off in every header, head and item, and at one in {CUT_STRIDE} of all other lengths: {starts} starts"
        ))
        .held();
}

/// A setup whose only sink is called `out` and is nowhere, until [`put_a_store_there`].
fn setup_without_its_sink() -> Setup {
    let mut setup = Setup::rabbitmq("amqp://guest:guest@127.0.0.1:1/%2f");
    "out".clone_into(&mut setup.sinks[0].0);
    setup
}

fn put_a_store_there(setup: &mut Setup) {
    let path = setup.path("topics");
    setup.sinks[0].1 = format!("type = \"store\"\npath = {path:?}\n");
}

/// Each sender's last event.
const LAST: usize = 24;

/// What a bridge that cannot deliver has accepted by the time it is killed. Behind all that the
/// senders sent lies one more event, which shows that they were acknowledged.
async fn accepted_until_killed(setup: &Setup) -> Journal {
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, 8, LAST + 1);
    let mut journal = load.finish().await;
    let body = event("sample.uploaded", "behind");
    let behind = Load::once(&target, &setup.source, "behind", &body).await;
    assert_eq!(behind.ids().count(), 1);
    journal.0.push(behind);
    bridge.kill();
    journal
}

fn first_segment(setup: &Setup) -> std::path::PathBuf {
    setup.spool_folder.join("000000000001.log")
}

/// Changes the bytes of a segment in place and returns them.
fn spoil(path: &Path, spoil: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    spoil(&mut bytes);
    fs::write(path, &bytes).unwrap();
    bytes
}

fn assert_lost(metrics: &Metrics, count: f64) {
    for name in ["spool_corrupt_records_total", "events_lost_total"] {
        let counted = metrics.sum_or_zero(name, &[]);
        assert!((counted - count).abs() < f64::EPSILON, "{name}: {counted}");
    }
    metrics.assert_balanced("out");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_killed_bridge_with_a_damaged_head_in_its_log_loses_nothing() {
    let mut setup = setup_without_its_sink();
    let journal = accepted_until_killed(&setup).await;
    let spoilt = spoil(&first_segment(&setup), |bytes| {
        let batches = layout::batches(bytes);
        let middle = &batches[batches.len() / 2];
        bytes[middle.head.clone()].fill(0xff);
    });
    put_a_store_there(&mut setup);
    let began = Instant::now();
    let bridge = setup.start().await;
    let took = began.elapsed();
    let seen = Outlet::Store
        .has(&bridge, &setup.source, &journal.ids())
        .await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    bridge.drained().await;
    assert_lost(&bridge.metrics().await, 0.0);
    assert!(fs::read(first_segment(&setup)).unwrap() == spoilt);
    Report::row(17)
        .sink("store")
        .did("`kill -9` with all events in the log, a head in its middle overwritten")
        .recovered_in(took)
        .write(&verdict);
}

/// An event that no later one of its object follows, and its body as it lies in the log.
fn victim(journal: &Journal, segment: &[u8]) -> (String, Vec<u8>, layout::FoundRecord) {
    let is_last = |sent: &&Sent| sent.number == LAST;
    let sent = journal.0.iter().find(is_last).expect("each sender had one");
    let id = sent.ids().next().expect("it was accepted").to_owned();
    let digest_of =
        |record: &layout::FoundRecord| crate::harness::load::digest(layout::body(segment, record));
    let mut records = layout::records(segment).into_iter();
    let record = records.find(|record| digest_of(record) == sent.digest);
    let record = record.expect("the log holds it");
    (id, layout::body(segment, &record).to_vec(), record)
}

/// The bridge starts, delivers all but the lost event, and counts that one.
async fn delivers_all_but(setup: &Setup, journal: &Journal, lost: &str) -> Bridge {
    let bridge = setup.start().await;
    let others: Vec<String> = journal.ids().into_iter().filter(|id| id != lost).collect();
    let seen = Outlet::Store.has(&bridge, &setup.source, &others).await;
    assert!(seen.iter().all(|message| message.id != lost));
    bridge.drained().await;
    assert_lost(&bridge.metrics().await, 1.0);
    bridge
}

/// The record itself is changed, so no checksum can bring it back.
#[tokio::test(flavor = "multi_thread")]
async fn row_39_a_damaged_record_is_counted_across_starts_and_sending_it_again_publishes_it() {
    let mut setup = setup_without_its_sink();
    let journal = accepted_until_killed(&setup).await;
    let path = first_segment(&setup);
    let (id, body, record) = victim(&journal, &fs::read(&path).unwrap());
    let spoilt = spoil(&path, |bytes| bytes[record.bytes.start + 40] ^= 0xff);
    put_a_store_there(&mut setup);
    let bridge = delivers_all_but(&setup, &journal, &id).await;
    let said = bridge.said("records that were accepted are damaged and lost");
    assert!(said.is_some(), "{}", bridge.log());
    // The loss may be written by now or not: neither makes it another one.
    bridge.kill();
    let bridge = delivers_all_but(&setup, &journal, &id).await;
    bridge.stop().await;
    let bridge = delivers_all_but(&setup, &journal, &id).await;
    assert!(fs::read(&path).unwrap() == spoilt, "the segment is kept");

    let answer = bridge.post(&Post::signed(&setup.source, body)).await;
    assert_eq!((answer.status, answer.outcome()), (200, "accepted".into()));
    assert_eq!(answer.id(), id);
    let seen = Outlet::Store
        .has(&bridge, &setup.source, &journal.ids())
        .await;
    let verdict = Verdict::of(&journal, &seen);
    // A crash publishes again what no progress had been written of.
    verdict.assert_kept(Copies::InDoubt);
    bridge.drained().await;
    assert_lost(&bridge.metrics().await, 1.0);
    Report::row(39)
        .sink("store")
        .did("`kill -9` with all events in the log, one record there changed: counted once across three starts, published when it is sent again")
        .write(&verdict);
}
