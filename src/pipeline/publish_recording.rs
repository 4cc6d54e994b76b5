//! The recording of publishes: each becomes a record of the history when it begins, and one when it
//! ends.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::dispatcher_metrics::PublishOutcome;
use super::in_flight::PublishAttempt;
use crate::event::{EventId, SinkIndex};
use crate::history::{Recorder, SinkRecord, SinkStep};
use crate::sink::RefusalReason;

/// The recording of one sink's publishes.
#[derive(Debug)]
pub(super) struct PublishRecording {
    recorder: Arc<Recorder>,
    sink: SinkIndex,
    /// The events whose publishes have begun, until they are recorded.
    begun: Vec<EventId>,
}

impl PublishRecording {
    /// Of this sink.
    pub fn of(recorder: Arc<Recorder>, sink: SinkIndex) -> Self {
        Self {
            recorder,
            sink,
            begun: Vec::new(),
        }
    }

    /// A publish of this event has begun.
    pub fn note_begun(&mut self, id: EventId) {
        self.begun.push(id);
    }

    /// Records those that have begun.
    pub fn record_begun(&mut self) {
        if !self.begun.is_empty() {
            self.recorder.published(self.sink, self.begun.drain(..));
        }
    }

    /// These have ended.
    pub fn ended(&self, attempts: &[PublishAttempt], now: Instant) {
        let mut confirms = attempts.iter().filter_map(|attempt| {
            let receipt = attempt.result.as_ref().ok()?;
            let took = now.saturating_duration_since(attempt.started);
            Some((attempt.record.event().id(), took, receipt.destination()))
        });
        if let Some(first) = confirms.next() {
            let confirms = std::iter::once(first).chain(confirms);
            self.recorder.confirmed(self.sink, confirms);
        }
        for attempt in attempts {
            if let Err(error) = &attempt.result {
                let (result, detail) = (PublishOutcome::of(&attempt.result), error.to_string());
                let result = result.as_str();
                let step = SinkStep::Failed {
                    result,
                    detail: &detail,
                };
                self.record(attempt.record.event().id(), step);
            }
        }
    }

    /// An event is a dead letter.
    pub fn dead_lettered(&self, id: EventId, reason: RefusalReason) {
        let reason = reason.as_str();
        self.record(id, SinkStep::DeadLettered { reason });
    }

    fn record(&self, id: EventId, step: SinkStep<'_>) {
        self.recorder.sink(&SinkRecord {
            at: Timestamp::now(),
            sink: self.sink,
            id: Some(id),
            step,
        });
    }
}
