//! Liveness, readiness and metrics.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data};
use serde_json::json;

use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::pipeline::Pipeline;
use crate::sink::Sink;

/// What is watched.
#[derive(Debug)]
pub struct Watch {
    /// The way in, which knows whether it can accept.
    pub pipeline: Arc<Pipeline>,
    /// The sinks, whose connections are read at every scrape.
    pub sinks: Vec<(SinkName, Arc<dyn Sink>)>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// The routes of this file.
pub(super) fn routes(watch: Data<Watch>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(watch)
            .route("/metrics", web::get().to(metrics))
            .route("/livez", web::get().to(live))
            .route("/readyz", web::get().to(ready));
    }
}

async fn metrics(watch: Data<Watch>) -> HttpResponse {
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
        watch
            .metrics
            .sink_reconnects_total
            .with_label_values(label)
            .set(i64::try_from(health.reconnects).unwrap_or(i64::MAX));
        for (stage, failures) in &health.failures {
            watch
                .metrics
                .sink_connect_failures_total
                .with_label_values(&[name.as_str(), stage.as_str()])
                .set(i64::try_from(*failures).unwrap_or(i64::MAX));
        }
    }
    match watch.metrics.render() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4"))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
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
