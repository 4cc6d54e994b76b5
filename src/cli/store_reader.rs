//! Reads the store's topics over HTTP, as any consumer would.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::command_error::CommandError;
use super::http_client::{HttpClient, HttpResponse};
use crate::admin::AdminToken;
use crate::spool::Body;

/// The longest one request waits for an event.
pub(super) const WAIT: Duration = Duration::from_secs(20);

/// A reader of the topics at a bridge's admin listener.
#[derive(Debug, Clone)]
pub(super) struct StoreReader {
    http: HttpClient,
    admin: String,
}

/// A topic of the store.
#[derive(Debug, Deserialize)]
pub(super) struct StoreTopic {
    /// Its name.
    pub name: String,
    /// The newest position ever given.
    pub last_position: u64,
}

/// An event of a topic.
#[derive(Debug, Deserialize)]
pub(super) struct StoreEntry {
    /// Its position in the topic, from 1.
    pub position: u64,
    /// The event's id.
    pub id: String,
    /// The message's key.
    pub key: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(flatten)]
    pub body: Body,
}

/// What a read found.
pub(super) enum TopicRead {
    /// These events; none where the wait was in vain.
    Entries(Vec<StoreEntry>),
    /// The topic ends before the position asked for: it was begun anew.
    BegunAnew,
}

impl StoreReader {
    /// A reader of the topics at `admin`, a base URL, where this token is asked for if any is.
    pub(super) fn new(admin: &str, token: Option<AdminToken>) -> Self {
        Self {
            http: HttpClient::to_operators(WAIT + Duration::from_secs(10), token),
            admin: admin.to_owned(),
        }
    }

    /// Where the events of a topic are.
    pub(super) fn url(&self, topic: &str, after: u64) -> String {
        format!("{}/topics/{topic}/events?after={after}", self.admin)
    }

    /// Every topic.
    pub(super) fn topics(&self) -> Result<Vec<StoreTopic>, CommandError> {
        let answer = self.http.get(&format!("{}/topics", self.admin))?;
        if answer.status == 404 {
            return Err(CommandError::Failed(anyhow!(
                "the bridge at {} has no store",
                self.admin
            )));
        }
        answer.value()
    }

    /// The events of a topic after a position, waiting up to `wait` (at most [`WAIT`]) for one.
    pub(super) fn read(
        &self,
        topic: &str,
        after: u64,
        wait: Duration,
    ) -> Result<TopicRead, CommandError> {
        let url = format!("{}&wait={}", self.url(topic, after), wait.as_secs());
        let answer = self.http.get(&url)?;
        match answer.status {
            200 => Ok(TopicRead::Entries(entries(&answer)?)),
            409 => Ok(TopicRead::BegunAnew),
            _ => Err(CommandError::Failed(anyhow!(
                "topic {topic}: {}",
                answer.message()
            ))),
        }
    }
}

fn entries(answer: &HttpResponse) -> Result<Vec<StoreEntry>, CommandError> {
    let lines = answer.body.split(|byte| *byte == b'\n');
    let entry = |line| serde_json::from_slice(line).context("the answer is not the store's");
    let entries: anyhow::Result<_> = lines.filter(|line| !line.is_empty()).map(entry).collect();
    entries.map_err(CommandError::Failed)
}

impl StoreEntry {
    /// The body's bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, CommandError> {
        match &self.body {
            Body::Text(text) => Ok(text.clone().into_bytes()),
            Body::Base64(text) => {
                let bytes = STANDARD.decode(text).context("the body is not base64");
                bytes.map_err(CommandError::Failed)
            }
        }
    }
}
