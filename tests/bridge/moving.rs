//! A spool is moved to another machine, as docs/src/spool.md says: what waits in it is delivered from there,
//! and what it has accepted before is still known.

use std::fs;
use std::path::Path;

use crate::harness::{Copies, Load, Outlet, Post, Setup, Target, Verdict, amqp_url, event};

const OBJECTS: usize = 4;
const EACH: usize = 5;

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|it| (it.path(), it.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// One machine whose broker is away, and another one with the broker.
async fn moved(crash: bool) {
    let here = Setup::rabbitmq("amqp://127.0.0.1:1");
    let mut there = Setup::rabbitmq(&amqp_url());
    there.source.clone_from(&here.source);
    let mut outlet = Outlet::rabbitmq(&there).await;
    let bridge = here.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &here.source, OBJECTS, EACH);
    load.reaches(OBJECTS * EACH).await;
    let journal = load.finish().await;
    let copied = event("sample.uploaded", "copied");
    let id = bridge.accepted(&here.source, copied.clone()).await;
    if crash {
        bridge.kill();
    } else {
        bridge.stop().await;
    }
    copy(&here.spool_folder, &there.spool_folder);
    let bridge = there.start().await;
    let mut ids = journal.ids();
    ids.push(id.clone());
    let seen = outlet.has(&bridge, &there.source, &ids).await;
    let ours: Vec<_> = seen.into_iter().filter(|one| one.id != id).collect();
    Verdict::of(&journal, &ours).assert_kept(Copies::Once);
    bridge.drained().await;
    let metrics = bridge.metrics().await;
    for name in ["events_lost_total", "spool_corrupt_records_total"] {
        assert!(metrics.sum(name, &[]) < 0.5, "{name}");
    }
    let answer = bridge.post(&Post::signed(&there.source, copied)).await;
    assert_eq!(answer.outcome(), "duplicate", "its memory came along");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_moves_to_another_machine_after_a_stop() {
    moved(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_moves_to_another_machine_after_a_crash() {
    moved(true).await;
}
