//! Liveness, readiness and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data};
use prometheus::IntCounter;
use serde_json::json;

use super::server::get;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::pipeline::Pipeline;
use crate::sink::Sink;

/// What is watched.
#[derive(Debug)]
pub struct Watch {
    /// The way in, which knows whether it can accept.
    pub pipeline: Pipeline,
    /// The sinks, whose connections are read at every scrape.
    pub sinks: Vec<(SinkName, Arc<dyn Sink>)>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// Held by a scrape while it brings the sinks' counters up to date: there may be two listeners, and two
/// scrapes at once would each add the same difference.
static SCRAPE: Mutex<()> = Mutex::new(());

/// The routes of this file.
pub(super) fn routes(watch: Data<Watch>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(watch)
            .route("/metrics", get().to(metrics))
            .route("/livez", get().to(live))
            .route("/readyz", get().to(ready));
    }
}

async fn metrics(watch: Data<Watch>) -> HttpResponse {
    read_sinks(&watch);
    match watch.metrics.render() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4"))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

/// Takes the sinks' own counts into the metrics.
fn read_sinks(watch: &Watch) {
    let _one_at_a_time = SCRAPE.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, sink) in &watch.sinks {
        let (health, label) = (sink.health(), &[name.as_str()]);
        watch
            .metrics
            .sink_connected
            .with_label_values(label)
            .set(i64::from(health.connected));
        watch
            .metrics
            .sink_blocked
            .with_label_values(label)
            .set(i64::from(health.blocked));
        let reconnects = &watch.metrics.sink_reconnects_total;
        raise(&reconnects.with_label_values(label), health.reconnects);
        for (stage, count) in &health.failures {
            let failures = &watch.metrics.sink_connect_failures_total;
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
async fn ready(watch: Data<Watch>) -> HttpResponse {
    match watch.pipeline.ready() {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(refusal) => HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "unready", "reason": refusal.reason() })),
    }
}
