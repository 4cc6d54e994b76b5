//! The log of the store on the simulated disk: whatever crashes or fails, what was confirmed is
//! there, once and in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::catalog::MAX_TOPICS;
use super::encoded_message::EncodedMessage;
use super::shared::SharedStore;
use super::store_log::{StoreLimits, StoreLog};
use super::stored_message::StoredMessage;
use super::topic_log::entries;
use crate::log::disk::Disk;
use crate::log::disk::simulated::{Call, Crash, DiskFault, Faults, Random, SimulatedDisk};
use crate::log::segment::LogFileName;
use crate::seeded::{self, Bug};

const SEGMENT: u64 = 64 << 10;
const TOPICS: [&str; 3] = ["a", "b", "c"];

fn limits(segments: u64) -> StoreLimits {
    StoreLimits {
        retention_ms: 600_000,
        max_size_bytes: segments * SEGMENT,
        segment_bytes: SEGMENT,
    }
}

fn open(disk: &SimulatedDisk, segments: u64) -> (StoreLog, Arc<SharedStore>) {
    StoreLog::open(Arc::new(disk.clone()), limits(segments)).expect("a store's folder")
}

fn append(log: &mut StoreLog, messages: &[EncodedMessage], now_ms: u64) -> bool {
    log.append(messages, now_ms).is_ok()
}

fn messages(topic: &str, numbers: std::ops::Range<usize>, bytes: usize) -> Vec<EncodedMessage> {
    let message =
        |number: usize| EncodedMessage::plain(topic, &number.to_string(), vec![b'x'; bytes].into());
    numbers.map(message).collect()
}

/// All entries of a topic, in pages.
fn all(shared: &SharedStore, topic: &str, page: usize) -> Vec<StoredMessage> {
    let mut found: Vec<StoredMessage> = Vec::new();
    loop {
        let after = found.last().map_or(0, |entry| entry.position);
        let next = entries(shared, topic, after, page).expect("readable");
        if next.is_empty() {
            return found;
        }
        found.extend(next);
    }
}

fn positions(shared: &SharedStore, topic: &str) -> Vec<u64> {
    all(shared, topic, 100)
        .iter()
        .map(|entry| entry.position)
        .collect()
}

/// Retention, recycling and spares, until there is nothing to do.
fn tend(log: &mut StoreLog, now_ms: u64) {
    while log.tend(now_ms).expect("nothing fails") {}
}

/// What was asked of the store, and what it said.
#[derive(Default)]
struct Model {
    /// The topic and body of each message, by key, and its group.
    sent: HashMap<String, (&'static str, Bytes, usize)>,
    /// Keys, in order.
    confirmed: HashMap<&'static str, Vec<String>>,
    groups: Vec<Vec<String>>,
    /// Every position at which a reader has ever seen a message.
    seen: HashMap<(&'static str, u64), String>,
}

impl Model {
    fn group(&mut self, random: &mut Random) -> Vec<EncodedMessage> {
        let count = 1 + random.index(12);
        let number = self.groups.len();
        let messages: Vec<EncodedMessage> =
            (0..count).map(|_| self.message(random, number)).collect();
        let keys = self
            .sent
            .iter()
            .filter(|(_, (_, _, group))| *group == number);
        self.groups.push(keys.map(|(key, _)| key.clone()).collect());
        messages
    }

    fn message(&mut self, random: &mut Random, group: usize) -> EncodedMessage {
        let topic = TOPICS[random.index(TOPICS.len())];
        let key = self.sent.len().to_string();
        let large = if random.chance(0.01) {
            SEGMENT as usize
        } else {
            0
        };
        let length = large + random.index(3000);
        let body = Bytes::from(vec![random.next().to_le_bytes()[0]; length]);
        self.sent.insert(key.clone(), (topic, body.clone(), group));
        EncodedMessage::plain(topic, &key, body)
    }

    fn confirm(&mut self, group: &[EncodedMessage]) {
        let first = self.sent.len() - group.len();
        for (message, key) in group.iter().zip(first..) {
            let topic = TOPICS
                .into_iter()
                .find(|topic| *topic == message.topic)
                .expect("one of them");
            self.confirmed
                .entry(topic)
                .or_default()
                .push(key.to_string());
        }
    }

    /// A message is as it was sent, and at a position where no other was ever seen.
    fn check_message(&mut self, topic: &'static str, entry: &StoredMessage) {
        let (position, key) = (entry.position, &entry.key);
        let (of, body, _) = self.sent.get(key).expect("it was sent");
        assert_eq!((topic, &entry.body), (*of, body), "message {key}");
        let seen = self.seen.entry((topic, position));
        let seen = seen.or_insert_with(|| key.clone());
        assert_eq!(seen, key, "position {position} was given twice");
    }

    /// Looks at everything. Where segments are dropped, the oldest messages may be missing.
    fn check(&mut self, shared: &SharedStore, random: &mut Random, is_bounded: bool) {
        let mut found: HashSet<String> = HashSet::new();
        for topic in TOPICS {
            let entries = all(shared, topic, 1 + random.index(50));
            let summaries = shared.catalog().summaries();
            let summary = summaries.into_iter().find(|it| it.name == topic);
            let (first, last, events) = summary.map_or((1, 0, 0), |it| {
                (it.first_position, it.last_position, it.events)
            });
            assert_eq!(events, entries.len() as u64, "events of {topic}");
            let mut next = first;
            for entry in &entries {
                let (position, key) = (entry.position, &entry.key);
                assert!((next..=last).contains(&position), "{topic} {position}");
                next = position + 1;
                self.check_message(topic, entry);
                assert!(found.insert(key.clone()), "message {key} twice");
            }
            let confirmed = self.confirmed.entry(topic).or_default();
            let there = confirmed.iter().filter(|key| found.contains(*key));
            let there: Vec<&String> = there.collect();
            let missing = confirmed.len() - there.len();
            assert!(
                is_bounded || missing == 0,
                "of {topic} {missing} are missing"
            );
            let is_confirmed: HashSet<&String> = confirmed.iter().collect();
            let keys = entries.iter().map(|entry| &entry.key);
            let order = keys.filter(|key| is_confirmed.contains(*key));
            assert!(order.eq(there), "{topic} is out of order");
            for ((of, position), key) in &self.seen {
                let is_gone = *of != topic || *position < first || is_bounded;
                assert!(
                    is_gone || found.contains(key),
                    "message {key} was there before"
                );
            }
        }
        let confirmed = self.confirmed.values().filter_map(|keys| keys.last());
        let newest = confirmed.max_by_key(|key| key.parse::<usize>().ok());
        assert!(
            newest.is_none_or(|key| found.contains(key)),
            "the newest is missing"
        );
        for group in &self.groups {
            let there = group.iter().filter(|key| found.contains(*key)).count();
            assert!(there == 0 || there == group.len(), "a part of a group");
        }
    }
}

/// One of the next calls to the disk fails.
fn fail_one_call(disk: &SimulatedDisk, random: &mut Random) {
    let calls = [
        Call::Write,
        Call::Sync,
        Call::SyncFolder,
        Call::Rename,
        Call::Create,
    ];
    let fault = if random.chance(0.5) {
        DiskFault::Broken
    } else {
        DiskFault::NoSpace
    };
    disk.fail(1 + random.below(8), &calls, fault);
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let is_bounded = seed.is_multiple_of(3);
    let segments = if is_bounded { 9 } else { 1000 };
    let mut disk = SimulatedDisk::new(seed);
    let mut model = Model::default();
    disk.set_faults(Faults {
        unreadable: 0.0,
        ..Faults::default()
    });
    let mut now = 1_000_000;
    for _ in 0..6 {
        let (mut log, shared) = open(&disk, segments);
        if random.chance(0.7) {
            disk.crash_at_change(1 + random.below(150));
        }
        for _ in 0..random.below(40) {
            if random.chance(0.05) {
                fail_one_call(&disk, &mut random);
            }
            now += random.below(2000);
            match random.below(10) {
                0 => drop(log.tick(now)),
                1 | 2 => drop(log.tend(now)),
                3 => drop(log.append(&[], now)),
                4 if !disk.crashed() => model.check(&shared, &mut random, is_bounded),
                _ => {
                    let group = model.group(&mut random);
                    if append(&mut log, &group, now) {
                        model.confirm(&group);
                    }
                }
            }
        }
        if !disk.crashed() && random.chance(0.3) {
            drop(log.tick(now));
        }
        let kind = if random.chance(0.5) {
            Crash::Power
        } else {
            Crash::Process
        };
        disk = disk.crash(kind);
        // A start may be interrupted as well.
        while random.chance(0.5) {
            let (mut log, _) = open(&disk, segments);
            disk.crash_at_change(1 + random.below(30));
            drop(log.tick(now));
            drop(log.tend(now));
            disk = disk.crash(kind);
        }
        let (mut log, shared) = open(&disk, segments);
        log.tick(now).expect("nothing fails");
        model.check(&shared, &mut random, is_bounded);
        disk = disk.crash(kind);
    }
}

#[test]
fn what_was_confirmed_survives_crashes_and_failures() {
    let seeds = std::env::var("HOOKFERRY_TEST_SEEDS")
        .ok()
        .and_then(|it| it.parse().ok());
    for seed in 0..seeds.unwrap_or(100) {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_log_that_breaks_its_rules_is_found_out() {
    for bug in [
        Bug::SkipSync,
        Bug::SkipFolderSync,
        Bug::TakeTornEndForDamage,
    ] {
        let fails = |seed| std::panic::catch_unwind(|| seeded::with(bug, || run(seed))).is_err();
        let is_found = (0..100).any(fails);
        // What panicked has left its bug behind.
        seeded::with(bug, || {});
        assert!(is_found, "{bug:?}");
    }
}

fn files(disk: &SimulatedDisk) -> Vec<LogFileName> {
    let mut files: Vec<LogFileName> = disk
        .list()
        .expect("readable")
        .iter()
        .map(|name| LogFileName::parse(name))
        .collect();
    files.sort_by_key(|named| match named {
        LogFileName::Segment(number) => *number,
        _ => u64::MAX,
    });
    files
}

#[test]
fn one_topic_too_many_fails_alone() {
    let disk = SimulatedDisk::new(1);
    let (mut log, shared) = open(&disk, 1000);
    let numbers = (0..=MAX_TOPICS).chain([0]);
    let messages: Vec<EncodedMessage> = numbers
        .map(|it| EncodedMessage::plain(&format!("topic.{it}"), "key", Bytes::new()))
        .collect();
    let admitted = messages.into_iter();
    let (admitted, refused): (Vec<EncodedMessage>, Vec<EncodedMessage>) =
        admitted.partition(|message| shared.change().admit(&message.topic));
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].topic, format!("topic.{MAX_TOPICS}"));
    assert!(append(&mut log, &admitted, 0));
    assert_eq!(shared.catalog().last_position("topic.0"), Some(2));
    assert_eq!(shared.catalog().last_position("topic.10000"), None);
    drop(log);
    let (mut log, shared) = open(&disk, 1000);
    log.tick(0).expect("written");
    assert_eq!(shared.catalog().summaries().len(), MAX_TOPICS);
    assert!(!shared.change().admit(&refused[0].topic));
    assert!(shared.change().admit("topic.0"));
}

#[test]
fn retention_by_size_takes_the_oldest_and_the_files_go_round() {
    let disk = SimulatedDisk::new(1);
    let (mut log, shared) = open(&disk, 4);
    for number in 0..100 {
        assert!(append(
            &mut log,
            &messages("a", number..number + 1, 10_000),
            1000
        ));
        tend(&mut log, 1000);
        assert!(files(&disk).len() <= 4, "{:?}", files(&disk));
    }
    let found = positions(&shared, "a");
    assert!((10..20).contains(&found.len()), "{found:?}");
    assert_eq!(
        found,
        (101 - found.len() as u64..=100).collect::<Vec<u64>>()
    );
    let summary = &shared.catalog().summaries()[0];
    assert_eq!(
        (summary.first_position, summary.events),
        (found[0], found.len() as u64)
    );
}

#[test]
fn retention_by_age_empties_an_idle_store_and_positions_never_come_back() {
    let disk = SimulatedDisk::new(1);
    let (mut log, shared) = open(&disk, 1000);
    assert!(append(&mut log, &messages("a", 0..5, 10), 1_000_000));
    // An eighth of the retention later a segment begins, so that the first can go by itself.
    assert!(append(&mut log, &messages("a", 5..8, 10), 1_075_000));
    tend(&mut log, 1_600_000);
    assert_eq!(positions(&shared, "a"), [1, 2, 3, 4, 5, 6, 7, 8]);
    tend(&mut log, 1_600_001);
    assert_eq!(positions(&shared, "a"), [6, 7, 8]);
    assert_eq!(log.tick(1_675_001).ok(), Some(true));
    tend(&mut log, 1_675_001);
    let summary = shared.catalog().summaries().remove(0);
    assert_eq!(
        (
            summary.first_position,
            summary.last_position,
            summary.events
        ),
        (9, 8, 0)
    );
    assert_eq!(log.tick(9_000_000).ok(), Some(false));
    drop(log);
    // Starts that nobody publishes after, the first of them for a moment.
    for start in 0..3 {
        let (mut log, _) = open(&disk, 1000);
        tend(&mut log, 9_000_000);
        if start > 0 {
            log.tick(9_000_000).expect("written");
            tend(&mut log, 9_000_000);
        }
    }
    let (mut log, shared) = open(&disk, 1000);
    assert!(append(&mut log, &messages("a", 8..9, 10), 9_000_000));
    assert_eq!(positions(&shared, "a"), [9]);
}

fn file_bytes(disk: &SimulatedDisk) -> u64 {
    let names = disk.list().expect("readable");
    let length = |name: &String| disk.open(name).and_then(|file| file.length());
    names.iter().map(|name| length(name).expect("there")).sum()
}

#[test]
fn restarts_use_up_no_segments() {
    let disk = SimulatedDisk::new(1);
    let limits = StoreLimits {
        segment_bytes: 4 * SEGMENT,
        ..limits(32)
    };
    for number in 0..50 {
        let (mut log, shared) =
            StoreLog::open(Arc::new(disk.clone()), limits).expect("a store's folder");
        assert!(append(
            &mut log,
            &messages("a", number..number + 1, 200),
            1000
        ));
        tend(&mut log, 1000);
        assert_eq!(
            positions(&shared, "a"),
            (1..=number as u64 + 1).collect::<Vec<u64>>()
        );
        if number % 2 == 0 {
            log.tick(1000).expect("written");
        }
    }
    // The active segment, and a few blocks of each of the others.
    let most = limits.segment_bytes + 50 * (16 << 10);
    assert!(file_bytes(&disk) < most, "{}", file_bytes(&disk));
}

#[test]
fn the_file_of_a_segment_that_is_not_needed_any_more_waits_for_its_readers() {
    let disk = SimulatedDisk::new(1);
    let (mut log, shared) = open(&disk, 4);
    assert!(append(&mut log, &messages("a", 0..1, 10), 1000));
    let found = shared.find("a", 0, 10).expect("readable");
    let found = found.expect("it is there");
    for number in 1..40 {
        assert!(append(
            &mut log,
            &messages("a", number..number + 1, 10_000),
            1000
        ));
        tend(&mut log, 1000);
    }
    assert!(!positions(&shared, "a").contains(&1));
    let read = found.segment.read(found.locations[0]);
    assert!(matches!(read, Ok(Some(_))), "{read:?}");
    assert!(files(&disk).contains(&LogFileName::Segment(1)));
    drop(found);
    tend(&mut log, 1000);
    assert!(!files(&disk).contains(&LogFileName::Segment(1)));
    assert_eq!(positions(&shared, "a").last(), Some(&40));
}

#[test]
fn a_message_larger_than_a_segment_gets_one_of_its_own_which_goes_afterwards() {
    let disk = SimulatedDisk::new(1);
    let (mut log, shared) = open(&disk, 4);
    for number in 0..3 {
        let bytes = 3 * SEGMENT as usize;
        assert!(append(
            &mut log,
            &messages("a", number..number + 1, bytes),
            1000
        ));
        tend(&mut log, 1000);
        let newest = all(&shared, "a", 10).pop().expect("it is there");
        assert_eq!(
            (newest.position, newest.body.len()),
            (number as u64 + 1, bytes)
        );
    }
    assert!(append(&mut log, &messages("a", 3..4, 10), 1000));
    tend(&mut log, 1000);
    let lengths = files(&disk).len();
    assert!(lengths <= 3, "{:?}", files(&disk));
    assert_eq!(positions(&shared, "a").last(), Some(&4));
}

/// Three segments with messages, and nothing else.
fn three_segments() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk, 1000);
    for number in 0..12 {
        assert!(append(
            &mut log,
            &messages("a", number..number + 1, 10_000),
            1000
        ));
    }
    log.tick(1000).expect("written");
    assert_eq!(
        files(&disk),
        [
            LogFileName::Segment(1),
            LogFileName::Segment(2),
            LogFileName::Segment(3)
        ]
    );
    disk
}

#[test]
fn wherever_a_sector_rots_the_rest_is_served() {
    let every = (1..=12).collect::<Vec<u64>>();
    for number in 1..=3 {
        for sector in 0..SEGMENT / 512 {
            let disk = three_segments();
            disk.rot(
                &crate::log::segment::segment_name(number),
                sector * 512,
                512,
            );
            for _ in 0..2 {
                let (mut log, shared) = open(&disk, 1000);
                log.tick(1000).expect("written");
                let found = positions(&shared, "a");
                let missing = every.iter().filter(|it| !found.contains(it)).count();
                assert!(missing <= 1, "{found:?} with sector {sector} of {number}");
                assert!(append(&mut log, &messages("a", 0..1, 10), 1000));
                let found = positions(&shared, "a");
                assert!(
                    found.last() > every.last(),
                    "{found:?} with sector {sector} of {number}"
                );
                assert!(found.is_sorted());
            }
        }
    }
}
