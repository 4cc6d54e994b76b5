//! The metrics of one dispatcher: its series, looked up once and not for each event.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use crate::event::{Content, Event, Understood};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::sink::PublishError;

/// How a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublishOutcome {
    Confirmed,
    Unavailable,
    Unroutable,
    Refused,
}

impl PublishOutcome {
    const ALL: [Self; 4] = [
        Self::Confirmed,
        Self::Unavailable,
        Self::Unroutable,
        Self::Refused,
    ];

    /// What this result is.
    pub fn of<T>(result: &Result<T, PublishError>) -> Self {
        match result {
            Ok(_) => Self::Confirmed,
            Err(PublishError::Unavailable(_)) => Self::Unavailable,
            Err(PublishError::Unroutable(_)) => Self::Unroutable,
            Err(PublishError::Refused { .. }) => Self::Refused,
        }
    }

    /// The metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Unavailable => "unavailable",
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
        }
    }
}

/// The series of one sink.
#[derive(Debug)]
pub(super) struct DispatcherMetrics {
    attempts: [IntCounter; PublishOutcome::ALL.len()],
    confirm_seconds: Histogram,
    delivery_seconds: Histogram,
    lag_seconds: Histogram,
    last_delivery: IntGauge,
    in_flight: IntGauge,
    unroutable: IntGauge,
    paused: IntGauge,
    oldest: Gauge,
}

/// The state of a dispatcher.
#[derive(Debug, Clone, Copy)]
pub(super) struct DispatcherState {
    /// Publishes outstanding.
    pub in_flight: usize,
    /// Events that the sink has no place for, those included that are on their way to find out
    /// whether that is still so.
    pub unroutable: usize,
    /// Whether it pauses.
    pub is_paused: bool,
    /// When the oldest event it knows was received, in Unix milliseconds.
    pub oldest_ms: Option<u64>,
}

impl DispatcherMetrics {
    /// The series of that sink.
    pub fn of(metrics: &Metrics, sink: &SinkName) -> Self {
        let sink = sink.as_str();
        let attempts = &metrics.publish_attempts_total;
        let label = &[sink];
        Self {
            attempts: PublishOutcome::ALL
                .map(|outcome| attempts.with_label_values(&[sink, outcome.as_str()])),
            confirm_seconds: metrics
                .publish_confirm_duration_seconds
                .with_label_values(label),
            delivery_seconds: metrics
                .event_delivery_duration_seconds
                .with_label_values(label),
            lag_seconds: metrics.event_lag_seconds.with_label_values(label),
            last_delivery: metrics
                .last_delivery_timestamp_seconds
                .with_label_values(label),
            in_flight: metrics.publish_in_flight.with_label_values(label),
            unroutable: metrics.events_unroutable.with_label_values(label),
            paused: metrics.sink_paused.with_label_values(label),
            oldest: metrics
                .spool_oldest_event_timestamp_seconds
                .with_label_values(label),
        }
    }

    /// A publish has ended.
    pub fn attempted(&self, outcome: PublishOutcome, took: Duration) {
        self.attempts[outcome as usize].inc();
        self.confirm_seconds.observe(took.as_secs_f64());
    }

    /// An event has been delivered.
    pub fn delivered(&self, event: &Event) {
        let now = Timestamp::now();
        self.delivery_seconds
            .observe(seconds_between(event.received_at(), now));
        if let Content::Understood(Understood {
            triggered_at: Some(triggered_at),
            ..
        }) = event.content()
        {
            self.lag_seconds
                .observe(seconds_between(*triggered_at, now));
        }
        self.last_delivery.set(now.as_second());
    }

    /// Shows the dispatcher's state.
    pub fn show(&self, state: DispatcherState) {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.in_flight.set(gauge(state.in_flight));
        self.unroutable.set(gauge(state.unroutable));
        self.paused.set(i64::from(state.is_paused));
        let seconds = |ms| Duration::from_millis(ms).as_secs_f64();
        self.oldest.set(state.oldest_ms.map_or(0.0, seconds));
    }
}

/// None where a clock was set back, or the provider's is ahead: a histogram's sum that falls looks
/// like one that began anew.
fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_still_to_come_is_no_time_ago() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        for (earlier, later, seconds) in [(10, 12, 2.0), (10, 10, 0.0), (12, 10, 0.0)] {
            let found = seconds_between(at(earlier), at(later));
            assert!(
                (found - seconds).abs() < 1e-9,
                "{earlier} to {later}: {found}"
            );
        }
    }

    #[test]
    fn each_outcome_is_counted_as_itself() {
        let metrics = Metrics::new().expect("no name twice");
        let sink = SinkName::parse("out").expect("a slug");
        let of_sink = DispatcherMetrics::of(&metrics, &sink);
        for (times, outcome) in PublishOutcome::ALL.into_iter().enumerate() {
            for _ in 0..times {
                of_sink.attempted(outcome, Duration::ZERO);
            }
        }
        for (times, outcome) in (0_u64..).zip(PublishOutcome::ALL) {
            let series = metrics
                .publish_attempts_total
                .with_label_values(&["out", outcome.as_str()]);
            assert_eq!(series.get(), times, "{outcome:?}");
        }
    }
}
