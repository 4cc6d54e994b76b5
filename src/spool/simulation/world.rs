//! One simulated machine with a spool on it: what is done to it, and what is seen of it. Whether that
//! is right is said by the [`Model`].

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::events::{EVENTS, EventKey, SEGMENT_BYTES, key_of};
use super::fault_plan::FaultPlan;
use super::happenings::{Happening, HappeningSet};
use super::model::{
    CheckResult, LONG_WINDOW, Model, NAMES, Names, RecordAtStart, SpoolAtStart, places,
};
use crate::event::{SinkIndex, SinkSet};
use crate::log::disk::simulated::{Crash, Faults, Random, SimulatedDisk};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::sink::{Receipt, RefusalReason};
use crate::spool::command::{MaintenanceResult, WriterCommand};
use crate::spool::error::SpoolUnavailable;
use crate::spool::folder::{SpoolParts, assemble};
use crate::spool::index::{IdIndex, MemoryIndex};
use crate::spool::inspect::SpoolView;
use crate::spool::jobs::WriteDeadLetter;
use crate::spool::maintenance::Maintenance;
use crate::spool::outcome::AppendResult;
use crate::spool::record::SpoolRecord;
use crate::spool::settings::{Duplicates, SpoolLimits, SpoolLocation, SpoolSettings};
use crate::spool::settlement::{NewDeadLetter, Settlement};
use crate::spool::shared::SharedSpool;
use crate::spool::writer::SpoolWriter;

mod chaos;
mod sending;

const STEPS: usize = 80;
/// So many steps without anything new and everything is done.
const IDLE_STEPS: usize = 400;
/// Reads of a dispatcher.
const READ_RECORDS: usize = 10;
const READ_BYTES: usize = 20_000;

/// An event that was sent.
struct Attempt {
    key: EventKey,
    names: Names,
    awaits_delivery: bool,
    /// Its record, once it has one.
    sequence: Option<u64>,
    answer: oneshot::Receiver<AppendResult>,
}

/// A dead letter that was requeued.
struct Requeue {
    letter: (u64, usize),
    key: EventKey,
    answer: oneshot::Receiver<AppendResult>,
}

/// A dead letter that is to be written.
struct Writing {
    record: Arc<SpoolRecord>,
    place: usize,
    answer: oneshot::Receiver<Result<(), SpoolUnavailable>>,
}

/// A spool that runs.
struct Running {
    writer: SpoolWriter,
    maintenance: Maintenance,
    commands: Sender<WriterCommand>,
    inbox: Receiver<WriterCommand>,
    shared: Arc<SharedSpool>,
    /// The numbers of the sinks.
    numbers: [Option<SinkIndex>; NAMES.len()],
}

/// The machine.
pub(super) struct World {
    plan: FaultPlan,
    random: Random,
    disk: SimulatedDisk,
    index: Arc<MemoryIndex>,
    settings: SpoolSettings,
    running: Option<Running>,
    /// The sinks that are configured, and those of them that are away.
    configured: Names,
    away: Names,
    now: Instant,
    attempts: Vec<Attempt>,
    requeues: Vec<Requeue>,
    dead_letters: Vec<Writing>,
    /// Read and not yet confirmed, by sink.
    in_flight: [Vec<Arc<SpoolRecord>>; NAMES.len()],
    cursors: [u64; NAMES.len()],
    /// Whether a batch was written since the last start.
    has_written: bool,
    /// A process that crashed may have cut a segment's file and not synced that. The next one uses the
    /// space, and a power failure brings the end of the file back.
    may_bring_back: bool,
    model: Model,
    crashes: u64,
    seen: HappeningSet,
}

thread_local! {
    /// They are made once: a registry is dear, and nothing of it is carried from a run to the next
    /// but counters that only rise.
    static METRICS: OnceCell<Arc<Metrics>> = const { OnceCell::new() };
    static SINK_NAMES: [SinkName; NAMES.len()] =
        NAMES.map(|name| SinkName::parse(name).expect("a slug"));
}

fn metrics() -> Arc<Metrics> {
    let made = || Arc::new(Metrics::new().expect("no name twice"));
    METRICS.with(|metrics| Arc::clone(metrics.get_or_init(made)))
}

fn name_at(place: usize) -> SinkName {
    SINK_NAMES.with(|names| names[place].clone())
}

fn place_of(name: &SinkName) -> Option<usize> {
    NAMES.iter().position(|known| *known == name.as_str())
}

/// What differs from run to run: windows and limits. In a small spool records are copied out of sparse
/// segments.
fn draw_settings(random: &mut Random) -> SpoolSettings {
    let is_small = random.chance(0.5);
    SpoolSettings {
        location: SpoolLocation::Folder("simulated".into()),
        limits: SpoolLimits {
            max_events: if random.chance(0.2) { 12 } else { 1000 },
            max_bytes: SEGMENT_BYTES * if is_small { 7 } else { 40 },
            duplicates: if random.chance(0.1) {
                Duplicates::Forward
            } else {
                Duplicates::Suppress
            },
            // The events came half an hour after they were triggered, more or less a minute.
            window: if random.chance(0.2) {
                Duration::from_secs(29 * 60)
            } else {
                LONG_WINDOW
            },
        },
    }
}

impl World {
    pub(super) fn new(seed: u64, plan: FaultPlan) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let settings = draw_settings(&mut random);
        let model = Model::new(&settings.limits);
        Self {
            plan,
            disk: SimulatedDisk::new(seed),
            index: Arc::new(MemoryIndex::new(1 << 20)),
            settings,
            running: None,
            configured: 0b11,
            away: if random.chance(0.3) { 0b10 } else { 0 },
            random,
            now: Instant::now(),
            attempts: Vec::new(),
            requeues: Vec::new(),
            dead_letters: Vec::new(),
            in_flight: std::array::from_fn(|_| Vec::new()),
            cursors: [0; NAMES.len()],
            has_written: false,
            may_bring_back: false,
            model,
            crashes: 0,
            seen: HappeningSet::default(),
        }
    }

    /// How many crash states there were.
    pub(super) fn crashes(&self) -> u64 {
        self.crashes.max(1)
    }

    /// What happened.
    pub(super) fn seen(&self) -> HappeningSet {
        self.seen
    }

    /// The whole run: chaos, then calm, in which everything must come to its end.
    pub(super) fn run(&mut self) {
        self.start();
        for _ in 0..STEPS {
            self.step();
        }
        self.calm();
    }

    /// Tells what happens where one seed is run alone.
    fn tell(text: impl FnOnce() -> String) {
        static IS_TOLD: LazyLock<bool> =
            LazyLock::new(|| std::env::var_os("HOOKFERRY_TEST_SEED").is_some());
        if *IS_TOLD {
            println!("{}", text());
        }
    }

    /// A failure shows what was done to the disk.
    fn must(&self, outcome: CheckResult) {
        if let Err(text) = outcome {
            panic!("{text}\n{}", self.disk.trace());
        }
    }

    /// Starts the spool, however often the start itself crashes or fails.
    fn start(&mut self) {
        for _ in 0..50 {
            match self.try_start() {
                Ok(running) => {
                    self.running = Some(running);
                    self.cursors = [0; NAMES.len()];
                    self.has_written = false;
                    self.look_at_start();
                    return;
                }
                Err(_) if self.disk.crashed() => {
                    self.seen.note(Happening::StartCrashed);
                    self.power();
                }
                Err(text) => {
                    Self::tell(|| text.clone());
                    // A start that fails for a fault is tried again, as by systemd.
                    let outcome = format!("a start failed: {text}");
                    self.must(
                        (self.plan == FaultPlan::Faults)
                            .then_some(())
                            .ok_or(outcome),
                    );
                    self.disk.set_faults(Faults::default());
                }
            }
        }
        self.must(Err("it does not start".to_owned()));
    }

    fn try_start(&mut self) -> Result<Running, String> {
        let (commands, inbox) = mpsc::channel();
        let index = Arc::clone(&self.index);
        let names: Vec<SinkName> = places(self.configured).map(name_at).collect();
        let parts = SpoolParts {
            disk: Arc::new(self.disk.clone()),
            names: &names,
            metrics: metrics(),
            commands: commands.clone(),
            segment_bytes: SEGMENT_BYTES,
            index: |_| -> Arc<dyn IdIndex> { index },
        };
        let assembled = assemble(parts, &self.settings);
        let (writer, maintenance) = assembled.map_err(|error| error.to_string())?;
        let shared = Arc::clone(&writer.shared);
        let mut numbers = [None; NAMES.len()];
        for sink in &shared.lock().state.sinks {
            if let Some(place) = place_of(&sink.name) {
                numbers[place] = Some(sink.index);
            }
        }
        Ok(Running {
            writer,
            maintenance,
            commands,
            inbox,
            shared,
            numbers,
        })
    }

    /// The process or the machine stops at once.
    fn power(&mut self) {
        self.crashes += 1;
        let kind = if self.random.chance(0.7) {
            Crash::Power
        } else {
            Crash::Process
        };
        self.may_bring_back |= kind == Crash::Process;
        Self::tell(|| format!("crash of {kind:?}"));
        self.disk = self.disk.crash(kind);
        if kind == Crash::Power && self.random.chance(0.1) {
            self.index.lose_after(self.random.below(200));
            self.model.may_forget_ids = true;
        }
    }

    fn crash(&mut self) {
        self.let_go();
        self.power();
        if self.random.chance(0.3) {
            self.disk.crash_at_change(1 + self.random.below(12));
        }
        self.reconfigure();
        self.start();
    }

    /// Nobody hears any more what becomes of what was asked for.
    fn let_go(&mut self) {
        self.running = None;
        for attempt in self.attempts.drain(..) {
            self.model.doubt(attempt.key);
        }
        for requeue in self.requeues.drain(..) {
            self.model.doubt_requeue(requeue.letter);
        }
        self.dead_letters.clear();
        self.in_flight.iter_mut().for_each(Vec::clear);
    }

    /// What must be there after a start. A disk that has crashed meanwhile gives nothing to look at.
    fn look_at_start(&mut self) {
        let Some(running) = &self.running else { return };
        let mut start = SpoolAtStart {
            may_doubt_letters: self.plan == FaultPlan::Faults,
            ..SpoolAtStart::default()
        };
        let sequences: Vec<u64> = running.waiting().into_keys().collect();
        let read = running.shared.read(&sequences, usize::MAX);
        let has_rescued = !running.shared.lock().rescued.is_empty();
        let tail = running.writer.unproven();
        for name in running.shared.dead_letters.names_after(None, usize::MAX) {
            let place = place_of(&name.sink);
            start
                .dead_letters
                .extend(place.map(|place| (name.sequence, place)));
        }
        // What reading has found to be lost waits no more.
        let waiting = running.waiting();
        {
            let inner = running.shared.lock();
            start.lost.clone_from(&inner.state.lost);
            for (name, count) in &inner.state.lost_totals {
                if let Some(place) = place_of(name) {
                    start.lost_totals[place] = *count;
                }
            }
        }
        if self.disk.crashed() {
            return;
        }
        if has_rescued {
            self.seen.note(Happening::DamageRescued);
        }
        let records = read.map_err(|error| error.to_string());
        let records = records.and_then(|records| found(running, &records, &waiting, &tail));
        let outcome = records.and_then(|records| {
            start.records = records;
            let missing = waiting.keys().find(|it| !start.records.contains_key(it));
            missing.map_or(Ok(()), |it| Err(format!("{it} waits and cannot be read")))
        });
        Self::tell(|| format!("started for {:b}: {start:?}", self.configured));
        let outcome = outcome.and_then(|()| self.model.start(&start));
        self.must(outcome);
        if !start.lost.is_empty() {
            self.seen.note(Happening::RecordLost);
        }
    }

    /// The writer thread does one step.
    fn turn(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let mut seen = self.seen;
        while let Ok(command) = running.inbox.try_recv() {
            note_command(&command, &mut seen);
            running.writer.take(command);
        }
        let before = running.writer.log.active_end();
        let is_snapshot_wanted = running.writer.wants_snapshot();
        running.writer.step(self.now);
        if self.disk.crashed() {
            return;
        }
        let end = running.writer.log.active_end();
        let has_written = end.is_some() && end != before;
        if has_written {
            if before.is_some_and(|before| end.is_some_and(|end| end.segment != before.segment)) {
                seen.note(Happening::SegmentEnded);
            }
            if is_snapshot_wanted {
                seen.note(Happening::SnapshotForced);
            }
            if !running.shared.lock().state.moved.is_empty() {
                seen.note(Happening::RecordCopied);
            }
        }
        self.seen = seen;
        self.take_tail();
        self.hear();
        let is_durable = |running: &Running| running.shared.lock().state.unwritten.is_empty();
        if has_written {
            Self::tell(|| format!("written up to {end:?}"));
            self.has_written = true;
            if self.running.as_ref().is_some_and(is_durable) {
                self.model.progress_is_durable();
            }
        }
        self.check_running();
    }

    /// The records that a start has found count once they are written anew.
    fn take_tail(&mut self) {
        let Some(running) = &self.running else { return };
        let has_tail = self.model.rows.values().any(|row| row.in_tail);
        if !has_tail || !running.writer.has_no_tail() {
            return;
        }
        let dead_letters = running.shared.dead_letters.names_after(None, usize::MAX);
        let dead_letters = dead_letters
            .iter()
            .filter_map(|name| Some((name.sequence, place_of(&name.sink)?)));
        let dead_letters = dead_letters.collect();
        let waiting = running.waiting();
        let waits = |sequence| waiting.get(&sequence).copied().unwrap_or(0);
        let outcome = self.model.carried(waits, &dead_letters);
        self.must(outcome);
        self.seen.note(Happening::TailCarried);
    }

    fn maintain(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        for _ in 0..=self.random.below(4) {
            running.maintenance.step();
        }
        self.hear_of_letters();
    }

    fn hear_of_letters(&mut self) {
        if self.disk.crashed() {
            return;
        }
        for mut letter in std::mem::take(&mut self.dead_letters) {
            let sequence = letter.record.position().sequence;
            match letter.answer.try_recv() {
                Err(TryRecvError::Empty) => self.dead_letters.push(letter),
                Ok(Ok(())) => {
                    Self::tell(|| format!("{sequence} is set aside for {}", NAMES[letter.place]));
                    self.model.dead_letter(sequence, letter.place);
                }
                // It goes on waiting; the dispatcher tries again.
                Ok(Err(_)) | Err(TryRecvError::Closed) => {
                    self.seen.note(Happening::LetterRefused);
                    self.in_flight[letter.place].push(letter.record);
                }
            }
        }
        self.hear();
    }

    fn read_on(&mut self, place: usize) {
        let Some(running) = &self.running else { return };
        let Some(sink) = running.numbers[place] else {
            return;
        };
        let sequences: Vec<u64> = {
            let inner = running.shared.lock();
            let pending = inner.state.pending(sink).iter_from(self.cursors[place] + 1);
            pending.take(READ_RECORDS).collect()
        };
        let Ok(records) = running.shared.read(&sequences, READ_BYTES) else {
            return;
        };
        for record in records {
            let sequence = record.position().sequence;
            let row = self.model.rows.get(&sequence);
            let is_known = row.is_some_and(|row| {
                row.waits & (1 << place) != 0 && Some(row.key) == key_of(&record)
            });
            let wrong = || format!("{sequence} was read for {}: {row:?}", NAMES[place]);
            self.must(is_known.then_some(()).ok_or_else(wrong));
            self.cursors[place] = sequence;
            self.in_flight[place].push(record);
        }
    }

    fn confirm(&mut self, place: usize, record: Arc<SpoolRecord>) {
        let Some(running) = &self.running else { return };
        let Some(sink) = running.numbers[place] else {
            return;
        };
        let sequence = record.position().sequence;
        Self::tell(|| format!("{sequence} is confirmed by {}", NAMES[place]));
        self.model.leave(sequence, place);
        let receipt = Receipt::for_test(record.position());
        running
            .shared
            .settle(sink, &[Settlement { receipt, record }]);
        self.hear();
    }

    fn dead_letter_next(&mut self, place: usize) {
        self.read_on(place);
        let Some(running) = &self.running else { return };
        let Some(sink) = running.numbers[place] else {
            return;
        };
        let Some(record) = self.in_flight[place].pop() else {
            return;
        };
        let (reply, answer) = oneshot::channel();
        let dead_letter = NewDeadLetter {
            record: Arc::clone(&record),
            sink,
            reason: RefusalReason::TooLarge,
            detail: "a test".to_owned(),
        };
        let letter = WriteDeadLetter { dead_letter, reply };
        running
            .shared
            .jobs
            .add(|work| work.dead_letters.push_back(letter));
        self.dead_letters.push(Writing {
            record,
            place,
            answer,
        });
    }

    /// What waits is what the model says, and the counters add up.
    fn check_running(&self) {
        let Some(running) = &self.running else { return };
        let unaccounted = metrics().events_unaccounted.get();
        let counts = self.model.counts();
        let inner = running.shared.lock();
        let is_right = |place: usize| {
            let pending = running.numbers[place].map(|sink| inner.state.pending(sink).count());
            pending.unwrap_or(0) == counts[place]
        };
        let wrong = (0..NAMES.len()).find(|place| !is_right(*place));
        drop(inner);
        if let Some(place) = wrong {
            let of_model: Vec<u64> = self.model.waiting_for(place).collect();
            let waiting = running.waiting();
            let waiting = waiting
                .iter()
                .filter(|(_, names)| **names & (1 << place) != 0);
            let of_spool: Vec<u64> = waiting.map(|(sequence, _)| *sequence).collect();
            let name = NAMES[place];
            self.must(Err(format!(
                "{of_spool:?} wait for {name}, and should {of_model:?}"
            )));
        }
        if unaccounted != 0 {
            self.must(Err(format!("{unaccounted} events are unaccounted for")));
        }
        let bytes = metrics().spool_file_bytes.get().cast_unsigned();
        let bytes = bytes.saturating_sub(running.shared.dead_letters.bytes());
        let brought_back = SEGMENT_BYTES * u64::from(self.may_bring_back);
        if bytes > self.settings.limits.max_bytes + brought_back {
            self.must(Err(format!("its files have {bytes} bytes")));
        }
    }

    /// What an operator sees is what waits.
    fn inspect(&mut self) {
        let Some(running) = &self.running else { return };
        let view = SpoolView::of(Arc::clone(&running.shared));
        let (Ok(overview), Ok(events)) = (view.overview(), view.pending(0, EVENTS, false)) else {
            return;
        };
        let waiting = running.waiting();
        let listed: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        let expected: Vec<u64> = waiting.keys().copied().take(EVENTS).collect();
        let is_counted = overview.sinks.iter().all(|sink| {
            let place = place_of(&sink.sink);
            let of_model = place.map_or(0, |place| self.model.waiting_for(place).count());
            sink.pending == of_model as u64
        });
        let outcome = format!("{overview:?} and {listed:?} were shown of {expected:?}");
        let is_right = is_counted && listed == expected;
        self.must(is_right.then_some(()).ok_or(outcome));
    }

    /// Nothing fails any more: everything that was sent ends up delivered.
    fn calm(&mut self) {
        self.disk.set_capacity(u64::MAX);
        self.disk.set_faults(Faults {
            unreadable: 0.0,
            ..Faults::default()
        });
        self.index.refuse(false);
        self.settings.limits.max_events = 1000;
        self.settings.limits.max_bytes = 40 * SEGMENT_BYTES;
        (self.configured, self.away) = (0b1111, 0);
        self.let_go();
        self.power();
        self.start();
        self.run_dry();
        for version in 0..2 {
            for number in 0..EVENTS {
                if self.model.was_sent((number, version)) {
                    self.send_one((number, version), self.configured, false);
                }
            }
            self.run_dry();
        }
        let open = self.model.rows.iter().find(|(_, row)| row.waits != 0);
        let open = open.map(|row| format!("never delivered: {row:?}"));
        self.must(open.map_or(Ok(()), Err));
    }

    /// Runs until nothing is left to be done.
    fn run_dry(&mut self) {
        for _ in 0..IDLE_STEPS {
            self.now += Duration::from_millis(400);
            self.turn();
            self.maintain();
            for place in places(self.configured) {
                self.read_on(place);
                for record in std::mem::take(&mut self.in_flight[place]) {
                    self.confirm(place, record);
                }
            }
            self.requeue();
            let is_idle = self.running.as_ref().is_some_and(|running| {
                running.writer.is_proven()
                    && running.shared.dead_letters.len() == 0
                    && running.shared.lock().state.pending_events() == 0
            });
            let is_heard = self.attempts.is_empty() && self.dead_letters.is_empty();
            if is_heard && self.requeues.is_empty() && is_idle {
                return;
            }
        }
        self.must(Err("it does not come to rest".to_owned()));
    }
}

impl Running {
    /// The sinks with these numbers; a number that nobody has is no sink's.
    fn names_of(&self, sinks: SinkSet) -> Names {
        let of = |place: &usize| self.numbers[*place].is_some_and(|sink| sinks.contains(sink));
        (0..NAMES.len()).filter(of).map(|place| 1 << place).sum()
    }

    fn sinks_of(&self, names: Names) -> SinkSet {
        places(names)
            .filter_map(|place| self.numbers[place])
            .collect()
    }

    /// What waits, and for whom.
    fn waiting(&self) -> BTreeMap<u64, Names> {
        self.waiting_from(0)
    }

    fn waiting_from(&self, sequence: u64) -> BTreeMap<u64, Names> {
        let inner = self.shared.lock();
        let mut waiting = BTreeMap::new();
        for (place, sink) in self.numbers.iter().enumerate() {
            let Some(sink) = sink else { continue };
            for sequence in inner.state.pending(*sink).iter_from(sequence) {
                *waiting.entry(sequence).or_default() |= 1 << place;
            }
        }
        waiting
    }
}

/// The records of a start.
fn found(
    running: &Running,
    records: &[Arc<SpoolRecord>],
    waiting: &BTreeMap<u64, Names>,
    tail: &[SpoolRecord],
) -> Result<BTreeMap<u64, RecordAtStart>, String> {
    let mut all = BTreeMap::new();
    let records = records.iter().map(|record| (&**record, false));
    for (record, in_tail) in records.chain(tail.iter().map(|record| (record, true))) {
        let position = record.position();
        let sequence = position.sequence;
        let of = running.names_of(position.sinks);
        let waits = if in_tail {
            of
        } else {
            waiting.get(&sequence).copied().unwrap_or(0)
        };
        let found = RecordAtStart {
            key: key_of(record).ok_or_else(|| format!("{sequence} has another body"))?,
            of,
            waits,
            in_tail,
        };
        all.insert(sequence, found);
    }
    Ok(all)
}

fn note_command(command: &WriterCommand, seen: &mut HappeningSet) {
    match command {
        WriterCommand::Maintained(MaintenanceResult::Recycled(_)) => {
            seen.note(Happening::SegmentRecycled)
        }
        WriterCommand::Maintained(MaintenanceResult::Removed(_)) => {
            seen.note(Happening::SegmentRemoved)
        }
        WriterCommand::Maintained(MaintenanceResult::Kept(_)) => seen.note(Happening::SegmentKept),
        WriterCommand::Maintained(MaintenanceResult::Indexed(_)) => {
            seen.note(Happening::IdsEntered)
        }
        WriterCommand::Maintained(MaintenanceResult::NotIndexed) => {
            seen.note(Happening::IdsNotEntered)
        }
        _ => {}
    }
}
