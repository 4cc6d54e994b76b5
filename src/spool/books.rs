//! The spool's bookkeeping: every event that comes in or goes out is counted here, under the
//! metrics' books, so that one scrape adds up.
//!
//! `expected` is what the counters say must wait; what does wait is counted by the file itself. The
//! difference is `events_unaccounted`.

use std::sync::Arc;

use super::record::Record;
use super::salvage::Cost;
use super::settling::Settling;
use super::table;
use super::tally::Tally;
use crate::event::{Content, SinkIndex};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::seeded::{self, Bug};
use crate::sink::RefusalReason;

pub(super) struct Books {
    metrics: Arc<Metrics>,
    sinks: Arc<[(SinkIndex, SinkName)]>,
    expected: Vec<i64>,
}

/// One group's entries; the scrape waits until it is dropped.
pub(super) struct Entries<'a> {
    metrics: &'a Metrics,
    sinks: &'a [(SinkIndex, SinkName)],
    expected: &'a mut [i64],
    _locked: std::sync::MutexGuard<'a, ()>,
}

impl Books {
    pub fn new(metrics: Arc<Metrics>, sinks: Arc<[(SinkIndex, SinkName)]>) -> Self {
        Self {
            metrics,
            sinks,
            expected: vec![0; SinkIndex::MAX],
        }
    }

    /// Opens the books.
    pub fn open(&mut self) -> Entries<'_> {
        Entries {
            metrics: &self.metrics,
            sinks: &self.sinks,
            expected: &mut self.expected,
            _locked: self.metrics.books(),
        }
    }
}

impl Entries<'_> {
    fn name(&self, sink: SinkIndex) -> &str {
        let found = self.sinks.iter().find(|(index, _)| *index == sink);
        found.map_or("unknown", |(_, name)| name.as_str())
    }

    /// What the file held when it was opened, and what it had held before it was damaged.
    pub fn recovered(&mut self, tally: &Tally, cost: &Cost) {
        for (index, name) in self.sinks {
            let label = &[name.as_str()];
            let pending = tally.pending[index.number()];
            let recovered = &self.metrics.events_recovered_total;
            self.expected[index.number()] += pending;
            recovered
                .with_label_values(label)
                .inc_by(table::unsigned(pending));
            if let Some((_, of_sink)) = cost.of_sinks.iter().find(|(sink, _)| sink == index) {
                recovered
                    .with_label_values(label)
                    .inc_by(of_sink.lost + of_sink.buried);
                self.metrics
                    .events_lost_total
                    .with_label_values(label)
                    .inc_by(of_sink.lost);
            }
        }
        for (index, of_sink) in &cost.of_sinks {
            self.expected[index.number()] += table::signed(of_sink.buried);
        }
        self.spoilt(cost);
    }

    /// Events that waited and were found not to be what was written: they are dead letters now.
    pub fn spoilt(&mut self, cost: &Cost) {
        for (index, of_sink) in &cost.of_sinks {
            for _ in 0..of_sink.buried {
                self.buried(*index, RefusalReason::Damaged.as_str());
            }
        }
        self.metrics
            .spool_corrupt_records_total
            .inc_by(cost.records);
        self.metrics.spool_forgotten_ids_total.inc_by(cost.ids);
    }

    /// The file was exchanged or reopened: what is in it now is what must be delivered. More than
    /// expected came from a commit that had failed in doubt; less was lost with the old file.
    pub fn restart(&mut self, tally: &Tally) {
        for (index, name) in self.sinks {
            let expected = &mut self.expected[index.number()];
            let found = tally.pending[index.number()] - *expected;
            *expected += found;
            let label = &[name.as_str()];
            self.metrics
                .events_recovered_total
                .with_label_values(label)
                .inc_by(table::unsigned(found));
            self.metrics
                .events_lost_total
                .with_label_values(label)
                .inc_by(table::unsigned(-found));
        }
    }

    pub fn accepted(&mut self, record: &Record) {
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

    pub fn delivered(&mut self, sink: SinkIndex, record: &Record) {
        self.expected[sink.number()] -= 1;
        if seeded::is(Bug::MissCount) {
            return;
        }
        self.metrics
            .events_delivered_total
            .with_label_values(&[self.name(sink), record.label()])
            .inc();
    }

    pub fn buried(&mut self, sink: SinkIndex, reason: &str) {
        self.expected[sink.number()] -= 1;
        self.metrics
            .events_dead_lettered_total
            .with_label_values(&[self.name(sink), reason])
            .inc();
    }

    pub fn requeued(&mut self, record: &Record) {
        for sink in record.position().sinks.iter() {
            self.expected[sink.number()] += 1;
            self.metrics
                .events_requeued_total
                .with_label_values(&[self.name(sink)])
                .inc();
        }
    }

    pub fn discarded(&mut self, sink: SinkIndex, count: u64) {
        self.expected[sink.number()] -= table::signed(count);
        self.metrics
            .events_discarded_total
            .with_label_values(&[self.name(sink)])
            .inc_by(count);
    }

    /// Shows what waits, and closes the books.
    pub fn close(self, tally: &Tally, settling: &Settling) {
        let mut waiting = 0;
        for (index, name) in self.sinks {
            let pending = tally.pending[index.number()] - settling.unwritten_of(*index);
            waiting += pending;
            self.metrics
                .spool_events
                .with_label_values(&[name.as_str()])
                .set(pending);
            self.metrics
                .spool_dead_letters
                .with_label_values(&[name.as_str()])
                .set(tally.dead[index.number()]);
        }
        self.metrics.spool_bytes.set(tally.bytes);
        self.metrics
            .events_unaccounted
            .set(self.expected.iter().sum::<i64>() - waiting);
    }
}
