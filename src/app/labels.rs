//! The closed sets of labels, shown from the first scrape on.

use jiff::Timestamp;

use super::certificates;
use crate::backfill::{EventResult, RecoverySettings, RunResult};
use crate::config::{IngressSettings, Settings, SourceSettings};
use crate::event::QuarantineReason;
use crate::ingress::{ConnectionFailure, HandshakeFailure, HandshakeResult, RequestProblem};
use crate::metrics::Metrics;
use crate::name::{EventType, SinkName};
use crate::pipeline::Refusal;
use crate::sink::RefusalReason;
use crate::source::{MAX_SECRETS, ProofLabel, Rejection};

/// When the public listener's certificates expire, which are replaced with a reload.
pub(super) fn show_ingress_certificates(metrics: &Metrics, ingress: &IngressSettings) {
    let Some(tls) = &ingress.tls else { return };
    if tls.clients_until.is_none() {
        // A file that is named no more expires no more. An error says that it was not named before.
        let _ = metrics
            .tls_certificate_expiry_timestamp_seconds
            .remove_label_values(&["ingress", "client_ca_file"]);
    }
    certificates::show_expiries(metrics, "ingress", tls.expiries());
}

/// Gives every closed-set label its series from the first scrape on, so that a rate over a counter
/// that starts with its first event misses nothing.
pub(super) fn show(metrics: &Metrics, settings: &Settings, sinks: &[SinkName]) {
    metrics
        .build_info
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
    metrics.config_last_reload_successful.set(1);
    metrics
        .config_last_reload_timestamp_seconds
        .set(Timestamp::now().as_second());
    show_proofs(metrics);
    for reason in QuarantineReason::ALL {
        metrics
            .events_quarantined_total
            .with_label_values(&[reason.as_str()]);
    }
    let of_connections = ConnectionFailure::ALL.map(ConnectionFailure::reason);
    let of_no_source = RequestProblem::OF_NO_SOURCE.map(RequestProblem::reason);
    for reason in of_no_source.into_iter().chain(of_connections) {
        metrics
            .deliveries_rejected_total
            .with_label_values(&["unknown", reason]);
    }
    for code in ["200", "503"] {
        metrics.http_health_checks_total.with_label_values(&[code]);
    }
    if let Some(trace) = &settings.trace {
        let authorities = trace.authorities.iter();
        let expiries = authorities.map(|file| ("ca_file", file.until));
        certificates::show_expiries(metrics, "trace", expiries);
        for result in ["exported", "failed", "dropped"] {
            metrics.trace_spans_total.with_label_values(&[result]);
        }
    }
    for reason in ["wrong", "rate_limited"] {
        metrics
            .admin_tokens_refused_total
            .with_label_values(&[reason]);
    }
    for reason in HandshakeFailure::ALL {
        metrics
            .tls_handshake_failures_total
            .with_label_values(&[reason.reason()]);
    }
    show_ingress_certificates(metrics, &settings.ingress);
    show_sources(metrics, settings, sinks);
    for sink in &settings.sinks {
        certificates::show(metrics, sink, Timestamp::now());
    }
    for sink in sinks {
        show_sink(metrics, sink.as_str());
    }
}

/// The series of the sources, which are those of a reload too: a source or a type may be new.
pub(super) fn show_sources(metrics: &Metrics, settings: &Settings, sinks: &[SinkName]) {
    for source in &settings.sources {
        show_source(metrics, source, sinks);
    }
}

/// A file of a recovery that was taken out expires no more.
fn forget_recovery(metrics: &Metrics, source: &str) {
    let component = format!("source.{source}.recovery");
    let expiry = &metrics.tls_certificate_expiry_timestamp_seconds;
    // An error says that there was none.
    let _ = expiry.remove_label_values(&[component.as_str(), "ca_file"]);
}

/// A secret that was taken out must not look like one that nobody uses any more.
fn forget_secrets(metrics: &Metrics, source: &str, kept: usize) {
    for place in kept..MAX_SECRETS {
        let last_used = &metrics.secret_last_used_timestamp_seconds;
        // An error says that there is none.
        let _ = last_used.remove_label_values(&[source, &place.to_string()]);
    }
}

fn show_source(metrics: &Metrics, settings: &SourceSettings, sinks: &[SinkName]) {
    let source = settings.source.name.as_str();
    forget_secrets(metrics, source, settings.source.secrets.len());
    let rejections = RequestProblem::REJECTIONS
        .map(RequestProblem::reason)
        .into_iter();
    for reason in rejections.chain(Rejection::ALL.map(Rejection::reason)) {
        metrics
            .deliveries_rejected_total
            .with_label_values(&[source, reason]);
    }
    for result in HandshakeResult::ALL {
        metrics
            .handshakes_total
            .with_label_values(&[source, result.as_str()]);
    }
    metrics
        .source_mismatches_lost
        .with_label_values(&[source])
        .set(i64::from(settings.loses_mismatches()));
    metrics.deliveries_late_total.with_label_values(&[source]);
    forget_recovery(metrics, source);
    if let Some(recovery) = &settings.recovery {
        show_recovery(metrics, source, recovery);
    }
    for body in ["same", "different"] {
        metrics
            .events_duplicate_total
            .with_label_values(&[source, body]);
    }
    let event_types = settings.event_types.iter().map(EventType::as_str);
    for label in event_types.clone().chain(["other"]) {
        metrics
            .events_dropped_total
            .with_label_values(&[source, label]);
    }
    for label in event_types.chain(["other", "quarantine"]) {
        metrics
            .events_accepted_total
            .with_label_values(&[source, label]);
        for sink in sinks {
            metrics
                .events_delivered_total
                .with_label_values(&[sink.as_str(), label]);
        }
    }
}

fn show_recovery(metrics: &Metrics, source: &str, recovery: &RecoverySettings) {
    for result in RunResult::ALL {
        let runs = &metrics.backfill_runs_total;
        runs.with_label_values(&[source, result.as_str()]);
    }
    for result in EventResult::ALL {
        let events = &metrics.backfill_events_total;
        events.with_label_values(&[source, result.as_str()]);
    }
    let component = format!("source.{source}.recovery");
    let authorities = recovery.api.authorities.iter();
    let expiries = authorities.map(|file| ("ca_file", file.until));
    certificates::show_expiries(metrics, &component, expiries);
}

fn show_sink(metrics: &Metrics, sink: &str) {
    metrics.events_requeued_total.with_label_values(&[sink]);
    metrics.events_lost_total.with_label_values(&[sink]);
    metrics.events_discarded_total.with_label_values(&[sink]);
    for reason in RefusalReason::ALL {
        metrics
            .events_dead_lettered_total
            .with_label_values(&[sink, reason.as_str()]);
    }
    for result in ["confirmed", "unavailable", "unroutable", "refused"] {
        metrics
            .publish_attempts_total
            .with_label_values(&[sink, result]);
    }
    metrics
        .last_delivery_timestamp_seconds
        .with_label_values(&[sink])
        .set(0);
}

/// What is told apart by whether the delivery was proven.
fn show_proofs(metrics: &Metrics) {
    for proof in ProofLabel::ALL.map(ProofLabel::as_str) {
        metrics
            .http_request_duration_seconds
            .with_label_values(&[proof]);
        for reason in Refusal::ALL {
            metrics
                .deliveries_refused_total
                .with_label_values(&[reason.reason(), proof]);
        }
    }
}
