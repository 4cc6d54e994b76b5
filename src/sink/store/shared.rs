//! What the owner thread and the readers share: the catalog, the indexes that readers have built,
//! and whether the disk takes what is written.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use super::catalog::{Catalog, Found};
use super::segment::{Index, Spot};
use crate::sink::Health;

/// Indexes of older segments are kept up to so many bytes; a segment's takes some hundred KiB.
const MAX_INDEX_BYTES: usize = 8 << 20;

/// The state that the owner writes and the others read.
#[derive(Debug)]
pub(super) struct Shared {
    catalog: RwLock<Catalog>,
    /// By segment; the one that was used last is last.
    indexes: Mutex<Vec<(u64, Arc<Index>)>>,
    changes: watch::Sender<()>,
    closed: AtomicBool,
    writable: AtomicBool,
    recoveries: AtomicU64,
}

impl Shared {
    /// What an opened log holds.
    pub fn new(catalog: Catalog) -> Self {
        Self {
            catalog: RwLock::new(catalog),
            indexes: Mutex::default(),
            changes: watch::Sender::new(()),
            closed: AtomicBool::new(false),
            writable: AtomicBool::new(true),
            recoveries: AtomicU64::new(0),
        }
    }

    /// To look up; never held while the disk is asked.
    pub fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change it, for the owner alone.
    pub fn change(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the next messages of a topic lie in the segment that was found, at most `limit`.
    pub fn spots(
        &self,
        found: &mut Found,
        topic: &str,
        after: u64,
        limit: usize,
    ) -> io::Result<Vec<Spot>> {
        if let Some(spots) = found.spots.take() {
            return Ok(spots);
        }
        let index = self.index(found)?;
        let spots = index.after(topic, after);
        Ok(spots[..spots.len().min(limit)].to_vec())
    }

    /// The index of a segment, which is built where it is not kept: by one reader at a time, because
    /// others that wait want the same one as a rule.
    pub fn index(&self, found: &Found) -> io::Result<Arc<Index>> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = found.segment.number;
        let kept = indexes.iter().position(|(of, _)| *of == number);
        let index = match kept {
            Some(kept) => indexes.remove(kept).1,
            None => Arc::new(found.segment.index(found.end)?),
        };
        indexes.push((number, Arc::clone(&index)));
        while indexes.len() > 1 && bytes(&indexes) > MAX_INDEX_BYTES {
            indexes.remove(0);
        }
        Ok(index)
    }

    /// A batch is on the disk, and in the catalog.
    pub fn written(&self) {
        if !self.writable.swap(true, Ordering::Relaxed) {
            self.recoveries.fetch_add(1, Ordering::Relaxed);
            tracing::info!("The topic log is written again");
        }
        self.changes.send_replace(());
    }

    /// A batch failed.
    pub fn failed(&self, text: &str) {
        if self.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(
                error = text,
                "The topic log cannot be written; nothing is confirmed until it works again"
            );
        }
    }

    /// The folder was given back.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.writable.store(false, Ordering::Relaxed);
        self.changes.send_replace(());
    }

    /// Whether the folder was given back.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Connected means that the last batch worked.
    pub fn health(&self) -> Health {
        Health {
            connected: self.writable.load(Ordering::Relaxed),
            reconnects: self.recoveries.load(Ordering::Relaxed),
            ..Health::default()
        }
    }
}

fn bytes(indexes: &[(u64, Arc<Index>)]) -> usize {
    indexes.iter().map(|(_, index)| index.bytes()).sum()
}
