//! GitHub's deliveries of a hook: which failed, and a way to have them delivered again.
//!
//! Written after GitHub's REST API (version 2022-11-28), "Repository webhooks" and "Organization
//! webhooks": `GET {hook}/deliveries` lists the attempts of the last days, newest first, and
//! `POST {hook}/deliveries/{id}/attempts` has one delivered again. All attempts of one delivery have one
//! `guid`. What is delivered again arrives at the listener, signed, as any delivery.

mod attempts;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use ureq::http::Method;

use super::api_session::ApiSession;
use super::provider_record::{ProviderRecord, RecordPage};
use super::record_facts::RecordFacts;
use super::search::Search;
use crate::sink::Finding;
use crate::source::{ApiConventions, ApiError, ApiRequest, ApiResponse, Source};
use attempts::Attempts;

/// What the API needs of a configuration.
pub(super) const FACTS: RecordFacts = RecordFacts {
    url: None,
    url_remedy: "write the hook's URL in GitHub's API, such as \"https://api.github.com/repos/OWNER/REPO/hooks/ID\"",
    kept: Duration::from_secs(3 * 24 * 60 * 60),
    has_events: false,
};
const CONVENTIONS: ApiConventions = ApiConventions {
    key_header: "authorization",
    key_prefix: "Bearer ",
    limit_header: Some(("x-ratelimit-remaining", "0")),
    message_members: &["message"],
};
const HEADERS: [(&str, &str); 2] = [
    ("accept", "application/vnd.github+json"),
    ("x-github-api-version", "2022-11-28"),
];

/// The record.
#[derive(Debug)]
pub(super) struct GitHubRecord {
    source: Source,
    session: ApiSession,
    since: Timestamp,
    /// Whether event types are chosen, which an attempt must then have.
    has_types: bool,
    total: Option<u64>,
    is_listed: bool,
}

/// A hook.
#[derive(Deserialize)]
struct Hook {
    active: bool,
    events: Vec<String>,
    config: HookConfig,
}

/// A hook's `config`.
#[derive(Deserialize)]
struct HookConfig {
    url: Option<String>,
}

impl GitHubRecord {
    pub fn new(source: &Source, session: impl FnOnce(ApiConventions) -> ApiSession) -> Self {
        Self {
            source: source.clone(),
            session: session(CONVENTIONS),
            since: Timestamp::MIN,
            has_types: false,
            total: None,
            is_listed: false,
        }
    }

    async fn attempts(&mut self) -> Result<Attempts, ApiError> {
        let mut attempts = Attempts::default();
        let mut cursor: Option<String> = None;
        loop {
            let response = self.session.send(&page(cursor.as_deref())).await?;
            let is_over = attempts.take(&response, self.since)?;
            cursor = response.header("link").and_then(next_cursor);
            if is_over || cursor.is_none() {
                return Ok(attempts);
            }
        }
    }
}

fn page(cursor: Option<&str>) -> ApiRequest {
    let mut query = form_urlencoded::Serializer::new("per_page=100".to_owned());
    query.extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
    get(format!("/deliveries?{}", query.finish()))
}

fn get(path: String) -> ApiRequest {
    ApiRequest {
        headers: HEADERS.to_vec(),
        ..ApiRequest::get(path)
    }
}

/// The cursor of the next page (RFC 8288, `rel="next"`). The URL is not followed: the key goes nowhere
/// but to the configured one.
fn next_cursor(link: &str) -> Option<String> {
    let is_next = |link: &&str| link.contains("rel=\"next\"");
    let next = link.split(',').find(is_next)?;
    let (_, query) = next.split_once('?')?;
    let query = query.split('>').next()?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let cursor = pairs.find(|(name, _)| name == "cursor")?;
    Some(cursor.1.into_owned())
}

#[async_trait]
impl ProviderRecord for GitHubRecord {
    fn begin(&mut self, search: &Search) {
        self.since = search.since;
        self.has_types = search.event_types.is_some();
        self.total = None;
        self.is_listed = false;
    }

    /// All of it at once: whether a delivery has worked is known when all its attempts are.
    async fn next_page(&mut self) -> Result<Option<RecordPage>, ApiError> {
        if std::mem::replace(&mut self.is_listed, true) {
            return Ok(None);
        }
        let page = self.attempts().await?.into_page(self.has_types);
        self.total = Some((page.entries.len() + page.answered) as u64);
        Ok(Some(page))
    }

    fn total(&self) -> Option<u64> {
        self.total
    }

    async fn redeliver(&mut self, name: &str) -> Result<(), ApiError> {
        let request = ApiRequest {
            method: Method::POST,
            ..get(format!("/deliveries/{name}/attempts"))
        };
        self.session.send(&request).await.map(drop)
    }

    async fn check(&mut self) -> Vec<Finding> {
        let hook = self.session.send_once(&get(String::new())).await;
        let hook = match hook.and_then(|response| read_hook(&response)) {
            Ok(hook) => hook,
            Err(error) => return vec![unusable(&error)],
        };
        let listed = get("/deliveries?per_page=1".to_owned());
        let mut findings = match self.session.send_once(&listed).await {
            Ok(_) => vec![Finding::good("the key lists deliveries")],
            Err(error) => vec![unusable(&error)],
        };
        findings.extend(of_hook(&self.source, &hook));
        findings
    }
}

fn read_hook(response: &ApiResponse) -> Result<Hook, ApiError> {
    let read = serde_json::from_slice(response.body());
    read.map_err(|error| ApiError::not_json_of("a hook", &error))
}

fn unusable(error: &ApiError) -> Finding {
    let remedy = match error {
        ApiError::Unauthorized(_) => {
            "give a token that may read and write the hook: the repository permission \"Webhooks\", or the scope admin:repo_hook (admin:org_hook of an organization)"
        }
        ApiError::Unavailable { .. } => {
            "is `url` right, does `ca_file` vouch for it, is there a proxy (HTTPS_PROXY)?"
        }
        ApiError::NotFound(_) => {
            "is `url` that of the hook, such as https://api.github.com/repos/OWNER/REPO/hooks/ID, and may the token see it?"
        }
        ApiError::TooLarge | ApiError::Invalid(_) => FACTS.url_remedy,
    };
    Finding::error(error.to_string(), remedy)
}

fn of_hook(source: &Source, hook: &Hook) -> Vec<Finding> {
    let path = format!("/webhooks/{}", source.name);
    let url = hook.config.url.as_deref().unwrap_or_default();
    let mut findings = Vec::new();
    if !url.trim_end_matches('/').ends_with(&path) {
        findings.push(Finding::warning(
            format!("the hook's URL {url} does not end in {path}"),
            "is it the hook of this source? Behind a proxy that changes paths it may be",
        ));
    }
    let events = hook.events.join(", ");
    findings.push(if hook.active {
        Finding::good(format!("the hook is active, for {events}"))
    } else {
        Finding::error("the hook is not active", "activate it in its settings")
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_known_by_its_cursor() {
        let link = "<https://api.github.com/repositories/1/hooks/2/deliveries?per_page=100&cursor=v1_99%2F3>; rel=\"next\"";
        assert_eq!(next_cursor(link).as_deref(), Some("v1_99/3"));
        let both = format!("<https://x/?cursor=v1_1>; rel=\"prev\", {link}");
        assert_eq!(next_cursor(&both).as_deref(), Some("v1_99/3"));
        assert_eq!(next_cursor("<https://x/?cursor=v1_1>; rel=\"prev\""), None);
        assert_eq!(next_cursor(""), None);
    }
}
