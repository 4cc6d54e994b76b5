//! What waits for the maintenance thread: everything that an answer must not wait for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::command::{NewDeadLetter, Reply, SpoolUnavailable};
use super::index::Entry;
use super::letters::DeadLetterName;
use super::segments::Segment;

/// How soon work is tried again that could not be done.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A dead letter to be written, and who waits for it.
#[derive(Debug)]
pub(super) struct WriteLetter {
    pub burial: NewDeadLetter,
    pub reply: Reply<Result<(), SpoolUnavailable>>,
}

/// A segment that nothing in is waited for.
#[derive(Debug)]
pub(super) struct Recyclable {
    pub segment: Arc<Segment>,
    /// The name of its file, which an attempt that failed may have changed.
    pub name: String,
    /// Whether it is to be kept under another name.
    pub is_damaged: bool,
    /// The bytes of its file when it was let go of; it may have been cut since.
    pub bytes: u64,
    /// Whether another spare is wanted.
    pub is_wanted: bool,
    /// Whether it could not be done before.
    pub has_failed: bool,
}

/// Ids that go into the index.
#[derive(Debug)]
pub(super) struct ToIndex {
    pub entries: Arc<Vec<Entry>>,
    /// The index is complete through this sequence then.
    pub through: u64,
}

/// The work that waits.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Segments whose files are to be cut, and where.
    pub cuts: VecDeque<(Arc<Segment>, u64)>,
    /// The length of a spare that is wanted.
    pub spare: Option<u64>,
    pub letters: VecDeque<WriteLetter>,
    pub removals: VecDeque<DeadLetterName>,
    pub recyclable: VecDeque<Recyclable>,
    pub to_index: Option<ToIndex>,
    /// Segments whose ids the index lacks, oldest first; before anything else goes into the index.
    pub rebuild: VecDeque<u64>,
    /// Read what still waits in this sparse segment.
    pub copies: Option<u64>,
    /// Forget ids of events from before this time, in seconds since the epoch.
    pub expire: Option<i64>,
    pub stop: bool,
}

/// The work, and the word that there is some.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    work: Mutex<Work>,
    changed: Condvar,
}

impl Jobs {
    /// Adds work.
    pub fn add(&self, add: impl FnOnce(&mut Work)) {
        add(&mut self.lock());
        self.changed.notify_one();
    }

    pub fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work, or for the time to pass. What cannot be done yet, because somebody still reads
    /// a segment, is looked at again soon.
    pub fn wait(&self, at_most: Duration) {
        let work = self.lock();
        if work.stop {
            return;
        }
        let patience = if work.is_empty() {
            at_most
        } else {
            RETRY_PAUSE
        };
        drop(self.changed.wait_timeout(work, patience.min(at_most)));
    }
}

impl Work {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.cuts.is_empty()
            && self.spare.is_none()
            && self.letters.is_empty()
            && self.removals.is_empty()
            && self.recyclable.is_empty()
            && self.to_index.is_none()
            && self.rebuild.is_empty()
            && self.copies.is_none()
            && self.expire.is_none()
    }
}
