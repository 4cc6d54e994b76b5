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

mod pass;
mod row;
mod subscription;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::api_session::ApiSession;
use super::provider_record::{ProviderRecord, RecordPage};
use super::record_facts::RecordFacts;
use super::search::{RecordPart, Search};
use crate::sink::Finding;
use crate::source::{ApiConventions, ApiError, ApiRequest, ApiResponse, Source};
use pass::{Pass, Place};
use row::{ReadRow, RowKey};
use subscription::Subscription;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the API needs of a configuration.
pub(super) const FACTS: RecordFacts = RecordFacts {
    url: Some("https://app.onecodex.com"),
    url_remedy: "leave the key out, or write the URL of One Codex, such as \"https://app.onecodex.com\"",
    kept: DAY.saturating_mul(30),
    has_events: true,
};
/// HTTP Basic and a bearer token would do as well.
const CONVENTIONS: ApiConventions = ApiConventions {
    key_header: "x-api-key",
    key_prefix: "",
    limit_header: None,
    message_members: &["message", "msg"],
};
/// What failed, or may fail still. `status` takes `$eq`, `$ne` and `$in` only.
const FAILED: &str = r#"{"status":{"$in":["failed","retryable"]}}"#;
/// Rows of a page; the API has 1,000 at most.
const PER_PAGE: u64 = 500;
/// So often the list is gone through.
const MAX_PASSES: u32 = 3;
/// A list with more rows is none of 30 days.
const MAX_ROWS: usize = 1_000_000;

/// The record.
#[derive(Debug)]
pub(super) struct OneCodexRecord {
    source: Arc<Source>,
    max_body_bytes: usize,
    session: ApiSession,
    part: RecordPart,
    per_page: u64,
    total: Option<u64>,
    /// The rows of all passes.
    seen: HashSet<RowKey>,
    pass: Pass,
}

impl OneCodexRecord {
    pub fn new(
        source: &Source,
        max_body_bytes: usize,
        session: impl FnOnce(ApiConventions) -> ApiSession,
    ) -> Self {
        Self {
            source: Arc::new(source.clone()),
            max_body_bytes,
            session: session(CONVENTIONS),
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

    /// Reads a page's rows, away from the async threads: a page may have some megabytes.
    async fn rows(&self, response: ApiResponse) -> Result<Vec<ReadRow>, ApiError> {
        let (source, most) = (Arc::clone(&self.source), self.max_body_bytes);
        let read = move || row::read(&source, &response, most, Timestamp::now());
        let panicked = |_| ApiError::Invalid("it could not be read".to_owned());
        tokio::task::spawn_blocking(read).await.map_err(panicked)?
    }

    /// Takes a page in, with the pass moved on: what is new of it.
    fn take(&mut self, rows: Vec<ReadRow>, next: Option<Place>) -> Result<RecordPage, ApiError> {
        let is_new = self
            .pass
            .take(rows.iter().map(|row| row.key), next, self.total);
        let fresh = rows.into_iter().filter(|row| self.seen.insert(row.key));
        let page = RecordPage {
            entries: fresh.map(|row| row.entry).collect(),
            answered: 0,
        };
        self.pass.found_new |= !page.entries.is_empty();
        if self.seen.len() > MAX_ROWS {
            let said = format!("the list has more than {MAX_ROWS} events");
            return Err(ApiError::Invalid(said));
        }
        is_new.map(|()| page)
    }

    /// The pass after one that has ended; none where that one has shown that nothing is missing, or
    /// there were enough.
    fn next_pass(&self) -> Option<Pass> {
        // What is on one page was true at one moment.
        let is_certain = self.pass.requests <= 1
            || (self.pass.number > 1 && !self.pass.found_new && self.is_whole());
        let is_last = is_certain || self.pass.number >= MAX_PASSES;
        (!is_last).then(|| Pass::of(self.pass.number + 1))
    }

    /// Smaller pages, from the first one on; none can be smaller than one row.
    fn divide_pages(&mut self) -> Result<(), ApiError> {
        if self.per_page == 1 {
            return Err(ApiError::TooLarge);
        }
        self.per_page /= 2;
        let found_new = self.pass.found_new;
        self.pass = Pass::of(self.pass.number);
        self.pass.found_new = found_new;
        Ok(())
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
                // There is no such page any more.
                Err(ApiError::NotFound(_)) if place.is_behind_the_first() => {
                    self.pass.next = None;
                    continue;
                }
                answer => answer?,
            };
            let number = |text: &str| text.trim().parse().ok();
            self.total = response.header("x-total-count").and_then(number);
            let next = place.next(response.header("x-next-cursor"));
            let rows = self.rows(response).await?;
            let page = self.take(rows, next)?;
            if !page.entries.is_empty() {
                return Ok(Some(page));
            }
        }
    }

    fn total(&self) -> Option<u64> {
        self.total
    }

    fn is_whole(&self) -> bool {
        let total = self.total;
        total.is_none_or(|total| self.seen.len() as u64 >= total)
    }

    async fn redeliver(&mut self, name: &str) -> Result<(), ApiError> {
        let said = format!("event {name} cannot be delivered again by this API");
        Err(ApiError::Invalid(said))
    }

    async fn check(&mut self) -> Vec<Finding> {
        let listed = ApiRequest::get("/api/v1/events?per_page=1".to_owned());
        let rows = match self.session.send_once(&listed).await {
            Ok(response) => self.rows(response).await,
            Err(error) => Err(error),
        };
        if let Err(error) = rows {
            return vec![unusable(&error)];
        }
        let mut findings = vec![Finding::good("the key lists events")];
        let webhooks = ApiRequest::get("/api/v1/webhooks".to_owned());
        let answer = self.session.send_once(&webhooks).await;
        match answer.and_then(|response| Subscription::read(&response)) {
            Ok(all) => findings.extend(subscription::findings(&self.source, &all)),
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
        ApiError::TooLarge | ApiError::NotFound(_) | ApiError::Invalid(_) => FACTS.url_remedy,
    };
    Finding::error(error.to_string(), remedy)
}
