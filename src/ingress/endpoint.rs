//! The endpoint of each source, `/webhooks/{source}`, with the source's limits and its series.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use actix_web::http::StatusCode;
use prometheus::{Histogram, IntCounter};

use super::problem::RequestProblem;
use super::rate_limit::SourceRateLimit;
use crate::metrics::Metrics;
use crate::source::{AnswerForm, ProofLabel, Rejection, Source};

/// How the endpoint of a source treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointSettings {
    /// The most deliveries a second; no limit, where none.
    pub rate_limit: Option<NonZeroU32>,
    /// The largest body, in bytes; as for all sources, where none.
    pub max_body_bytes: Option<usize>,
    /// What the body of a 200 is.
    pub answer: AnswerForm,
    /// Whether a delivery that no secret signed is answered 503, so that it is sent again, instead
    /// of 401.
    pub retries_mismatch: bool,
}

/// The endpoint of a source.
#[derive(Debug)]
pub struct SourceEndpoint {
    source: Source,
    settings: EndpointSettings,
    rate_limit: Option<Arc<SourceRateLimit>>,
    /// The series that every delivery of the source changes, looked up once.
    pub(super) answered_ok: IntCounter,
    pub(super) proven_answer_seconds: Histogram,
    pub(super) age_seconds: Histogram,
}

/// The endpoints by the names of their sources.
pub type SourceEndpoints = HashMap<String, SourceEndpoint>;

impl SourceEndpoint {
    /// An endpoint for `source`. One that had the same rate limit before the configuration was
    /// reloaded goes on counting.
    #[must_use]
    pub fn new(
        source: Source,
        settings: EndpointSettings,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Self {
        let kept = before.and_then(|before| before.rate_limit.clone());
        let rate_limit = settings.rate_limit.map(|limit| {
            kept.filter(|kept| kept.limit() == limit)
                .unwrap_or_else(|| Arc::new(SourceRateLimit::of(limit)))
        });
        let name = source.name.as_str();
        let requests = &metrics.http_requests_total;
        let answers = &metrics.http_request_duration_seconds;
        Self {
            answered_ok: requests.with_label_values(&[name, StatusCode::OK.as_str()]),
            proven_answer_seconds: answers.with_label_values(&[ProofLabel::Proven.as_str()]),
            age_seconds: metrics.signature_age_seconds.with_label_values(&[name]),
            source,
            settings,
            rate_limit,
        }
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// How it treats requests.
    #[must_use]
    pub fn settings(&self) -> &EndpointSettings {
        &self.settings
    }

    /// What a delivery is answered that is not proven.
    pub(super) fn problem(&self, rejection: Rejection) -> RequestProblem {
        match rejection {
            Rejection::SignatureMismatch if self.settings.retries_mismatch => {
                RequestProblem::RetriedMismatch
            }
            other => RequestProblem::Rejected(other),
        }
    }

    /// Takes a proven delivery from the rate limit: nobody but the source can use it up.
    pub(super) fn take(&self) -> Result<(), RequestProblem> {
        self.rate_limit.as_ref().map_or(Ok(()), |limit| {
            limit.take().map_err(RequestProblem::RateLimited)
        })
    }
}
