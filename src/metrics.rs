//! Every metric, once: its doc line is its HELP text, and what the book's page of metrics says.
//!
//! Labels come from closed sets only (configured names, reasons, status codes), so the number of
//! series does not depend on what anybody sends. What must add up in one scrape (accepted =
//! delivered + dead-lettered + pending) is changed under [`Metrics::update`], which a scrape waits for
//! and holds up in turn. So it reads under that lock only what is in memory: what the system says of
//! the process, which takes the longer the more files are open, is gathered outside.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds, from a fast commit to a long outage.
const LATENCY_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0, 600.0, 3600.0,
];
/// Seconds on both sides of now, for the clock of the sender.
const AGE_SECONDS: &[f64] = &[
    -300.0, -30.0, -5.0, -1.0, 0.0, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0,
];

/// How a kind of metric is made from its name, its help and its label names.
trait Declare: Collector + Clone + Sized + 'static {
    fn declare(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;
}

macro_rules! declare {
    ($($kind:ty: |$name:ident, $help:ident, $labels:ident| $make:expr;)+) => {
        $(impl Declare for $kind {
            fn declare($name: &str, $help: &str, $labels: &[&str]) -> prometheus::Result<Self> {
                $make
            }
        })+
    };
}

declare! {
    IntCounter: |name, help, _labels| Self::new(name, help);
    IntGauge: |name, help, _labels| Self::new(name, help);
    Gauge: |name, help, _labels| Self::new(name, help);
    Histogram: |name, help, _labels| Self::with_opts(HistogramOpts::new(name, help).buckets(buckets(name)));
    IntCounterVec: |name, help, labels| Self::new(Opts::new(name, help), labels);
    IntGaugeVec: |name, help, labels| Self::new(Opts::new(name, help), labels);
    GaugeVec: |name, help, labels| Self::new(Opts::new(name, help), labels);
    HistogramVec: |name, help, labels| Self::new(HistogramOpts::new(name, help).buckets(buckets(name)), labels);
}

fn buckets(name: &str) -> Vec<f64> {
    if name.ends_with("_age_seconds") {
        AGE_SECONDS.to_vec()
    } else {
        LATENCY_SECONDS.to_vec()
    }
}

macro_rules! metrics {
    ($(#[doc = $help:literal] $field:ident: $kind:ty $(, $label:literal)*;)+) => {
        /// All metrics of the bridge, and the registries that gather them and what the system says.
        #[derive(Debug)]
        pub struct Metrics {
            counters: Registry,
            process: Registry,
            updating: Mutex<()>,
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl Metrics {
            /// Declares every metric.
            ///
            /// # Errors
            /// When two metrics share a name.
            pub fn new() -> prometheus::Result<Self> {
                let (counters, process) = (Registry::new(), Registry::new());
                $(
                    let $field = <$kind>::declare(concat!("hookferry_", stringify!($field)), $help.trim(), &[$($label),*])?;
                    counters.register(Box::new($field.clone()))?;
                )+
                process.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
                Ok(Self { counters, process, updating: Mutex::new(()), $($field,)+ })
            }
        }
    };
}

metrics! {
    /// HTTP requests answered on the public listener.
    http_requests_total: IntCounterVec, "source", "code";
    /// Connections open on the public listener.
    http_connections: IntGauge;
    /// The most connections the public listener holds at once; more wait in the system's queue.
    http_max_connections: IntGauge;
    /// Requests being answered on the public listener.
    http_requests_in_flight: IntGauge;
    /// Bytes of memory that the bodies of the requests being answered take.
    http_body_bytes_in_flight: IntGauge;
    /// Answers to a load balancer at health_path, which are counted nowhere else.
    http_health_checks_total: IntCounterVec, "code";
    /// Requests by which a sender makes sure of its webhook, by result: answered or refused (its conditions do not hold, or it wants too much back); they are no events.
    handshakes_total: IntCounterVec, "source", "result";
    /// TLS handshakes on the public listener that failed, by reason: timeout, not_tls, incompatible (no version, cipher suite or protocol in common), client_certificate (missing, unknown, expired), server_certificate (the sender does not trust ours), abandoned (the sender hung up in the middle) or other.
    tls_handshake_failures_total: IntCounterVec, "reason";
    /// Seconds from the request's head to its answer, by whether a signature had proven the request by then (yes or no); strangers change only what is not proven.
    http_request_duration_seconds: HistogramVec, "proven";
    /// Events made durable and answered 200 for the first time.
    events_accepted_total: IntCounterVec, "source", "event_type";
    /// Deliveries of an id that had been accepted before, by whether the body was the same or different.
    events_duplicate_total: IntCounterVec, "source", "body";
    /// Events answered 200 and not kept, because a route drops them and none takes them to a sink; they do not count as accepted.
    events_dropped_total: IntCounterVec, "source", "event_type";
    /// Authentic deliveries that could not be understood, by reason; they count as accepted too.
    events_quarantined_total: IntCounterVec, "reason";
    /// Deliveries let in although their signature is older than the tolerance, because their events are remembered for longer.
    deliveries_late_total: IntCounterVec, "source";
    /// Deliveries turned away for good, which the sender must change, by reason; the source is "unknown" where they name none or never became a request.
    deliveries_rejected_total: IntCounterVec, "source", "reason";
    /// Deliveries answered 503, which the sender may repeat, by reason, and by whether a signature had proven them by then (yes or no); what is refused before it is looked at is not proven.
    deliveries_refused_total: IntCounterVec, "reason", "proven";
    /// Seconds between a signature's timestamp and its arrival; negative when it came from the future.
    signature_age_seconds: HistogramVec, "source";
    /// Whether a delivery that no secret has signed is lost (1): by its provider's facts, the sender sends nothing again after the answer that it gets.
    source_mismatches_lost: IntGaugeVec, "source";
    /// When a secret last proved a delivery, by its place in the configuration, from 0; one that a reload takes out is no longer shown.
    secret_last_used_timestamp_seconds: IntGaugeVec, "source", "secret";
    /// Events put into the spool for a sink.
    events_spooled_total: IntCounterVec, "sink";
    /// Events that waited in the spool when it was opened, and those that it had lost before.
    events_recovered_total: IntCounterVec, "sink";
    /// Waiting events that were lost with damaged files of the spool, in all runs; never too few.
    events_lost_total: IntCounterVec, "sink";
    /// Dead letters put back into the spool.
    events_requeued_total: IntCounterVec, "sink";
    /// Waiting events dropped by an operator.
    events_discarded_total: IntCounterVec, "sink";
    /// Events a sink has confirmed.
    events_delivered_total: IntCounterVec, "sink", "event_type";
    /// Events set aside because a sink can never take them: too_large, invalid_address or rejected.
    events_dead_lettered_total: IntCounterVec, "sink", "reason";
    /// Publishes that ended, by result: confirmed, unavailable, unroutable or refused.
    publish_attempts_total: IntCounterVec, "sink", "result";
    /// Seconds from a publish to the sink's confirm.
    publish_confirm_duration_seconds: HistogramVec, "sink";
    /// Publishes outstanding.
    publish_in_flight: IntGaugeVec, "sink";
    /// Seconds from accepting an event to the sink's receipt.
    event_delivery_duration_seconds: HistogramVec, "sink";
    /// Seconds from triggered_at to the sink's receipt.
    event_lag_seconds: HistogramVec, "sink";
    /// Whether the sink answers.
    sink_connected: IntGaugeVec, "sink";
    /// Whether the broker has asked publishers to stop.
    sink_blocked: IntGaugeVec, "sink";
    /// Whether the dispatcher pauses because the sink is unavailable.
    sink_paused: IntGaugeVec, "sink";
    /// Connections made anew since the start.
    sink_reconnects_total: IntCounterVec, "sink";
    /// Connections to a broker that could not be made, by the stage they failed at: lookup (of the name), connect, tls (a certificate of the broker's or ours does not hold) or login.
    sink_connect_failures_total: IntCounterVec, "sink", "stage";
    /// When a configured certificate expires, or the last authority of a file, by the part that uses it ("ingress", "trace", or "sink." and a name) and the key that names its file; as it was when the configuration was last taken over.
    tls_certificate_expiry_timestamp_seconds: IntGaugeVec, "component", "file";
    /// When the sink last confirmed an event; 0 before the first.
    last_delivery_timestamp_seconds: IntGaugeVec, "sink";
    /// Events held back because the sink has no place for them yet.
    events_unroutable: IntGaugeVec, "sink";
    /// Events waiting in the spool.
    spool_events: IntGaugeVec, "sink";
    /// Dead letters kept in the spool.
    spool_dead_letters: IntGaugeVec, "sink";
    /// Bytes of the events that wait in the spool.
    spool_bytes: IntGauge;
    /// Bytes of the spool's files, which max_size bounds; ids.db is not among them.
    spool_file_bytes: IntGauge;
    /// Bytes the spool's files may have.
    spool_max_bytes: IntGauge;
    /// Events the spool may hold.
    spool_max_events: IntGauge;
    /// When the oldest event that waits for the sink was accepted; 0 when none waits.
    spool_oldest_event_timestamp_seconds: GaugeVec, "sink";
    /// Seconds a commit of the spool took.
    spool_commit_duration_seconds: Histogram;
    /// Whether the spool can be written: the last batch worked, and there is a file for the next one.
    spool_writable: IntGauge;
    /// Stored records that are gone or did not match their checksum; never too few.
    spool_corrupt_records_total: IntCounter;
    /// Batches that a power failure or a crash tore before they were answered; nothing was lost with them.
    spool_torn_batches_total: IntCounter;
    /// Accepted ids that were forgotten before their time, because their index is at its bound or cannot be written: another copy of their events would be published.
    spool_forgotten_ids_total: IntCounter;
    /// Accepted less delivered, dead-lettered, discarded, lost and pending; anything but 0 is a bug.
    events_unaccounted: IntGauge;
    /// Tokens that the operators' listener did not take, by reason: wrong, or rate_limited (not looked at, after too many wrong ones from the same address).
    admin_tokens_refused_total: IntCounterVec, "reason";
    /// Times that a provider's record was gone through, by result: completed, incomplete (the list changed while it was read), unavailable (no answer, or too many requests), unauthorized (the key), invalid_answer (the API answers otherwise than it should) or refused (the bridge could not accept what was missing).
    backfill_runs_total: IntCounterVec, "source", "result";
    /// Entries of a provider's record, by what became of them in each run: recovered (missing, and accepted now), redelivered (missing, and the provider was asked to deliver them again), known, forgotten (older than the ids that are remembered, and a success at the provider or brought back before), too_young (may still be delivered), unreadable (no event, or not delivered again) or dropped (by a route).
    backfill_events_total: IntCounterVec, "source", "result";
    /// When a provider's record was last gone through to the end; 0 before the first time.
    backfill_last_success_timestamp_seconds: IntGaugeVec, "source";
    /// How often a provider's record is to be asked, in seconds.
    backfill_interval_seconds: IntGaugeVec, "source";
    /// Whether the last reload of the configuration worked.
    config_last_reload_successful: IntGauge;
    /// Whether the configuration's file differs from what runs in keys that only a restart takes over.
    config_restart_required: IntGauge;
    /// When the configuration was last loaded.
    config_last_reload_timestamp_seconds: IntGauge;
    /// Spans of traces by what became of them: exported, failed or dropped; only where traces are exported.
    trace_spans_total: IntCounterVec, "result";
    /// Lines of the log that were dropped because standard error did not take them: nobody reads it, or its disk is full.
    log_lines_dropped_total: IntCounter;
    /// Panics caught.
    panics_total: IntCounter;
    /// The version, as a label; always 1.
    build_info: IntGaugeVec, "version";
}

impl Metrics {
    /// Held around changes that must appear together in a scrape, once per group of events.
    pub fn update(&self) -> MutexGuard<'_, ()> {
        self.updating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scrape, in the Prometheus text format (version 0.0.4).
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut families = {
            let _held = self.update();
            self.counters.gather()
        };
        families.extend(self.process.gather());
        let mut text = Vec::with_capacity(32 * 1024);
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use prometheus::core::Desc;
    use prometheus::proto::MetricFamily;

    use super::*;

    /// Looks whether counters could be updated at the moment in which it is gathered.
    struct Probe {
        metrics: Weak<Metrics>,
        is_free: IntGauge,
    }

    impl Probe {
        fn of(metrics: &Arc<Metrics>, name: &str) -> Box<Self> {
            Box::new(Self {
                metrics: Arc::downgrade(metrics),
                is_free: IntGauge::new(name, "Whether nobody holds the lock.").expect("a name"),
            })
        }
    }

    impl Collector for Probe {
        fn desc(&self) -> Vec<&Desc> {
            self.is_free.desc()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            let metrics = self.metrics.upgrade().expect("they are being rendered");
            let is_free = metrics.updating.try_lock().is_ok();
            self.is_free.set(i64::from(is_free));
            self.is_free.collect()
        }
    }

    #[test]
    fn every_metric_is_declared_once_with_its_help() {
        let metrics = Metrics::new().expect("no name twice");
        metrics
            .events_accepted_total
            .with_label_values(&["onecodex", "sample.uploaded"])
            .inc();
        metrics
            .signature_age_seconds
            .with_label_values(&["onecodex"])
            .observe(-2.0);
        let text = String::from_utf8(metrics.render().expect("encodes")).expect("UTF-8");
        assert!(
            text.contains("# HELP hookferry_events_unaccounted Accepted less delivered"),
            "{text}"
        );
        assert!(text.contains("hookferry_events_accepted_total{event_type=\"sample.uploaded\",source=\"onecodex\"} 1"), "{text}");
        assert!(
            text.contains(
                "hookferry_signature_age_seconds_bucket{source=\"onecodex\",le=\"-1\"} 1"
            ),
            "{text}"
        );
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn a_scrape_holds_up_no_update_while_it_asks_the_system() {
        let metrics = Arc::new(Metrics::new().expect("no name twice"));
        let (outside, inside) = (
            Probe::of(&metrics, "free_at_the_process"),
            Probe::of(&metrics, "free_at_the_counters"),
        );
        metrics.process.register(outside).expect("a new name");
        metrics.counters.register(inside).expect("a new name");
        let text = String::from_utf8(metrics.render().expect("encodes")).expect("UTF-8");
        assert!(text.contains("\nfree_at_the_process 1\n"), "{text}");
        // What must add up is still read at one moment.
        assert!(text.contains("\nfree_at_the_counters 0\n"), "{text}");
    }
}
