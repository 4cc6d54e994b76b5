//! The bridge is killed at its n-th write, sync, rename, removal, … of the spool's files, for every
//! n: while it runs and stops, while its segments are filled, recycled and used again, while a dead
//! letter is written and requeued, and while it starts. The sink is the store, because what is at
//! stake is the spool alone.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr;

use super::away::on_spool;
use crate::eventually::eventually;
use crate::harness::delivery::numbered;
use crate::harness::load::{Attempt, Sent, digest};
use crate::harness::program::RELEASED;
use crate::harness::setup::SECRET;
use crate::harness::{
    Bridge, Copies, Injection, Journal, Load, MockKafka, Outlet, Post, Report, Setup, Target,
    Verdict,
};

/// Everything that changes a file or a folder.
const CALLS: [&str; 8] = [
    "pwrite64",
    "fdatasync",
    "fsync",
    "ftruncate",
    "rename",
    "unlink",
    "mkdir",
    "openat",
];
/// The program is ready again this soon after a crash.
const RESTART: Duration = Duration::from_secs(2);
const OBJECTS: usize = 2;
const EACH: usize = 3;
/// More calls of one kind than any of these runs makes: the end has to be reached.
const MANY: usize = 1000;

/// Segments of 1 MiB.
fn setup() -> Setup {
    Setup::store().spool("max_size = \"16MiB\"\n")
}

/// The writes of zeros to a file that is to become a spare are hundreds and all alike, and have a
/// test of their own; every other call on such a file is one like others.
fn injection(setup: &Setup, call: &str, nth: usize) -> Injection {
    let kill = Injection::kill_at(call, nth);
    on_spool(kill, &setup.spool_folder, call != "pwrite64")
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
    /// Starts again after a kill.
    async fn restart(&mut self, setup: &Setup) -> Bridge {
        let began = Instant::now();
        let bridge = setup.start().await;
        self.slowest = self.slowest.max(began.elapsed());
        let metrics = bridge.metrics().await;
        self.recovered += metrics.sum_or_zero("events_recovered_total", &[]);
        self.count += 1;
        bridge
    }

    /// Holds what was answered against the topics. A process that is killed leaves all it has
    /// written, so nothing may be lost, nor taken for damage.
    async fn judge(&mut self, setup: &Setup, bridge: &Bridge, journal: &Journal) {
        let seen = Outlet::Store
            .has(bridge, &setup.source, &journal.ids())
            .await;
        let verdict = Verdict::of(journal, &seen);
        verdict.assert_kept(Copies::InDoubt);
        bridge.drained().await;
        let metrics = bridge.metrics().await;
        metrics.assert_balanced("store");
        for name in ["events_lost_total", "spool_corrupt_records_total"] {
            assert!(metrics.sum_or_zero(name, &[]) < 0.5, "{name}");
        }
        self.verdict.acknowledged += verdict.acknowledged;
        self.verdict.duplicates += verdict.duplicates;
    }

    fn report(&self, did: &str) {
        assert!(self.count > 0, "nothing was killed, so nothing is shown");
        println!("{did}: {} kills", self.count);
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
    let setup = setup();
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
    let bridge = kills.restart(&setup).await;
    target.moves_to(bridge.ingress);
    let journal = load.finish().await;
    kills.judge(&setup, &bridge, &journal).await;
    is_killed(status)
}

/// Kills at the calls numbered so, until a life is over before; how many came before that.
async fn lives(
    call: &str,
    numbers: impl Iterator<Item = usize>,
    kills: &mut Kills,
    life: impl AsyncFn(&str, usize, &mut Kills) -> bool,
) -> usize {
    for nth in numbers {
        if !life(call, nth, kills).await {
            return nth - 1;
        }
    }
    MANY
}

/// Kills at every call of a kind of life. Some calls must be there, or the search is wrong.
async fn all_lives(
    kills: &mut Kills,
    seen: &[&str],
    life: impl AsyncFn(&str, usize, &mut Kills) -> bool,
) {
    for call in CALLS {
        let reached = lives(call, 1.., kills, &life).await;
        println!("{call}: {reached}");
        assert!(reached < MANY);
        assert!(
            reached > 0 || !seen.contains(&call),
            "{call} on the spool was not seen: the search is wrong"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_02_kills_at_some_syncs_and_writes_lose_nothing() {
    let mut kills = Kills::default();
    lives("fdatasync", [1, 2].into_iter(), &mut kills, life).await;
    lives("pwrite64", [1, 2, 4].into_iter(), &mut kills, life).await;
    lives("rename", [1].into_iter(), &mut kills, life).await;
    kills.report("killed at a few writes, syncs and renames of the spool");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_02_kills_at_every_write_of_a_life_lose_nothing() {
    let mut kills = Kills::default();
    let seen = ["pwrite64", "fdatasync", "fsync", "rename", "openat"];
    all_lives(&mut kills, &seen, life).await;
    // Events that were answered and had not left the spool by then.
    assert!(kills.recovered > 0.0);
    kills.report("killed at every write, sync, rename and opening of the spool's files while it ran and stopped");
    assert!(kills.slowest < RESTART, "{:?}", kills.slowest);
}

/// Deliveries so large that a segment has two, sent one after the other by one sender.
struct Large<'a> {
    setup: &'a Setup,
    bodies: Vec<Vec<u8>>,
    journal: Journal,
}

impl<'a> Large<'a> {
    const COUNT: usize = 12;
    const SIZE: usize = 400_000;

    fn new(setup: &'a Setup) -> Self {
        let body = |number| {
            let mut body = numbered("sample.uploaded", "large", number).into_bytes();
            body.resize(Self::SIZE, b' ');
            body
        };
        let bodies: Vec<Vec<u8>> = (0..Self::COUNT).map(body).collect();
        let sent = |(number, body): (usize, &Vec<u8>)| Sent {
            object: "large".to_owned(),
            number,
            digest: digest(body),
            attempts: Vec::new(),
        };
        let journal = Journal(bodies.iter().enumerate().map(sent).collect());
        Self {
            setup,
            bodies,
            journal,
        }
    }

    /// Sends what has not been answered 200 yet; whether all has been in the end.
    async fn send(&mut self, bridge: &Bridge) -> bool {
        for (sent, body) in self.journal.0.iter_mut().zip(&self.bodies) {
            if sent.ids().next().is_some() {
                continue;
            }
            let (began, post) = (
                Instant::now(),
                Post::signed(&self.setup.source, body.as_slice()),
            );
            let answer = post.to(bridge.ingress).await.ok();
            let status = answer.as_ref().map(|answer| answer.status);
            sent.attempts.push(Attempt {
                began,
                took: began.elapsed(),
                secret: SECRET,
                status,
                id: answer.filter(|it| it.status == 200).map(|it| it.id()),
            });
            if status != Some(200) {
                return false;
            }
        }
        true
    }
}

/// A life in which segments are filled, let go of, recycled and used again.
async fn large_life(call: &str, nth: usize, kills: &mut Kills) -> bool {
    let setup = setup();
    let mut bridge = setup.start().await;
    let strace = injection(&setup, call, nth).attach(&bridge).await;
    let mut large = Large::new(&setup);
    if large.send(&bridge).await {
        bridge.signal("TERM");
    }
    let status = bridge.ended().await;
    drop(strace);
    let bridge = kills.restart(&setup).await;
    assert!(large.send(&bridge).await, "{:?}", large.journal);
    kills.judge(&setup, &bridge, &large.journal).await;
    is_killed(status)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_02_kills_at_every_write_while_segments_are_used_again_lose_nothing() {
    let mut kills = Kills::default();
    let seen = ["pwrite64", "fdatasync", "fsync", "rename", "openat"];
    all_lives(&mut kills, &seen, large_life).await;
    assert!(kills.recovered > 0.0);
    kills.report("killed at every write, sync, rename and opening while segments were filled, recycled and used again");
    assert!(kills.slowest < RESTART, "{:?}", kills.slowest);
}

/// The zeros of a file that is to become a spare: at its beginning, within, and at its end.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: half a minute"]
async fn row_02_kills_while_a_spare_is_made_lose_nothing() {
    let mut kills = Kills::default();
    for nth in [1, 2, 100, 255, 256, 257, 258, 400, 511, 512] {
        let setup = setup();
        let kill = on_spool(
            Injection::kill_at("pwrite64", nth),
            &setup.spool_folder,
            true,
        );
        let mut bridge = Bridge::launch_as(kill.around(RELEASED), &setup.write());
        let killed = eventually("the bridge is killed", async || bridge.has_ended()).await;
        assert!(is_killed(killed), "{nth}");
        drop(bridge);
        let bridge = kills.restart(&setup).await;
        let target = Target::new(bridge.ingress);
        let load = Load::start(&target, &setup.source, OBJECTS, EACH);
        let journal = load.finish().await;
        kills.judge(&setup, &bridge, &journal).await;
        let unfinished = super::away::files(&setup.spool_folder);
        let is_unfinished = |(name, _): &&(String, u64)| name.ends_with(".tmp");
        assert!(unfinished.iter().filter(is_unfinished).count() <= 1);
    }
    kills.report("killed while spares were made");
}

/// A spool that a killed bridge has left behind.
struct Left {
    setup: Setup,
    journal: Journal,
    files: Vec<(String, Vec<u8>)>,
}

impl Left {
    async fn behind() -> Self {
        let setup = setup();
        let bridge = setup.start().await;
        let target = Target::new(bridge.ingress);
        let load = Load::start(&target, &setup.source, OBJECTS, EACH);
        load.reaches(OBJECTS * EACH).await;
        bridge.kill();
        let journal = load.finish().await;
        let mut files = Vec::new();
        read_below(&setup.path(""), "", &mut files);
        Self {
            setup,
            journal,
            files,
        }
    }

    /// Takes the file away from what was left.
    fn without(mut self, name: &str) -> Self {
        let before = self.files.len();
        self.files.retain(|(path, _)| !path.starts_with(name));
        assert!(self.files.len() < before, "{name} was left");
        self
    }

    /// Makes the folder what it was.
    fn restore(&self) {
        for entry in std::fs::read_dir(self.setup.path("")).expect("there") {
            let path = entry.expect("there").path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).expect("removed");
            } else {
                std::fs::remove_file(path).expect("removed");
            }
        }
        for (name, bytes) in &self.files {
            let path = self.setup.path(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
    }

    /// Starts over it, killed at the n-th call, and then undisturbed: whether it came so far.
    async fn start_killed(&self, call: &str, nth: usize, kills: &mut Kills) -> bool {
        self.restore();
        let command = injection(&self.setup, call, nth).around(RELEASED);
        let mut bridge = Bridge::launch_as(command, &self.setup.write());
        let status = eventually("the bridge is ready, or is killed", async || {
            // It is killed later still, where what a start found is written anew.
            if bridge.said("the bridge is ready").is_some() && self.is_written_anew() {
                return Some(None);
            }
            bridge.has_ended().map(Some)
        })
        .await;
        if status.is_none() {
            return false;
        }
        drop(bridge);
        let bridge = kills.restart(&self.setup).await;
        kills.judge(&self.setup, &bridge, &self.journal).await;
        true
    }

    /// Whether the start has begun a segment of its own, which is the second.
    fn is_written_anew(&self) -> bool {
        let second = self.setup.spool_folder.join(format!("{:012}.log", 2));
        second.exists()
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

/// All files below a folder, with their paths within it.
fn read_below(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("there") {
        let entry = entry.expect("there");
        let name = entry.file_name().into_string().expect("text");
        let name = format!("{prefix}{name}");
        if entry.path().is_dir() {
            read_below(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push((name, std::fs::read(entry.path()).expect("readable")));
        }
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
async fn row_02_kills_at_every_write_of_a_start_without_its_index_lose_nothing() {
    let left = Left::behind().await.without("spool/ids.db");
    let kills = left.start_killed_everywhere().await;
    assert!(kills.recovered > 0.0);
    kills.report(
        "killed at every write, sync and opening of a start that makes the index of ids anew",
    );
    assert!(kills.slowest < RESTART, "{:?}", kills.slowest);
}

/// The letters' names that a life may come to.
fn on_letters(setup: &Setup, call: &str, nth: usize) -> Injection {
    let names: Vec<String> = (1..=8)
        .flat_map(|sequence| {
            let name = format!("{sequence}-kafka.letter");
            [format!("{name}.tmp"), name]
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Injection::kill_at(call, nth).on(&setup.spool_folder.join("letters"), &names)
}

/// An event becomes a dead letter, is requeued, and becomes one again; killed at the n-th call on a
/// letter or on their folder. It must be a dead letter in the end, and one alone.
async fn letters_life(call: &str, nth: usize, kills: &mut Kills) -> bool {
    let setup = Setup::store();
    let mock = MockKafka::with_topics_of(&setup.source, 1);
    mock.refuses(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 200]);
    let mut setup = setup
        .and_kafka(&mock.brokers(), "")
        .spool("max_size = \"16MiB\"\n");
    setup.sinks.remove(0);
    let mut bridge = setup.start().await;
    let strace = on_letters(&setup, call, nth).attach(&bridge).await;
    let body = numbered("sample.uploaded", "refused", 0);
    bridge.accepted(&setup.source, body).await;
    let mut is_requeued = false;
    let status = eventually("it is done twice, or the bridge is killed", async || {
        if let Some(status) = bridge.has_ended() {
            return Some(status);
        }
        match (letters(&bridge).await, is_requeued) {
            (Some(names), false) if names.len() == 1 => {
                is_requeued = requeue(&bridge, &names[0]).await;
            }
            (Some(names), true) if names.len() == 1 && !names[0].starts_with("1-") => {
                bridge.signal("TERM");
            }
            _ => {}
        }
        None
    })
    .await;
    drop(strace);
    let bridge = kills.restart(&setup).await;
    eventually("it is a dead letter, once", async || {
        let names = letters(&bridge).await?;
        let waiting = bridge.metrics().await.sum("spool_events", &[]);
        (names.len() == 1 && waiting < 0.5).then_some(())
    })
    .await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("kafka");
    assert!((metrics.sum("spool_dead_letters", &[]) - 1.0).abs() < 0.5);
    kills.verdict.acknowledged += 1;
    is_killed(status)
}

/// The names of the dead letters, unless the bridge ends meanwhile.
async fn letters(bridge: &Bridge) -> Option<Vec<String>> {
    let answer = request(bridge, "GET", "/dead-letters").await?;
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).ok()?;
    let name = |letter: &serde_json::Value| letter["name"].as_str().map(str::to_owned);
    listed.iter().map(name).collect()
}

/// Whether the dead letter was requeued.
async fn requeue(bridge: &Bridge, name: &str) -> bool {
    let path = format!("/dead-letters/{name}/requeue");
    let answer = request(bridge, "POST", &path).await;
    answer.is_some_and(|answer| answer.status == 200)
}

async fn request(bridge: &Bridge, method: &str, path: &str) -> Option<crate::harness::Answer> {
    let request = bridge.operators_request(method, path);
    let mut connection = crate::harness::Connection::open(bridge.admin).await.ok()?;
    connection.send(request.as_bytes()).await.ok()?;
    connection.answer().await.ok()?
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: minutes"]
async fn row_02_kills_at_every_write_of_a_dead_letter_keep_it_once() {
    let mut kills = Kills::default();
    let seen = [
        "pwrite64",
        "fdatasync",
        "fsync",
        "rename",
        "unlink",
        "openat",
    ];
    all_lives(&mut kills, &seen, letters_life).await;
    kills.report("killed at every write, sync, rename and removal of a dead letter");
}
