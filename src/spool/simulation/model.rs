//! What must be true of a spool, told by what was sent to it, confirmed and answered. It knows each
//! sequence that was given, whom its record waits for, and what is in doubt: what nobody was
//! answered for, and progress that no later batch has made durable.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use super::events::{EventKey, has_backfill, is_copy};
use crate::spool::outcome::Appended;
use crate::spool::settings::{Duplicates, SpoolLimits};

/// No id is forgotten within it.
pub(super) const LONG_WINDOW: Duration = Duration::from_secs(86_400);

/// The sinks there can be. A set of them has a bit for each, by its place here: the spool's own
/// numbers change their holders.
pub(super) const NAMES: [&str; 4] = ["kafka", "store", "rabbitmq", "other"];
pub(super) type Names = u8;

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelRecord {
    pub key: EventKey,
    /// The sinks it waits for.
    pub waits: Names,
    /// Done with it, but a crash may undo that.
    pub doubtful: Names,
    /// Set aside for these by a dead letter that is there.
    pub dead_lettered: Names,
    /// Set aside for these at some time.
    pub was_dead_lettered: Names,
    /// It was lost for these.
    pub lost: Names,
    /// It was lost, and done with for these, which a crash may have undone before.
    perhaps_lost: Names,
    /// A start has found it and has not written it anew.
    pub in_tail: bool,
    /// It is durable. One that was only found in a tail is not.
    is_certain: bool,
}

/// Whether the spool knows an event's id with one version of its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Knowledge {
    #[default]
    Unknown,
    /// An attempt was made of which nobody knows the outcome.
    Doubtful,
    Known,
}

/// A record as a start finds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordAtStart {
    pub key: EventKey,
    /// The sinks it was accepted for.
    pub of: Names,
    /// Those it waits for.
    pub waits: Names,
    pub in_tail: bool,
}

/// What a start finds besides.
#[derive(Debug, Default)]
pub(super) struct SpoolAtStart {
    pub records: BTreeMap<u64, RecordAtStart>,
    pub dead_letters: BTreeSet<(u64, usize)>,
    pub lost: Vec<Range<u64>>,
    pub lost_totals: [u64; NAMES.len()],
    /// A dead letter that cannot be made sure of leaves its event waiting.
    pub may_doubt_letters: bool,
}

/// The model.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub rows: BTreeMap<u64, ModelRecord>,
    /// What was sent for whom, at any time.
    offered: HashSet<(EventKey, Names)>,
    ids: HashMap<usize, [Knowledge; 2]>,
    /// Events of which both versions were under way at once: nobody knows which was first.
    raced: HashSet<usize>,
    /// Dead letters that were perhaps requeued: nobody was answered.
    requeued: Vec<(u64, usize)>,
    /// The highest sequence that was seen.
    pub highest: u64,
    /// The ids may be forgotten before their time.
    pub may_forget_ids: bool,
    /// Every accepted event is published.
    forwards: bool,
    /// Sequences of records that have rotted.
    pub rotten: BTreeSet<u64>,
    /// Something rotted that says what the records are about: losses are no more exact then, and
    /// progress may be forgotten.
    pub is_vague: bool,
}

pub(super) type CheckResult = Result<(), String>;

/// An error with this text unless the condition holds.
fn check(holds: bool, text: impl FnOnce() -> String) -> CheckResult {
    if holds { Ok(()) } else { Err(text()) }
}

/// The places of the sinks in a set.
pub(super) fn places(names: Names) -> impl Iterator<Item = usize> {
    (0..NAMES.len()).filter(move |place| names & (1 << place) != 0)
}

impl Model {
    /// Of a spool with these limits.
    pub fn new(limits: &SpoolLimits) -> Self {
        Self {
            may_forget_ids: limits.window < LONG_WINDOW,
            forwards: limits.duplicates == Duplicates::Forward,
            ..Self::default()
        }
    }

    /// An event is sent.
    pub fn offer(&mut self, key: EventKey, names: Names) {
        self.offered.insert((key, names));
    }

    /// Whether it was sent at any time.
    pub fn was_sent(&self, key: EventKey) -> bool {
        self.offered.iter().any(|(sent, _)| *sent == key)
    }

    /// Both versions of an event are under way at once.
    pub fn race(&mut self, key: EventKey) {
        self.raced.insert(key.0);
    }

    /// Nobody will hear what became of an event that was sent.
    pub fn doubt(&mut self, key: EventKey) {
        let known = &mut self.ids.entry(key.0).or_default()[key.1];
        if *known == Knowledge::Unknown {
            *known = Knowledge::Doubtful;
        }
    }

    /// Nobody will hear whether this dead letter was requeued.
    pub fn doubt_requeue(&mut self, letter: (u64, usize)) {
        self.requeued.push(letter);
    }

    /// A dead letter was requeued: its event waits again under another sequence.
    pub fn requeue(&mut self, (sequence, place): (u64, usize)) {
        if let Some(row) = self.rows.get_mut(&sequence) {
            row.dead_lettered &= !(1 << place);
        }
    }

    /// A new record can be read.
    pub fn add(&mut self, sequence: u64, key: EventKey, names: Names) -> CheckResult {
        check(sequence > self.highest, || {
            format!("sequence {sequence} is not behind {}", self.highest)
        })?;
        check(self.offered.contains(&(key, names)), || {
            format!("{sequence}: {key:?} was never sent for {names:b}")
        })?;
        self.highest = sequence;
        let row = ModelRecord {
            key,
            waits: names,
            doubtful: 0,
            dead_lettered: 0,
            was_dead_lettered: 0,
            lost: 0,
            perhaps_lost: 0,
            in_tail: false,
            is_certain: true,
        };
        self.rows.insert(sequence, row);
        Ok(())
    }

    /// An event has a record of its own that nobody has been answered for: it was no duplicate.
    pub fn recorded(&mut self, key: EventKey) -> CheckResult {
        let possible = self.possible(key);
        let is_new = |it: &Appended| matches!(it, Appended::Accepted | Appended::Different);
        check(self.may_forget() || possible.iter().any(is_new), || {
            format!("{key:?} has a second record")
        })?;
        self.ids.entry(key.0).or_default()[key.1] = Knowledge::Known;
        Ok(())
    }

    /// Whether an id may be unknown although it was accepted.
    fn may_forget(&self) -> bool {
        self.may_forget_ids || self.is_vague || !self.rotten.is_empty()
    }

    /// Checks an answer against what was answered before, for events that were sent at the spool.
    pub fn answered(&mut self, key: EventKey, appended: Appended) -> CheckResult {
        let is_possible = self.possible(key).contains(&appended);
        check(
            self.may_forget() || is_possible || appended == Appended::DeadLettered,
            || {
                format!(
                    "{key:?} was answered {appended:?} and is {:?}",
                    self.ids.get(&key.0)
                )
            },
        )?;
        self.ids.entry(key.0).or_default()[key.1] = Knowledge::Known;
        let mut same = self.rows.values().filter(|row| is_copy(row.key, key));
        check(
            appended != Appended::Duplicate || same.any(|row| row.lost == 0),
            || format!("{key:?} was answered \"duplicate\" of an event that is nowhere"),
        )
    }

    /// What may be answered of an event with a backfilled copy: each is a duplicate of the other, and the
    /// copy is never forwarded.
    fn possible_with_backfill(&self, (number, version): EventKey) -> Vec<Appended> {
        let known = self.ids.get(&number).copied().unwrap_or_default();
        let again = if self.forwards && version == 0 {
            Appended::Accepted
        } else {
            Appended::Duplicate
        };
        if known.contains(&Knowledge::Known) {
            vec![again]
        } else if known.contains(&Knowledge::Doubtful) || self.raced.contains(&number) {
            vec![Appended::Accepted, again]
        } else {
            vec![Appended::Accepted]
        }
    }

    /// What may be answered: a duplicate has the id and the body of a record.
    fn possible(&self, (number, version): EventKey) -> Vec<Appended> {
        use Knowledge::{Doubtful, Known, Unknown};
        if has_backfill(number) {
            return self.possible_with_backfill((number, version));
        }
        let known = self.ids.get(&number).copied().unwrap_or_default();
        let again = if self.forwards {
            Appended::Accepted
        } else {
            Appended::Duplicate
        };
        let first: &[Appended] = match known[1 - version] {
            _ if self.raced.contains(&number) => &[Appended::Accepted, Appended::Different],
            Unknown => &[Appended::Accepted],
            Doubtful => &[Appended::Accepted, Appended::Different],
            Known => &[Appended::Different],
        };
        match known[version] {
            Unknown => first.to_vec(),
            Doubtful => [first, &[again]].concat(),
            Known => vec![again],
        }
    }

    /// A sink is done with a record.
    pub fn leave(&mut self, sequence: u64, place: usize) {
        if let Some(row) = self.rows.get_mut(&sequence) {
            row.doubtful |= row.waits & (1 << place);
            row.waits &= !(1 << place);
        }
    }

    /// A dead letter is there in the place of a record.
    pub fn dead_letter(&mut self, sequence: u64, place: usize) {
        if let Some(row) = self.rows.get_mut(&sequence) {
            row.set_aside(1 << place);
        }
    }

    /// Everything that waits for a sink was dropped.
    pub fn drop_all(&mut self, place: usize) {
        for row in self.rows.values_mut().filter(|row| !row.in_tail) {
            row.doubtful |= row.waits & (1 << place);
            row.waits &= !(1 << place);
        }
    }

    /// A batch is durable that says how far every sink is.
    pub fn progress_is_durable(&mut self) {
        for row in self.rows.values_mut() {
            row.doubtful = 0;
        }
    }

    /// How many records wait for each sink, without those that are still to be written anew.
    pub fn counts(&self) -> [u64; NAMES.len()] {
        let mut counts = [0; NAMES.len()];
        for row in self.rows.values().filter(|row| !row.in_tail) {
            for (place, count) in counts.iter_mut().enumerate() {
                *count += u64::from(row.waits >> place & 1);
            }
        }
        counts
    }

    /// What waits for a sink.
    pub fn waiting_for(&self, place: usize) -> impl Iterator<Item = u64> {
        let rows = self.rows.iter();
        rows.filter(move |(_, row)| row.waits & (1 << place) != 0 && !row.in_tail)
            .map(|(sequence, _)| *sequence)
    }

    /// The records that a start has found are written anew, and wait for these sinks now. A dead letter
    /// that is there goes on standing for its record.
    pub fn carried(
        &mut self,
        waits: impl Fn(u64) -> Names,
        dead_letters: &BTreeSet<(u64, usize)>,
    ) -> CheckResult {
        for (sequence, row) in self.rows.iter_mut().filter(|(_, row)| row.in_tail) {
            let now = waits(*sequence);
            let missing = row.waits & !now;
            let has_letter = |place| dead_letters.contains(&(*sequence, place));
            check(
                now & !row.waits == 0 && places(missing).all(has_letter),
                || format!("{sequence} waits for {now:b} after it was carried: {row:?}"),
            )?;
            row.set_aside(missing);
            row.waits = now;
            (row.in_tail, row.is_certain) = (false, true);
        }
        Ok(())
    }

    /// Checks what a start has found, and goes on from it.
    pub fn start(&mut self, start: &SpoolAtStart) -> CheckResult {
        // A tail that was never written anew may be gone, and its sequences with it.
        self.rows
            .retain(|sequence, row| row.is_certain || start.records.contains_key(sequence));
        self.highest = self.rows.keys().next_back().copied().unwrap_or(0);
        self.find_new(start)?;
        let is_lost = |sequence| start.lost.iter().any(|range| range.contains(&sequence));
        let (is_vague, rotten) = (self.is_vague, &self.rotten);
        for (sequence, row) in &mut self.rows {
            let found = start.records.get(sequence);
            check(found.is_none_or(|found| found.key == row.key), || {
                format!("sequence {sequence} was given twice: {row:?}, {found:?}")
            })?;
            let now = found.map_or(0, |found| found.waits);
            row.in_tail = found.is_some_and(|found| found.in_tail);
            row.is_certain |= !row.in_tail;
            if is_lost(*sequence) {
                row.perhaps_lost |= row.doubtful & !row.waits;
            }
            for place in places(row.waits & !now) {
                let (bit, has_letter) =
                    (1 << place, start.dead_letters.contains(&(*sequence, place)));
                if has_letter {
                    row.set_aside(bit);
                    continue;
                }
                check(is_lost(*sequence), || {
                    format!("{sequence} is not there for {}: {row:?}", NAMES[place])
                })?;
                check(is_vague || rotten.contains(sequence), || {
                    format!("{sequence} was declared lost and is sound: {row:?}")
                })?;
                row.lost |= bit;
            }
            for place in places(now & !row.waits) {
                let (bit, has_letter) =
                    (1 << place, start.dead_letters.contains(&(*sequence, place)));
                // A dead letter is written again by a start, and a crash in it may leave none; then its
                // event waits again.
                let may_have_letter = start.may_doubt_letters || row.in_tail;
                let is_doubtful = row.doubtful & bit != 0 && (!has_letter || may_have_letter);
                check(is_vague || is_doubtful, || {
                    format!("{sequence} waits again for {}: {row:?}", NAMES[place])
                })?;
            }
            row.dead_lettered &= !now;
            row.doubtful &= !now;
            row.waits = now;
        }
        self.check_letters(start)?;
        self.check_losses(start)
    }

    /// Records that nobody was answered for. They come behind everything that was seen before.
    fn find_new(&mut self, start: &SpoolAtStart) -> CheckResult {
        let known = &self.rows;
        let new = start.records.iter();
        let new: Vec<(u64, RecordAtStart)> = new
            .filter(|(sequence, _)| !known.contains_key(sequence))
            .map(|(sequence, found)| (*sequence, *found))
            .collect();
        for (sequence, found) in new {
            if self.is_vague {
                self.offered.insert((found.key, found.of));
            }
            self.add(sequence, found.key, found.of)?;
            if let Some(row) = self.rows.get_mut(&sequence) {
                row.is_certain = !found.in_tail;
            }
            self.requeued.retain(|(letter, place)| {
                let row = self.rows.get_mut(letter);
                let is_it = found.of == 1 << place;
                if let Some(row) = row.filter(|row| is_it && row.key == found.key) {
                    // A letter of a tail has settled it, whoever was told so.
                    row.set_aside(row.waits & (1 << place));
                    row.dead_lettered &= !(1 << place);
                    return false;
                }
                true
            });
        }
        Ok(())
    }

    fn check_letters(&self, start: &SpoolAtStart) -> CheckResult {
        for (sequence, row) in &self.rows {
            for place in places(row.dead_lettered) {
                check(start.dead_letters.contains(&(*sequence, place)), || {
                    format!(
                        "the dead letter {sequence}-{} is gone: {row:?}",
                        NAMES[place]
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Every loss is counted, once; one that a crash has brought back may be.
    fn check_losses(&self, start: &SpoolAtStart) -> CheckResult {
        for (place, counted) in start.lost_totals.iter().enumerate() {
            let count = |which: fn(&ModelRecord) -> Names| {
                let rows = self.rows.values();
                rows.filter(|row| which(row) & (1 << place) != 0).count() as u64
            };
            let lost = count(|row| row.lost);
            let at_most = lost + count(|row| row.perhaps_lost);
            check(
                (lost..=at_most).contains(counted) || (self.is_vague && *counted >= lost),
                || {
                    format!(
                        "{lost} were lost for {} and {counted} counted",
                        NAMES[place]
                    )
                },
            )?;
        }
        Ok(())
    }
}

impl ModelRecord {
    /// There are dead letters in its place; the log is still to be told.
    fn set_aside(&mut self, names: Names) {
        self.waits &= !names;
        self.doubtful |= names;
        self.dead_lettered |= names;
        self.was_dead_lettered |= names;
    }
}
