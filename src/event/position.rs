//! Where an accepted event stands: its place in the spool, and the sinks it is owed to. It goes
//! with the message and comes back in the receipt, so that settling needs no look-up.

use serde::Serialize;

/// A sink's number in one spool; it stays with the sink's name for as long as the spool lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SinkIndex(u8);

impl SinkIndex {
    /// The most sinks one spool can know.
    pub const MAX: usize = 32;

    /// The sink with this number, if there can be one.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        u8::try_from(number)
            .ok()
            .filter(|n| usize::from(*n) < Self::MAX)
            .map(Self)
    }

    /// The number, from 0.
    #[must_use]
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
}

impl From<SinkIndex> for i64 {
    fn from(sink: SinkIndex) -> Self {
        Self::from(sink.0)
    }
}

/// A set of sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct SinkSet(u32);

impl SinkSet {
    /// The set with these members as bits, as stored.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The members as bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set with `sink` in it.
    #[must_use]
    pub fn with(self, sink: SinkIndex) -> Self {
        Self(self.0 | 1 << sink.0)
    }

    /// The set without `sink`.
    #[must_use]
    pub fn without(self, sink: SinkIndex) -> Self {
        Self(self.0 & !(1 << sink.0))
    }

    /// The set with all members of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `sink` is in it.
    #[must_use]
    pub fn contains(self, sink: SinkIndex) -> bool {
        self.0 & 1 << sink.0 != 0
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, lowest number first.
    pub fn iter(self) -> impl Iterator<Item = SinkIndex> {
        (0..32)
            .map(SinkIndex)
            .filter(move |sink| self.contains(*sink))
    }
}

impl FromIterator<SinkIndex> for SinkSet {
    fn from_iter<I: IntoIterator<Item = SinkIndex>>(sinks: I) -> Self {
        sinks.into_iter().fold(Self::default(), Self::with)
    }
}

/// An event's place in the spool and all the sinks it was accepted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The number the spool gave it; later events have higher ones.
    pub sequence: u64,
    /// The sinks it was accepted for.
    pub sinks: SinkSet,
    /// The bytes its record takes in the spool.
    pub bytes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let [a, b, c] = [0, 5, 31].map(|n| SinkIndex::new(n).expect("in range"));
        let set: SinkSet = [a, c].into_iter().collect();
        assert!(set.contains(a) && !set.contains(b) && set.contains(c));
        assert_eq!(set.without(a).iter().collect::<Vec<_>>(), [c]);
        assert!(set.without(a).without(c).is_empty());
        assert_eq!(SinkSet::from_bits(set.bits()), set);
        assert_eq!(SinkIndex::new(32), None);
    }
}
