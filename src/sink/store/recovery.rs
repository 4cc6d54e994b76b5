//! Recovery of the store from its folder. The newest segment is read whole, and its first batch says what
//! the segments before it hold. Only where that is damaged is the one before read as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::{Catalog, CatalogSegment};
use super::contents::SegmentContents;
use super::encoded_message::EncodedMessage;
use super::segment::{StoreSegment, messages};
use crate::log::disk::Disk;
use crate::log::format::LogKind;
use crate::log::lock::LOCK_NAME;
use crate::log::recover::{RecoverError, Recovered, ScannedSegment, read_all};
use crate::log::scan::Batch;
use crate::log::segment_file::SegmentFile;

/// The store as it was found.
#[derive(Debug)]
pub(super) struct StoreRecovery {
    pub recovered: Recovered,
    pub catalog: Catalog,
    /// The last batch, where nobody knows whether it was confirmed: not to be shown before it has been
    /// written anew.
    pub tail: Vec<EncodedMessage>,
    /// Segments that are not in the catalog. The tail may be in them, and the only snapshot, so they
    /// are not to be overwritten before both are written anew.
    pub unused: Vec<Arc<StoreSegment>>,
}

impl StoreRecovery {
    /// Reads the folder, and changes nothing in it.
    ///
    /// # Errors
    /// When it is not a store's, or is one that this program must not touch.
    pub fn look(disk: &Arc<dyn Disk>) -> Result<Self, RecoverError> {
        let mut recovered = Recovered::look(Arc::clone(disk), LogKind::Store, &[LOCK_NAME])?;
        let files = recovered.segments.values().cloned();
        let mut reading = CatalogReplay {
            segments: files
                .map(|file| (file.number, Arc::new(StoreSegment::new(file))))
                .collect(),
            catalog: Catalog::default(),
            tail: Vec::new(),
            lost: 0,
        };
        if let Some((first, _)) = recovered.replay.first()
            && !recovered.has_snapshot
        {
            reading.take_all_before(*first);
        }
        recovered.scanned(|scanned| reading.take(scanned));
        reading.finish();
        let CatalogReplay {
            mut segments,
            catalog,
            tail,
            ..
        } = reading;
        segments.retain(|number, _| {
            !catalog.segments.contains_key(number) && !recovered.unreadable.contains(number)
        });
        Ok(Self {
            recovered,
            catalog,
            tail,
            unused: segments.into_values().collect(),
        })
    }
}

/// What has been read so far.
#[derive(Debug)]
struct CatalogReplay {
    segments: BTreeMap<u64, Arc<StoreSegment>>,
    catalog: Catalog,
    tail: Vec<EncodedMessage>,
    lost: u64,
}

impl CatalogReplay {
    /// Where no snapshot is whole, nothing says what the segments before hold: they are read.
    fn take_all_before(&mut self, first: u64) {
        let older: Vec<Arc<StoreSegment>> = self
            .segments
            .range(..first)
            .map(|it| it.1.clone())
            .collect();
        for SegmentFile {
            number,
            file,
            length,
            ..
        } in older.iter().map(|it| &it.file)
        {
            let bytes = read_all(&**file, *length);
            let mut scan = self.segments[number].file.scan(&bytes, None);
            // Others follow.
            scan.is_proven = true;
            self.take(&ScannedSegment {
                number: *number,
                bytes,
                scan,
                end: None,
            });
        }
    }

    /// Takes in a segment, the oldest first.
    fn take(&mut self, scanned: &ScannedSegment) {
        let ScannedSegment {
            number,
            bytes,
            scan,
            end,
        } = scanned;
        let is_snapshot = |batch: &&Batch| batch.head.is_some_and(|head| head.is_snapshot);
        let snapshots = scan.batches.iter().filter(is_snapshot);
        for items in snapshots.filter_map(|batch| batch.items.clone()) {
            let find = |number| self.segments.get(&number).cloned();
            // What checks and is no snapshot of ours cannot be.
            let _ = self.catalog.restore(&bytes[items], find);
        }
        let tail = scan.tail();
        let records = tail.iter().flat_map(|batch| &batch.records);
        self.tail = records
            .filter_map(|record| EncodedMessage::decode(&bytes[record.payload.clone()]))
            .collect();
        let proven = scan.proven();
        let Some(end) = end.or_else(|| scan.proven_end(*number)) else {
            return;
        };
        let segment = Arc::clone(&self.segments[number]);
        if scan.is_damaged {
            segment.note_damage();
        }
        let held = CatalogSegment::new(segment, end, SegmentContents::new(0));
        self.catalog.segments.insert(*number, held);
        for (place, location) in messages(bytes, proven) {
            self.catalog.add(*number, place, location);
        }
        let lost = proven.iter().flat_map(|batch| &batch.lost);
        self.lost += lost.map(|lost| lost.end - lost.start).sum::<u64>();
    }

    fn finish(&mut self) {
        if self.lost > 0 {
            tracing::warn!(
                messages = self.lost,
                "Some messages of the topic log are damaged and left out; the others are served"
            );
        }
        self.catalog.settle(self.lost);
        let segments = &mut self.catalog.segments;
        let newest = segments.values().map(|held| held.contents.newest_ms).max();
        // One of which nothing can be read stays as long as if its messages were the newest.
        for held in segments.values_mut() {
            held.contents.forget_locations();
            if held.contents.topics.is_empty() {
                held.contents.newest_ms = newest.unwrap_or(0);
            }
        }
        for message in &self.tail {
            let behind = message.position.map_or(0, |position| position + 1);
            self.catalog.reach(&message.topic, behind);
        }
    }
}
