//! The sequences that wait for one sink: a bitmap in chunks, of which only those with a bit set
//! exist. A million events that wait in a row are 130 kB, and one that waits alone is one chunk.

use std::collections::BTreeMap;
use std::ops::Range;

const CHUNK_BITS: u64 = 1024;
const WORDS: usize = 16;

/// A set of sequences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SequenceSet {
    chunks: BTreeMap<u64, [u64; WORDS]>,
    count: u64,
}

fn place(sequence: u64) -> (u64, usize, u64) {
    let bit = sequence % CHUNK_BITS;
    let word = usize::try_from(bit / 64).expect("below 16");
    (sequence / CHUNK_BITS, word, 1 << (bit % 64))
}

impl SequenceSet {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Puts one in; whether it was not there.
    pub fn insert(&mut self, sequence: u64) -> bool {
        let (chunk, word, bit) = place(sequence);
        let words = self.chunks.entry(chunk).or_default();
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    /// Puts all of a range in.
    pub fn insert_range(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        for chunk in range.start / CHUNK_BITS..=(range.end - 1) / CHUNK_BITS {
            let words = self.chunks.entry(chunk).or_default();
            for (index, word) in words.iter_mut().enumerate() {
                let more = *word | mask(chunk * CHUNK_BITS + index as u64 * 64, &range);
                self.count += u64::from((more ^ *word).count_ones());
                *word = more;
            }
        }
    }

    /// Takes one out; whether it was there.
    pub fn remove(&mut self, sequence: u64) -> bool {
        let (chunk, word, bit) = place(sequence);
        let Some(words) = self.chunks.get_mut(&chunk) else {
            return false;
        };
        let was_there = words[word] & bit != 0;
        words[word] &= !bit;
        self.count -= u64::from(was_there);
        if words.iter().all(|word| *word == 0) {
            self.chunks.remove(&chunk);
        }
        was_there
    }

    /// Whether it is in it.
    pub fn contains(&self, sequence: u64) -> bool {
        let (chunk, word, bit) = place(sequence);
        self.chunks
            .get(&chunk)
            .is_some_and(|words| words[word] & bit != 0)
    }

    /// The lowest one from `sequence` on.
    pub fn first_from(&self, sequence: u64) -> Option<u64> {
        let (first, word, _) = place(sequence);
        for (chunk, words) in self.chunks.range(first..) {
            let start = if *chunk == first { word } else { 0 };
            for (index, bits) in words.iter().enumerate().skip(start) {
                let mut bits = *bits;
                if *chunk == first && index == word {
                    bits &= u64::MAX << (sequence % 64);
                }
                if bits != 0 {
                    return Some(
                        chunk * CHUNK_BITS + index as u64 * 64 + u64::from(bits.trailing_zeros()),
                    );
                }
            }
        }
        None
    }

    /// Those from `sequence` on, in order.
    pub fn iter_from(&self, sequence: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(self.first_from(sequence), |last| self.first_from(last + 1))
    }

    /// Those within a range, in order.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = u64> {
        self.iter_from(range.start)
            .take_while(move |sequence| *sequence < range.end)
    }

    /// All of them as ranges, in order.
    pub fn runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut add = |run: Range<u64>| match runs.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => runs.push(run),
        };
        for (chunk, words) in &self.chunks {
            for (index, word) in words.iter().enumerate() {
                let base = chunk * CHUNK_BITS + index as u64 * 64;
                let mut from = 0;
                // One turn for each run of ones, not for each one: a backlog is a few long runs.
                while from < 64 && word >> from != 0 {
                    let start = from + u64::from((word >> from).trailing_zeros());
                    let length = u64::from((!(word >> start)).trailing_zeros()).min(64 - start);
                    add(base + start..base + start + length);
                    from = start + length;
                }
            }
        }
        runs
    }

    /// Takes all of a range out; how many there were.
    pub fn remove_range(&mut self, range: Range<u64>) -> u64 {
        let before = self.count;
        let chunks = self
            .chunks
            .range_mut(range.start / CHUNK_BITS..=range.end / CHUNK_BITS);
        for (chunk, words) in chunks {
            for (index, word) in words.iter_mut().enumerate() {
                let kept = *word & !mask(chunk * CHUNK_BITS + index as u64 * 64, &range);
                self.count -= u64::from((*word ^ kept).count_ones());
                *word = kept;
            }
        }
        self.chunks
            .retain(|_, words| words.iter().any(|word| *word != 0));
        before - self.count
    }

    /// How many sequences of a range are in at least one of these sets.
    pub fn count_any(sets: &[Self], range: &Range<u64>) -> u64 {
        let chunks: std::collections::BTreeSet<u64> = sets
            .iter()
            .flat_map(|set| {
                set.chunks
                    .range(range.start / CHUNK_BITS..=range.end / CHUNK_BITS)
            })
            .map(|(chunk, _)| *chunk)
            .collect();
        let count_word = |chunk: u64, index: usize| {
            let words = sets.iter().filter_map(|set| set.chunks.get(&chunk));
            let union = words.fold(0, |union, words| union | words[index]);
            (union & mask(chunk * CHUNK_BITS + index as u64 * 64, range)).count_ones()
        };
        chunks
            .into_iter()
            .flat_map(|chunk| (0..WORDS).map(move |index| (chunk, index)))
            .map(|(chunk, index)| u64::from(count_word(chunk, index)))
            .sum()
    }
}

/// The bits of the word that begins at `base` whose sequences lie within the range.
fn mask(base: u64, range: &Range<u64>) -> u64 {
    let below = |sequence: u64| match sequence.saturating_sub(base) {
        bits @ 0..64 => (1 << bits) - 1,
        _ => u64::MAX,
    };
    below(range.end) & !below(range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set_in_order() {
        let mut pending = SequenceSet::default();
        let sequences = [0, 1, 63, 64, 1023, 1024, 1025, 5000, 1 << 40];
        for sequence in sequences {
            assert!(pending.insert(sequence) && !pending.insert(sequence));
        }
        assert_eq!(pending.iter_from(0).collect::<Vec<_>>(), sequences);
        assert_eq!(pending.first_from(65), Some(1023));
        assert_eq!(pending.first_from((1 << 40) + 1), None);
        assert_eq!(pending.within(1..1024).count(), 4);
        assert_eq!(pending.runs().len(), 5);
        assert!(pending.remove(64) && !pending.remove(64) && !pending.contains(64));
        assert_eq!(pending.remove_range(1..5000), 5);
        assert_eq!(pending.count(), 3);
        pending.remove_range(0..u64::MAX);
        assert_eq!(pending, SequenceSet::default());
    }

    #[test]
    fn runs_and_ranges_agree_with_counting_one_by_one() {
        let mut one = SequenceSet::default();
        let mut other = SequenceSet::default();
        for sequence in (0..5000).filter(|it| it % 7 != 3 && !(1000..1100).contains(it)) {
            one.insert(sequence);
        }
        for sequence in (0..5000).step_by(7) {
            other.insert(sequence);
        }
        let slow = crate::log::scan::ranges(one.iter_from(0));
        assert_eq!(one.runs(), slow);
        for range in [0..1, 0..64, 63..65, 100..100, 5..4097, 1000..1100, 0..9999] {
            let slow = range
                .clone()
                .filter(|it| one.contains(*it) || other.contains(*it))
                .count() as u64;
            let sets = [one.clone(), other.clone()];
            assert_eq!(SequenceSet::count_any(&sets, &range), slow, "{range:?}");
            let mut less = one.clone();
            let removed = less.remove_range(range.clone());
            assert_eq!(removed, one.within(range.clone()).count() as u64);
            assert_eq!(less.within(range.clone()).count(), 0);
            assert_eq!(less.count() + removed, one.count());
            less.insert_range(range.clone());
            less.insert_range(range.clone());
            let inside = less.within(range.clone()).count() as u64;
            assert_eq!(inside, range.end - range.start);
            assert_eq!(less.count(), one.count() - removed + inside);
        }
    }
}
