//! GitHub's deliveries of a hook: which failed, and a way to have them delivered again.
//!
//! Written after GitHub's REST API (version 2022-11-28), "Repository webhooks" and "Organization
//! webhooks": `GET {hook}/deliveries` lists the attempts of the last days, newest first, and
//! `POST {hook}/deliveries/{id}/attempts` has one delivered again. All attempts of one delivery have one
//! `guid`. What is delivered again arrives at the listener, signed, as any delivery.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use ureq::http::Method;

use super::api_session::ApiSession;
use super::provider_record::{
    EntryContent, ProviderRecord, RecordEntry, RecordPage, UnreadableEntry,
};
use super::search::Search;
use crate::name::EventType;
use crate::sink::Finding;
use crate::source::{ApiError, ApiRequest, ApiResponse, KeyHeader, Source};

const KEY: KeyHeader = KeyHeader {
    name: "authorization",
    prefix: "Bearer ",
};
const HEADERS: [(&str, &str); 2] = [
    ("accept", "application/vnd.github+json"),
    ("x-github-api-version", "2022-11-28"),
];
/// After the second attempt that failed; each further one doubles it, so that a delivery that the
/// listener refuses for good is not sent to it for ever.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// Doubling it more often makes no difference within the days that GitHub keeps deliveries.
const MAX_DOUBLINGS: u32 = 10;
/// A hook with more attempts in a few days is none.
const MAX_ATTEMPTS_LISTED: usize = 1_000_000;

/// The record.
#[derive(Debug)]
pub(super) struct GitHubRecord {
    source: Source,
    session: ApiSession,
    since: Timestamp,
    listed: u64,
    is_listed: bool,
}

/// An attempt to deliver, as the API has it.
#[derive(Debug, Deserialize)]
struct Attempt {
    id: u64,
    guid: String,
    delivered_at: Timestamp,
    status: String,
    status_code: u16,
    event: String,
    action: Option<String>,
}

/// All attempts of one delivery.
#[derive(Debug)]
struct Delivery {
    first: Timestamp,
    latest: Attempt,
    attempts: u32,
    has_worked: bool,
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
    pub fn new(source: &Source, session: impl FnOnce(KeyHeader) -> ApiSession) -> Self {
        Self {
            source: source.clone(),
            session: session(KEY),
            since: Timestamp::MIN,
            listed: 0,
            is_listed: false,
        }
    }

    async fn attempts(&mut self) -> Result<HashMap<String, Delivery>, ApiError> {
        let (mut deliveries, mut seen) = (HashMap::new(), HashSet::new());
        let mut cursor: Option<String> = None;
        loop {
            let response = self.session.send(&page(cursor.as_deref())).await?;
            let attempts: Vec<Attempt> = read(&response)?;
            let is_over = attempts
                .last()
                .is_none_or(|last| last.delivered_at < self.since);
            let before = seen.len();
            for attempt in attempts {
                if seen.insert(attempt.id) {
                    add(&mut deliveries, attempt);
                }
            }
            self.listed = seen.len() as u64;
            let is_circle = seen.len() == before;
            let next = response.header("link").and_then(next_cursor);
            if is_over || is_circle || next.is_none() {
                return Ok(deliveries);
            }
            if seen.len() > MAX_ATTEMPTS_LISTED {
                return Err(ApiError::Invalid("the list does not end".to_owned()));
            }
            cursor = next;
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

fn read<'a, T: Deserialize<'a>>(response: &'a ApiResponse) -> Result<T, ApiError> {
    let read = serde_json::from_slice(response.body());
    read.map_err(|error| ApiError::Invalid(format!("this is none of GitHub's: {error}")))
}

/// The attempts are listed from the newest on.
fn add(deliveries: &mut HashMap<String, Delivery>, attempt: Attempt) {
    let has_worked = (200..300).contains(&attempt.status_code);
    match deliveries.get_mut(&attempt.guid) {
        Some(delivery) => {
            delivery.first = delivery.first.min(attempt.delivered_at);
            delivery.attempts += 1;
            delivery.has_worked |= has_worked;
            if attempt.delivered_at > delivery.latest.delivered_at {
                delivery.latest = attempt;
            }
        }
        None => {
            let delivery = Delivery {
                first: attempt.delivered_at,
                attempts: 1,
                has_worked,
                latest: attempt,
            };
            deliveries.insert(delivery.latest.guid.clone(), delivery);
        }
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

impl Delivery {
    /// As an entry, if its event has a name that a type can have.
    fn entry(self) -> Result<RecordEntry, UnreadableEntry> {
        let Attempt {
            id,
            delivered_at,
            status,
            event,
            action,
            ..
        } = self.latest;
        let event_type = action.map_or(event.clone(), |action| format!("{event}.{action}"));
        let event_type = EventType::parse(&event_type).map_err(|error| UnreadableEntry {
            name: id.to_string(),
            reason: error.to_string(),
        })?;
        let doublings = self.attempts.saturating_sub(2).min(MAX_DOUBLINGS);
        let pause = FIRST_PAUSE * (1 << doublings);
        let not_before = delivered_at.checked_add(pause).ok();
        Ok(RecordEntry {
            name: id.to_string(),
            event_type,
            object_id: None,
            triggered_at: self.first,
            status,
            is_failed: true,
            not_before: not_before.filter(|_| self.attempts > 1),
            content: EntryContent::Redelivery,
        })
    }
}

#[async_trait]
impl ProviderRecord for GitHubRecord {
    fn begin(&mut self, search: &Search) {
        self.since = search.since;
        self.listed = 0;
        self.is_listed = false;
    }

    /// All of it at once: whether a delivery has worked is known when all its attempts are. What GitHub
    /// was answered 2xx for was answered by this bridge, so that both parts of the record are one.
    async fn next_page(&mut self) -> Result<Option<RecordPage>, ApiError> {
        if std::mem::replace(&mut self.is_listed, true) {
            return Ok(None);
        }
        let deliveries = self.attempts().await?;
        let missing = deliveries.into_values().filter(|it| !it.has_worked);
        Ok(Some(missing.map(Delivery::entry).collect()))
    }

    fn total(&self) -> Option<u64> {
        Some(self.listed)
    }

    async fn redeliver(&mut self, name: &str) -> Result<(), ApiError> {
        let request = ApiRequest {
            method: Method::POST,
            ..get(format!("/deliveries/{name}/attempts"))
        };
        self.session.send(&request).await.map(drop)
    }

    async fn check(&mut self) -> Vec<Finding> {
        let hook = self.session.send(&get(String::new())).await;
        let hook = hook.and_then(|response| read::<Hook>(&response));
        let hook = match hook {
            Ok(hook) => hook,
            Err(error) => return vec![unusable(&error)],
        };
        let listed = get("/deliveries?per_page=1".to_owned());
        let mut findings = match self.session.send(&listed).await {
            Ok(_) => vec![Finding::good("the key lists deliveries")],
            Err(error) => vec![unusable(&error)],
        };
        findings.extend(of_hook(&self.source, &hook));
        findings
    }
}

fn unusable(error: &ApiError) -> Finding {
    let remedy = match error {
        ApiError::Unauthorized(_) => {
            "give a token that may read and write the hook: the repository permission \"Webhooks\", or the scope admin:repo_hook (admin:org_hook of an organization)"
        }
        ApiError::Unavailable { .. } => {
            "is `url` right, does `ca_file` vouch for it, is there a proxy (HTTPS_PROXY)?"
        }
        ApiError::TooLarge | ApiError::Invalid(_) => {
            "is `url` that of the hook, such as https://api.github.com/repos/OWNER/REPO/hooks/ID, and may the token see it?"
        }
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

    fn attempt(id: u64, guid: &str, minute: i64, status_code: u16) -> Attempt {
        Attempt {
            id,
            guid: guid.to_owned(),
            delivered_at: Timestamp::from_second(minute * 60).expect("a time"),
            status: "".to_owned(),
            status_code,
            event: "pull_request".to_owned(),
            action: Some("opened".to_owned()),
        }
    }

    #[test]
    fn a_delivery_is_missing_until_one_of_its_attempts_has_worked() {
        let mut deliveries = HashMap::new();
        for attempt in [
            attempt(5, "b", 50, 503),
            attempt(4, "a", 40, 200),
            attempt(3, "b", 30, 0),
            attempt(2, "b", 20, 502),
            attempt(1, "a", 10, 500),
        ] {
            add(&mut deliveries, attempt);
        }
        assert!(deliveries["a"].has_worked && !deliveries["b"].has_worked);
        let missing = deliveries.remove("b").map(Delivery::entry);
        let missing = missing.expect("listed").expect("its type has a name");
        assert_eq!(missing.name, "5", "the newest is delivered again");
        assert_eq!(missing.event_type.as_str(), "pull_request.opened");
        assert_eq!(missing.triggered_at.as_second(), 20 * 60);
        // After the third failure twice ten minutes.
        let not_before = missing.not_before.map(Timestamp::as_second);
        assert_eq!(not_before, Some(70 * 60));
    }

    #[test]
    fn after_the_first_failure_nothing_waits() {
        let mut deliveries = HashMap::new();
        add(&mut deliveries, attempt(1, "a", 10, 500));
        let missing = deliveries.remove("a").map(Delivery::entry);
        let missing = missing.expect("listed").expect("its type has a name");
        assert_eq!(missing.not_before, None);
    }

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
