//! The bridge is killed at its n-th write, sync, truncation, rename, … of the spool's files, for
//! every n: while it runs and stops, while it starts over a log that has to be recovered, and while
//! it replaces a file whose counts are wrong. The sink is the store, because what is at stake is the
//! spool alone.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::eventually::eventually;
use crate::harness::program::RELEASED;
use crate::harness::{
    Bridge, Copies, Injection, Journal, Load, Outlet, Report, Setup, Target, Verdict,
};

/// Everything that changes a file or a folder.
const CALLS: [&str; 7] = [
    "pwrite64",
    "fdatasync",
    "fsync",
    "ftruncate",
    "rename",
    "unlink",
    "openat",
];
/// The names the spool uses.
const FILES: [&str; 14] = [
    "spool.db",
    "spool.db-wal",
    "spool.db-journal",
    "spool.db.lock",
    "spool.db.new",
    "spool.db.new-journal",
    "spool.db.salvaging",
    "spool.db.salvaging-wal",
    "spool.db.salvaging-journal",
    "spool.db.salvaging.new",
    "spool.db.salvaging.new-journal",
    "spool.db.salvaging.lock",
    "spool.db.salvaged",
    "spool.db-shm",
];
/// The program is ready again this soon after a crash.
const RESTART: Duration = Duration::from_secs(2);
const OBJECTS: usize = 2;
const EACH: usize = 3;
/// More calls of one kind than any of these runs makes: the end has to be reached.
const MANY: usize = 1000;

fn injection(setup: &Setup, call: &str, nth: usize) -> Injection {
    Injection::kill_at(call, nth).on(&setup.spool_folder, &FILES)
}

/// The outcome of all the kills of a test.
#[derive(Default)]
struct Kills {
    verdict: Verdict,
    count: usize,
    slowest: Duration,
    recovered: f64,
}

impl Kills {
    /// Starts again after a kill, and holds what was answered against the topics.
    async fn add(&mut self, setup: &Setup, load: Load, target: &Target) {
        let began = Instant::now();
        let bridge = setup.start().await;
        self.slowest = self.slowest.max(began.elapsed());
        self.recovered += bridge.metrics().await.sum("events_recovered_total", &[]);
        target.moves_to(bridge.ingress);
        let journal = load.finish().await;
        self.judge(setup, &bridge, &journal).await;
        self.count += 1;
    }

    async fn judge(&mut self, setup: &Setup, bridge: &Bridge, journal: &Journal) {
        let seen = Outlet::Store
            .has(bridge, &setup.source, &journal.ids())
            .await;
        let verdict = Verdict::of(journal, &seen);
        verdict.assert_kept(Copies::InDoubt);
        bridge.drained().await;
        bridge.metrics().await.assert_balanced("store");
        self.verdict.acknowledged += verdict.acknowledged;
        self.verdict.duplicates += verdict.duplicates;
    }

    fn report(&self, did: &str) {
        assert!(self.count > 0, "nothing was killed, so nothing is shown");
        Report::row(2)
            .sink("store")
            .did(format!("{did}: {} kills", self.count))
            .recovered_in(self.slowest)
            .write(&self.verdict);
    }
}

fn is_killed(status: ExitStatus) -> bool {
    match (status.signal(), status.code()) {
        (Some(9), _) => true,
        (_, Some(0)) => false,
        _ => panic!("neither killed nor stopped well: {status:?}"),
    }
}

/// A whole life of a bridge, killed at the n-th call: whether it came so far.
async fn life(call: &str, nth: usize, kills: &mut Kills) -> bool {
    let setup = Setup::store();
    let mut bridge = setup.start().await;
    let strace = injection(&setup, call, nth).attach(&bridge).await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, OBJECTS, EACH);
    let status = eventually("all is answered, or the bridge is killed", async || {
        if load.answered() == OBJECTS * EACH {
            bridge.signal("TERM");
            return Some(None);
        }
        bridge.has_ended().map(Some)
    })
    .await;
    let status = match status {
        Some(status) => status,
        None => bridge.ended().await,
    };
    drop(strace);
    kills.add(&setup, load, &target).await;
    is_killed(status)
}

/// Kills at the calls numbered so, until a life is over before; how many came before that.
async fn lives(call: &str, numbers: impl Iterator<Item = usize>, kills: &mut Kills) -> usize {
    for nth in numbers {
        if !life(call, nth, kills).await {
            return nth - 1;
        }
    }
    MANY
}

#[tokio::test(flavor = "multi_thread")]
async fn row_02_kills_at_some_syncs_and_writes_lose_nothing() {
    let mut kills = Kills::default();
    lives("fdatasync", [1, 2].into_iter(), &mut kills).await;
    lives("pwrite64", [1, 4, 9].into_iter(), &mut kills).await;
    kills.report("killed at a few writes and syncs of the spool");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_02_kills_at_every_write_of_a_life_lose_nothing() {
    let mut kills = Kills::default();
    for call in CALLS {
        let reached = lives(call, 1.., &mut kills).await;
        println!("{call}: {reached}");
        assert!(reached < MANY);
        assert!(
            reached > 0 || !["pwrite64", "fdatasync"].contains(&call),
            "{call} on the spool was not seen: the search is wrong"
        );
    }
    // Events that were answered and had not left the file by then.
    assert!(kills.recovered > 0.0);
    kills.report("killed at every write, sync, truncation, rename and opening of the spool's files while it ran and stopped");
    assert!(kills.slowest < RESTART, "{:?}", kills.slowest);
}

/// A spool that a killed bridge has left behind.
struct Left {
    setup: Setup,
    journal: Journal,
    files: Vec<(String, Vec<u8>)>,
}

impl Left {
    async fn behind() -> Self {
        let setup = Setup::store();
        let bridge = setup.start().await;
        let target = Target::new(bridge.ingress);
        let load = Load::start(&target, &setup.source, OBJECTS, EACH);
        load.reaches(OBJECTS * EACH).await;
        bridge.kill();
        let mut left = Self {
            setup,
            journal: load.finish().await,
            files: Vec::new(),
        };
        left.remember();
        left
    }

    /// Takes what lies there now for what was left.
    fn remember(&mut self) {
        let files = std::fs::read_dir(self.setup.path("")).expect("there");
        let read = |file: std::fs::DirEntry| {
            let name = file.file_name().into_string().expect("text");
            let bytes = std::fs::read(file.path()).expect("readable");
            (name, bytes)
        };
        self.files = files.map(|file| read(file.expect("there"))).collect();
    }

    /// Makes the folder what it was.
    fn restore(&self) {
        for file in std::fs::read_dir(self.setup.path("")).expect("there") {
            std::fs::remove_file(file.expect("there").path()).expect("removed");
        }
        for (name, bytes) in &self.files {
            std::fs::write(self.setup.path(name), bytes).expect("written");
        }
    }

    /// Starts over it, killed at the n-th call, and then undisturbed: whether it came so far.
    async fn start_killed(&self, call: &str, nth: usize, kills: &mut Kills) -> bool {
        self.restore();
        let command = injection(&self.setup, call, nth).around(RELEASED);
        let mut bridge = Bridge::launch_as(command, &self.setup.write());
        let status = eventually("the bridge is ready, or is killed", async || {
            if bridge.said("the bridge is ready").is_some() {
                return Some(None);
            }
            bridge.has_ended().map(Some)
        })
        .await;
        if status.is_none() {
            return false;
        }
        drop(bridge);
        let began = Instant::now();
        let bridge = self.setup.start().await;
        kills.slowest = kills.slowest.max(began.elapsed());
        kills.recovered += bridge.metrics().await.sum("events_recovered_total", &[]);
        kills.judge(&self.setup, &bridge, &self.journal).await;
        kills.count += 1;
        true
    }

    async fn start_killed_everywhere(&self) -> Kills {
        let mut kills = Kills::default();
        for call in CALLS {
            let mut nth = 1;
            while self.start_killed(call, nth, &mut kills).await {
                nth += 1;
                assert!(nth < MANY);
            }
            println!("{call}: {}", nth - 1);
        }
        kills
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_02_kills_at_every_write_of_a_recovery_lose_nothing() {
    let left = Left::behind().await;
    let kills = left.start_killed_everywhere().await;
    assert!(kills.recovered > 0.0);
    kills.report("killed at every write, sync and opening of a start that recovers the log");
    assert!(kills.slowest < RESTART, "{:?}", kills.slowest);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_02_kills_at_every_write_of_a_replacement_lose_nothing() {
    let mut left = Left::behind().await;
    // Every record is there; only the counts say otherwise, so the whole file is replaced.
    let spool = rusqlite::Connection::open(left.setup.spool_file()).expect("there");
    spool
        .execute(
            "UPDATE tally SET value = value + 1 WHERE name = 'records'",
            [],
        )
        .expect("changed");
    drop(spool);
    left.remember();
    let kills = left.start_killed_everywhere().await;
    assert!(kills.recovered > 0.0);
    kills.report(
        "killed at every write, sync, rename and removal of a start that replaces a damaged file",
    );
    assert!(kills.slowest < RESTART, "{:?}", kills.slowest);
}
