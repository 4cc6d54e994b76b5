//! The spool's disk: full, failing, slow, and gone from under the bridge.
//!
//! Nobody asks how much of a disk is free: whether there is space shows when the next file is made.
//! So a file system that does not say how large it is (`f_blocks` 0, as some network and FUSE ones)
//! is like every other, and there is nothing to test about it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::away::{
    Away, Taken, UNWRITABLE, assert_refused, file_bytes, files, is_not_ready, is_ready_again,
    newest_segment, on_spool, readiness, refused, start_by,
};
use crate::eventually::eventually;
use crate::harness::quota::Quota;
use crate::harness::{
    Bridge, Copies, Disk, Injection, Journal, Load, Outlet, Report, Setup, Target, Verdict, event,
};

const OBJECTS: usize = 4;
/// Of a small disk's spool: its segments have 1 MiB, and the disk is full before the spool is.
const SMALL: &str = "max_size = \"16MiB\"\n";
const SEGMENT: u64 = 1 << 20;

/// Waits for the load's end and for its events on the topics: the promise holds and the counters add
/// up.
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

/// Nothing was lost, and nothing was taken for damage.
async fn is_sound(bridge: &Bridge, folder: &Path) {
    let metrics = bridge.metrics().await;
    for name in ["events_lost_total", "spool_corrupt_records_total"] {
        assert!(metrics.sum_or_zero(name, &[]) < 0.5, "{name}");
    }
    let kept = files(folder)
        .into_iter()
        .filter(|(name, _)| name.contains("damaged"));
    assert_eq!(kept.count(), 0);
}

/// What 200 says of so many deliveries: nothing else to count.
fn acknowledged(count: usize) -> Verdict {
    Verdict {
        acknowledged: count,
        ..Verdict::default()
    }
}

/// The spool takes all there is of its disk, again and again, and delivering empties it.
async fn is_filled_and_emptied(mut away: Away, rounds: u32, did: &str) {
    let source = away.setup.source.clone();
    let bridge = away.setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    let mut sent = Vec::new();
    let mut recovered = Duration::ZERO;
    for round in 1..=rounds {
        away.leaves();
        let taken = away.fill(&bridge, 1).await;
        assert!(taken.len() >= 100, "{} in round {round}", taken.len());
        is_not_ready(&bridge, "disk_full").await;
        assert_eq!(bridge.ask("/livez").await.status, 200);
        let full = [("reason", "disk_full")];
        bridge
            .counts("deliveries_refused_total", &full, f64::from(round))
            .await;
        // That nothing new can be taken is an alarm; what is there is known.
        bridge.shows("spool_writable", &[], 0.0).await;
        let again = bridge.post(&taken[0].post).await;
        assert_eq!((again.status, again.id()), (200, taken[0].id.clone()));
        sent.extend(taken);
        let began = Instant::now();
        away.comes_back();
        is_ready_again(&bridge).await;
        sent.push(away.takes(&bridge).await);
        recovered = recovered.max(began.elapsed());
        bridge.shows("spool_writable", &[], 1.0).await;
        bridge.drained().await;
    }
    away.has_each_once(&bridge, &sent).await;
    is_sound(&bridge, &away.setup.spool_folder).await;
    assert!(
        file_bytes(&away.setup.spool_folder) > 3 * SEGMENT,
        "{source}"
    );
    bridge.stop().await;
    Report::row(15)
        .sink("rabbitmq")
        .did(did)
        .recovered_in(recovered)
        .write(&acknowledged(sent.len()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts a small disk"]
async fn row_15_a_disk_that_the_spool_fills_is_emptied_by_delivering() {
    let disk = Disk::tmpfs(8);
    let away = Away::on(&disk, SMALL).await;
    is_filled_and_emptied(away, 3, "3 × a disk of 8 MiB filled by the spool").await;
}

/// With segments that are at first larger than what is left of the disk.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts an ext4"]
async fn row_15_an_ext4_that_the_spool_fills_is_emptied_by_delivering() {
    let image = Setup::store();
    let disk = Disk::ext4(&image.path("ext4"));
    let away = Away::on(&disk, "max_size = \"64MiB\"\n").await;
    is_filled_and_emptied(away, 2, "2 × an ext4 of 32 MiB filled by the spool").await;
}

/// Nothing is given back by the other program: what the spool has is used again and again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts a small disk"]
async fn row_15_a_disk_that_others_fill_refuses_delivers_and_recovers() {
    let disk = Disk::tmpfs(8);
    let mut away = Away::on(&disk, SMALL).await;
    let source = away.setup.source.clone();
    let bridge = away.setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    away.leaves();
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &source, OBJECTS, 1500);
    load.reaches(OBJECTS * 5).await;
    disk.fill();
    is_not_ready(&bridge, "disk_full").await;
    refused(&bridge, &source, &["disk_full"]).await;
    assert!(load.answered() < OBJECTS * 1500, "it was filled too late");
    assert_eq!(bridge.ask("/livez").await.status, 200);
    // What is there is delivered all the same, and makes space.
    let began = Instant::now();
    away.comes_back();
    is_ready_again(&bridge).await;
    let recovered = began.elapsed();
    let journal = load.finish().await;
    let seen = away.outlet.has(&bridge, &source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("rabbitmq");
    bridge.shows("spool_writable", &[], 1.0).await;
    disk.relieve();
    is_sound(&bridge, &away.setup.spool_folder).await;
    Report::row(15)
        .sink("rabbitmq")
        .did("the spool's disk filled by another program, which keeps it")
        .recovered_in(recovered)
        .write(&verdict);
}

/// Not even a spare is left: what was acknowledged for certain is delivered, what stands in doubt
/// waits until it can be written anew, and so does everything new.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts a small disk"]
async fn row_15_a_start_on_a_full_disk_delivers_what_is_there_and_recovers() {
    let disk = Disk::tmpfs(8);
    let mut away = Away::on(&disk, SMALL).await;
    let source = away.setup.source.clone();
    let bridge = away.setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    away.leaves();
    let target = Target::new(bridge.ingress);
    let journal = Load::start(&target, &source, OBJECTS, 5).finish().await;
    bridge.kill();
    for (name, _) in files(&away.setup.spool_folder) {
        if name.starts_with("spare-") {
            std::fs::remove_file(away.setup.spool_folder.join(name)).expect("removed");
        }
    }
    disk.fill();
    away.comes_back();

    let bridge = away.setup.start().await;
    refused(&bridge, &source, &["disk_full"]).await;
    is_not_ready(&bridge, "disk_full").await;
    // The last batch had an event of each sender at most.
    let certain = (OBJECTS * 4) as f64;
    let delivered = [("sink", "rabbitmq")];
    bridge
        .counts("events_delivered_total", &delivered, certain)
        .await;
    refused(&bridge, &source, &["disk_full"]).await;
    let began = Instant::now();
    disk.relieve();
    is_ready_again(&bridge).await;
    let recovered = began.elapsed();
    let seen = away.outlet.has(&bridge, &source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::InDoubt);
    let all = (OBJECTS * 5) as f64;
    bridge.shows("events_recovered_total", &[], all).await;
    bridge
        .accepted(&source, event("sample.uploaded", "after"))
        .await;
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("rabbitmq");
    is_sound(&bridge, &away.setup.spool_folder).await;
    Report::row(15)
        .sink("rabbitmq")
        .did("started on a full disk, without a spare")
        .recovered_in(recovered)
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts a small disk"]
async fn row_15_a_new_spool_on_a_full_disk_begins_when_there_is_space() {
    let disk = Disk::tmpfs(8);
    let mut setup = Setup::store().spool(SMALL);
    setup.spool_folder = disk.path().join("spool");
    disk.fill();
    let bridge = setup.start().await;
    refused(&bridge, &setup.source, &["disk_full"]).await;
    is_not_ready(&bridge, "disk_full").await;
    disk.relieve();
    is_ready_again(&bridge).await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, OBJECTS, 3);
    let verdict = keeps_all(&bridge, &setup.source, load, Copies::Once).await;
    bridge.stop().await;
    Report::row(15)
        .sink("store")
        .did("a first start on a full disk")
        .write(&verdict);
}

/// Everything but the call and what it does is the same for each I/O error.
async fn fails_for_a_while(call: &str, error: &str) {
    let setup = Setup::store().spool(SMALL);
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::paced(
        &target,
        &setup.source,
        (OBJECTS, 40),
        Duration::from_millis(20),
    );
    load.reaches(OBJECTS * 2).await;
    let failing = Injection::new(call, format!("error={error}"));
    let strace = on_spool(failing, &setup.spool_folder, true)
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
    holds(&bridge, &setup.source, &journal, Copies::InDoubt).await;
    // What failed is not built upon, and what a start finds there is no damage.
    bridge.kill();
    let bridge = setup.start().await;
    let verdict = holds(&bridge, &setup.source, &journal, Copies::InDoubt).await;
    is_sound(&bridge, &setup.spool_folder).await;
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

/// A disk that turns read-only under an open file answers everything that changes it so.
#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_disk_that_turns_read_only_is_never_answered_200() {
    fails_for_a_while("pwrite64,ftruncate,fdatasync,fsync,rename,unlink", "EROFS").await;
}

/// What the kernel itself does with a file system that it no longer trusts. It cannot be made
/// writable again under open files, and `remount,ro` is refused while a bridge runs: so the bridge
/// that refuses here is started again once the disk is well.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root mounts an ext4"]
async fn row_16_an_ext4_that_turns_read_only_accepts_nothing_and_keeps_all() {
    let mut setup = Setup::store().spool(SMALL);
    let image = setup.path("ext4");
    let disk = Disk::ext4(&image);
    setup.spool_folder = disk.path().join("spool");
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
    setup.spool_folder = disk.path().join("spool");
    let bridge = setup.start().await;
    target.moves_to(bridge.ingress);
    let verdict = keeps_all(&bridge, &setup.source, load, Copies::InDoubt).await;
    is_sound(&bridge, &setup.spool_folder).await;
    Report::row(16)
        .sink("store")
        .did("ext4 turns read-only; the bridge is started again on the repaired disk")
        .write(&verdict);
}

/// One write, sync or change of a name after the other fails once, on whichever file it is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: two minutes"]
async fn row_16_each_sync_and_write_may_fail_once() {
    for call in ["fdatasync", "fsync", "pwrite64", "rename", "openat"] {
        for nth in (1..8).chain([12, 20, 30]) {
            let setup = Setup::store().spool(SMALL);
            let bridge = setup.start().await;
            let failing = Injection::new(call, format!("error=EIO:when={nth}"));
            let _strace = on_spool(failing, &setup.spool_folder, false)
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
            is_sound(&bridge, &setup.spool_folder).await;
        }
    }
    Report::row(16)
        .sink("store")
        .did("one write, sync or rename after the other fails once")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_slow_sync_is_answered_late_or_503_and_loses_nothing() {
    let setup = Setup::store()
        .top("acknowledge_timeout = \"1s\"")
        .spool(SMALL);
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let slow = Injection::new("fdatasync", "delay_enter=1500000");
    let strace = on_spool(slow, &setup.spool_folder, true)
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

/// One sync fails, and the disk is well: nothing needs more space than before, however much of its
/// disk the spool has.
#[tokio::test(flavor = "multi_thread")]
async fn row_40_one_failed_sync_stops_nobody_and_copies_nothing() {
    let disk = Disk::tmpfs_where_allowed(24);
    let mut away = match &disk {
        Some(disk) => Away::on(disk, SMALL).await,
        None => Away::new(SMALL).await,
    };
    away.setup = away.setup.and_store();
    let folder = away.setup.spool_folder.clone();
    std::fs::create_dir(&folder).expect("made");
    let quota = Quota::below(&folder);
    let bridge = start_by(&away.setup, |command| quota.load_into(command)).await;
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 1.0)
        .await;
    away.leaves();
    let mut sent = Vec::new();
    for _ in 0..400 {
        sent.push(away.takes(&bridge).await);
    }
    let store = [("sink", "store")];
    bridge.shows("spool_events", &store, 0.0).await;
    // Two spares, once nothing is made any more.
    let before = eventually("the spool is at rest", async || {
        let spares = files(&folder);
        let spares = spares
            .iter()
            .filter(|(name, _)| name.starts_with("spare-") && !name.ends_with(".tmp"));
        (spares.count() >= 2).then(|| file_bytes(&folder))
    })
    .await;
    assert!(before > 8 * SEGMENT, "a third of its disk: {before}");

    let (outage, after) = fails_once(&away, &bridge, &quota, &mut sent).await;
    assert!(outage < Duration::from_secs(1), "{outage:?}");
    let grown = file_bytes(&folder).saturating_sub(before);
    assert!(grown <= SEGMENT + SEGMENT / 4, "{grown} bytes more");
    // The sink that is well has it.
    let source = away.setup.source.as_str();
    let seen = Outlet::Store.has(&bridge, source, &[after]).await;
    assert_eq!(seen.len(), sent.len());
    bridge.metrics().await.assert_balanced("store");

    // And once more while the backlog is delivered.
    away.comes_back();
    let delivered = [("sink", "rabbitmq")];
    bridge
        .counts("events_delivered_total", &delivered, 1.0)
        .await;
    let (again, _) = fails_once(&away, &bridge, &quota, &mut sent).await;
    assert!(again < Duration::from_secs(1), "{again:?}");
    away.has_each_once(&bridge, &sent).await;
    is_sound(&bridge, &folder).await;
    Report::row(40)
        .did(format!(
            "one fdatasync fails with EIO while the spool has {} of 24 MiB: the next delivery is accepted after {} ms, {} KiB are written besides",
            before >> 20,
            outage.max(again).as_millis(),
            grown >> 10
        ))
        .recovered_in(outage.max(again))
        .write(&acknowledged(sent.len()));
}

/// One sync fails while deliveries come; how long nothing was accepted, and the id of the next that
/// was.
async fn fails_once(
    away: &Away,
    bridge: &Bridge,
    quota: &Quota,
    sent: &mut Vec<Taken>,
) -> (Duration, String) {
    let said = |bridge: &Bridge| bridge.log().matches("was not written").count();
    let before = said(bridge);
    quota.fail_nth("EIO", "fdatasync", 1);
    let mut refused_at = Instant::now();
    eventually("the sync fails", async || {
        refused_at = Instant::now();
        let post = away.large(sent.len());
        let answer = bridge.post(&post).await;
        if answer.status == 503 {
            assert_refused(&answer, &UNWRITABLE);
            return Some(());
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.id();
        sent.push(Taken { post, id });
        // It may have been the sync of progress alone, or of a file that nobody waits for.
        (said(bridge) > before).then_some(())
    })
    .await;
    let next = eventually("the next delivery is accepted", async || {
        let post = away.large(sent.len());
        let answer = bridge.post(&post).await;
        (answer.status == 200).then(|| Taken {
            id: answer.id(),
            post,
        })
    })
    .await;
    let outage = refused_at.elapsed();
    quota.relieve();
    let id = next.id.clone();
    sent.push(next);
    (outage, id)
}

/// What happens to the spool's names while the bridge runs, and what must be true afterwards.
async fn loses_its_name(
    took: &str,
    take: impl Fn(&Path),
    give_back: impl Fn(&Path),
    before_the_start: impl AsyncFn(&Setup),
) {
    let setup = Setup::store().spool(SMALL);
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
        bridge.said("a batch of the spool was not written")
    })
    .await;
    let said = said["error"].as_str().expect("text").to_owned();
    assert!(said.contains("was removed or replaced"), "{said}");
    give_back(&setup.spool_folder);
    let began = Instant::now();
    is_ready_again(&bridge).await;
    let recovered = began.elapsed();
    load.reaches(OBJECTS * 20).await;
    // What was answered 200 since then lies under a name that the next start looks for.
    bridge.kill();
    before_the_start(&setup).await;
    let bridge = setup.start().await;
    target.moves_to(bridge.ingress);
    let verdict = keeps_all(&bridge, &setup.source, load, Copies::InDoubt).await;
    Report::row(16)
        .sink("store")
        .did(took)
        .recovered_in(recovered)
        .write(&verdict);
}

async fn nothing(_: &Setup) {}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_segment_is_removed_goes_on_in_the_next() {
    let take = |folder: &Path| {
        std::fs::remove_file(folder.join(newest_segment(folder))).expect("removed");
    };
    loses_its_name("the spool's segment removed", take, |_| {}, nothing).await;
}

/// The spares are gone as well, so there is nothing to go on in until others are made.
#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_files_are_removed_makes_others() {
    let take = |folder: &Path| {
        for (name, _) in files(folder) {
            // One that was finished or renamed meanwhile is there under its new name.
            let _ = std::fs::remove_file(folder.join(name));
        }
    };
    loses_its_name("all files of the spool removed", take, |_| {}, nothing).await;
}

/// Somebody's file in the place of a segment is not overwritten, and a start names it.
#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_segment_that_is_replaced_leaves_the_other_file_alone() {
    let take = |folder: &Path| {
        let other = folder.with_file_name("other");
        std::fs::write(&other, b"somebody's backup").expect("written");
        std::fs::rename(other, folder.join(newest_segment(folder))).expect("replaced");
    };
    let is_named = async |setup: &Setup| {
        let (code, said) = setup.fails().await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is no file of this log"), "{said}");
        let folder = &setup.spool_folder;
        let is_others = |(name, bytes): &(String, u64)| {
            let text = std::fs::read(folder.join(name)).expect("readable");
            *bytes < 100 && text == b"somebody's backup"
        };
        let found: Vec<_> = files(folder).into_iter().filter(is_others).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        let name = &found[0].0;
        assert!(said.contains(name.as_str()), "{said}");
        std::fs::rename(folder.join(name), setup.path("kept")).expect("moved away");
    };
    let took = "the spool's segment replaced by another file";
    loses_its_name(took, take, |_| {}, is_named).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_folder_is_removed_begins_again_in_a_new_one() {
    let take = |folder: &Path| std::fs::remove_dir_all(folder).expect("removed");
    let give_back = |folder: &Path| std::fs::create_dir(folder).expect("made");
    let took = "the spool's folder removed and made again";
    loses_its_name(took, take, give_back, nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_spool_whose_folder_comes_back_goes_on_in_it() {
    let away = |folder: &Path| folder.with_file_name("away");
    let take = move |folder: &Path| std::fs::rename(folder, away(folder)).expect("renamed");
    let give_back = move |folder: &Path| {
        std::fs::rename(away(folder), folder).expect("renamed");
    };
    let took = "the spool's folder moved away and back";
    loses_its_name(took, take, give_back, nothing).await;
}
