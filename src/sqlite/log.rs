//! The write-ahead log as bytes, because SQLite itself says nothing of damage in it: it stops reading
//! at the first frame whose checksum does not match and drops what lies behind, and a log whose
//! header is damaged it takes for an empty one. Commits that were acknowledged would be gone without
//! a word. So the log is read here before SQLite may write, and everything that can be told apart is:
//! the end of the log, the commit that a crash interrupted, and damage.
//!
//! The format (<https://www.sqlite.org/fileformat2.html#walformat>): a header of 32 bytes, then
//! frames, each a header of 24 bytes and a page. A frame's checksum goes over its page number, its
//! commit mark and its page, and starts from the checksum of the frame before. The salts tell the
//! frames of this log from those that an earlier, finished one left in the same file.
//!
//! - Behind the last commit there may lie whole or half frames without a commit mark: the crash
//!   interrupted them before anybody was answered. That is no damage.
//! - A commit mark behind a frame that does not fit is damage: SQLite would drop that commit.
//!   After a loss of power this may be a commit that was never acknowledged; it counts as damage all
//!   the same, because nobody can tell.
//! - A log cut off exactly behind a commit looks like one that was never longer.
//!
//! The checksum is a linear function of the words it goes over. So where one word alone was changed,
//! only some places and values explain the difference, mostly one, and the frame can be put right:
//! whoever reads the pages sees which of them makes sense. The higher the changed bit in its word,
//! the more of them there are; only the first few are tried.

use std::borrow::Cow;

/// The size of every page, in bytes.
pub const PAGE: usize = 4096;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + PAGE;

/// How many words of a damaged frame are tried; each costs a reading of the whole file.
const MAX_MENDED: usize = 8;

/// The first word of a log whose checksums are taken in this machine's byte order.
const MAGIC: u32 = if cfg!(target_endian = "big") {
    0x377f_0683
} else {
    0x377f_0682
};
const FORMAT: u32 = 3_007_000;

/// A log as it was found.
#[derive(Debug)]
pub struct Log<'a> {
    frames: Vec<Frame<'a>>,
    /// How many frames SQLite would read: those up to the last commit before anything is wrong.
    readable: usize,
    damage: Option<&'static str>,
}

/// One page as it was written.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// Whether it may be the last of a commit.
    commits: bool,
    /// What it may have been, the likeliest first: one thing, unless it is damaged.
    contents: Vec<Content<'a>>,
}

/// What a frame holds.
#[derive(Debug, Clone)]
pub struct Content<'a> {
    /// Which page of the file it is.
    pub page_number: u32,
    /// On the last frame of a commit the size of the file in pages, else 0.
    commit: u32,
    /// The page.
    pub page: Cow<'a, [u8]>,
}

impl<'a> Frame<'a> {
    fn of(contents: Vec<Content<'a>>) -> Self {
        Self {
            commits: contents.iter().any(|content| content.commit > 0),
            contents,
        }
    }

    /// What it was by the `guess`th of all guesses.
    #[must_use]
    pub fn content(&self, guess: usize) -> &Content<'a> {
        &self.contents[guess.min(self.contents.len() - 1)]
    }

    /// How many guesses there are.
    #[must_use]
    pub fn guesses(&self) -> usize {
        self.contents.len()
    }
}

impl<'a> Log<'a> {
    /// Reads a log. Frames that were changed in one word are put right.
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut log = Self {
            frames: Vec::new(),
            readable: 0,
            damage: None,
        };
        // A header that is not whole was never synced, so no commit stands on it.
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return log;
        };
        let slots: Vec<Slot<'a>> = rest.chunks_exact(FRAME).map(Slot).collect();
        let intact = is_intact(header);
        let (salts, start) = if intact {
            (salts_in(&header[16..24]), Sum::stored(&header[24..32]))
        } else {
            log.damage = Some("the header of its write-ahead log is damaged");
            (generation(&slots), start(header, &slots))
        };
        log.walk(&slots, salts, start, intact);
        log
    }

    fn walk(&mut self, slots: &[Slot<'a>], salts: [u32; 2], start: Sum, mut intact: bool) {
        let mut sum = start;
        for (at, slot) in slots.iter().enumerate() {
            let computed = slot.sum_after(sum);
            let sealed = computed == slot.sum();
            if !sealed && !slot.is_of(salts) {
                if !slots[at..].iter().any(|later| later.salts() == salts) {
                    break;
                }
                (intact, sum) = (false, slot.sum());
                continue;
            }
            let (frame, next) = if sealed {
                (Frame::of(vec![slot.content()]), computed)
            } else {
                slot.put_right(sum, computed, slots.get(at + 1))
            };
            intact &= sealed && slot.salts() == salts;
            sum = next;
            let commits = frame.commits;
            self.frames.push(frame);
            if commits && intact {
                self.readable = self.frames.len();
            } else if commits {
                let text = "its write-ahead log is damaged before its end";
                self.damage = self.damage.or(Some(text));
            }
        }
    }

    /// What is wrong with it.
    pub fn damage(&self) -> Option<&'static str> {
        self.damage
    }

    /// The frames that SQLite would read.
    pub fn readable(&self) -> &[Frame<'a>] {
        &self.frames[..self.readable]
    }

    /// The frames up to the last commit mark, whatever lies between.
    pub fn committed(&self) -> &[Frame<'a>] {
        let end = self.frames.iter().rposition(|frame| frame.commits);
        if self.damage.is_some() {
            &self.frames[..end.map_or(0, |last| last + 1)]
        } else {
            self.readable()
        }
    }
}

/// A log of these pages, as one commit, for a file that then has `pages` pages.
pub fn seal<'f>(frames: impl Iterator<Item = &'f Content<'f>>, pages: u32) -> Vec<u8> {
    let mut frames = frames.peekable();
    if frames.peek().is_none() {
        return Vec::new();
    }
    let mut log = Vec::new();
    let salts = [1_u32, 1];
    for word in [MAGIC, FORMAT, 4096, 0, salts[0], salts[1]] {
        log.extend_from_slice(&word.to_be_bytes());
    }
    let mut sum = Sum::default().over(&log);
    log.extend_from_slice(&sum.bytes());
    while let Some(frame) = frames.next() {
        let commit = if frames.peek().is_none() { pages } else { 0 };
        let head = [frame.page_number, commit].map(u32::to_be_bytes).concat();
        sum = sum.over(&head).over(&frame.page);
        log.extend_from_slice(&head);
        log.extend(salts.map(u32::to_be_bytes).concat());
        log.extend_from_slice(&sum.bytes());
        log.extend_from_slice(&frame.page);
    }
    log
}

/// SQLite's checksum: two sums, each word added to one of them together with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum([u32; 2]);

impl Sum {
    fn over(self, bytes: &[u8]) -> Self {
        let mut sums = self.0;
        for pair in bytes.chunks_exact(8) {
            let [a, b] = [&pair[..4], &pair[4..]].map(word);
            sums[0] = sums[0].wrapping_add(a).wrapping_add(sums[1]);
            sums[1] = sums[1].wrapping_add(b).wrapping_add(sums[0]);
        }
        Self(sums)
    }

    fn stored(bytes: &[u8]) -> Self {
        Self([number(&bytes[..4]), number(&bytes[4..8])])
    }

    fn bytes(self) -> Vec<u8> {
        self.0.map(u32::to_be_bytes).concat()
    }
}

/// A frame as it lies in the file.
#[derive(Clone, Copy)]
struct Slot<'a>(&'a [u8]);

impl<'a> Slot<'a> {
    fn salts(self) -> [u32; 2] {
        salts_in(&self.0[8..16])
    }

    /// Whether at least one of the salts fits: two logs in one file have neither in common.
    fn is_of(self, salts: [u32; 2]) -> bool {
        let own = self.salts();
        own[0] == salts[0] || own[1] == salts[1]
    }

    fn sum(self) -> Sum {
        Sum::stored(&self.0[16..24])
    }

    fn sum_after(self, before: Sum) -> Sum {
        before.over(&self.0[..8]).over(&self.0[FRAME_HEADER..])
    }

    fn content(self) -> Content<'a> {
        Content {
            page_number: number(&self.0[..4]),
            commit: number(&self.0[4..8]),
            page: Cow::Borrowed(&self.0[FRAME_HEADER..]),
        }
    }

    /// The frame of a slot whose checksum does not fit, and the checksum that the next one starts
    /// from. Either the checksum itself was changed, or what it goes over: in one word, which can be
    /// put right, or in more, which stay as they are.
    fn put_right(self, before: Sum, computed: Sum, next: Option<&Self>) -> (Frame<'a>, Sum) {
        let found = self.content();
        if next.is_some_and(|next| next.sum_after(computed) == next.sum()) {
            return (Frame::of(vec![found]), computed);
        }
        let words = [&self.0[..8], &self.0[FRAME_HEADER..]].concat();
        let mended = mended(before, &words, self.sum());
        let mut contents: Vec<_> = mended
            .iter()
            .map(|words| Content::from_words(words))
            .collect();
        let pairs = std::iter::zip(self.sum().bytes(), computed.bytes());
        if pairs
            .filter(|(stored, computed)| stored != computed)
            .count()
            == 1
        {
            contents.insert(0, found);
        } else {
            contents.push(found);
        }
        (Frame::of(contents), self.sum())
    }
}

impl Content<'_> {
    fn from_words(words: &[u8]) -> Self {
        Self {
            page_number: number(&words[..4]),
            commit: number(&words[4..8]),
            page: Cow::Owned(words[8..].to_vec()),
        }
    }
}

/// The bytes with one word put right, for the first words that explain why their checksum is not
/// `wanted`: the page number and the commit mark, without which the page itself is worth little, are
/// in front.
fn mended(before: Sum, bytes: &[u8], wanted: Sum) -> Vec<Vec<u8>> {
    let found = before.over(bytes);
    let missing = [0, 1].map(|sum| wanted.0[sum].wrapping_sub(found.0[sum]));
    // How much of a change in each word of the last pair arrives in the two sums; one pair further
    // to the front, both sums are added once more.
    let mut weights = [[1, 1], [0, 1_u32]];
    let mut all = Vec::new();
    for pair in (0..bytes.len() / 8).rev() {
        for (half, weight) in weights.iter_mut().enumerate() {
            if let Some(change) = divide(missing, *weight) {
                let at = pair * 8 + half * 4;
                let value = word(&bytes[at..at + 4]).wrapping_add(change);
                all.push((at, value));
            }
            let first = weight[0].wrapping_add(weight[1]);
            *weight = [first, weight[1].wrapping_add(first)];
        }
    }
    all.sort_unstable();
    let mend = |(at, value): (usize, u32)| {
        let mut mended = bytes.to_vec();
        mended[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        mended
    };
    all.into_iter().take(MAX_MENDED).map(mend).collect()
}

/// The number that, times the weight, is the difference in both sums. One of two neighbouring
/// weights is odd, and so has an inverse.
fn divide(difference: [u32; 2], weight: [u32; 2]) -> Option<u32> {
    let odd = usize::from(weight[0].is_multiple_of(2));
    let mut inverse = weight[odd];
    // Newton's iteration: an odd number is its own inverse to 3 bits, and each step doubles them.
    for _ in 0..4 {
        let error = 2_u32.wrapping_sub(weight[odd].wrapping_mul(inverse));
        inverse = inverse.wrapping_mul(error);
    }
    let quotient = difference[odd].wrapping_mul(inverse);
    let fits = quotient.wrapping_mul(weight[1 - odd]) == difference[1 - odd];
    (fits && quotient != 0).then_some(quotient)
}

fn is_intact(header: &[u8; HEADER]) -> bool {
    let known = [MAGIC, FORMAT, 4096];
    let found = [0, 4, 8].map(|at| number(&header[at..at + 4]));
    found == known && Sum::default().over(&header[..24]) == Sum::stored(&header[24..])
}

/// The salts of the log whose header is damaged: those of the first frame that is followed by one
/// of the same log.
fn generation(slots: &[Slot<'_>]) -> [u32; 2] {
    let linked = slots.windows(2).find(|pair| {
        pair[0].salts() == pair[1].salts() && pair[1].sum_after(pair[0].sum()) == pair[1].sum()
    });
    let slot = linked.map(|pair| pair[0]).or(slots.first().copied());
    slot.map_or([0, 0], Slot::salts)
}

/// The checksum that the first frame starts from, where the header is damaged: the one it holds, or
/// where that itself was changed, the one it should hold.
fn start(header: &[u8; HEADER], slots: &[Slot<'_>]) -> Sum {
    let computed = Sum::default().over(&header[..24]);
    match slots.first() {
        Some(first) if first.sum_after(computed) == first.sum() => computed,
        _ => Sum::stored(&header[24..]),
    }
}

fn salts_in(bytes: &[u8]) -> [u32; 2] {
    [number(&bytes[..4]), number(&bytes[4..8])]
}

/// Four bytes as the format's numbers are written.
fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Four bytes as the checksum takes them: in this machine's order.
fn word(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests;
