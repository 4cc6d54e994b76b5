//! Row 17: the spool's files are damaged, in any byte or from any length on. The bridge starts,
//! delivers what is readable, counts the rest, and keeps the files aside as they were.

pub mod original;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::harness::{Copies, Journal, Load, Outlet, Report, Setup, Target, Verdict};
use original::{Left, Original, Outcome, beside};

/// How far apart the bytes are that the quick tests change: a prime, so that every kind is met.
const STRIDE: usize = 997;
/// The same in the long tests: less than the shortest row has, so that each is met, wherever it
/// stands; and a prime, so that each place within rows of one kind is.
const SHORT_STRIDE: usize = 7;
/// Where cuts are apart in the long tests: what is cut within one page, or one frame, is alike.
const CUT_STRIDE: usize = 61;
/// The headers are changed byte by byte even there: that of the file, and those of the log and of its
/// first frame.
const HEADERS: [usize; 2] = [100, 56];
const PAGE: usize = 4096;
/// The log begins with a header of its own, and each page in it with a frame's.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// What a page begins with: the header of its b-tree, and where the first of its rows stand.
const PAGE_HEAD: usize = 32;

/// Damages one of the files (0: the database, 1: its log) at this place.
type Damage = fn(&mut Vec<u8>, usize);

const ALL_BITS: Damage = |bytes, at| bytes[at] ^= 0xff;
// Of the places that have it, which are the odd ones, all bits in turn.
const ONE_BIT: Damage = |bytes, at| bytes[at] ^= 1 << (at / 2 % 8);
const EITHER: Damage = |bytes, at| [ALL_BITS, ONE_BIT][at % 2](bytes, at);
const CUT: Damage = Vec::truncate;

/// Every place of both files where the quick tests do damage, headers first.
fn places(original: &Original) -> Vec<(usize, usize)> {
    let of = |file: usize| {
        let length = original.files[file].len();
        let headers = HEADERS[file].min(length);
        (0..headers)
            .chain((headers..length).step_by(STRIDE))
            .map(move |at| (file, at))
    };
    of(0).chain(of(1)).collect()
}

/// Every byte of all that gives the files their structure, and one in `stride` of the rest: the
/// header of the file, the log's and each frame's, and the head of each page in either.
fn structure_and_rest(original: &Original, stride: usize) -> Vec<(usize, usize)> {
    let is_head = |file: usize, at: usize| match file {
        0 => at < HEADERS[0] + PAGE_HEAD || at % PAGE < PAGE_HEAD,
        _ => match at.checked_sub(LOG_HEADER) {
            None => true,
            Some(at) => at % (FRAME_HEADER + PAGE) < FRAME_HEADER + PAGE_HEAD,
        },
    };
    let of = |file: usize| (0..original.files[file].len()).map(move |at| (file, at));
    of(0)
        .chain(of(1))
        .filter(|(file, at)| at % stride == 0 || is_head(*file, *at))
        .collect()
}

/// Does the damage at all these places, in as many threads as the machine has processors.
fn everywhere(
    original: &Original,
    places: &[(usize, usize)],
    damage: Damage,
    check: impl Fn(&Outcome, usize, usize) + Sync,
) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                while let Some((file, at)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut files = original.files.clone();
                    damage(&mut files[*file], *at);
                    let what = format!("file {file} at {at}");
                    let outcome = std::panic::catch_unwind(|| {
                        runtime.block_on(original.outcome(files.each_ref().map(Vec::as_slice)))
                    });
                    let Ok(outcome) = outcome else {
                        panic!("damage to {what}");
                    };
                    check(&outcome, *file, *at);
                }
            });
        }
    });
}

/// A changed byte costs nothing without a word, and in the log it is always noticed.
fn changed_bytes_are_survived(original: &Original, places: &[(usize, usize)], damage: Damage) {
    everywhere(original, places, damage, |outcome, file, at| {
        let context = format!("file {file}, byte {at}: {outcome:?}");
        assert!(outcome.is_honest(), "{context}");
        if file == 1 {
            assert!(outcome.kept_aside, "{context}");
        }
    })
}

/// A database that was cut off costs nothing without a word. A log that was cut off cannot be told
/// from one that never was longer: what it held comes back only as the provider sends it again.
fn cuts_are_survived(original: &Original, places: &[(usize, usize)]) {
    everywhere(original, places, CUT, |outcome, file, at| {
        let context = format!("file {file} cut at {at}: {outcome:?}");
        if file == 0 && at < 2 * PAGE {
            // Not even the counts are left, so nobody knows how many events there were.
            assert!(outcome.is_honest() || outcome.corrupt > 0, "{context}");
            // The log may have every page that the file has lost.
            assert!(outcome.kept_aside || outcome.is_whole(), "{context}");
        } else if file == 0 {
            assert!(outcome.is_honest(), "{context}");
        } else {
            assert!(!outcome.kept_aside, "{context}");
        }
    })
}

async fn both() -> [Original; 2] {
    [
        Original::make(Left::Closed).await,
        Original::make(Left::Killed).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_an_undamaged_spool_is_whole_however_it_was_left() {
    for original in both().await {
        let outcome = original
            .outcome(original.files.each_ref().map(Vec::as_slice))
            .await;
        assert!(outcome.is_whole() && !outcome.kept_aside, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_changed_byte_is_survived_and_what_it_costs_is_counted() {
    for original in both().await {
        let places = places(&original);
        tokio::task::block_in_place(|| changed_bytes_are_survived(&original, &places, EITHER));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_file_that_was_cut_off_is_survived_and_what_it_costs_is_counted() {
    for original in both().await {
        let places = places(&original);
        tokio::task::block_in_place(|| cuts_are_survived(&original, &places));
    }
}

/// All bits of a byte and one bit of it by turns: every second place has either.
#[ignore = "tests/run --faults: tens of thousands of starts take minutes"]
#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_changed_byte_is_survived_in_every_header_and_every_row() {
    let mut starts = 0;
    for original in both().await {
        let places = structure_and_rest(&original, SHORT_STRIDE);
        starts += places.len();
        tokio::task::block_in_place(|| changed_bytes_are_survived(&original, &places, EITHER));
    }
    Report::row(17)
        .did(format!(
            "each byte of every header in a spool and its log changed, and one in {SHORT_STRIDE} of all others: {starts} starts"
        ))
        .held();
}

#[ignore = "tests/run --faults: thousands of starts take minutes"]
#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_cut_is_survived_in_every_header_and_every_page() {
    let mut starts = 0;
    for original in both().await {
        let places = structure_and_rest(&original, CUT_STRIDE);
        starts += places.len();
        tokio::task::block_in_place(|| cuts_are_survived(&original, &places));
    }
    Report::row(17)
        .did(format!(
            "a spool and its log cut off in every header, and at one in {CUT_STRIDE} of all other lengths: {starts} starts"
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

/// What a bridge that cannot deliver has accepted by the time it is killed.
async fn accepted_until_killed(setup: &Setup) -> Journal {
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 8, 25);
    let journal = load.finish().await;
    bridge.kill();
    journal
}

/// The name under which the damaged spool was kept.
fn kept_aside(setup: &Setup) -> std::path::PathBuf {
    let folder = setup.path("spool.db");
    let names = fs::read_dir(folder.parent().unwrap()).unwrap();
    let mut paths = names.map(|entry| entry.unwrap().path());
    let kept = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("spool.db.damaged-") && !name.ends_with("-wal")
    };
    paths.find(kept).expect("it was kept")
}

/// Changes the bytes of the log in place and returns them.
fn spoil_log(path: &Path, spoil: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let log = beside(path, "-wal");
    let mut bytes = fs::read(&log).unwrap();
    spoil(&mut bytes);
    fs::write(log, &bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_killed_bridge_with_a_flipped_byte_in_its_log_loses_nothing() {
    let mut setup = setup_without_its_sink();
    let journal = accepted_until_killed(&setup).await;
    let path = setup.path("spool.db");
    let spoilt = spoil_log(&path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
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
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("out");
    assert!(metrics.sum("events_recovered_total", &[]) >= 200.0);
    assert!(
        bridge.said("the spool is damaged").is_some(),
        "{}",
        bridge.log()
    );
    assert!(fs::read(beside(&kept_aside(&setup), "-wal")).unwrap() == spoilt);
    Report::row(17)
        .sink("store")
        .did("`kill -9` with all events in the log, a byte in its middle changed")
        .recovered_in(took)
        .write(&verdict);
}

/// The record itself is changed wherever it stands, so no checksum of the log can bring it back.
#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_record_that_is_damaged_in_the_log_is_counted_and_kept_and_costs_no_other() {
    let mut setup = setup_without_its_sink();
    let journal = accepted_until_killed(&setup).await;
    let path = setup.path("spool.db");
    let victim = journal.ids().swap_remove(40);
    // A record's head begins with its kind, its lane and the id; the ledger has the id alone.
    let id = hex::decode(victim.replace('-', "")).unwrap();
    let needle = [&[1, 0], &id[..]].concat();
    spoil_log(&path, |bytes| {
        let places = bytes.windows(needle.len()).enumerate();
        let places: Vec<usize> = places
            .filter(|(_, window)| *window == needle)
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty(), "the log holds the record");
        for at in places {
            bytes[at + 8..at + 16].fill(b'-');
        }
    });
    put_a_store_there(&mut setup);
    let bridge = setup.start().await;
    let others: Vec<String> = journal
        .ids()
        .into_iter()
        .filter(|id| *id != victim)
        .collect();
    let seen = Outlet::Store.has(&bridge, &setup.source, &others).await;
    let verdict = Verdict::with_set_aside(&journal, &seen, &[victim]);
    verdict.assert_kept(Copies::Once);
    bridge.drained().await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("out");
    let one = |name: &str| {
        let counted = metrics.sum(name, &[]);
        assert!((counted - 1.0).abs() < f64::EPSILON, "{name}: {counted}");
    };
    one("spool_corrupt_records_total");
    one("events_dead_lettered_total");
    one("spool_dead_letters");
    kept_aside(&setup);
    Report::row(17)
        .sink("store")
        .did("`kill -9` with all events in the log, one record there overwritten; it is a dead letter")
        .write(&verdict);
}
