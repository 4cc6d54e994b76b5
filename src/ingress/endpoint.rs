//! The endpoint of each source, `/webhooks/{source}`, with the source's rate limit and its series.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use actix_web::http::StatusCode;
use prometheus::{Histogram, IntCounter};

use super::problem::RequestProblem;
use super::rate_limit::SourceRateLimit;
use crate::metrics::Metrics;
use crate::source::Source;

/// The endpoint of a source.
#[derive(Debug)]
pub struct SourceEndpoint {
    source: Source,
    rate_limit: Option<Arc<SourceRateLimit>>,
    /// The source's series that every delivery changes, looked up once.
    pub(super) answered_ok: IntCounter,
    pub(super) age_seconds: Histogram,
}

/// The endpoints by the names of their sources.
pub type SourceEndpoints = HashMap<String, SourceEndpoint>;

impl SourceEndpoint {
    /// An endpoint for `source` that lets `limit` deliveries a second through. One that had the same
    /// limit before the configuration was reloaded goes on counting.
    #[must_use]
    pub fn new(
        source: Source,
        limit: Option<NonZeroU32>,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Self {
        let kept = before.and_then(|before| before.rate_limit.clone());
        let rate_limit = limit.map(|limit| {
            kept.filter(|kept| kept.limit() == limit)
                .unwrap_or_else(|| Arc::new(SourceRateLimit::of(limit)))
        });
        let name = source.name.as_str();
        let requests = &metrics.http_requests_total;
        Self {
            answered_ok: requests.with_label_values(&[name, StatusCode::OK.as_str()]),
            age_seconds: metrics.signature_age_seconds.with_label_values(&[name]),
            source,
            rate_limit,
        }
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Takes a proven delivery from the rate limit: nobody but the source can use it up.
    pub(super) fn take(&self) -> Result<(), RequestProblem> {
        self.rate_limit.as_ref().map_or(Ok(()), |limit| {
            limit.take().map_err(RequestProblem::RateLimited)
        })
    }
}
