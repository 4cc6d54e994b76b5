//! The export: OTLP over HTTP with protobuf, in batches, from a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::trace::{
    SpanContext, SpanKind, Status, TraceFlags, TraceId, TraceState as OtelState,
};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks,
    SpanProcessor,
};

use super::settings::TraceSettings;
use super::span::{Span, SpanRole};
use crate::crypto;
use crate::metrics::Metrics;

/// Spans that may wait for the collector; beyond it new ones are dropped. A few hundred bytes each.
const MAX_WAITING: usize = 8192;
/// Spans in one request, as OpenTelemetry's own default.
const BATCH: usize = 512;
/// How long one export may take, as OpenTelemetry's own default: nothing waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a span may wait for others.
const DELAY: Duration = Duration::from_secs(1);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("the exporter of traces cannot be made")]
pub struct ExportError(#[from] opentelemetry_otlp::ExporterBuildError);

/// Sends spans to a collector. What it cannot take in time is dropped, and counted.
#[derive(Debug)]
pub(super) struct Exporter {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Exporter {
    pub fn start(settings: &TraceSettings, metrics: Arc<Metrics>) -> Result<Self, ExportError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(settings))
            .with_endpoint(&settings.endpoint)
            .with_timeout(TIMEOUT)
            .with_headers(settings.headers.iter().cloned().collect())
            .build()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Counted {
            exporter,
            waiting: Arc::clone(&waiting),
            metrics: Arc::clone(&metrics),
        };
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let mut batches = BatchSpanProcessor::new(counted, batch);
        batches.set_resource(
            &Resource::builder()
                .with_service_name("hookferry")
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .build(),
        );
        Ok(Self {
            batches,
            waiting,
            metrics,
        })
    }

    pub fn take(&self, span: Span) {
        // The library would drop it too, but not say so.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            count(&self.metrics, "dropped", 1);
            return;
        }
        self.batches.on_end(data(span));
    }

    pub fn close(&self, timeout: Duration) {
        // What did not get out in time has been counted, or never will be: the process ends.
        let _ = self.batches.shutdown_with_timeout(timeout);
    }
}

/// The span as the library has it.
fn data(span: Span) -> SpanData {
    let (start_time, end_time) = span.times();
    let parent = &span.context.parent;
    let state = span.context.state.as_ref();
    let span_context = SpanContext::new(
        TraceId::from_bytes(parent.trace_id()),
        SpanId::from_bytes(parent.span_id()),
        TraceFlags::SAMPLED,
        false,
        state
            .and_then(|state| state.as_str().parse::<OtelState>().ok())
            .unwrap_or_default(),
    );
    let attribute = |(name, value): (&'static str, String)| KeyValue::new(name, value);
    SpanData {
        span_context,
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: span.role == SpanRole::Server,
        span_kind: match span.role {
            SpanRole::Server => SpanKind::Server,
            SpanRole::Producer => SpanKind::Producer,
        },
        name: span.work.name.into(),
        start_time,
        end_time,
        attributes: span.work.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.work.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("hookferry").build(),
    }
}

fn count(metrics: &Metrics, result: &str, spans: usize) {
    metrics
        .trace_spans_total
        .with_label_values(&[result])
        .inc_by(spans as u64);
}

/// The exporter, with what becomes of its spans counted.
#[derive(Debug)]
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let outcome = if result.is_ok() { "exported" } else { "failed" };
        count(&self.metrics, outcome, spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The HTTP client: the one the program has already. It blocks the thread of the export, which has
/// nothing else to do.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new(settings: &TraceSettings) -> Self {
        let tls = crypto::requests_to(settings.authorities.as_ref());
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        Self(config.into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request = http::Request::from_parts(head, body.to_vec());
        let (head, mut body) = self.0.run(request)?.into_parts();
        let body = body.read_to_vec()?;
        Ok(http::Response::from_parts(head, body.into()))
    }
}
