//! The spool of a running bridge, read and changed over HTTP through its operators' listener.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::command_error::CommandError;
use super::http_client::{HttpClient, HttpResponse};
use super::page_request::PageRequest;
use super::spool_inspection::SpoolInspection;
use crate::admin::{AdminToken, ChangeCount};
use crate::name::SinkName;
use crate::spool::{DeadLetter, DeadLetterName, PendingEvent, SpoolOverview};

/// How long one answer may take; dropping a million events takes its time.
const DEADLINE: Duration = Duration::from_secs(120);

/// A client of the operators' listener.
pub(super) struct AdminClient {
    http: HttpClient,
    url: String,
}

impl AdminClient {
    /// A client of the listener at `url`, which demands this token if any.
    pub(super) fn new(url: String, token: Option<AdminToken>) -> Self {
        Self {
            http: HttpClient::to_operators(DEADLINE, token),
            url,
        }
    }

    /// Drops what waits for a sink; returns how many that were.
    pub(super) fn drop_pending(&self, sink: &SinkName) -> Result<u64, CommandError> {
        let dropped = self.delete(&format!("/spool/sinks/{sink}"))?;
        Ok(dropped.count)
    }

    /// Puts a dead letter back among the events that wait.
    pub(super) fn requeue(&self, name: &DeadLetterName) -> Result<(), CommandError> {
        let url = format!("{}/dead-letters/{name}/requeue", self.url);
        self.value::<ChangeCount>(self.http.change(&url)).map(drop)
    }

    /// Drops a dead letter.
    pub(super) fn drop_dead_letter(&self, name: &DeadLetterName) -> Result<(), CommandError> {
        self.delete(&format!("/dead-letters/{name}")).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.value(self.http.get(&format!("{}{path}", self.url)))
    }

    fn delete(&self, path: &str) -> Result<ChangeCount, CommandError> {
        self.value(self.http.delete(&format!("{}{path}", self.url)))
    }

    fn value<T: DeserializeOwned>(
        &self,
        response: anyhow::Result<HttpResponse>,
    ) -> Result<T, CommandError> {
        let context = || {
            let url = &self.url;
            format!(
                "no bridge answers at {url}: start it (hookferry serve), or name its admin listener with --admin"
            )
        };
        response.with_context(context)?.value()
    }
}

impl SpoolInspection for AdminClient {
    fn overview(&self) -> Result<SpoolOverview, CommandError> {
        self.get("/spool")
    }

    fn pending(&self, page: &PageRequest<u64>) -> Result<Vec<PendingEvent>, CommandError> {
        self.get(&format!("/spool/events{}", query(page)))
    }

    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, CommandError> {
        self.get(&format!("/spool/events/{sequence}"))
    }

    fn dead_letters(
        &self,
        page: &PageRequest<DeadLetterName>,
    ) -> Result<Vec<DeadLetter>, CommandError> {
        self.get(&format!("/dead-letters{}", query(page)))
    }

    fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetter, CommandError> {
        self.get(&format!("/dead-letters/{name}"))
    }
}

/// A page as a query. Sequences and names of dead letters have no character that would be escaped.
fn query<P: Display>(page: &PageRequest<P>) -> String {
    let PageRequest { limit, bodies, .. } = page;
    let after = match &page.after {
        Some(position) => format!("&after={position}"),
        None => String::new(),
    };
    format!("?limit={limit}&bodies={bodies}{after}")
}
