//! What is sent to the spool, and what it answers.

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::super::events::{EventKey, event_of, is_copy, key_of};
use super::super::fault_plan::FaultPlan;
use super::super::happenings::Happening;
use super::super::model::Names;
use super::{Attempt, Requeue, Running, World, place_of};
use crate::log::disk::simulated::{Call, DiskFault};
use crate::route::Lane;
use crate::spool::command::{Append, WriterCommand};
use crate::spool::dead_letters::DeadLetterName;
use crate::spool::error::SpoolUnavailable;
use crate::spool::outcome::{AppendResult, Appended, Milestone};
use crate::spool::record::PreparedRecord;
use crate::spool::replies::AppendCaller;
use crate::spool::settings::Duplicates;

/// So many copies of an event are under way at once.
const COPIES: usize = 3;

/// An answer in the order in which it was asked for.
struct Answered {
    key: EventKey,
    names: Names,
    /// The dead letter whose place the record takes.
    letter: Option<(u64, usize)>,
}

impl World {
    pub(super) fn send_one(&mut self, key: EventKey, names: Names, awaits_delivery: bool) {
        if names == 0 || !self.may_send_copy(key, awaits_delivery) {
            return;
        }
        let Some(running) = &mut self.running else {
            return;
        };
        self.model.offer(key, names);
        let sinks = running.sinks_of(names);
        let milestone = if awaits_delivery {
            Milestone::Delivered
        } else {
            Milestone::Spooled
        };
        let prepared = PreparedRecord::of(event_of(key), Lane::Typed, sinks);
        let answer = append(running, prepared, milestone, None);
        self.attempts.push(Attempt {
            key,
            names,
            awaits_delivery,
            sequence: None,
            answer,
        });
    }

    /// Some copies of an event may be under way at once. Where each has a record of its own, all wait
    /// for the same: else nothing tells whose record is whose.
    fn may_send_copy(&mut self, key: EventKey, awaits_delivery: bool) -> bool {
        let copies = self.attempts.iter().filter(|it| it.key.0 == key.0);
        let copies: Vec<&Attempt> = copies.collect();
        let are_apart = self.settings.limits.duplicates == Duplicates::Suppress
            || copies
                .iter()
                .all(|it| it.awaits_delivery == awaits_delivery);
        if copies.iter().any(|copy| copy.key != key) {
            self.model.race(key);
        }
        are_apart && copies.len() < COPIES
    }

    /// An operator requeues any dead letter.
    pub(super) fn requeue(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let mut names = running.shared.dead_letters.names_after(None, usize::MAX);
        let asked = |sequence, place| {
            self.requeues
                .iter()
                .any(|it| it.letter == (sequence, place))
        };
        names.retain(|name| place_of(&name.sink).is_some_and(|place| !asked(name.sequence, place)));
        if names.is_empty() {
            return;
        }
        let name = names[self.random.index(names.len())].clone();
        let Ok(letter) = running.shared.dead_letters.read(&name) else {
            return;
        };
        let place = place_of(&name.sink).expect("they were looked through");
        let (Some(sink), Some(key)) = (running.numbers[place], key_of(&letter.record)) else {
            return;
        };
        Self::tell(|| format!("the dead letter {name} of {key:?} is requeued"));
        self.model.offer(key, 1 << place);
        let letter_of = (name.sequence, place);
        let prepared = PreparedRecord::again(&letter.record, sink);
        let answer = append(running, prepared, Milestone::Spooled, Some(name));
        self.requeues.push(Requeue {
            letter: letter_of,
            key,
            answer,
        });
    }

    /// Takes the answers in, and finds the record of each. After a crash nobody hears them.
    pub(super) fn hear(&mut self) {
        if self.disk.crashed() {
            return;
        }
        let mut answered = Vec::new();
        for mut requeue in std::mem::take(&mut self.requeues) {
            match requeue.answer.try_recv() {
                Err(TryRecvError::Empty) => self.requeues.push(requeue),
                // A record has taken its place before, and the dead letter is about to go.
                Ok(Ok(Appended::Duplicate)) => {}
                Ok(Ok(_)) => answered.push(Answered {
                    key: requeue.key,
                    names: 1 << requeue.letter.1,
                    letter: Some(requeue.letter),
                }),
                Ok(Err(_)) | Err(TryRecvError::Closed) => {
                    self.model.doubt_requeue(requeue.letter);
                }
            }
        }
        let mut given = Vec::new();
        for mut attempt in std::mem::take(&mut self.attempts) {
            match attempt.answer.try_recv() {
                Err(TryRecvError::Empty) => self.attempts.push(attempt),
                Ok(Ok(appended)) => given.push((attempt, appended)),
                Ok(Err(cause)) => self.refused(attempt.key, cause),
                Err(TryRecvError::Closed) => self.model.doubt(attempt.key),
            }
        }
        for (attempt, appended) in &given {
            let is_new = matches!(appended, Appended::Accepted | Appended::Different);
            if is_new && attempt.sequence.is_none() {
                answered.push(Answered {
                    key: attempt.key,
                    names: attempt.names,
                    letter: None,
                });
            }
        }
        self.find_records(answered);
        for (attempt, appended) in given {
            self.acknowledged(&attempt, appended);
        }
        self.check_waiters();
    }

    fn refused(&mut self, key: EventKey, cause: SpoolUnavailable) {
        Self::tell(|| format!("{key:?} is refused: {cause}"));
        match cause {
            SpoolUnavailable::DiskFull => self.seen.note(Happening::DiskFull),
            SpoolUnavailable::Full => self.seen.note(Happening::SpoolFull),
            _ => {}
        }
        self.model.doubt(key);
    }

    /// Each new record is one that was answered for, or one whose sender waits for its delivery, and
    /// each answer has its record.
    fn find_records(&mut self, mut answered: Vec<Answered>) {
        let Some(running) = &self.running else { return };
        let new = running.waiting_from(self.model.highest + 1);
        let has_news = !new.is_empty();
        for (sequence, names) in new {
            let Ok(record) = running.shared.read(&[sequence], usize::MAX) else {
                return;
            };
            let key = record.first().and_then(|record| key_of(record));
            let is_it = |it: &Answered| Some(it.key) == key && it.names == names;
            let waits = self.attempts.iter_mut().find(|it| {
                let is_open = it.awaits_delivery && it.sequence.is_none();
                is_open && Some(it.key) == key && it.names == names
            });
            if let Some(at) = answered.iter().position(is_it) {
                if let Some(letter) = answered.remove(at).letter {
                    self.seen.note(Happening::LetterRequeued);
                    self.model.requeue(letter);
                }
            } else if let Some(attempt) = waits {
                attempt.sequence = Some(sequence);
                let outcome = self.model.recorded(attempt.key);
                self.must(outcome);
            } else {
                self.must(Err(format!("{sequence} is {key:?}, which nobody sent")));
            }
            let key = key.unwrap_or_default();
            Self::tell(|| format!("{sequence} is {key:?} for {names:b}"));
            let outcome = self.model.add(sequence, key, names);
            self.must(outcome);
        }
        let lost = answered.first();
        let lost = lost.map(|it| format!("{:?} was acknowledged and is not there", it.key));
        self.must(lost.map_or(Ok(()), Err));
        if has_news {
            self.check_limit();
        }
    }

    /// New events were taken only while there was space for them.
    fn check_limit(&self) {
        let Some(running) = &self.running else { return };
        let shared = &running.shared;
        let held = shared.lock().state.pending_events() + shared.dead_letters.len();
        let most = self.settings.limits.max_events;
        let outcome = format!("{held} events are in a spool for {most}");
        self.must((held <= most).then_some(()).ok_or(outcome));
    }

    fn acknowledged(&mut self, attempt: &Attempt, appended: Appended) {
        match appended {
            Appended::Duplicate => self.seen.note(Happening::DuplicateAnswered),
            Appended::Different => self.seen.note(Happening::OtherBodyAnswered),
            Appended::DeadLettered => self.seen.note(Happening::DeadLetterAwaited),
            Appended::Accepted if attempt.awaits_delivery => {
                self.seen.note(Happening::DeliveryAwaited);
            }
            Appended::Accepted => {}
        }
        Self::tell(|| format!("{:?} is answered {appended:?}", attempt.key));
        let outcome = match attempt.sequence {
            Some(_) if appended != Appended::Duplicate => Ok(()),
            _ => self.model.answered(attempt.key, appended),
        };
        self.must(outcome);
        if !attempt.awaits_delivery {
            return;
        }
        let rows = self.model.rows.iter().filter(|(sequence, row)| {
            is_copy(row.key, attempt.key) && attempt.sequence.is_none_or(|it| it == **sequence)
        });
        let configured = self.configured;
        let is_dead = appended == Appended::DeadLettered;
        let mut done = rows.filter(|(_, row)| row.waits & configured == 0 && !row.in_tail);
        let is_right = done.any(|(_, row)| !is_dead || row.was_dead_lettered != 0);
        let outcome = format!("{:?} was answered {appended:?} too early", attempt.key);
        self.must(is_right.then_some(()).ok_or(outcome));
    }

    /// Who waits for delivery is answered once the last sink is done.
    fn check_waiters(&self) {
        let is_done = |sequence| {
            let row = self.model.rows.get(&sequence);
            row.is_some_and(|row| row.waits & self.configured == 0)
        };
        let late = self
            .attempts
            .iter()
            .find(|attempt| attempt.sequence.is_some_and(is_done));
        let late = late.map(|it| format!("{:?} was delivered and is not answered", it.key));
        self.must(late.map_or(Ok(()), Err));
    }
}

fn append(
    running: &mut Running,
    prepared: PreparedRecord,
    milestone: Milestone,
    requeued: Option<DeadLetterName>,
) -> oneshot::Receiver<AppendResult> {
    let (reply, answer) = oneshot::channel();
    let append = Append {
        prepared,
        milestone,
        caller: AppendCaller { reply, among: None },
        requeued,
    };
    running.writer.take(WriterCommand::Append(Box::new(append)));
    answer
}

#[test]
fn copies_in_one_group_that_is_not_written_are_all_refused() {
    let mut world = World::new(1, FaultPlan::Faults);
    world.start();
    for _ in 0..10 {
        world.maintain();
        world.turn();
    }
    let running = world.running.as_mut().expect("nothing fails");
    let sinks = running.sinks_of(world.configured);
    let mut send = || {
        let prepared = PreparedRecord::of(event_of((0, 0)), Lane::Typed, sinks);
        append(running, prepared, Milestone::Spooled, None)
    };
    let answers = [send(), send(), send()];
    world.disk.fail(1, &[Call::Sync], DiskFault::Broken);
    running.writer.step(world.now);
    for mut answer in answers {
        let answer = answer.try_recv().expect("an answer");
        assert!(answer.is_err(), "{answer:?}");
    }
}
