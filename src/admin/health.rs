//! Liveness, readiness and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data};
use prometheus::IntCounter;
use serde_json::json;

use super::route::get;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::pipeline::Pipeline;
use crate::sink::Sink;

/// What health and metrics are read from; both listeners share one.
#[derive(Debug)]
pub struct HealthState {
    /// Knows whether a delivery could be accepted.
    pub(super) pipeline: Pipeline,
    /// The sinks, whose connections are read at every scrape. One scrape at a time brings their counters
    /// up to date: two at once would each add the same difference.
    sinks: Mutex<Vec<(SinkName, Arc<dyn Sink>)>>,
    metrics: Arc<Metrics>,
}

impl HealthState {
    /// Of these parts of the bridge.
    #[must_use]
    pub fn new(
        pipeline: Pipeline,
        sinks: Vec<(SinkName, Arc<dyn Sink>)>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            pipeline,
            sinks: Mutex::new(sinks),
            metrics,
        }
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The open sink of this name.
    pub(super) fn sink(&self, name: &SinkName) -> Option<Arc<dyn Sink>> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let found = sinks.iter().find(|(known, _)| known == name);
        found.map(|(_, sink)| Arc::clone(sink))
    }
}

/// The routes of this file.
pub(super) fn routes(state: Data<HealthState>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(state)
            .route("/metrics", get().to(metrics))
            .route("/livez", get().to(live))
            .route("/readyz", get().to(ready));
    }
}

async fn metrics(state: Data<HealthState>) -> HttpResponse {
    read_sinks(&state);
    match state.metrics.render() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4"))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

/// Takes the sinks' own counts into the metrics.
fn read_sinks(state: &HealthState) {
    let sinks = state.sinks.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, sink) in sinks.iter() {
        let (health, label) = (sink.health(), &[name.as_str()]);
        state
            .metrics
            .sink_connected
            .with_label_values(label)
            .set(i64::from(health.connected));
        state
            .metrics
            .sink_blocked
            .with_label_values(label)
            .set(i64::from(health.blocked));
        let reconnects = &state.metrics.sink_reconnects_total;
        raise(&reconnects.with_label_values(label), health.reconnects);
        for (stage, count) in &health.failures {
            let failures = &state.metrics.sink_connect_failures_total;
            let label = &[name.as_str(), stage.as_str()];
            raise(&failures.with_label_values(label), *count);
        }
    }
}

/// Brings a counter up to what a sink has counted by itself.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// The process answers: that is all liveness means. A broker that is away is no reason to restart.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Whether a delivery could be accepted durably now.
async fn ready(state: Data<HealthState>) -> HttpResponse {
    match state.pipeline.ready() {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(refusal) => HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "unready", "reason": refusal.reason() })),
    }
}
