//! The spool's disk: full, failing, slow, and gone from under the bridge.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::eventually::eventually;
use crate::harness::{
    Answer, Bridge, Copies, Disk, Injection, Journal, Load, Outlet, Post, Report, Setup, Target,
    Verdict, event,
};

const OBJECTS: usize = 4;

fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, reason),
        "{answer:?}"
    );
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

/// A new delivery that is refused, for whatever reason of these.
async fn refused(bridge: &Bridge, source: &str, reasons: &[&str]) {
    let answer = bridge
        .post(&Post::signed(source, event("sample.uploaded", "refused")))
        .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(reasons.contains(&answer.reason().as_str()), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

async fn readiness(bridge: &Bridge) -> (u16, String) {
    let answer = bridge.ask("/readyz").await;
    let reason = answer.json()["reason"].as_str().map(str::to_owned);
    (answer.status, reason.unwrap_or_default())
}

async fn is_ready_again(bridge: &Bridge) {
    eventually("the bridge is ready again", async || {
        (readiness(bridge).await.0 == 200).then_some(())
    })
    .await;
}

/// Waits for the load's end and for its events on the topics: the promise and the books hold.
async fn keeps_all(bridge: &Bridge, source: &str, load: Load, copies: Copies) -> Verdict {
    holds(bridge, source, &load.finish().await, copies).await
}

async fn holds(bridge: &Bridge, source: &str, journal: &Journal, copies: Copies) -> Verdict {
    let seen = Outlet::Store.has(bridge, source, &journal.ids()).await;
    let verdict = Verdict::of(journal, &seen);
    verdict.assert_kept(copies);
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("store");
    verdict
}

/// What lies in the spool's folder besides the spool.
fn beside_the_spool(folder: &Path, part: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("there");
    files
        .map(|file| {
            file.expect("there")
                .file_name()
                .into_string()
                .expect("text")
        })
        .filter(|name| name.contains(part))
        .collect()
}

/// The spool on a small disk, and the store on another one, which can be filled to hold events back
/// without any broker.
struct Disks {
    spool: Disk,
    store: Disk,
    setup: Setup,
}

impl Disks {
    fn mount() -> Self {
        let (spool, store) = (Disk::tmpfs(8), Disk::tmpfs(64));
        let mut setup = Setup::store();
        setup.spool_folder = spool.path().to_owned();
        setup.sinks[0].1 = format!(
            "type = \"store\"\npath = {:?}\nretry_delay_max = \"200ms\"\n",
            store.path().join("topics")
        );
        Self {
            spool,
            store,
            setup,
        }
    }
}

/// A delivery that takes some room.
fn large(source: &str, object: &str) -> Post {
    let mut body = event("sample.uploaded", object).into_bytes();
    body.resize(20_000, b' ');
    Post::signed(source, body)
}

/// Sends until the bridge refuses; what it accepted.
async fn fill_the_spool(bridge: &Bridge, source: &str) -> Vec<(Post, String)> {
    let mut accepted = Vec::new();
    for number in 0..2000 {
        let post = large(source, &format!("o{}", number % 7));
        let answer = bridge.post(&post).await;
        if answer.status == 503 {
            assert_refused(&answer, "disk_full");
            return accepted;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        accepted.push((post, answer.id()));
    }
    panic!("a disk of 8 MiB takes everything");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts two small disks"]
async fn row_15_a_disk_that_the_spool_fills_is_emptied_by_delivering() {
    let disks = Disks::mount();
    let source = disks.setup.source.clone();
    let bridge = disks.setup.start().await;
    let mut sent = Vec::new();
    let mut recovered = Duration::ZERO;
    // Each round finds the file as long as it ever was, with nothing in it.
    for round in 1..=3 {
        disks.store.fill();
        let accepted = fill_the_spool(&bridge, &source).await;
        assert!(accepted.len() >= 100, "{} in round {round}", accepted.len());
        assert_eq!(readiness(&bridge).await, (503, "disk_full".to_owned()));
        assert_eq!(bridge.ask("/livez").await.status, 200);
        bridge
            .counts(
                "deliveries_refused_total",
                &[("reason", "disk_full")],
                f64::from(round),
            )
            .await;
        // The file is sound, and what is in it is known.
        bridge.shows("spool_writable", &[], 1.0).await;
        let (post, id) = &accepted[0];
        let again = bridge.post(post).await;
        assert_eq!((again.status, &again.id()), (200, id), "{again:?}");
        sent.extend(accepted.into_iter().map(|(post, id)| (id, post.body)));
        let began = Instant::now();
        disks.store.relieve();
        bridge.drained().await;
        is_ready_again(&bridge).await;
        let small = event("sample.uploaded", "after");
        let id = bridge.accepted(&source, small.as_str()).await;
        sent.push((id, small.into_bytes()));
        recovered = recovered.max(began.elapsed());
    }
    let ids: Vec<String> = sent.iter().map(|(id, _)| id.clone()).collect();
    let seen = Outlet::Store.has(&bridge, &source, &ids).await;
    assert_eq!(seen.len(), ids.len(), "each once");
    let bodies: HashMap<&str, &[u8]> = seen
        .iter()
        .map(|seen| (seen.id.as_str(), seen.body.as_slice()))
        .collect();
    for (id, body) in &sent {
        assert_eq!(bodies.get(id.as_str()), Some(&body.as_slice()));
    }
    bridge.metrics().await.assert_balanced("store");
    bridge.stop().await;
    Report::row(15)
        .sink("store")
        .did("3 × a disk of 8 MiB filled by the spool")
        .recovered_in(recovered)
        .write(&Verdict {
            acknowledged: ids.len(),
            ..Verdict::default()
        });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts two small disks"]
async fn row_15_a_disk_that_others_fill_refuses_delivers_and_recovers() {
    let disks = Disks::mount();
    let source = disks.setup.source.clone();
    let bridge = disks.setup.start().await;
    disks.store.fill();
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &source, OBJECTS, 30);
    load.reaches(OBJECTS * 5).await;
    disks.spool.fill();
    eventually("a full disk accepts nothing", async || {
        (readiness(&bridge).await.0 == 503).then_some(())
    })
    .await;
    refused(&bridge, &source, &["disk_full", "spool_unwritable"]).await;
    let answered = load.answered();
    assert!(answered < OBJECTS * 30, "the disk was filled too late");
    // What is there is delivered all the same.
    disks.store.relieve();
    bridge.drained().await;
    refused(&bridge, &source, &["disk_full", "spool_unwritable"]).await;
    assert_eq!(bridge.ask("/livez").await.status, 200);
    let began = Instant::now();
    disks.spool.relieve();
    is_ready_again(&bridge).await;
    let recovered = began.elapsed();
    let verdict = keeps_all(&bridge, &source, load, Copies::Once).await;
    bridge.shows("spool_writable", &[], 1.0).await;
    Report::row(15)
        .sink("store")
        .did("the spool's disk filled by another program")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts two small disks"]
async fn row_15_a_start_on_a_full_disk_delivers_what_is_there_and_recovers() {
    let disks = Disks::mount();
    let source = disks.setup.source.clone();
    let bridge = disks.setup.start().await;
    disks.store.fill();
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &source, OBJECTS, 5);
    let journal = load.finish().await;
    bridge.kill();
    disks.spool.fill();
    disks.store.relieve();

    let bridge = disks.setup.start().await;
    refused(&bridge, &source, &["disk_full", "spool_unwritable"]).await;
    assert_eq!(readiness(&bridge).await.0, 503);
    bridge
        .counts("events_recovered_total", &[], (OBJECTS * 5) as f64)
        .await;
    let seen = Outlet::Store.has(&bridge, &source, &journal.ids()).await;
    bridge.drained().await;
    disks.spool.relieve();
    is_ready_again(&bridge).await;
    bridge
        .accepted(&source, event("sample.uploaded", "after"))
        .await;
    assert_eq!(beside_the_spool(disks.spool.path(), "damaged"), [""; 0]);
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::InDoubt);
    Report::row(15)
        .sink("store")
        .did("started on a full disk")
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts a small disk"]
async fn row_15_a_new_spool_on_a_full_disk_is_an_error_with_a_remedy() {
    let disks = Disks::mount();
    disks.spool.fill();
    let (code, said) = disks.setup.fails().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("spool.db") && said.contains("have space"),
        "{said}"
    );
    disks.spool.relieve();
    disks.setup.start().await.stop().await;
    Report::row(15)
        .sink("store")
        .did("a first start on a full disk")
        .held();
}

/// Everything but the call and what it does is the same for each I/O error.
async fn fails_for_a_while(call: &str, error: &str) {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::paced(
        &target,
        &setup.source,
        (OBJECTS, 40),
        Duration::from_millis(20),
    );
    load.reaches(OBJECTS * 2).await;
    let strace = Injection::new(call, format!("error={error}"))
        .on(&setup.spool_folder, &["spool.db", "spool.db-wal"])
        .attach(&bridge)
        .await;
    bridge.shows("spool_writable", &[], 0.0).await;
    let failing = Instant::now();
    assert_eq!(
        readiness(&bridge).await,
        (503, "spool_unwritable".to_owned())
    );
    refused(&bridge, &setup.source, &["spool_unwritable"]).await;
    bridge
        .counts(
            "deliveries_refused_total",
            &[("reason", "spool_unwritable")],
            10.0,
        )
        .await;
    let began = Instant::now();
    drop(strace);
    bridge.shows("spool_writable", &[], 1.0).await;
    let recovered = began.elapsed();
    let journal = load.finish().await;
    let lies = journal.attempts().filter(|attempt| {
        let while_failing = attempt.began > failing && attempt.began + attempt.took < began;
        while_failing && attempt.status == Some(200)
    });
    assert_eq!(lies.count(), 0, "200 although {call} fails");
    let verdict = holds(&bridge, &setup.source, &journal, Copies::InDoubt).await;
    // Nothing is built upon the file that failed.
    assert!(!beside_the_spool(&setup.spool_folder, "damaged").is_empty());
    bridge.stop().await;
    Report::row(16)
        .sink("store")
        .did(format!("{call} fails with {error} until it works again"))
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_failing_sync_is_never_answered_200() {
    fails_for_a_while("fdatasync", "EIO").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_failing_write_is_never_answered_200() {
    fails_for_a_while("pwrite64", "EIO").await;
}

/// A disk that turns read-only under an open file answers every write so.
#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_disk_that_turns_read_only_is_never_answered_200() {
    fails_for_a_while("pwrite64,ftruncate,fdatasync", "EROFS").await;
}

/// What the kernel itself does with a file system that it no longer trusts. It cannot be made
/// writable again under open files, and `remount,ro` is refused while a bridge runs: so the bridge
/// that refuses here is started again once the disk is well.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts an ext4"]
async fn row_16_an_ext4_that_turns_read_only_accepts_nothing_and_keeps_all() {
    let mut setup = Setup::store();
    let image = setup.path("ext4");
    let disk = Disk::ext4(&image);
    setup.spool_folder = disk.path().to_owned();
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::paced(
        &target,
        &setup.source,
        (OBJECTS, 20),
        Duration::from_millis(20),
    );
    load.reaches(OBJECTS * 5).await;
    disk.turn_read_only();
    bridge.shows("spool_writable", &[], 0.0).await;
    refused(&bridge, &setup.source, &["spool_unwritable"]).await;
    // By now every sender has heard the last answer from before.
    let refusals = [("reason", "spool_unwritable")];
    bridge
        .counts("deliveries_refused_total", &refusals, 20.0)
        .await;
    let answered = load.answered();
    bridge
        .counts("deliveries_refused_total", &refusals, 60.0)
        .await;
    assert_eq!(load.answered(), answered, "200 on a read-only disk");
    assert_eq!(bridge.ask("/livez").await.status, 200);
    bridge.kill();
    drop(disk);
    let disk = Disk::ext4(&image);
    setup.spool_folder = disk.path().to_owned();
    let bridge = setup.start().await;
    target.moves_to(bridge.ingress);
    let verdict = keeps_all(&bridge, &setup.source, load, Copies::InDoubt).await;
    Report::row(16)
        .sink("store")
        .did("ext4 turns read-only; the bridge is started again on the repaired disk")
        .write(&verdict);
}

/// One sync after the other fails once, on whichever file it is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a minute"]
async fn row_16_each_sync_and_write_may_fail_once() {
    for call in ["fdatasync", "fsync", "pwrite64", "ftruncate"] {
        for nth in (1..8).chain([12, 20, 30]) {
            let setup = Setup::store();
            let bridge = setup.start().await;
            let _strace = Injection::new(call, format!("error=EIO:when={nth}"))
                .on(&setup.spool_folder, &["spool.db", "spool.db-wal"])
                .attach(&bridge)
                .await;
            let target = Target::new(bridge.ingress);
            let load = Load::start(&target, &setup.source, 2, 6);
            load.reaches(2 * 6).await;
            bridge.drained().await;
            bridge.metrics().await.assert_balanced("store");
            bridge.kill();
            let bridge = setup.start().await;
            keeps_all(&bridge, &setup.source, load, Copies::InDoubt).await;
        }
    }
    Report::row(16)
        .sink("store")
        .did("one write or sync after the other fails once")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_slow_sync_is_answered_late_or_503_and_loses_nothing() {
    let setup = Setup::store().top("acknowledge_timeout = \"1s\"");
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let strace = Injection::new("fdatasync", "delay_enter=1500000")
        .on(&setup.spool_folder, &["spool.db", "spool.db-wal"])
        .attach(&bridge)
        .await;
    let load = Load::start(&target, &setup.source, OBJECTS, 10);
    bridge
        .counts(
            "deliveries_refused_total",
            &[("reason", "not_in_time")],
            2.0,
        )
        .await;
    drop(strace);
    // A refused delivery went its way all the same; its repetition is the duplicate that the
    // bridge knows, so the topic has each once.
    let verdict = keeps_all(&bridge, &setup.source, load, Copies::Once).await;
    bridge.shows("spool_writable", &[], 1.0).await;
    // A commit that outlasts the deadline of those who wait for it.
    bridge
        .counts("spool_commit_duration_seconds_sum", &[], 1.0)
        .await;
    Report::row(16)
        .sink("store")
        .did("every fdatasync takes 1.5 s")
        .write(&verdict);
}

/// What happens to the spool's names while the bridge runs, and what must be true afterwards.
async fn loses_its_name(took: &str, take: impl Fn(&Path), give_back: impl Fn(&Path)) {
    let mut setup = Setup::store();
    setup.spool_folder = setup.path("spool");
    std::fs::create_dir(&setup.spool_folder).expect("made");
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, OBJECTS, 40);
    load.reaches(OBJECTS * 5).await;
    take(&setup.spool_folder);
    bridge
        .counts(
            "deliveries_refused_total",
            &[("reason", "spool_unwritable")],
            1.0,
        )
        .await;
    let said = eventually("the log says so", async || {
        bridge.said("the spool cannot be written")
    })
    .await;
    assert!(
        said["error"]
            .as_str()
            .expect("text")
            .contains("was removed or replaced"),
        "{said}"
    );
    give_back(&setup.spool_folder);
    let began = Instant::now();
    is_ready_again(&bridge).await;
    let recovered = began.elapsed();
    load.reaches(OBJECTS * 20).await;
    // What was answered 200 since then lies under the name that the next start looks for.
    bridge.kill();
    let bridge = setup.start().await;
    target.moves_to(bridge.ingress);
    let verdict = keeps_all(&bridge, &setup.source, load, Copies::InDoubt).await;
    Report::row(16)
        .sink("store")
        .did(took)
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_file_is_removed_gives_it_back() {
    let take = |folder: &Path| std::fs::remove_file(folder.join("spool.db")).expect("removed");
    loses_its_name("the spool's file removed", take, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_log_is_removed_gives_it_back() {
    let take = |folder: &Path| std::fs::remove_file(folder.join("spool.db-wal")).expect("removed");
    loses_its_name("the spool's write-ahead log removed", take, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_that_is_replaced_sets_the_other_file_aside() {
    let take = |folder: &Path| {
        std::fs::write(folder.join("other"), b"somebody's backup").expect("written");
        std::fs::rename(folder.join("other"), folder.join("spool.db")).expect("replaced");
    };
    let give_back = |folder: &Path| {
        let aside = || {
            let names = beside_the_spool(folder, "damaged");
            names.into_iter().find(|name| !name.contains("-wal"))
        };
        let name = crate::eventually::eventually_blocking("it is set aside", aside);
        let kept = std::fs::read(folder.join(name)).expect("kept");
        assert_eq!(kept, b"somebody's backup");
    };
    loses_its_name("the spool's file replaced", take, give_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_folder_is_removed_begins_again_in_a_new_one() {
    let take = |folder: &Path| std::fs::remove_dir_all(folder).expect("removed");
    let give_back = |folder: &Path| std::fs::create_dir(folder).expect("made");
    loses_its_name("the spool's folder removed and made again", take, give_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_folder_comes_back_goes_on_in_it() {
    let away = |folder: &Path| folder.with_file_name("away");
    let take = move |folder: &Path| std::fs::rename(folder, away(folder)).expect("renamed");
    let give_back = move |folder: &Path| {
        std::fs::rename(away(folder), folder).expect("renamed");
    };
    loses_its_name("the spool's folder moved away and back", take, give_back).await;
}
