//! The queue of events that must be read from the spool again: many are asked for at once while
//! reading works, and one by one where it fails, so that one that cannot be read holds up no other.

use std::collections::{HashSet, VecDeque};

use super::event_ref::EventRef;

/// The most that are asked for at once.
const MOST_ASKED: usize = 256;

/// The events to be read again.
#[derive(Debug)]
pub(super) struct RereadQueue {
    /// In the order their turns came.
    waiting: VecDeque<EventRef>,
    /// Those that could not be read.
    unreadable: VecDeque<EventRef>,
    /// How many to ask for.
    ask: usize,
}

impl Default for RereadQueue {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            unreadable: VecDeque::new(),
            ask: MOST_ASKED,
        }
    }
}

impl RereadQueue {
    /// One more.
    pub fn push(&mut self, event: EventRef) {
        self.waiting.push_back(event);
    }

    /// How many more may be named without need, before some of these have been read.
    pub fn takes(&self) -> usize {
        MOST_ASKED.saturating_sub(self.waiting.len() + self.unreadable.len())
    }

    /// Whether some could not be read, and have not been since.
    pub fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Whether there is something to ask for; with what could not be read, or without.
    pub fn has_next(&self, with_unreadable: bool) -> bool {
        !self.waiting.is_empty() || (with_unreadable && self.has_unreadable())
    }

    /// Takes those to ask for now. They come back with what it led to.
    pub fn ask(&mut self, with_unreadable: bool) -> Vec<EventRef> {
        if with_unreadable && let Some(event) = self.unreadable.pop_front() {
            return vec![event];
        }
        let count = self.ask.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// Some were read and some are gone, by their sequences: what was asked for besides is next. The
    /// references of those that are gone.
    pub fn answered(&mut self, asked: Vec<EventRef>, read: &[u64], gone: &[u64]) -> Vec<EventRef> {
        self.ask = (self.ask * 2).min(MOST_ASKED);
        let read: HashSet<&u64> = read.iter().collect();
        let gone: HashSet<&u64> = gone.iter().collect();
        let mut without = Vec::new();
        for event in asked.into_iter().rev() {
            if gone.contains(&event.sequence) {
                without.push(event);
            } else if !read.contains(&event.sequence) {
                self.waiting.push_front(event);
            }
        }
        without
    }

    /// What could not be read can be, as far as one knows: it waits like the others.
    pub fn retry_unreadable(&mut self) {
        self.waiting.append(&mut self.unreadable);
    }

    /// They could not be read: one of them at least, and so they are asked for one by one. Whether it
    /// was one alone, which is set apart.
    pub fn failed(&mut self, asked: Vec<EventRef>) -> bool {
        self.ask = 1;
        match <[EventRef; 1]>::try_from(asked) {
            Ok([event]) => {
                self.unreadable.push_back(event);
                true
            }
            Err(asked) => {
                for event in asked.into_iter().rev() {
                    self.waiting.push_front(event);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(sequences: std::ops::Range<u64>) -> RereadQueue {
        let mut again = RereadQueue::default();
        for sequence in sequences {
            again.push(EventRef::of(sequence, sequence));
        }
        again
    }

    fn sequences(events: &[EventRef]) -> Vec<u64> {
        events.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn what_was_left_off_is_asked_for_next_and_what_is_gone_is_told() {
        let mut again = all(0..300);
        assert_eq!(again.takes(), 0);
        let asked = again.ask(false);
        assert_eq!((asked.len(), again.takes()), (MOST_ASKED, MOST_ASKED - 44));
        let read: Vec<u64> = (0..100).collect();
        let gone = again.answered(asked, &read, &[100, 102]);
        assert_eq!(sequences(&gone), [102, 100]);
        assert_eq!(sequences(&again.ask(false))[..3], [101, 103, 104]);
    }

    #[test]
    fn one_that_cannot_be_read_holds_up_no_other() {
        const BAD: u64 = 5;
        let mut again = all(0..20);
        let mut read = Vec::new();
        while again.has_next(false) {
            let asked = again.ask(false);
            if asked.iter().any(|event| event.sequence == BAD) {
                again.failed(asked);
            } else {
                let found = sequences(&asked);
                again.answered(asked, &found, &[]);
                read.extend(found);
            }
        }
        assert_eq!(read, (0..20).filter(|one| *one != BAD).collect::<Vec<_>>());
        let alone = again.ask(true);
        assert_eq!(sequences(&alone), [BAD], "after the pause");
        assert!(again.failed(alone) && again.has_unreadable());
        again.retry_unreadable();
        assert!(!again.has_unreadable());
        assert_eq!(sequences(&again.ask(false)), [BAD]);
    }
}
