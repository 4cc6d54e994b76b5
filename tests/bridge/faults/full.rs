//! Row 41: there is no space, in whatever way the system says so: a quota that is used up, files that
//! may not grow, a device that is full; all the time, or at any one write.

use std::time::{Duration, Instant};

use super::away::{
    Away, Taken, UNWRITABLE, assert_refused, is_ready_again, readiness, refused, start_by,
};
use crate::eventually::eventually;
use crate::harness::Post;
use crate::harness::delivery::numbered;
use crate::harness::load::{Attempt, Sent, digest};
use crate::harness::quota::Quota;
use crate::harness::setup::SECRET;
use crate::harness::{Bridge, Copies, Journal, Outlet, Report, Setup, Verdict};

/// Segments of 1 MiB.
const SPOOL: &str = "max_size = \"16MiB\"\n";

/// A bridge that feels a quota on its spool's folder.
async fn under_quota(setup: &Setup) -> (Bridge, Quota) {
    if !setup.spool_folder.exists() {
        std::fs::create_dir(&setup.spool_folder).expect("made");
    }
    let quota = Quota::below(&setup.spool_folder);
    let bridge = start_by(setup, |command| quota.load_into(command)).await;
    (bridge, quota)
}

/// Not even what is there already can be written to.
#[tokio::test(flavor = "multi_thread")]
async fn row_41_a_quota_that_is_used_up_refuses_delivers_and_recovers() {
    let mut away = Away::new(SPOOL).await;
    let source = away.setup.source.clone();
    let (bridge, quota) = under_quota(&away.setup).await;
    bridge.shows("sink_connected", &[], 1.0).await;
    away.leaves();
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(away.takes(&bridge).await);
    }
    quota.exceed();
    sent.extend(away.fill(&bridge, 3).await);
    assert_eq!(readiness(&bridge).await, (503, "disk_full".to_owned()));
    assert_eq!(bridge.ask("/livez").await.status, 200);
    // Delivering goes on.
    away.comes_back();
    bridge.drained().await;
    refused(&bridge, &source, &["disk_full"]).await;
    let began = Instant::now();
    quota.relieve();
    is_ready_again(&bridge).await;
    let recovered = began.elapsed();
    sent.push(away.takes(&bridge).await);
    away.has_each_once(&bridge, &sent).await;
    bridge.stop().await;
    Report::row(41)
        .sink("rabbitmq")
        .did("a quota is used up (`EDQUOT`), and given back")
        .recovered_in(recovered)
        .write(&Verdict {
            acknowledged: sent.len(),
            ..Verdict::default()
        });
}

/// The limit lies in the middle of a segment: no spare can be made, and of those that are there one
/// half can be written.
#[tokio::test(flavor = "multi_thread")]
async fn row_41_files_that_may_not_grow_refuse_deliver_and_recover() {
    let mut away = Away::new(SPOOL).await;
    let bridge = away.setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    let mut sent = vec![away.takes(&bridge).await];
    bridge.drained().await;
    away.leaves();
    bridge.limit_files(Some(600 << 10));
    sent.extend(away.fill(&bridge, 20).await);
    assert_eq!(bridge.ask("/livez").await.status, 200);
    let began = Instant::now();
    away.comes_back();
    let next = eventually("delivering makes space", async || {
        let post = away.large(sent.len());
        let answer = bridge.post(&post).await;
        (answer.status == 200).then(|| Taken {
            id: answer.id(),
            post,
        })
    })
    .await;
    let recovered = began.elapsed();
    sent.push(next);
    bridge.drained().await;
    bridge.limit_files(None);
    is_ready_again(&bridge).await;
    sent.push(away.takes(&bridge).await);
    away.has_each_once(&bridge, &sent).await;
    bridge.stop().await;
    Report::row(41)
        .sink("rabbitmq")
        .did("files may not grow beyond 600 KiB (`EFBIG`, by `prlimit --fsize`)")
        .recovered_in(recovered)
        .write(&Verdict {
            acknowledged: sent.len(),
            ..Verdict::default()
        });
}

/// Deliveries of 100 kB of one object, one after the other, as the provider would send them.
struct Sender<'a> {
    setup: &'a Setup,
    journal: Journal,
}

/// What one delivery may take until it is accepted, where one call fails.
const PATIENCE: Duration = Duration::from_secs(5);
const SIZE: usize = 100_000;

impl<'a> Sender<'a> {
    fn new(setup: &'a Setup) -> Self {
        Self {
            setup,
            journal: Journal::default(),
        }
    }

    /// Sends so many, each until it is answered 200; how often they were refused.
    async fn send(&mut self, bridge: &Bridge, count: usize) -> usize {
        let mut refusals = 0;
        for _ in 0..count {
            let number = self.journal.0.len();
            let mut body = numbered("sample.uploaded", "large", number).into_bytes();
            body.resize(SIZE, b' ');
            let mut sent = Sent {
                object: "large".to_owned(),
                number,
                digest: digest(&body),
                attempts: Vec::new(),
            };
            let began = Instant::now();
            eventually("a delivery is accepted", async || {
                let attempt = attempt(bridge, &self.setup.source, &body).await;
                let is_taken = attempt.status == Some(200);
                sent.attempts.push(attempt);
                is_taken.then_some(())
            })
            .await;
            assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
            refusals += sent.attempts.len() - 1;
            self.journal.0.push(sent);
        }
        refusals
    }

    async fn holds(&self, bridge: &Bridge) -> Verdict {
        let ids = self.journal.ids();
        let seen = Outlet::Store.has(bridge, &self.setup.source, &ids).await;
        let verdict = Verdict::of(&self.journal, &seen);
        verdict.assert_kept(Copies::InDoubt);
        bridge.drained().await;
        let metrics = bridge.metrics().await;
        metrics.assert_balanced("store");
        for name in ["events_lost_total", "spool_corrupt_records_total"] {
            assert!(metrics.sum_or_zero(name, &[]) < 0.5, "{name}");
        }
        verdict
    }
}

async fn attempt(bridge: &Bridge, source: &str, body: &[u8]) -> Attempt {
    let began = Instant::now();
    let answer = bridge.post(&Post::signed(source, body)).await;
    if answer.status != 200 {
        assert_refused(&answer, &UNWRITABLE);
    }
    Attempt {
        began,
        took: began.elapsed(),
        secret: SECRET,
        status: Some(answer.status),
        id: (answer.status == 200).then(|| answer.id()),
    }
}

/// With each of these errors one call after the other fails, once. After some the bridge is killed:
/// what a start finds then is what was answered.
async fn each_call_fails_once(errors: &[&str], nths: &[usize]) -> (usize, Verdict) {
    let setup = Setup::store().spool(SPOOL);
    let (mut bridge, mut quota) = under_quota(&setup).await;
    let mut sender = Sender::new(&setup);
    let (mut faults, mut refusals) = (0, 0);
    for error in errors {
        for call in ["write", "fdatasync", "fsync", "rename"] {
            for nth in nths {
                quota.fail_nth(error, call, *nth);
                // More than a segment takes, so that files are made, renamed and used again.
                refusals += sender.send(&bridge, 14).await;
                quota.relieve();
                faults += 1;
                bridge.shows("spool_writable", &[], 1.0).await;
                is_ready_again(&bridge).await;
                if faults % 5 == 0 {
                    bridge.kill();
                    (bridge, quota) = under_quota(&setup).await;
                }
            }
        }
    }
    // A call that fails refuses a few deliveries at most: the next ones go elsewhere.
    assert!(refusals > 0, "nothing has failed");
    assert!(refusals <= 10 * faults, "{refusals} of {faults} faults");
    let verdict = sender.holds(&bridge).await;
    bridge.stop().await;
    (faults, verdict)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_41_no_space_at_one_write_costs_nothing_but_a_retry() {
    each_call_fails_once(&["ENOSPC"], &[1, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_41_no_space_at_any_write_costs_nothing_but_a_retry() {
    let nths: Vec<usize> = (1..=16).chain([50, 257, 258, 259, 300]).collect();
    let (faults, verdict) = each_call_fails_once(&["ENOSPC", "EDQUOT", "EFBIG"], &nths).await;
    Report::row(41)
        .sink("store")
        .did(format!(
            "{faults} × one write, sync or rename fails with `ENOSPC`, `EDQUOT` or `EFBIG`"
        ))
        .write(&verdict);
}
