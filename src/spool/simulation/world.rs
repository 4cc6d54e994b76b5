//! One simulated machine with a spool on it, and the model of what must be true of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::events::{EVENTS, OBJECTS, POOL};
use crate::event::{SinkIndex, SinkSet};
use crate::log::disk::Disk as _;
use crate::log::disk::simulated::{Call, Crash, Faults, Random, SimulatedDisk};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::route::Lane;
use crate::sink::{Receipt, RefusalReason};
use crate::spool::command::{
    Append, Appended, Burial, Command, Milestone, Settlement, SpoolUnavailable,
};
use crate::spool::folder::{Parts, assemble};
use crate::spool::index::{IdIndex, MemoryIndex};
use crate::spool::jobs::WriteLetter;
use crate::spool::letters::{LetterName, Letters};
use crate::spool::maintenance::Maintenance;
use crate::spool::owner::Owner;
use crate::spool::record::{Prepared, Record};
use crate::spool::replies::{Answer, Caller};
use crate::spool::{Duplicates, Limits, Place, Settings};

const SEGMENT_BYTES: u64 = 48 << 10;
const STEPS: usize = 60;
const SINKS: [&str; 2] = ["kafka", "store"];
/// So many steps without anything new and everything is done.
const QUIET: usize = 400;

/// What goes wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// The process and the power.
    Crashes,
    /// These, and calls that fail, and full disks.
    Faults,
    /// The process and the power, and sectors of what was acknowledged.
    Rot,
}

/// An event that was sent.
struct Attempt {
    number: usize,
    version: usize,
    sinks: SinkSet,
    answer: oneshot::Receiver<Answer>,
}

/// What is known of one version of an event.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Acknowledged for these sinks, at least once.
    acked: SinkSet,
    /// Confirmed by, set aside or dropped for these, since it was acknowledged last.
    done: SinkSet,
    /// How often it was sent to the spool.
    attempts: u32,
    /// When it was acknowledged first, for the order within its object.
    order: Option<u64>,
}

/// A spool that runs.
struct Running {
    owner: Owner,
    maintenance: Maintenance,
    inbox: Receiver<Command>,
    metrics: Arc<Metrics>,
}

/// The machine.
pub(super) struct World {
    seed: u64,
    plan: Plan,
    random: Random,
    disk: SimulatedDisk,
    index: Arc<MemoryIndex>,
    running: Option<Running>,
    now: Instant,
    attempts: Vec<Attempt>,
    letters: Vec<oneshot::Receiver<Result<(), SpoolUnavailable>>>,
    known: BTreeMap<(usize, usize), Known>,
    /// What each sequence was seen to be.
    sequences: HashMap<u64, (usize, usize)>,
    /// Read and not yet confirmed, by sink.
    in_flight: [Vec<Arc<Record>>; 2],
    cursors: [u64; 2],
    acked: u64,
    crashes: u64,
    /// Everything the log said was lost.
    lost: u64,
    has_rotted: bool,
}

fn sink(number: usize) -> SinkIndex {
    SinkIndex::new(number).expect("in range")
}

fn names() -> Vec<SinkName> {
    SINKS
        .iter()
        .map(|name| SinkName::parse(name).expect("a slug"))
        .collect()
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let disk = SimulatedDisk::new(seed);
        Self {
            seed,
            plan,
            random: Random::new(seed ^ 0x5eed),
            disk,
            index: Arc::new(MemoryIndex::new(1 << 20)),
            running: None,
            now: Instant::now(),
            attempts: Vec::new(),
            letters: Vec::new(),
            known: BTreeMap::new(),
            sequences: HashMap::new(),
            in_flight: [Vec::new(), Vec::new()],
            cursors: [0, 0],
            acked: 0,
            crashes: 0,
            lost: 0,
            has_rotted: false,
        }
    }

    pub(super) fn crashes(&self) -> u64 {
        self.crashes.max(1)
    }

    /// The whole run: chaos, then calm, in which everything must come to its end.
    pub(super) fn run(&mut self) {
        self.start();
        for _ in 0..STEPS {
            self.step();
        }
        self.calm();
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.send(),
            30..60 => self.turn(),
            60..75 => self.maintain(),
            75..88 => self.deliver(),
            88..90 => self.bury(),
            90..91 => self.requeue(),
            91..93 => self.arm(),
            93..94 => self.rot(),
            94..95 => self.change_faults(),
            95..97 => self.crash(),
            _ => self.now += Duration::from_millis(self.random.below(1500)),
        }
        if self.disk.crashed() {
            self.crash();
        }
    }

    fn settings() -> Settings {
        Settings {
            place: Place::Folder("simulated".into()),
            limits: Limits {
                max_events: 1000,
                max_bytes: 40 * SEGMENT_BYTES,
                duplicates: Duplicates::Suppress,
                window: Duration::from_secs(86_400),
            },
        }
    }

    /// Starts the spool, however often the start itself crashes or fails.
    fn start(&mut self) {
        for _ in 0..50 {
            match self.try_start() {
                Ok(running) => {
                    self.running = Some(running);
                    self.cursors = [0, 0];
                    self.check_start();
                    return;
                }
                Err(text) if self.disk.crashed() => {
                    drop(text);
                    self.power();
                }
                Err(text) => {
                    // A start that fails for a fault is tried again, as by systemd.
                    assert!(
                        self.plan == Plan::Faults,
                        "a start failed: {text}\n{}",
                        self.disk.trace()
                    );
                    self.disk.set_faults(Faults::default());
                }
            }
        }
        panic!("it does not start");
    }

    fn try_start(&mut self) -> Result<Running, String> {
        let (commands, inbox) = mpsc::channel();
        let metrics = Arc::new(Metrics::new().expect("no name twice"));
        let disk = Arc::new(self.disk.clone());
        let letters = disk.folder("letters").and_then(|folder| {
            disk.sync_folder()?;
            Letters::open(folder, true)
        });
        let index = Arc::clone(&self.index);
        let names = names();
        let parts = Parts {
            disk,
            letters,
            names: Some(&names),
            metrics: Arc::clone(&metrics),
            path: Path::new("simulated"),
            index: |_| -> Arc<dyn IdIndex> { index },
        };
        let assembled = assemble(parts, &Self::settings(), commands, SEGMENT_BYTES);
        let (owner, maintenance) = assembled.map_err(|error| error.to_string())?;
        Ok(Running {
            owner,
            maintenance,
            inbox,
            metrics,
        })
    }

    fn power(&mut self) {
        self.crashes += 1;
        let kind = if self.random.chance(0.7) {
            Crash::Power
        } else {
            Crash::Process
        };
        self.disk = self.disk.crash(kind);
        if self.random.chance(0.3) {
            let after = self.random.below(200);
            self.index.lose_after(after);
        }
    }

    fn crash(&mut self) {
        self.running = None;
        self.attempts.clear();
        self.letters.clear();
        self.in_flight = [Vec::new(), Vec::new()];
        self.power();
        if self.random.chance(0.3) {
            self.disk.crash_at_change(1 + self.random.below(12));
        }
        self.start();
    }

    /// The next crash comes in the middle of some call.
    fn arm(&mut self) {
        self.disk.crash_at_change(1 + self.random.below(20));
    }

    fn change_faults(&mut self) {
        if self.plan != Plan::Faults {
            return;
        }
        let mut faults = Faults::default();
        if self.random.chance(0.7) {
            faults.calls = [
                Call::Write,
                Call::Sync,
                Call::SyncFolder,
                Call::Create,
                Call::Rename,
            ]
            .to_vec();
            let often = [0.02, 0.2, 1.0][self.random.index(3)];
            match self.random.below(5) {
                0 => faults.broken = often,
                1 => faults.no_space = often,
                2 => faults.quota = often,
                3 => faults.too_large = often,
                _ => faults.short = often,
            }
        }
        self.disk.set_faults(faults);
        let capacity = if self.random.chance(0.3) {
            6 * SEGMENT_BYTES
        } else {
            u64::MAX
        };
        self.disk.set_capacity(capacity);
    }

    fn send(&mut self) {
        for _ in 0..=self.random.below(6) {
            let number = self.random.index(EVENTS);
            let version = usize::from(self.random.chance(0.1));
            let which = self.random.below(3);
            let all: SinkSet = [sink(0), sink(1)].into_iter().collect();
            let sinks = match which {
                0 => SinkSet::default().with(sink(0)),
                _ => all,
            };
            self.send_one(number, version, sinks);
        }
    }

    fn send_one(&mut self, number: usize, version: usize, sinks: SinkSet) {
        let Some(running) = &mut self.running else {
            return;
        };
        // One at a time of each event, so that the answers say what they are about.
        if self.attempts.iter().any(|it| it.number == number) {
            return;
        }
        self.known.entry((number, version)).or_default().attempts += 1;
        let event = Arc::clone(&POOL[number][version]);
        let (reply, answer) = oneshot::channel();
        let append = Append {
            prepared: Prepared::of(event, Lane::Typed, sinks),
            milestone: Milestone::Spooled,
            caller: Caller { reply, among: None },
            requeued: None,
        };
        running.owner.take(Command::Append(Box::new(append)));
        self.attempts.push(Attempt {
            number,
            version,
            sinks,
            answer,
        });
    }

    /// The owner's thread comes round once.
    fn turn(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.owner.take_waiting(&running.inbox);
        running.owner.step(self.now);
        self.hear();
        self.check_running();
    }

    fn maintain(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        for _ in 0..=self.random.below(4) {
            running.maintenance.step();
        }
        self.letters.retain_mut(|letter| {
            matches!(letter.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        });
    }

    /// Takes the answers in. After a crash nobody hears them.
    fn hear(&mut self) {
        if self.disk.crashed() {
            return;
        }
        for mut attempt in std::mem::take(&mut self.attempts) {
            match attempt.answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => self.attempts.push(attempt),
                Ok(Ok(appended)) => self.acknowledged(&attempt, appended),
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
    }

    fn acknowledged(&mut self, attempt: &Attempt, appended: Appended) {
        let key = (attempt.number, attempt.version);
        self.acked += 1;
        let order = self.acked;
        let known = self.known.entry(key).or_default();
        match appended {
            Appended::Accepted | Appended::Different => {
                known.order.get_or_insert(order);
                known.acked = SinkSet::from_bits(known.acked.bits() | attempt.sinks.bits());
                known.done = SinkSet::from_bits(known.done.bits() & !attempt.sinks.bits());
            }
            Appended::Duplicate => {
                // It must be there, or have been let go of for a reason.
                let is_done = !known.done.is_empty();
                if !is_done && known.acked.is_empty() {
                    assert!(
                        self.is_waiting(key),
                        "{key:?} was answered \"duplicate\" of an event that is nowhere\n{}",
                        self.disk.trace()
                    );
                    let sinks = self.waiting_sinks(key);
                    let known = self.known.entry(key).or_default();
                    known.acked = sinks;
                }
            }
            Appended::DeadLettered => panic!("nobody waited for delivery"),
        }
    }

    fn waiting_sinks(&self, key: (usize, usize)) -> SinkSet {
        (0..SINKS.len())
            .filter(|of| self.waiting(*of).iter().any(|record| which(record) == key))
            .map(sink)
            .collect()
    }

    fn is_waiting(&self, key: (usize, usize)) -> bool {
        !self.waiting_sinks(key).is_empty()
    }

    /// Everything that waits for a sink, read as a dispatcher would.
    fn waiting(&self, of: usize) -> Vec<Arc<Record>> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        let shared = &running.owner.shared;
        let sequences: Vec<u64> = shared.lock().state.pending(sink(of)).iter_from(0).collect();
        let mut records: Vec<Arc<Record>> = Vec::new();
        let mut left = &sequences[..];
        while !left.is_empty() {
            let Ok(some) = shared.read(left, usize::MAX) else {
                break;
            };
            records.extend(some);
            left = &[];
        }
        records
    }

    /// A sink reads on and confirms something, in any order.
    fn deliver(&mut self) {
        let of = self.random.index(SINKS.len());
        self.read_on(of);
        for _ in 0..self.random.below(8) {
            let flight = &mut self.in_flight[of];
            if flight.is_empty() {
                break;
            }
            let at = self.random.index(flight.len().min(8));
            let record = flight.remove(at);
            self.confirm(of, record);
        }
    }

    fn read_on(&mut self, of: usize) {
        let Some(running) = &self.running else { return };
        let shared = &running.owner.shared;
        let after = self.cursors[of];
        let pending = shared.lock().state.pending(sink(of)).clone();
        let sequences: Vec<u64> = pending.iter_from(after + 1).take(10).collect();
        let Ok(records) = shared.read(&sequences, 20_000) else {
            return;
        };
        for record in records {
            let sequence = record.position().sequence;
            assert!(sequence > self.cursors[of], "read twice");
            self.cursors[of] = sequence;
            self.saw(&record);
            self.in_flight[of].push(record);
        }
    }

    /// Checks a record against what was sent under its sequence and its id.
    fn saw(&mut self, record: &Record) {
        let key = which(record);
        let sent = &POOL[key.0][key.1];
        assert_eq!(record.event().body(), sent.body(), "another body");
        let sequence = record.position().sequence;
        let seen = *self.sequences.entry(sequence).or_insert(key);
        assert_eq!(
            seen,
            key,
            "sequence {sequence} was given twice\n{}",
            self.disk.trace()
        );
        assert!(
            self.known.get(&key).is_some_and(|known| known.attempts > 0),
            "{key:?} was never sent"
        );
    }

    fn confirm(&mut self, of: usize, record: Arc<Record>) {
        let Some(running) = &self.running else { return };
        let key = which(&record);
        let known = self.known.entry(key).or_default();
        known.done = known.done.with(sink(of));
        let receipt = Receipt::for_test(record.position());
        running
            .owner
            .shared
            .settle(sink(of), &[Settlement { receipt, record }]);
    }

    fn bury(&mut self) {
        let of = self.random.index(SINKS.len());
        self.read_on(of);
        let Some(running) = &self.running else { return };
        let Some(record) = self.in_flight[of].pop() else {
            return;
        };
        let (reply, answer) = oneshot::channel();
        let burial = Burial {
            record,
            sink: sink(of),
            reason: RefusalReason::TooLarge,
            detail: "a test".to_owned(),
        };
        running
            .owner
            .shared
            .jobs
            .add(|work| work.letters.push_back(WriteLetter { burial, reply }));
        self.letters.push(answer);
    }

    fn requeue(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let letters = &running.owner.shared.letters;
        let names = letters.names_after(None, 100);
        if names.is_empty() {
            return;
        }
        let name = names[self.random.index(names.len())].clone();
        let Ok(letter) = letters.read(&name) else {
            return;
        };
        let of = usize::from(name.sink.as_str() == SINKS[1]);
        let (reply, _) = oneshot::channel();
        let append = Append {
            prepared: Prepared::again(&letter.record, sink(of)),
            milestone: Milestone::Spooled,
            caller: Caller { reply, among: None },
            requeued: Some(name),
        };
        running.owner.take(Command::Append(Box::new(append)));
    }

    /// Sectors of a segment rot. Not of the newest second: nothing tells that from a torn write.
    fn rot(&mut self) {
        if self.plan != Plan::Rot || self.running.is_none() {
            return;
        }
        self.settle_down();
        if self.disk.crashed() {
            return;
        }
        let Some(running) = &self.running else { return };
        let segments: Vec<(u64, u64)> = {
            let inner = running.owner.shared.lock();
            let segments = inner.state.segments.iter();
            segments
                .map(|(number, segment)| (*number, segment.end))
                .collect()
        };
        let Some((number, end)) =
            (!segments.is_empty()).then(|| segments[self.random.index(segments.len())])
        else {
            return;
        };
        let name = crate::log::segment::segment_name(number);
        let sector = self.random.below(end / 512);
        let (offset, length) = (sector * 512 + self.random.below(512), 1 + self.random.below(16));
        if std::env::var("HOOKFERRY_TEST_SEED").is_ok() {
            println!("rot: {name} at {offset}+{length} of {segments:?}\n{:?}", running.owner.shared.lock().state);
        }
        self.disk.rot(&name, offset, length);
        self.has_rotted = true;
        // What is in memory hides it: a start reads it.
        self.crash();
    }

    /// Lets a second pass without events, so that the last batch is proven.
    fn settle_down(&mut self) {
        for _ in 0..30 {
            self.now += Duration::from_millis(1100);
            self.turn();
            self.maintain();
            if self.running.as_ref().is_some_and(|running| running.owner.is_proven()) {
                return;
            }
        }
    }

    /// What must be there after a start.
    fn check_start(&mut self) {
        if self.disk.crashed() {
            return;
        }
        self.check_waiting();
    }

    fn check_waiting(&mut self) {
        if std::env::var("HOOKFERRY_TEST_SEED").is_ok() && let Some(running) = &self.running {
            let inner = running.owner.shared.lock();
            println!("start: rescued {:?} {:?}", inner.rescued.keys(), inner.state);
            println!("sequences {:?}", self.sequences);
        }
        let waiting: Vec<Vec<Arc<Record>>> = (0..SINKS.len()).map(|of| self.waiting(of)).collect();
        let Some(running) = &self.running else { return };
        let letters = running.owner.shared.letters.names_after(None, usize::MAX);
        let unproven = running.owner.unproven();
        for record in waiting.iter().flatten() {
            let record = Arc::clone(record);
            self.saw(&record);
        }
        let lost_now = self.total_lost();
        assert!(
            self.has_rotted || lost_now == 0,
            "a loss was counted that nobody suffered\n{}",
            self.disk.trace()
        );
        let mut missing = 0;
        for (key, known) in &mut self.known {
            for of in 0..SINKS.len() {
                let owed = known.acked.contains(sink(of)) && !known.done.contains(sink(of));
                let is_there = waiting[of].iter().any(|record| which(record) == *key)
                    || unproven.iter().any(|record| which(record) == *key)
                    || letters
                        .iter()
                        .any(|letter| is_letter_of(letter, of, &self.sequences, *key));
                if owed && !is_there {
                    missing += 1;
                    if std::env::var("HOOKFERRY_TEST_SEED").is_ok() {
                        println!("missing: {key:?} for {}", SINKS[of]);
                    }
                    assert!(
                        self.has_rotted,
                        "{key:?} was acknowledged and is not there for {}\n{}",
                        SINKS[of],
                        self.disk.trace()
                    );
                    // The log must have counted it; sending it again must publish it.
                    known.acked = known.acked.without(sink(of));
                }
            }
        }
        let counted = lost_now - self.lost;
        assert!(
            counted >= missing,
            "{missing} were lost and {counted} counted\n{}",
            self.disk.trace()
        );
        self.lost = lost_now;
        self.check_order(&waiting);
    }

    fn total_lost(&self) -> u64 {
        let Some(running) = &self.running else {
            return 0;
        };
        running.owner.shared.lock().state.lost_totals.values().sum()
    }

    /// Events of one object wait in the order in which they were acknowledged first.
    fn check_order(&self, waiting: &[Vec<Arc<Record>>]) {
        for records in waiting {
            let mut last = [0; OBJECTS];
            let mut seen = BTreeSet::new();
            for record in records {
                let key = which(record);
                let known = &self.known[&key];
                let Some(order) = known.order else { continue };
                // An attempt that was not answered may be delivered all the same, and a requeued
                // event comes later than it once did.
                if known.attempts != 1 || !seen.insert(key) || self.was_repeated(key) {
                    continue;
                }
                let object = key.0 % OBJECTS;
                assert!(last[object] <= order, "object {object} is out of order");
                last[object] = order;
            }
        }
    }

    fn was_repeated(&self, key: (usize, usize)) -> bool {
        self.sequences.values().filter(|seen| **seen == key).count() > 1
    }

    fn check_running(&self) {
        let Some(running) = &self.running else { return };
        let unaccounted = running.metrics.events_unaccounted.get();
        assert_eq!(unaccounted, 0, "the counters do not add up");
    }

    /// Nothing fails any more: everything that was sent ends up delivered.
    fn calm(&mut self) {
        self.disk.set_faults(Faults {
            unreadable: 0.0,
            ..Faults::default()
        });
        self.disk.set_capacity(u64::MAX);
        self.crash();
        self.disk.set_faults(Faults {
            unreadable: 0.0,
            ..Faults::default()
        });
        while self.disk.crashed() {
            self.crash();
        }
        self.disk.crash_at_change(u64::MAX / 2);
        for key in self.known.keys().copied().collect::<Vec<_>>() {
            let all = [sink(0), sink(1)].into_iter().collect();
            self.send_one(key.0, key.1, all);
            self.run_dry();
        }
        let open: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.acked.iter().any(|sink| !known.done.contains(sink)))
            .collect();
        assert!(
            open.is_empty(),
            "never delivered: {open:?}\n{}",
            self.disk.trace()
        );
    }

    /// Runs until nothing is left to be done.
    fn run_dry(&mut self) {
        for _ in 0..QUIET {
            self.now += Duration::from_millis(400);
            self.turn();
            self.maintain();
            for of in 0..SINKS.len() {
                self.read_on(of);
                for record in std::mem::take(&mut self.in_flight[of]) {
                    self.confirm(of, record);
                }
            }
            let is_idle = self.running.as_ref().is_some_and(|running| {
                let shared = &running.owner.shared;
                shared.letters.len() == 0 && shared.lock().state.pending_events() == 0
            });
            self.requeue();
            if self.attempts.is_empty() && self.letters.is_empty() && is_idle {
                return;
            }
        }
        panic!(
            "seed {}: it does not come to rest\n{}",
            self.seed,
            self.disk.trace()
        );
    }
}

/// Which event of the pool a record is.
fn which(record: &Record) -> (usize, usize) {
    let id = record.event().id();
    let number = POOL
        .iter()
        .position(|event| event[0].id() == id)
        .expect("of the pool");
    let version = usize::from(record.event().body() != POOL[number][0].body());
    (number, version)
}

fn is_letter_of(
    letter: &LetterName,
    of: usize,
    sequences: &HashMap<u64, (usize, usize)>,
    key: (usize, usize),
) -> bool {
    letter.sink.as_str() == SINKS[of] && sequences.get(&letter.sequence) == Some(&key)
}
