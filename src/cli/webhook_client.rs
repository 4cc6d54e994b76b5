//! A client that signs deliveries and sends them to a webhook's URL.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::http_client::HttpClient;
use crate::source::{ONE_CODEX, Secret};

/// Where deliveries go, and what they are signed with.
#[derive(Debug, Clone)]
pub(super) struct WebhookClient {
    http: HttpClient,
    url: String,
    secret: Secret,
}

/// What the other side answered.
#[derive(Debug)]
pub(super) struct WebhookResponse {
    /// The status code.
    pub status: u16,
    /// What it said: for a 200 the event's status, else the reason.
    pub said: String,
    /// The event's id, where it was accepted.
    pub id: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// The body of a 200.
#[derive(Deserialize)]
struct Accepted {
    id: String,
    status: String,
}

impl WebhookClient {
    /// A client of the webhook at `url`.
    pub(super) fn new(http: HttpClient, url: String, secret: Secret) -> Self {
        Self { http, url, secret }
    }

    /// Signs the body as of `signed_at` and sends it.
    pub(super) fn deliver(
        &self,
        body: &[u8],
        signed_at: Timestamp,
    ) -> anyhow::Result<WebhookResponse> {
        self.deliver_signed(
            body,
            &ONE_CODEX.signature.sign(&self.secret, body, signed_at),
        )
    }

    /// Sends the body with this signature, right or wrong.
    pub(super) fn deliver_signed(
        &self,
        body: &[u8],
        signature: &str,
    ) -> anyhow::Result<WebhookResponse> {
        let headers = [
            ("content-type", "application/json"),
            (ONE_CODEX.signature.headers[0].as_str(), signature),
        ];
        let began = Instant::now();
        let answer = self.http.post(&self.url, &headers, body)?;
        let took = began.elapsed();
        let accepted = serde_json::from_slice::<Accepted>(&answer.body).ok();
        let (said, id) = match accepted {
            Some(Accepted { id, status }) => (status, Some(id)),
            None => (answer.message(), None),
        };
        Ok(WebhookResponse {
            status: answer.status,
            said,
            id,
            took,
        })
    }
}
