//! What every index does, shown on each of them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use tempfile::TempDir;

use super::*;

/// Larger than what SQLite has room for as a positive number.
const DIGEST: u64 = u64::MAX - 1;

/// The id of an event at this millisecond; of one without a time where that is 0.
pub(super) fn id(millisecond: u64, number: u64) -> EventId {
    let (high, low) = (millisecond >> 16, millisecond & 0xffff);
    let text = format!("{high:08x}-{low:04x}-8000-8000-{number:012x}");
    EventId::try_from(text).expect("a UUID")
}

pub(super) fn entry(id: EventId, sequence: u64, accepted_hour: u32) -> IdEntry {
    IdEntry {
        id,
        digest: DIGEST,
        sequence,
        accepted_hour,
    }
}

/// Ids at the milliseconds from this one on, with sequences from this one on.
pub(super) fn timed(first: u64, count: u64) -> Vec<IdEntry> {
    let numbers = first..first + count;
    numbers.map(|n| entry(id(n, 7), n, 0)).collect()
}

fn untimed(first: u64, count: u64, hour: u32) -> Vec<IdEntry> {
    let numbers = first..first + count;
    numbers.map(|n| entry(id(0, n), n, hour)).collect()
}

/// The sequence of an id that has one body at most.
pub(super) fn sequence(index: &dyn IdIndex, id: EventId) -> Option<u64> {
    let known = index.find(id).expect("find");
    assert!(known.len() <= 1, "{known:?}");
    let known = known.first()?;
    assert_eq!(known.digest, DIGEST);
    Some(known.sequence)
}

/// The digests and sequences of an id.
fn bodies(index: &dyn IdIndex, id: EventId) -> Vec<(u64, u64)> {
    let known = index.find(id).expect("find");
    let mut bodies: Vec<_> = known.iter().map(|it| (it.digest, it.sequence)).collect();
    bodies.sort_unstable();
    bodies
}

fn knows(index: &dyn IdIndex, entries: &[IdEntry]) -> usize {
    let known = entries.iter().filter(|e| sequence(index, e.id).is_some());
    known.count()
}

/// Expires until there is no more; returns in how many slices.
fn expire_all(
    index: &dyn IdIndex,
    before: u64,
    hour: u32,
    is_pending: &dyn Fn(u64) -> bool,
) -> usize {
    let slice = || index.expire(id(before, 0), hour, is_pending);
    (1..)
        .find(|_| !slice().expect("expire").more)
        .expect("an end")
}

fn each(max_ids: u64, show: impl Fn(&dyn IdIndex)) {
    on_disk(max_ids, &show);
    show(&MemoryIndex::new(max_ids));
}

fn on_disk(max_ids: u64, show: impl Fn(&dyn IdIndex)) {
    let folder = TempDir::new().expect("a folder");
    show(&SqliteIndex::open(folder.path().join("ids.db"), 1, max_ids));
}

#[test]
fn what_was_entered_is_found_and_nothing_else() {
    each(100, |index| {
        assert_eq!(index.through(), 0);
        assert_eq!(index.find(id(5, 7)).expect("find"), []);
        assert_eq!(index.find(id(0, 7)).expect("find"), []);
        let added = [timed(10, 3), untimed(20, 2, 4)].concat();
        assert_eq!(index.add(&added, 21).expect("add"), 0);
        assert_eq!(index.through(), 21);
        for entry in &added {
            assert_eq!(sequence(index, entry.id), Some(entry.sequence));
        }
        for unknown in [id(10, 6), id(10, 8), id(9, 7), id(13, 7), id(0, 22)] {
            assert_eq!(index.find(unknown).expect("find"), []);
        }
    });
}

#[test]
fn an_id_is_known_with_each_of_its_bodies() {
    each(100, |index| {
        for id in [id(5, 1), id(0, 1)] {
            let body = |digest, sequence| IdEntry {
                digest,
                ..entry(id, sequence, 2)
            };
            let both = [body(3, 1), body(u64::MAX, 2)];
            assert_eq!(index.add(&both, 2).expect("add"), 0);
            assert_eq!(bodies(index, id), [(3, 1), (u64::MAX, 2)]);
            assert_eq!(index.add(&[body(3, 3)], 3).expect("add"), 0);
            assert_eq!(bodies(index, id), [(3, 3), (u64::MAX, 2)]);
            // Each is forgotten by itself: one of them waits.
            expire_all(index, 6, 3, &|sequence| sequence == 2);
            assert_eq!(bodies(index, id), [(u64::MAX, 2)]);
            index.add(&[body(3, 3)], 3).expect("add");
            index.remove(id).expect("remove");
            assert_eq!(bodies(index, id), []);
        }
    });
}

#[test]
fn of_an_id_with_very_many_bodies_some_are_told() {
    each(1_000, |index| {
        let body = |digest| IdEntry {
            digest,
            ..entry(id(5, 1), digest, 0)
        };
        let all: Vec<IdEntry> = (1..=500).map(body).collect();
        index.add(&all, 500).expect("add");
        assert_eq!(bodies(index, id(5, 1)).len(), MAX_BODIES);
    });
}

#[test]
fn an_id_entered_again_keeps_the_highest_sequence_and_counts_once() {
    each(4, |index| {
        for id in [id(5, 1), id(0, 1)] {
            let both = [entry(id, 8, 2), entry(id, 3, 9)];
            assert_eq!(index.add(&both, 8).expect("add"), 0);
            assert_eq!(sequence(index, id), Some(8));
            for _ in 0..9 {
                assert_eq!(index.add(&[entry(id, 9, 3)], 9).expect("add"), 0);
            }
            assert_eq!(sequence(index, id), Some(9));
        }
        expire_all(index, 0, 3, &|_| false);
        assert_eq!(sequence(index, id(0, 1)), Some(9), "accepted in hour 3");
        expire_all(index, 0, 4, &|_| false);
        assert_eq!(sequence(index, id(0, 1)), None);
        assert_eq!(sequence(index, id(5, 1)), Some(9));
    });
}

#[test]
fn through_never_falls() {
    each(10, |index| {
        index.add(&[], 7).expect("add");
        index.add(&timed(3, 1), 3).expect("add");
        assert_eq!(index.through(), 7);
    });
}

#[test]
fn ids_before_the_bound_are_forgotten_but_for_the_pending_ones() {
    each(10_000, |index| {
        let added = timed(1, 3_000);
        index.add(&added, 3_000).expect("add");
        let slices = expire_all(index, 2_001, 0, &|sequence| sequence % 100 == 0);
        assert!(slices <= 4, "{slices}");
        assert_eq!(knows(index, &added[..2_000]), 20);
        assert_eq!(knows(index, &added[2_000..]), 1_000);
        // Those that waited are looked at again the next time.
        assert_eq!(expire_all(index, 2_001, 0, &|_| false), 1);
        assert_eq!(knows(index, &added), 1_000);
    });
}

#[test]
fn ids_without_a_time_are_forgotten_by_hour_whatever_they_begin_with() {
    each(10_000, |index| {
        let (late, early) = (untimed(1, 1_000, 9), untimed(1_001, 1_000, 7));
        index.add(&late, 1_000).expect("add");
        index.add(&early, 2_000).expect("add");
        index.add(&timed(1, 5), 2_000).expect("add");
        assert_eq!(expire_all(index, 1, 7, &|_| false), 1);
        assert_eq!(knows(index, &early), 1_000);
        assert!(expire_all(index, 1, 8, &|sequence| sequence == 1_500) <= 2);
        assert_eq!((knows(index, &early), knows(index, &late)), (1, 1_000));
        expire_all(index, 1, 10, &|_| false);
        assert_eq!((knows(index, &early), knows(index, &late)), (0, 0));
        assert_eq!(knows(index, &timed(1, 5)), 5);
    });
}

#[test]
fn a_slice_is_bounded_and_pending_ids_do_not_stop_the_next() {
    on_disk(10_000, |index| {
        index.add(&timed(1, 2_000), 2_000).expect("add");
        index.add(&untimed(2_001, 2_000, 1), 4_000).expect("add");
        let asked = RefCell::new(BTreeSet::new());
        let mut more = true;
        while more {
            let before = asked.borrow().len();
            let wait = |sequence| asked.borrow_mut().insert(sequence);
            more = index.expire(id(5_000, 0), 5, &wait).expect("expire").more;
            let looked_at = asked.borrow().len() - before;
            assert!((1..=2 * SLICE).contains(&looked_at), "{looked_at}");
        }
        assert_eq!(asked.into_inner().len(), 4_000, "each was asked about once");
        assert_eq!(knows(index, &timed(1, 2_000)), 2_000);
    });
}

/// The spool's own locks may be held by whoever enters or looks up ids meanwhile.
#[test]
fn no_lock_is_held_while_it_is_asked_what_is_pending() {
    each(10, |index| {
        index.add(&timed(1, 2), 2).expect("add");
        let is_pending = |_| {
            index.remove(id(2, 7)).expect("remove");
            sequence(index, id(1, 7)).is_some()
        };
        assert_eq!(expire_all(index, 9, 0, &is_pending), 1);
        assert_eq!(knows(index, &timed(1, 2)), 1);
    });
}

#[test]
fn beyond_the_bound_the_oldest_go_those_with_a_time_first_and_are_counted() {
    each(10, |index| {
        index.add(&untimed(100, 4, 8), 103).expect("add");
        index.add(&untimed(110, 2, 6), 111).expect("add");
        assert_eq!(index.add(&timed(3, 4), 111).expect("add"), 0);
        assert_eq!(index.add(&timed(1, 2), 111).expect("add"), 2);
        assert_eq!(knows(index, &timed(1, 2)), 0, "older than all others");
        assert_eq!(index.add(&timed(20, 3), 111).expect("add"), 3);
        assert_eq!(knows(index, &timed(3, 4)), 1);
        assert_eq!(index.add(&untimed(200, 7, 9), 206).expect("add"), 7);
        assert_eq!(knows(index, &timed(1, 30)), 0);
        let left = [(100, 4, 4), (110, 2, 0), (200, 7, 6)];
        let hours = left.map(|(first, count, _)| knows(index, &untimed(first, count, 0)));
        assert_eq!(hours.iter().sum::<usize>(), 10);
        assert_eq!(hours[1], 0, "accepted first");
        assert_eq!(hours[2], 7, "accepted last");
    });
}

#[test]
fn a_removed_id_is_unknown_and_makes_way() {
    each(2, |index| {
        index
            .add(&[entry(id(5, 1), 1, 0), entry(id(0, 1), 2, 0)], 2)
            .expect("add");
        for gone in [id(5, 1), id(0, 1), id(6, 6), id(0, 6)] {
            index.remove(gone).expect("remove");
            assert_eq!(sequence(index, gone), None);
        }
        assert_eq!(index.add(&timed(7, 2), 4).expect("add"), 0);
        assert_eq!(index.through(), 4);
    });
}

/// Any course of operations leaves the same ids in both.
#[test]
fn both_kinds_agree() {
    for seed in 0..20_u64 {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("ids.db");
        let mut on_disk = SqliteIndex::open(path.clone(), 1, 60);
        let in_memory = MemoryIndex::new(60);
        let mut state = seed;
        let mut below = |end: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        let mut next = 1;
        for _ in 0..60 {
            let indexes: [&dyn IdIndex; 2] = [&on_disk, &in_memory];
            match below(8) {
                0..4 => {
                    let mut entries = Vec::new();
                    for _ in 0..below(20) {
                        let time = below(2) * (1 + next / 4 + below(5));
                        let hour = u32::try_from(next / 10).expect("an hour");
                        entries.push(IdEntry {
                            digest: below(3),
                            ..entry(id(time, below(40)), next, hour)
                        });
                        next += 1;
                    }
                    let [a, b] = indexes.map(|index| index.add(&entries, next - 1).expect("add"));
                    assert_eq!(a, b, "seed {seed}");
                }
                4 => {
                    let (before, hour) = (next / 8, u32::try_from(next / 20).expect("an hour"));
                    for index in indexes {
                        expire_all(index, before, hour, &|sequence| sequence % 7 == 0);
                    }
                }
                5 => {
                    let gone = id(below(2) * below(next), below(40));
                    for index in indexes {
                        index.remove(gone).expect("remove");
                    }
                }
                6 => {
                    drop(on_disk);
                    on_disk = SqliteIndex::open(path.clone(), next, 60);
                }
                _ => {}
            }
            assert_eq!(on_disk.through(), in_memory.through(), "seed {seed}");
        }
        for (time, number) in (0..next).flat_map(|time| (0..40).map(move |n| (time, n))) {
            let [a, b] =
                [&on_disk as &dyn IdIndex, &in_memory].map(|index| bodies(index, id(time, number)));
            assert_eq!(a, b, "seed {seed}: {time} {number}");
        }
    }
}

#[test]
fn the_double_loses_and_refuses() {
    let index = MemoryIndex::new(8);
    index.add(&timed(1, 4), 4).expect("add");
    index.add(&untimed(5, 4, 1), 8).expect("add");
    index.lose_after(6);
    assert_eq!(index.through(), 6);
    assert_eq!(knows(&index, &untimed(5, 4, 1)), 2);
    index.lose_after(3);
    assert_eq!(knows(&index, &timed(1, 4)), 3);
    assert_eq!(expire_all(&index, 1, 2, &|_| false), 1);
    index.refuse(true);
    assert!(matches!(
        index.find(id(1, 7)),
        Err(IndexError::Unavailable(_))
    ));
    assert!(index.add(&timed(9, 1), 9).is_err());
    assert!(index.expire(id(9, 9), 9, &|_| false).is_err());
    assert!(index.remove(id(1, 7)).is_err());
    assert_eq!(index.through(), 3);
    index.refuse(false);
    assert_eq!(knows(&index, &timed(1, 9)), 3);
    assert_eq!(index.add(&timed(4, 5), 8).expect("add"), 0);
}
