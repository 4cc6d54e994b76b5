//! The spool's counters: every event that comes in or goes out is counted here, under one lock with
//! the gauges, so that one scrape adds up.
//!
//! `expected` is what the counters say must wait; what does wait is counted by the state itself. The
//! difference is `events_unaccounted`.

use std::sync::{Arc, MutexGuard};

use super::items::Loss;
use super::record::SpoolRecord;
use super::state::SpoolState;
use crate::event::{Content, SinkIndex, SinkSet};
use crate::metrics::Metrics;
use crate::seeded::{self, Bug};

/// The counters.
#[derive(Debug)]
pub(super) struct Counters {
    metrics: Arc<Metrics>,
    expected: Vec<i64>,
}

/// One group's changes; a scrape waits until it is dropped.
pub(super) struct CounterUpdate<'a> {
    metrics: &'a Metrics,
    expected: &'a mut [i64],
    state: &'a SpoolState,
    _locked: MutexGuard<'a, ()>,
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Counters {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            expected: vec![0; SinkIndex::MAX],
        }
    }

    /// Begins a group of changes; `state` is what they have led to.
    pub fn update<'a>(&'a mut self, state: &'a SpoolState) -> CounterUpdate<'a> {
        CounterUpdate {
            metrics: &self.metrics,
            expected: &mut self.expected,
            state,
            _locked: self.metrics.update(),
        }
    }
}

impl CounterUpdate<'_> {
    fn name(&self, sink: SinkIndex) -> &str {
        let found = self.state.sinks.iter().find(|known| known.index == sink);
        found.map_or("unknown", |known| known.name.as_str())
    }

    /// What the log held when it was opened, and everything it says was lost, in whichever run it
    /// was found: a run that ended before anybody looked swallows no loss.
    pub fn recovered(&mut self) {
        for known in &self.state.sinks {
            let pending = self.state.pending(known.index).count();
            self.expected[known.index.number()] += signed(pending);
            let recovered = &self.metrics.events_recovered_total;
            recovered
                .with_label_values(&[known.name.as_str()])
                .inc_by(pending);
        }
        for (name, count) in &self.state.lost_totals {
            let label = &[name.as_str()];
            self.metrics
                .events_recovered_total
                .with_label_values(label)
                .inc_by(*count);
            self.metrics
                .events_lost_total
                .with_label_values(label)
                .inc_by(*count);
        }
        self.metrics
            .spool_corrupt_records_total
            .inc_by(self.state.lost_records);
    }

    /// Records were found lost.
    pub fn lost(&mut self, loss: &Loss) {
        for (index, name, count) in &loss.sinks {
            self.expected[index.number()] -= signed(*count);
            let lost = &self.metrics.events_lost_total;
            lost.with_label_values(&[name.as_str()]).inc_by(*count);
        }
        self.metrics
            .spool_corrupt_records_total
            .inc_by(loss.records);
    }

    /// A record is durable that nobody was answered for: a start has found it.
    pub fn found(&mut self, waiting: SinkSet) {
        for sink in waiting.iter() {
            self.expected[sink.number()] += 1;
            let recovered = &self.metrics.events_recovered_total;
            recovered.with_label_values(&[self.name(sink)]).inc();
        }
    }

    pub fn accepted(&mut self, record: &SpoolRecord) {
        let source = record.event().source().as_str();
        self.metrics
            .events_accepted_total
            .with_label_values(&[source, record.label()])
            .inc();
        if let Content::Quarantined(quarantine) = record.event().content() {
            self.metrics
                .events_quarantined_total
                .with_label_values(&[quarantine.reason.as_str()])
                .inc();
        }
        for sink in record.position().sinks.iter() {
            self.expected[sink.number()] += 1;
            self.metrics
                .events_spooled_total
                .with_label_values(&[self.name(sink)])
                .inc();
        }
    }

    pub fn delivered(&mut self, sink: SinkIndex, record: &SpoolRecord) {
        self.expected[sink.number()] -= 1;
        if seeded::is(Bug::MissCount) {
            return;
        }
        self.metrics
            .events_delivered_total
            .with_label_values(&[self.name(sink), record.label()])
            .inc();
    }

    pub fn set_aside(&mut self, sink: SinkIndex, reason: &str) {
        self.expected[sink.number()] -= 1;
        self.metrics
            .events_dead_lettered_total
            .with_label_values(&[self.name(sink), reason])
            .inc();
    }

    pub fn requeued(&mut self, record: &SpoolRecord) {
        for sink in record.position().sinks.iter() {
            self.expected[sink.number()] += 1;
            self.metrics
                .events_requeued_total
                .with_label_values(&[self.name(sink)])
                .inc();
        }
    }

    pub fn discarded(&mut self, sink: SinkIndex, count: u64) {
        self.expected[sink.number()] -= signed(count);
        self.metrics
            .events_discarded_total
            .with_label_values(&[self.name(sink)])
            .inc_by(count);
    }

    /// Shows what waits, and ends the group.
    pub fn finish(self) {
        let mut waiting = 0;
        for known in &self.state.sinks {
            let pending = signed(self.state.pending(known.index).count());
            waiting += pending;
            self.metrics
                .spool_events
                .with_label_values(&[known.name.as_str()])
                .set(pending);
        }
        self.metrics
            .spool_bytes
            .set(signed(self.state.live_bytes()));
        self.metrics
            .events_unaccounted
            .set(self.expected.iter().sum::<i64>() - waiting);
    }
}
