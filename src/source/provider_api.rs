//! A provider's REST API: requests with the source's own key, over TLS whose certificate was verified.
//! An [`ApiResponse`] is the proof that the provider has answered such a request, and what a
//! [`RecoveredDelivery`](super::RecoveredDelivery) is taken out of. Nothing else makes one.
//!
//! The client blocks; whoever calls it has a thread for it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use ureq::{Agent, Body, Error};

use super::api_proxy;
use crate::crypto::{self, Authorities};
use crate::name::SourceName;

/// How long a request may take, its answer included.
pub const API_DEADLINE: Duration = Duration::from_secs(30);
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

/// What one API has otherwise than others.
#[derive(Debug, Clone, Copy)]
pub struct ApiConventions {
    /// The header that shows the key, in lower case.
    pub key_header: &'static str,
    /// What stands before the key.
    pub key_prefix: &'static str,
    /// A header with a value that says of a 403 that too much was asked, and not that the key may not.
    pub limit_header: Option<(&'static str, &'static str)>,
    /// The members of an error's JSON that say what is wrong; the first that is there counts.
    pub message_members: &'static [&'static str],
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
    /// The answer is larger than 32 MiB.
    #[error("the answer of the provider's API is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
    /// There is nothing at this path.
    #[error("the provider's API has nothing there: {0}")]
    NotFound(String),
    /// The answer is none of this API.
    #[error("the provider's API answers otherwise than it should: {0}")]
    Invalid(String),
}

impl ApiError {
    /// The answer is of another shape. Nothing of it is repeated.
    #[must_use]
    pub fn not_json_of(what: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let found = match error.classify() {
            serde_json::error::Category::Data => "JSON of another shape",
            _ => "no JSON",
        };
        Self::Invalid(format!("{what}: {found} at line {line}, column {column}"))
    }
}

/// What the provider answered an authenticated request, over verified TLS: a status of success.
#[derive(Debug)]
pub struct ApiResponse {
    source: SourceName,
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

    /// Whether this text is a part of what a source was answered.
    pub(super) fn has(&self, source: &SourceName, text: &str) -> bool {
        let (whole, part) = (self.body.as_ptr_range(), text.as_bytes().as_ptr_range());
        self.source == *source && whole.start <= part.start && part.end <= whole.end
    }
}

/// A client of one source's API. Cloning it shares its connections.
#[derive(Debug, Clone)]
pub struct ProviderApi {
    source: SourceName,
    agent: Agent,
    settings: ApiSettings,
    conventions: ApiConventions,
}

impl ProviderApi {
    /// A client, through the proxy that the environment may name: see [`api_proxy`].
    #[must_use]
    pub fn new(source: &SourceName, settings: &ApiSettings, conventions: ApiConventions) -> Self {
        let config = Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            // The key would go along.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // One that cannot be used was a problem of the configuration.
            .proxy(api_proxy::of_environment().ok().flatten())
            .user_agent(concat!("hookferry/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(API_DEADLINE))
            .tls_config(crypto::requests_to(settings.authorities.as_ref()))
            .build();
        Self {
            source: source.clone(),
            agent: config.into(),
            settings: settings.clone(),
            conventions,
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
            source: self.source.clone(),
            headers: std::mem::take(answer.headers_mut()),
            body: body.into(),
        })
    }

    fn request(&self, request: &ApiRequest) -> Result<Request<()>, ApiError> {
        let ApiConventions {
            key_header,
            key_prefix,
            ..
        } = self.conventions;
        let mut key = HeaderValue::from_str(&format!("{key_prefix}{}", self.settings.key.0))
            .map_err(|_| ApiError::Unauthorized(ApiKeyError.to_string()))?;
        key.set_sensitive(true);
        let mut built = Request::builder()
            .method(&request.method)
            .uri(format!("{}{}", self.settings.url, request.path))
            .header(HeaderName::from_static(key_header), key);
        for (name, value) in &request.headers {
            built = built.header(*name, *value);
        }
        built
            .body(())
            .map_err(|error| ApiError::Invalid(error.to_string()))
    }

    /// What an answer that is none of success means.
    fn problem(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
        let said = match self.message(body).as_str() {
            "" => status.to_string(),
            said => format!("{status}: {said}"),
        };
        let retry_after = retry_after(headers);
        let limit = self.conventions.limit_header;
        let has_limit = limit
            .is_some_and(|(name, value)| headers.get(name).is_some_and(|given| given == value));
        let is_limited = retry_after.is_some() || has_limit;
        match status {
            StatusCode::UNAUTHORIZED => ApiError::Unauthorized(said),
            StatusCode::FORBIDDEN if !is_limited => ApiError::Unauthorized(said),
            StatusCode::NOT_FOUND => ApiError::NotFound(said),
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

    /// What the provider says of an error, for people.
    fn message(&self, body: &[u8]) -> String {
        let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let member = |name: &&str| Some(document.as_ref()?.get(name)?.as_str()?.to_owned());
        let said = self.conventions.message_members.iter().find_map(member);
        let said = self.without_key(&said.unwrap_or_default());
        let printable = said.chars().filter(|c| !c.is_control());
        printable.take(MAX_MESSAGE_CHARS).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const CONVENTIONS: ApiConventions = ApiConventions {
        key_header: "x-api-key",
        key_prefix: "",
        limit_header: Some(("x-ratelimit-remaining", "0")),
        message_members: &["message", "msg"],
    };

    fn problem(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> ApiError {
        let settings = ApiSettings {
            url: "https://api.example".to_owned(),
            key: ApiKey::parse("hush-hush").expect("a key"),
            authorities: None,
        };
        let name = SourceName::parse("lab").expect("a name");
        let api = ProviderApi::new(&name, &settings, CONVENTIONS);
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_static(value);
            (HeaderName::from_static(name), value)
        });
        let status = StatusCode::from_u16(status).expect("a status");
        api.problem(status, &headers.collect(), body.as_bytes())
    }

    #[test]
    fn a_problem_is_named_by_what_to_do_about_it() {
        let unavailable = |error: &ApiError| matches!(error, ApiError::Unavailable { .. });
        for status in [408, 429, 500, 502, 503] {
            assert!(unavailable(&problem(status, &[], "")), "{status}");
        }
        for status in [401, 403] {
            let error = problem(status, &[], "{\"message\":\"no such key\"}");
            assert!(matches!(&error, ApiError::Unauthorized(said) if said.contains("no such key")));
        }
        let limits = [("retry-after", "7"), ("x-ratelimit-remaining", "0")];
        for limit in limits {
            assert!(unavailable(&problem(403, &[limit], "")), "{limit:?}");
        }
        assert!(!unavailable(&problem(
            403,
            &[("x-ratelimit-remaining", "9")],
            ""
        )));
        assert!(matches!(problem(404, &[], ""), ApiError::NotFound(_)));
        let redirect = problem(302, &[("location", "https://elsewhere")], "").to_string();
        assert!(redirect.contains("the key would go along"), "{redirect}");
    }

    #[test]
    fn the_key_is_taken_out_of_what_the_provider_says_wherever_it_stands() {
        for before in [0, 5, 195, 197, 199, 205] {
            let body = format!("{{\"msg\":\"{}hush-hush\"}}", "x".repeat(before));
            let said = problem(400, &[], &body).to_string();
            assert!(!said.contains("hush"), "{before}: {said}");
        }
        let shape = serde_json::from_str::<u8>("\"hush-hush\"").expect_err("another shape");
        let said = ApiError::not_json_of("a list", &shape).to_string();
        assert!(
            said.contains("another shape") && !said.contains("hush"),
            "{said}"
        );
    }

    #[test]
    fn what_no_header_can_hold_is_no_key() {
        assert!(ApiKey::parse("7d1f-A_b.c").is_ok());
        for wrong in ["", "two words", "a\nb", "é"] {
            assert_eq!(ApiKey::parse(wrong), Err(ApiKeyError), "{wrong}");
        }
    }
}
