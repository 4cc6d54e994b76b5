//! The errors of the operators' listener, as RFC 9457 writes them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde::Serialize;

/// An error that a request is answered with.
#[derive(Debug, Serialize)]
pub(super) struct AdminProblem {
    title: &'static str,
    status: u16,
    /// Stable, for programs.
    pub reason: &'static str,
    /// For people, with what to do.
    pub detail: String,
    /// When to come again, in seconds, where that helps.
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
}

impl AdminProblem {
    /// An error with this status.
    pub fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            reason,
            detail: detail.into(),
            retry_after_seconds: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }

    /// The same, for whoever is to come again after so many seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }

    /// A parameter that is none, with what it should be.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail)
    }

    /// There is no thread left to look in: the bridge is about to end.
    pub fn stopping() -> Self {
        let detail = "the bridge is about to end";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail)
    }

    /// The answer that says so.
    pub fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).expect("made from a status");
        let body = serde_json::to_vec(self).expect("texts and a number always are JSON");
        let mut response = HttpResponse::build(status);
        response
            .insert_header((header::CONTENT_TYPE, "application/problem+json"))
            .insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            // Whoever comes again takes no connection from others meanwhile.
            response
                .insert_header((header::RETRY_AFTER, seconds))
                .force_close();
        }
        response.body(body)
    }
}
