//! A provider's REST API: requests with the source's own key, over TLS whose certificate was verified.
//! An [`ApiResponse`] is the proof that the provider has answered such a request, and what a
//! [`RecoveredDelivery`](super::RecoveredDelivery) delivery is made of. Nothing else makes one.
//!
//! The client blocks; whoever calls it has a thread for it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use ureq::{Agent, Body, Error};

use crate::crypto::{self, Authorities};

/// How long a request may take, its answer included.
const DEADLINE: Duration = Duration::from_secs(30);
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// So many characters of what the provider says of an error are told.
const MAX_MESSAGE_CHARS: usize = 200;

/// The key of an API. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no header can hold this key: it has other characters than visible ASCII")]
pub struct ApiKeyError;

impl ApiKey {
    /// Takes a key.
    ///
    /// # Errors
    /// When no header can hold it.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let is_visible = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        is_visible.then(|| Self(text.to_owned())).ok_or(ApiKeyError)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The header that shows the key.
#[derive(Debug, Clone, Copy)]
pub struct KeyHeader {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What stands before the key.
    pub prefix: &'static str,
}

/// Where an API is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// The URL that every path is put behind, `https`, without a slash at its end.
    pub url: String,
    /// The source's key.
    pub key: ApiKey,
    /// Who vouches for the API; the system's authorities, where none.
    pub authorities: Option<Authorities>,
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct ApiRequest {
    /// The method; `GET`, unless it is another.
    pub method: Method,
    /// Behind the API's URL, with the query.
    pub path: String,
    /// Headers besides the key's.
    pub headers: Vec<(&'static str, &'static str)>,
}

impl ApiRequest {
    /// `GET`.
    #[must_use]
    pub fn get(path: String) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }
}

/// Why there is no answer, named by what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The provider does not answer now, or asks for fewer requests: later.
    #[error("the provider's API does not answer: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The key is not taken, or may not do this.
    #[error("the provider's API does not take the key: {0}")]
    Unauthorized(String),
    /// The answer is larger than [`MAX_ANSWER_BYTES`].
    #[error("the answer of the provider's API is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
    /// The answer is none of this API.
    #[error("the provider's API answers otherwise than it should: {0}")]
    Invalid(String),
}

/// What the provider answered an authenticated request, over verified TLS: a status of success.
#[derive(Debug)]
pub struct ApiResponse {
    headers: HeaderMap,
    body: Bytes,
}

impl ApiResponse {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// A client of one source's API. Cloning it shares its connections.
#[derive(Debug, Clone)]
pub struct ProviderApi {
    agent: Agent,
    settings: ApiSettings,
    key_header: KeyHeader,
}

impl ProviderApi {
    /// A client, through the proxy that the environment may name (`HTTPS_PROXY`, `NO_PROXY`).
    #[must_use]
    pub fn new(settings: &ApiSettings, key_header: KeyHeader) -> Self {
        let config = Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            // The key would go along.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("hookferry/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(DEADLINE))
            .tls_config(crypto::requests_to(settings.authorities.as_ref()))
            .build();
        Self {
            agent: config.into(),
            settings: settings.clone(),
            key_header,
        }
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    /// When there is none in time, or none of success.
    pub fn send(&self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let answer = self.agent.run(self.request(request)?);
        let mut answer = answer.map_err(|error| self.unavailable(&error.to_string()))?;
        let status = answer.status();
        let body = read(&mut answer);
        if !status.is_success() {
            return Err(self.problem(status, answer.headers(), &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| match error {
            Error::BodyExceedsLimit(_) => ApiError::TooLarge,
            error => self.unavailable(&error.to_string()),
        })?;
        Ok(ApiResponse {
            headers: std::mem::take(answer.headers_mut()),
            body: body.into(),
        })
    }

    fn request(&self, request: &ApiRequest) -> Result<Request<()>, ApiError> {
        let KeyHeader { name, prefix } = self.key_header;
        let mut key = HeaderValue::from_str(&format!("{prefix}{}", self.settings.key.0))
            .map_err(|_| ApiError::Unauthorized(ApiKeyError.to_string()))?;
        key.set_sensitive(true);
        let mut built = Request::builder()
            .method(&request.method)
            .uri(format!("{}{}", self.settings.url, request.path))
            .header(HeaderName::from_static(name), key);
        for (name, value) in &request.headers {
            built = built.header(*name, *value);
        }
        built
            .body(())
            .map_err(|error| ApiError::Invalid(error.to_string()))
    }

    /// What an answer that is none of success means.
    fn problem(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
        let said = self.without_key(&message(body));
        let said = match said.as_str() {
            "" => status.to_string(),
            said => format!("{status}: {said}"),
        };
        let retry_after = retry_after(headers);
        // GitHub tells of a limit as 403 too: with the time to wait, or with nothing left of it.
        let is_limited = retry_after.is_some()
            || headers
                .get("x-ratelimit-remaining")
                .is_some_and(|left| left == "0");
        match status {
            StatusCode::UNAUTHORIZED => ApiError::Unauthorized(said),
            StatusCode::FORBIDDEN if !is_limited => ApiError::Unauthorized(said),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN | StatusCode::REQUEST_TIMEOUT => {
                ApiError::Unavailable {
                    reason: said,
                    retry_after,
                }
            }
            status if status.is_server_error() => ApiError::Unavailable {
                reason: said,
                retry_after,
            },
            status if status.is_redirection() => ApiError::Invalid(format!(
                "{said}; a redirect is not followed, because the key would go along"
            )),
            _ => ApiError::Invalid(said),
        }
    }

    fn unavailable(&self, reason: &str) -> ApiError {
        ApiError::Unavailable {
            reason: self.without_key(reason),
            retry_after: None,
        }
    }

    /// A text of the other side's, in which the key may stand.
    fn without_key(&self, text: &str) -> String {
        text.replace(&self.settings.key.0, "[redacted]")
    }
}

fn read(answer: &mut Response<Body>) -> Result<Vec<u8>, Error> {
    let body = answer.body_mut().with_config();
    body.limit(MAX_ANSWER_BYTES).read_to_vec()
}

/// In seconds; a date is not waited for.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse();
    seconds.ok().map(Duration::from_secs)
}

/// What the provider says of an error, for people.
fn message(body: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let field = |name: &str| Some(document.as_ref()?.get(name)?.as_str()?.to_owned());
    let said = field("message").or_else(|| field("msg"));
    let said = said.unwrap_or_default();
    let printable = said.chars().filter(|c| !c.is_control());
    printable.take(MAX_MESSAGE_CHARS).collect()
}
