//! One Codex's Events API: the events of the last 30 days, with their payloads.
//!
//! Written after the vendor's documentation (`GET /api/v1/events`) and the server's recorded schema.
//! What shapes it:
//! - An event has `$uri`, `payload` and `status`, and no time of its own; nothing can be sorted or
//!   filtered by time. The payload is an object, or a string that holds one.
//! - `Link` lacks `where` and is never followed: pages are counted until `X-Total-Count` rows are there.
//!   Where the first answer has `X-Next-Cursor`, the cursor is followed instead.
//! - Pages drift while events come and expire, so that a row can be skipped: the list is gone through
//!   until a pass finds nothing new.
//! - `status` counts all subscriptions of the account, so that it narrows a search and decides nothing.

use std::borrow::Cow;
use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api_session::ApiSession;
use super::provider_record::{
    EntryContent, ProviderRecord, RecordEntry, RecordPage, UnreadableEntry,
};
use super::search::{RecordPart, Search};
use crate::event::{Content, Event, Understood};
use crate::sink::Finding;
use crate::source::{ApiError, ApiRequest, ApiResponse, KeyHeader, RecoveredDelivery, Source};

/// Where the API is.
pub(super) const URL: &str = "https://app.onecodex.com";

/// The key's header. HTTP Basic and a bearer token would do as well.
const KEY: KeyHeader = KeyHeader {
    name: "x-api-key",
    prefix: "",
};
/// What failed, or may fail still. `status` takes `$eq`, `$ne` and `$in` only.
const FAILED: &str = r#"{"status":{"$in":["failed","retryable"]}}"#;
/// Rows of a page; the API has 1,000 at most.
const PER_PAGE: u64 = 500;
/// So often the list is gone through.
const MAX_PASSES: u32 = 3;
/// After so many pages in a row without a row that is new to the pass, the list goes in a circle.
const MAX_IDLE_PAGES: u32 = 10;
/// A list with more rows is none of 30 days.
const MAX_ROWS: usize = 1_000_000;

/// The record.
#[derive(Debug)]
pub(super) struct OneCodexRecord {
    source: Source,
    session: ApiSession,
    part: RecordPart,
    per_page: u64,
    total: Option<u64>,
    /// The rows of all passes, by their names.
    seen: HashSet<String>,
    pass: Pass,
}

/// One way through the list.
#[derive(Debug, Default)]
struct Pass {
    /// From 1.
    number: u32,
    /// Where it goes on; none, once it has ended.
    next: Option<Place>,
    requests: u32,
    idle_pages: u32,
    /// Its rows, by their names: one that comes twice has pushed another one out of its page.
    rows: HashSet<String>,
    found_new: bool,
}

/// Where a page is.
#[derive(Debug, Clone)]
enum Place {
    Number(u64),
    Cursor(String),
}

impl Pass {
    fn of(number: u32) -> Self {
        Self {
            number,
            next: Some(Place::Number(1)),
            ..Self::default()
        }
    }
}

/// A row, and what it is known by.
struct Row<'a> {
    name: String,
    read: Result<EventRow<'a>, String>,
}

/// An event as the API has it.
#[derive(Deserialize)]
struct EventRow<'a> {
    #[serde(rename = "$uri", borrow)]
    uri: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

/// A webhook subscription.
#[derive(Deserialize)]
struct Subscription {
    enabled: bool,
    event_type: String,
    post_url: String,
}

impl OneCodexRecord {
    pub fn new(source: &Source, session: impl FnOnce(KeyHeader) -> ApiSession) -> Self {
        Self {
            source: source.clone(),
            session: session(KEY),
            part: RecordPart::Failed,
            per_page: PER_PAGE,
            total: None,
            seen: HashSet::new(),
            pass: Pass::default(),
        }
    }

    fn request(&self, place: &Place) -> ApiRequest {
        let mut query = form_urlencoded::Serializer::new(String::new());
        match place {
            Place::Number(page) => query.append_pair("page", &page.to_string()),
            Place::Cursor(cursor) => query.append_pair("cursor", cursor),
        };
        query.append_pair("per_page", &self.per_page.to_string());
        if self.part == RecordPart::Failed {
            query.append_pair("where", FAILED);
        }
        ApiRequest {
            headers: vec![("x-pagination-style", "cursor")],
            ..ApiRequest::get(format!("/api/v1/events?{}", query.finish()))
        }
    }

    /// Takes a page in: what is new of it, with the pass moved on.
    fn take(&mut self, place: &Place, response: &ApiResponse) -> Result<RecordPage, ApiError> {
        let rows = rows(response)?;
        let number = |text: &str| text.trim().parse().ok();
        self.total = response.header("x-total-count").and_then(number);
        let now = Timestamp::now();
        let is_empty = rows.is_empty();
        let before = self.pass.rows.len();
        let mut fresh = RecordPage::new();
        for row in rows {
            self.pass.rows.insert(row.name.clone());
            if self.seen.insert(row.name.clone()) {
                fresh.push(self.entry(row, response, now));
            }
        }
        if self.seen.len() > MAX_ROWS {
            let said = format!("the list has more than {MAX_ROWS} events");
            return Err(ApiError::Invalid(said));
        }
        self.pass.found_new |= !fresh.is_empty();
        self.pass.requests += 1;
        let is_idle = self.pass.rows.len() == before;
        self.pass.idle_pages = if is_idle { self.pass.idle_pages + 1 } else { 0 };
        let is_over = is_empty || self.pass.idle_pages >= MAX_IDLE_PAGES;
        self.pass.next = self.next_place(place, response).filter(|_| !is_over);
        Ok(fresh)
    }

    /// Where the pass goes on behind a page that was not the last.
    fn next_place(&self, place: &Place, response: &ApiResponse) -> Option<Place> {
        let cursor = response.header("x-next-cursor");
        let cursor = cursor.filter(|it| !it.is_empty()).map(str::to_owned);
        match (place, cursor) {
            (Place::Number(1) | Place::Cursor(_), Some(cursor)) => Some(Place::Cursor(cursor)),
            (Place::Cursor(_), None) => None,
            (Place::Number(page), _) => {
                let rows = self.pass.rows.len() as u64;
                let is_whole = self.total.is_some_and(|total| rows >= total);
                (!is_whole).then_some(Place::Number(page + 1))
            }
        }
    }

    /// The pass after one that has ended; none where that one has shown that nothing is missing.
    fn next_pass(&self) -> Option<Pass> {
        let Pass {
            number, requests, ..
        } = self.pass;
        // What is on one page was true at one moment.
        let is_certain = requests <= 1 || (number > 1 && !self.pass.found_new && self.is_whole());
        if is_certain || number == 0 {
            return None;
        }
        if number >= MAX_PASSES {
            tracing::info!(source = %self.source.name, listed = self.seen.len(), total = self.total, "the provider's list of events changed while it was read; what may be missing of it is for the next run");
            return None;
        }
        Some(Pass::of(number + 1))
    }

    fn is_whole(&self) -> bool {
        self.total
            .is_none_or(|total| self.seen.len() as u64 >= total)
    }

    /// Smaller pages, from the first one on; none can be smaller than one row.
    fn divide_pages(&mut self) -> Result<(), ApiError> {
        if self.per_page == 1 {
            return Err(ApiError::TooLarge);
        }
        self.per_page /= 2;
        self.pass = Pass {
            // The rows of the first half stay; they are not new again.
            found_new: self.pass.found_new,
            ..Pass::of(self.pass.number)
        };
        Ok(())
    }

    fn entry(
        &self,
        row: Row<'_>,
        response: &ApiResponse,
        now: Timestamp,
    ) -> Result<RecordEntry, UnreadableEntry> {
        let Row { name, read } = row;
        let read = read.and_then(|row| Ok((self.event(&row, response, now)?, row.status)));
        let (event, status) = match read {
            Ok(read) => read,
            Err(reason) => return Err(UnreadableEntry { name, reason }),
        };
        let Content::Understood(Understood {
            event_type,
            object_id,
            triggered_at: Some(triggered_at),
        }) = event.content().clone()
        else {
            let reason = "its payload has no time".to_owned();
            return Err(UnreadableEntry { name, reason });
        };
        Ok(RecordEntry {
            name,
            event_type,
            object_id: object_id.as_ref().map(ToString::to_string),
            triggered_at,
            is_failed: matches!(&*status, "failed" | "retryable"),
            status: status.into_owned(),
            not_before: None,
            content: EntryContent::Event(Box::new(event)),
        })
    }

    /// The event of a row. Of an object the answer's own bytes are kept.
    fn event(
        &self,
        row: &EventRow<'_>,
        response: &ApiResponse,
        now: Timestamp,
    ) -> Result<Event, String> {
        let raw = row.payload.get();
        let body = match raw.as_bytes().first() {
            Some(b'{') => Bytes::copy_from_slice(raw.as_bytes()),
            Some(b'"') => {
                let text: String = serde_json::from_str(raw).map_err(|error| error.to_string())?;
                Bytes::from(text)
            }
            _ => return Err("its payload is neither an object nor a string".to_owned()),
        };
        let event = Event::read(RecoveredDelivery::read(&self.source, response, body, now));
        match event.content() {
            Content::Understood(_) => Ok(event),
            Content::Quarantined(quarantine) => Err(format!(
                "its payload cannot be understood: {}",
                quarantine.detail
            )),
        }
    }
}

/// The rows of an answer. One that is no event must not hide the others.
fn rows(response: &ApiResponse) -> Result<Vec<Row<'_>>, ApiError> {
    let rows: Vec<&RawValue> = serde_json::from_slice(response.body())
        .map_err(|error| ApiError::Invalid(format!("there is no list of events: {error}")))?;
    Ok(rows.into_iter().map(Row::read).collect())
}

impl<'a> Row<'a> {
    fn read(raw: &'a RawValue) -> Self {
        match serde_json::from_str::<EventRow<'_>>(raw.get()) {
            Ok(row) => Self {
                name: row.uri.rsplit('/').next().unwrap_or_default().to_owned(),
                read: Ok(row),
            },
            Err(error) => Self {
                name: raw.get().chars().take(100).collect(),
                read: Err(format!("it is no event of the API: {error}")),
            },
        }
    }
}

#[async_trait]
impl ProviderRecord for OneCodexRecord {
    fn begin(&mut self, search: &Search) {
        self.part = search.part;
        self.total = None;
        self.seen.clear();
        self.pass = Pass::of(1);
    }

    async fn next_page(&mut self) -> Result<Option<RecordPage>, ApiError> {
        loop {
            let Some(place) = self.pass.next.clone() else {
                match self.next_pass() {
                    Some(pass) => self.pass = pass,
                    None => return Ok(None),
                }
                continue;
            };
            let answer = self.session.send(&self.request(&place)).await;
            let response = match answer {
                Err(ApiError::TooLarge) => {
                    self.divide_pages()?;
                    continue;
                }
                answer => answer?,
            };
            let fresh = self.take(&place, &response)?;
            if !fresh.is_empty() {
                return Ok(Some(fresh));
            }
        }
    }

    fn total(&self) -> Option<u64> {
        self.total
    }

    async fn redeliver(&mut self, _name: &str) -> Result<(), ApiError> {
        let said = "this API delivers nothing again".to_owned();
        Err(ApiError::Invalid(said))
    }

    async fn check(&mut self) -> Vec<Finding> {
        let listed = ApiRequest::get("/api/v1/events?per_page=1".to_owned());
        let listed = self.session.send(&listed).await;
        let listed = listed.and_then(|response| rows(&response).map(|_| ()));
        if let Err(error) = listed {
            return vec![unusable(&error)];
        }
        let mut findings = vec![Finding::good("the key lists events")];
        let webhooks = ApiRequest::get("/api/v1/webhooks".to_owned());
        let subscriptions = self.session.send(&webhooks).await.and_then(|response| {
            let read: Result<Vec<Subscription>, _> = serde_json::from_slice(response.body());
            read.map_err(|error| ApiError::Invalid(error.to_string()))
        });
        match subscriptions {
            Ok(subscriptions) => findings.extend(of_webhook(&self.source, &subscriptions)),
            Err(error) => findings.push(Finding::warning(
                format!("the webhook's subscription cannot be looked at: {error}"),
                "look in the account's settings whether it is there and enabled",
            )),
        }
        findings
    }
}

fn unusable(error: &ApiError) -> Finding {
    let remedy = match error {
        ApiError::Unauthorized(_) => "put the account's API key into the file or variable of `key`",
        ApiError::Unavailable { .. } => {
            "is `url` right, does `ca_file` vouch for it, is there a proxy (HTTPS_PROXY)?"
        }
        ApiError::TooLarge | ApiError::Invalid(_) => "is `url` that of the provider's API?",
    };
    Finding::error(error.to_string(), remedy)
}

/// What is found of the subscriptions whose URL is this source's.
fn of_webhook(source: &Source, subscriptions: &[Subscription]) -> Vec<Finding> {
    let path = format!("/webhooks/{}", source.name);
    let is_ours = |it: &&Subscription| it.post_url.trim_end_matches('/').ends_with(&path);
    let ours: Vec<&Subscription> = subscriptions.iter().filter(is_ours).collect();
    if ours.is_empty() {
        return vec![Finding::error(
            format!("no subscription's URL ends in {path}, so nothing is delivered to this source"),
            "subscribe the bridge's URL in the account's settings; behind a proxy that changes paths, compare them there",
        )];
    }
    let finding = |it: &&Subscription| {
        let what = format!("the subscription of {} to {}", it.event_type, it.post_url);
        if it.enabled {
            Finding::good(format!("{what} is enabled"))
        } else {
            Finding::error(
                format!("{what} is disabled"),
                "enable it in the account's settings",
            )
        }
    };
    ours.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(post_url: &str, enabled: bool) -> Subscription {
        Subscription {
            enabled,
            event_type: "*".to_owned(),
            post_url: post_url.to_owned(),
        }
    }

    #[test]
    fn a_subscription_is_known_by_the_path_of_its_source() {
        let provider = crate::source::built_in("onecodex").expect("built in");
        let name = crate::name::SourceName::parse("lab").expect("a name");
        let source = Source::new(name, provider, Vec::new());
        let found = |subscriptions: &[Subscription]| {
            let findings = of_webhook(&source, subscriptions);
            let said: Vec<String> = findings.into_iter().map(|it| it.found).collect();
            said.join("\n")
        };
        let ours = subscription("https://bridge.example.com/webhooks/lab", true);
        assert!(found(&[ours]).ends_with("is enabled"));
        let ours = subscription("https://bridge.example.com/webhooks/lab/", false);
        assert!(found(&[ours]).ends_with("is disabled"));
        let other = subscription("https://bridge.example.com/webhooks/lab2", true);
        assert!(found(&[other]).contains("no subscription's URL ends in /webhooks/lab"));
        assert!(found(&[]).contains("no subscription"));
    }
}
