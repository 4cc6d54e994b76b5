//! What the runs of one source remember of each other, besides what the spool knows: entries that were
//! brought back and that the next list has again.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// More are not remembered: the oldest are brought back once more.
const MAX_NAMES: usize = 10_000;
/// So long a provider may take until its list has the attempt that it was asked for.
const LISTED_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// The names of entries that were brought back, with the times.
#[derive(Debug, Default)]
pub struct RunMemory(HashMap<String, Timestamp>);

impl RunMemory {
    /// An entry was brought back.
    pub(super) fn note(&mut self, name: String, now: Timestamp) {
        if self.0.len() >= MAX_NAMES {
            let oldest = self.0.iter().min_by_key(|(_, time)| **time);
            let oldest = oldest.map(|(name, _)| name.clone());
            self.0.remove(&oldest.unwrap_or_default());
        }
        self.0.insert(name, now);
    }

    /// Whether an entry was brought back at any time.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the provider was asked for an entry so short a time ago that its list may not have the
    /// attempt yet.
    pub(super) fn was_just_asked(&self, name: &str, now: Timestamp) -> bool {
        let asked = self.0.get(name);
        asked.is_some_and(|asked| now.duration_since(*asked) < LISTED_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let at = |second: usize| {
            let second = i64::try_from(second).expect("small");
            Timestamp::from_second(second).expect("a time")
        };
        let mut memory = RunMemory::default();
        for number in 0..MAX_NAMES + 2 {
            memory.note(number.to_string(), at(number));
        }
        assert!(!memory.has("1") && memory.has("2"));
        let now = at(MAX_NAMES + 2);
        assert!(memory.was_just_asked(&(MAX_NAMES + 1).to_string(), now));
        assert!(!memory.was_just_asked("2", now));
    }
}
