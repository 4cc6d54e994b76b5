//! What the writer thread and the readers share: the catalog, what readers have learnt of older
//! segments, and whether the disk takes what is written.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use super::catalog::Catalog;
use super::contents::{MessageLocation, SegmentContents};
use super::segment::StoreSegment;
use crate::log::format::SegmentEnd;
use crate::sink::SinkHealth;

/// Where the messages lie is kept for so many older segments; it takes some hundred KiB for each.
const MAX_READ: usize = 8;

/// The next messages of a topic, which lie in one segment.
#[derive(Debug)]
pub(super) struct NextMessages {
    pub segment: Arc<StoreSegment>,
    pub locations: Vec<MessageLocation>,
    /// The segment has none of the topic behind this position.
    pub last: u64,
}

/// The state that the writer thread changes and the others read.
#[derive(Debug)]
pub(super) struct SharedStore {
    catalog: RwLock<Catalog>,
    /// The segments that were read, by number; the one that was used last is last.
    read: Mutex<Vec<(u64, Arc<SegmentContents>)>>,
    status: watch::Sender<StoreStatus>,
}

/// How the log is, told of with every batch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StoreStatus {
    /// The folder was given back.
    is_closed: bool,
    /// The last batch failed.
    is_failing: bool,
    /// How often batches failed before one did not.
    recoveries: u64,
}

impl SharedStore {
    /// What an opened log holds.
    pub fn new(catalog: Catalog) -> Self {
        Self {
            catalog: RwLock::new(catalog),
            read: Mutex::default(),
            status: watch::Sender::new(StoreStatus::default()),
        }
    }

    /// To look up; never held while the disk is asked.
    pub fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change it, for the writer thread alone.
    pub fn change(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the first segment with messages of the topic after a position, and at most `limit` of
    /// them.
    pub fn find(&self, topic: &str, after: u64, limit: usize) -> io::Result<Option<NextMessages>> {
        let catalog = self.catalog();
        let mut ranges = catalog.segments.values().filter_map(|held| {
            let range = held.contents.topics.get(topic)?;
            (range.last > after).then_some((held, range))
        });
        let Some((held, range)) = ranges.next() else {
            return Ok(None);
        };
        let (end, known) = (held.end, !range.locations.is_empty());
        let mut found = NextMessages {
            segment: Arc::clone(&held.segment),
            locations: range.after(after, limit),
            last: range.last,
        };
        drop(catalog);
        if !known {
            let contents = self.contents(&found.segment, end)?;
            let range = contents.topics.get(topic);
            found.locations = range.map_or_else(Vec::new, |it| it.after(after, limit));
        }
        Ok(Some(found))
    }

    /// The contents of a segment, which is read where they are not kept: by one reader at a time,
    /// because others that wait want the same one as a rule.
    fn contents(
        &self,
        segment: &StoreSegment,
        end: SegmentEnd,
    ) -> io::Result<Arc<SegmentContents>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = read.iter().position(|(of, _)| *of == end.segment);
        let contents = match kept {
            Some(kept) => read.remove(kept).1,
            None => Arc::new(segment.read_contents(end)?),
        };
        read.push((end.segment, Arc::clone(&contents)));
        if read.len() > MAX_READ {
            read.remove(0);
        }
        Ok(contents)
    }

    /// A batch is on the disk, and in the catalog.
    pub fn written(&self) {
        self.status.send_modify(|status| {
            if std::mem::take(&mut status.is_failing) {
                status.recoveries += 1;
                tracing::info!("The topic log is written again");
            }
        });
    }

    /// A batch failed.
    pub fn failed(&self, text: &str) {
        self.status.send_modify(|status| {
            if !std::mem::replace(&mut status.is_failing, true) {
                tracing::error!(
                    error = text,
                    "The topic log cannot be written; nothing is confirmed until it works again"
                );
            }
        });
    }

    /// The folder was given back.
    pub fn close(&self) {
        self.status.send_modify(|status| status.is_closed = true);
    }

    /// Whether the folder was given back.
    pub fn is_closed(&self) -> bool {
        self.status.borrow().is_closed
    }

    /// Tells of every batch from now on.
    pub fn status(&self) -> watch::Receiver<StoreStatus> {
        self.status.subscribe()
    }

    /// Connected means that the last batch worked.
    pub fn health(&self) -> SinkHealth {
        let status = *self.status.borrow();
        SinkHealth {
            connected: !status.is_failing && !status.is_closed,
            reconnects: status.recoveries,
            ..SinkHealth::default()
        }
    }
}
