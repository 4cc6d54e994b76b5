//! The requests of one run: at the source's pace, again after a while where the provider does not answer or
//! asks for fewer, and never on a thread that others need.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::pace::Pace;
use crate::name::SourceName;
use crate::pipeline::{Backoff, RetrySchedule};
use crate::source::{
    API_DEADLINE, ApiConventions, ApiError, ApiRequest, ApiResponse, ApiSettings, ProviderApi,
};

/// So often a request is sent.
const ATTEMPTS: u32 = 5;
/// Between two attempts.
const RETRIES: RetrySchedule = RetrySchedule {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
};
/// A provider that asks for a longer pause is asked again by the next run.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A thread that has not answered so long after its deadline hangs elsewhere, such as in a lookup.
const GRACE: Duration = Duration::from_secs(5);

/// A paced client of a provider's API.
#[derive(Debug)]
pub(super) struct ApiSession {
    api: ProviderApi,
    pace: Pace,
}

impl ApiSession {
    pub fn new(
        source: &SourceName,
        settings: &ApiSettings,
        conventions: ApiConventions,
        pace: Pace,
    ) -> Self {
        Self {
            api: ProviderApi::new(source, settings, conventions),
            pace,
        }
    }

    /// Sends a request until it is answered, a few times.
    ///
    /// # Errors
    /// As for [`ProviderApi::send`].
    pub async fn send(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let mut backoff = Backoff::new(RETRIES);
        for _ in 1..ATTEMPTS {
            let asked = match self.send_once(request).await {
                Err(ApiError::Unavailable { retry_after, .. })
                    if retry_after.is_none_or(|asked| asked <= LONGEST_PAUSE) =>
                {
                    retry_after.unwrap_or_default()
                }
                outcome => return outcome,
            };
            sleep(backoff.failed().max(asked)).await;
        }
        self.send_once(request).await
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// As for [`ProviderApi::send`].
    pub async fn send_once(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        self.pace.turn().await;
        let answered = timeout(API_DEADLINE + GRACE, self.on_a_thread(request.clone()));
        let late = |_| unavailable("the request did not end in time");
        answered.await.map_err(late)?
    }

    /// On a thread of its own: the client blocks, and nobody waits for the thread at a stop.
    async fn on_a_thread(&self, request: ApiRequest) -> Result<ApiResponse, ApiError> {
        let api = self.api.clone();
        let (reply, answer) = oneshot::channel();
        let send = move || {
            // Nobody waits any more where the bridge stops.
            let _ = reply.send(api.send(&request));
        };
        let thread = std::thread::Builder::new().name("provider-api".into());
        let begun = thread.spawn(send);
        begun.map_err(|error| unavailable(&format!("no thread for the request: {error}")))?;
        let ended = |_| unavailable("the request's thread has ended");
        answer.await.map_err(ended)?
    }
}

fn unavailable(reason: &str) -> ApiError {
    ApiError::Unavailable {
        reason: reason.to_owned(),
        retry_after: None,
    }
}
