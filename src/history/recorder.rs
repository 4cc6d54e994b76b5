//! The recorder: what writes the rings and what reads them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::delivery_record::DeliveryRecord;
use super::record::{DELIVERY, Record, SINK};
use super::record_ring::{CopiedRecords, RecordRing};
use super::rejections::{LastRejection, RejectionCount, Rejections};
use super::sink_record::{self, SinkRecord};
use super::unix_micros::UnixMicros;
use crate::event::{EventId, SinkIndex};
use crate::sink::Destination;

/// The bytes in which events are remembered: some 30,000 of them with one sink.
pub const MAX_EVENT_BYTES: usize = 8 << 20;
/// The bytes in which requests are remembered that prove nothing.
const MAX_UNPROVEN_BYTES: usize = 1 << 20;
/// The bytes that a reader copies at once: whoever writes waits for no more than that.
const COPIED_BYTES: usize = 64 << 10;

/// What happened lately. One for the whole bridge; it is written by the threads that handle requests
/// and those that publish.
#[derive(Debug)]
pub struct Recorder {
    started_at: Timestamp,
    events: Mutex<RecordRing>,
    unproven: Mutex<RecordRing>,
    rejections: Mutex<Rejections>,
}

/// Which part of the history a reader has not seen yet. The default is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordedSpan {
    events: u64,
    unproven: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            started_at: Timestamp::now(),
            events: Mutex::new(RecordRing::of(MAX_EVENT_BYTES)),
            unproven: Mutex::new(RecordRing::of(MAX_UNPROVEN_BYTES)),
            rejections: Mutex::default(),
        }
    }
}

impl Recorder {
    /// Since when it records: when the bridge was started.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Records a delivery.
    pub fn delivery(&self, delivery: &DeliveryRecord<'_>) {
        let ring = if delivery.event.is_some() {
            &self.events
        } else {
            &self.unproven
        };
        lock(ring).push(|to| {
            to.push(DELIVERY);
            delivery.encode(to);
        });
    }

    /// Counts a delivery that was turned away for this reason, and notes it as the last.
    pub fn rejection(&self, reason: &'static str, last: LastRejection) {
        lock(&self.rejections).add(reason, last);
    }

    /// The deliveries that were turned away, by reason and source.
    #[must_use]
    pub fn rejections(&self) -> Vec<RejectionCount> {
        lock(&self.rejections).counts()
    }

    /// Records that these events are handed to a sink now.
    pub fn published(&self, sink: SinkIndex, ids: impl Iterator<Item = EventId>) {
        let (at, mut ring) = (UnixMicros::now(), lock(&self.events));
        for id in ids {
            ring.push(|to| {
                to.push(SINK);
                sink_record::encode_published(to, at, sink, id);
            });
        }
    }

    /// Records that a sink has confirmed these events, after so long and there.
    pub fn confirmed<'a>(
        &self,
        sink: SinkIndex,
        confirms: impl Iterator<Item = (EventId, Duration, &'a Destination)>,
    ) {
        let (at, mut ring) = (UnixMicros::now(), lock(&self.events));
        for (id, took, destination) in confirms {
            ring.push(|to| {
                to.push(SINK);
                sink_record::encode_confirmed(to, (at, sink, id), took, destination);
            });
        }
    }

    /// Records what else has happened at a sink.
    pub fn sink(&self, record: &SinkRecord<'_>) {
        lock(&self.events).push(|to| {
            to.push(SINK);
            record.encode(to);
        });
    }

    /// The bytes that are taken by what is known of events.
    #[must_use]
    pub fn event_bytes(&self) -> usize {
        lock(&self.events).len()
    }

    /// Since when everything is known of events: since the start, until something had to make room.
    #[must_use]
    pub fn events_since(&self) -> Timestamp {
        self.complete_since(&self.events)
    }

    /// Since when every request is known that proved nothing.
    #[must_use]
    pub fn unproven_since(&self) -> Timestamp {
        self.complete_since(&self.unproven)
    }

    fn complete_since(&self, ring: &Mutex<RecordRing>) -> Timestamp {
        let oldest = {
            let ring = lock(ring);
            ring.has_dropped().then(|| ring.copy(0, 0))
        };
        let oldest = oldest.as_ref().and_then(CopiedRecords::first);
        let oldest = oldest.and_then(Record::decode);
        oldest.map_or(self.started_at, |record| record.at())
    }

    /// Shows what a reader has not seen, first of the requests that prove nothing, then of events, each
    /// in the order in which it was recorded. What it has seen by then is noted in `span`. Nobody who
    /// records waits for it: it copies a little at a time.
    pub fn read(&self, span: &mut RecordedSpan, mut see: impl FnMut(Record<'_>)) {
        read_ring(&self.unproven, &mut span.unproven, &mut see);
        read_ring(&self.events, &mut span.events, &mut see);
    }

    /// Shows all that is known of events.
    pub fn read_events(&self, mut see: impl FnMut(Record<'_>)) {
        read_ring(&self.events, &mut 0, &mut see);
    }
}

/// What is recorded meanwhile is left for the next time: a reader ends.
fn read_ring(ring: &Mutex<RecordRing>, from: &mut u64, see: &mut impl FnMut(Record<'_>)) {
    let end = lock(ring).end();
    while *from < end {
        let copied = lock(ring).copy(*from, COPIED_BYTES);
        *from = copied.each(|bytes| {
            if let Some(record) = Record::decode(bytes) {
                see(record);
            }
        });
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{DeliveryOutcome, EventFacts, SinkStep};
    use crate::source::EventOrigin;

    fn id(number: u32) -> EventId {
        let mut bytes = [1; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        EventId::from_bytes(bytes)
    }

    fn record(recorder: &Recorder, number: Option<u32>) {
        let event = number.map(|number| EventFacts {
            id: id(number),
            event_type: Some("sample.uploaded"),
            object_id: Some("7428cca4a3a04a8e"),
            is_spooled: true,
            sinks: crate::event::SinkSet::default(),
            quarantine: None,
        });
        recorder.delivery(&DeliveryRecord {
            answered_at: UnixMicros::now(),
            took: Duration::from_millis(1),
            source: "onecodex",
            origin: EventOrigin::Webhook,
            address: None,
            outcome: DeliveryOutcome::Accepted,
            status: 200,
            reason: None,
            request_id: None,
            signature: None,
            event,
        });
    }

    fn ids(recorder: &Recorder, span: &mut RecordedSpan) -> Vec<Option<EventId>> {
        let mut seen = Vec::new();
        recorder.read(span, |record| match record {
            Record::Delivery(delivery) => seen.push(delivery.event.map(|event| event.id)),
            Record::Sink(sink) => seen.push(sink.id),
        });
        seen
    }

    #[test]
    fn a_reader_sees_everything_once() {
        let (recorder, mut span) = (Recorder::default(), RecordedSpan::default());
        record(&recorder, Some(1));
        record(&recorder, None);
        let sink = SinkIndex::new(0).expect("in range");
        recorder.published(sink, [id(1)].into_iter());
        assert_eq!(ids(&recorder, &mut span), [None, Some(id(1)), Some(id(1))]);
        assert_eq!(ids(&recorder, &mut span), []);
        recorder.sink(&SinkRecord {
            at: Timestamp::now(),
            sink,
            id: None,
            step: SinkStep::Discarded,
        });
        assert_eq!(ids(&recorder, &mut span), [None]);
    }

    #[test]
    fn requests_that_prove_nothing_push_no_event_out() {
        let recorder = Recorder::default();
        record(&recorder, Some(1));
        for _ in 0..100_000 {
            record(&recorder, None);
        }
        let seen = ids(&recorder, &mut RecordedSpan::default());
        assert_eq!(seen.last(), Some(&Some(id(1))));
        assert!(seen.len() > 10_000, "{}", seen.len());
        let memory = lock(&recorder.unproven).len();
        assert!(memory <= MAX_UNPROVEN_BYTES, "{memory}");
    }

    #[test]
    fn the_oldest_events_are_forgotten_for_the_newest() {
        let recorder = Recorder::default();
        record(&recorder, Some(0));
        let first = recorder.events_since();
        assert_eq!(first, recorder.started_at());
        for number in 1..200_000 {
            record(&recorder, Some(number));
        }
        let seen = ids(&recorder, &mut RecordedSpan::default());
        assert!((30_000..150_000).contains(&seen.len()), "{}", seen.len());
        assert_eq!(seen.last(), Some(&Some(id(199_999))));
        assert!(recorder.event_bytes() <= MAX_EVENT_BYTES);
        assert!(recorder.events_since() > first);
        assert_eq!(recorder.unproven_since(), first);
    }
}
