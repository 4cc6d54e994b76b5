//! The requests of one run: two a second, again after a while where the provider does not answer or
//! asks for fewer, and never on a thread that others need.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::pipeline::{Backoff, RetrySchedule};
use crate::source::{ApiError, ApiRequest, ApiResponse, ApiSettings, KeyHeader, ProviderApi};

/// Between two requests. One Codex lets an account have ten a second, which are not ours alone.
const PACE: Duration = Duration::from_millis(500);
/// So often a request is sent.
const ATTEMPTS: u32 = 5;
/// Between two attempts.
const RETRIES: RetrySchedule = RetrySchedule {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
};
/// A provider that asks for a longer pause is asked again by the next run.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A paced client of a provider's API.
#[derive(Debug)]
pub(super) struct ApiSession {
    api: ProviderApi,
    next_at: Instant,
}

impl ApiSession {
    pub fn new(settings: &ApiSettings, key_header: KeyHeader) -> Self {
        Self {
            api: ProviderApi::new(settings, key_header),
            next_at: Instant::now(),
        }
    }

    /// Sends a request until it is answered, a few times.
    ///
    /// # Errors
    /// As for [`ProviderApi::send`].
    pub async fn send(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let mut backoff = Backoff::new(RETRIES);
        let mut attempt = 1;
        loop {
            sleep_until(self.next_at).await;
            self.next_at = Instant::now() + PACE;
            let asked = match self.send_once(request.clone()).await {
                Err(ApiError::Unavailable { retry_after, .. }) if attempt < ATTEMPTS => retry_after,
                outcome => return outcome,
            };
            attempt += 1;
            let asked = asked.unwrap_or_default().min(LONGEST_PAUSE);
            sleep(backoff.failed().max(asked)).await;
        }
    }

    /// On a thread of its own: the client blocks, and nobody waits for the thread at a stop.
    async fn send_once(&self, request: ApiRequest) -> Result<ApiResponse, ApiError> {
        let unavailable = |reason: String| ApiError::Unavailable {
            reason,
            retry_after: None,
        };
        let api = self.api.clone();
        let (reply, answer) = oneshot::channel();
        let send = move || {
            // Nobody waits any more where the bridge stops.
            let _ = reply.send(api.send(&request));
        };
        std::thread::Builder::new()
            .name("provider-api".into())
            .spawn(send)
            .map_err(|error| unavailable(format!("no thread for the request: {error}")))?;
        let ended = |_| unavailable("the request's thread has ended".to_owned());
        answer.await.map_err(ended)?
    }
}
