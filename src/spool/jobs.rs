//! The maintenance thread's queue of jobs: everything that an answer must not wait for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::dead_letters::DeadLetterName;
use super::error::SpoolUnavailable;
use super::index::IdEntry;
use super::segment::SpoolSegment;
use super::settlement::NewDeadLetter;
use crate::log::unused_segment::UnusedSegment;

/// How soon work is tried again that could not be done.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A dead letter to be written, and who waits for it.
#[derive(Debug)]
pub(super) struct WriteDeadLetter {
    pub dead_letter: NewDeadLetter,
    pub reply: oneshot::Sender<Result<(), SpoolUnavailable>>,
}

/// What becomes of the file of a segment that nothing in is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposal {
    /// It becomes a spare, unless it was cut.
    Spare,
    /// It is removed.
    Remove,
    /// It is damaged, and kept under another name.
    Keep,
}

/// Ids that go into the index.
#[derive(Debug)]
pub(super) struct ToIndex {
    pub entries: Arc<Vec<IdEntry>>,
    /// The index is complete through this sequence then.
    pub through: u64,
}

/// The work that waits.
#[derive(Debug, Default)]
pub(super) struct PendingJobs {
    /// Segments whose files are to be cut, and where.
    pub cuts: VecDeque<(Arc<SpoolSegment>, u64)>,
    /// The length of a spare that is wanted.
    pub spare: Option<u64>,
    pub dead_letters: VecDeque<WriteDeadLetter>,
    pub removals: VecDeque<DeadLetterName>,
    pub unused: VecDeque<(UnusedSegment<SpoolSegment>, Disposal)>,
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
    work: Mutex<PendingJobs>,
    changed: Condvar,
}

impl Jobs {
    /// Adds work.
    pub fn add(&self, add: impl FnOnce(&mut PendingJobs)) {
        add(&mut self.lock());
        self.changed.notify_one();
    }

    pub fn lock(&self) -> MutexGuard<'_, PendingJobs> {
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

impl PendingJobs {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.cuts.is_empty()
            && self.spare.is_none()
            && self.dead_letters.is_empty()
            && self.removals.is_empty()
            && self.unused.is_empty()
            && self.to_index.is_none()
            && self.rebuild.is_empty()
            && self.copies.is_none()
            && self.expire.is_none()
    }
}
