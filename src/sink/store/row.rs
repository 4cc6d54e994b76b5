//! A message as the log keeps it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::route::Templates;
use crate::sink::Message;

/// What is written for one message, made before it waits for its commit.
#[derive(Debug)]
pub(super) struct Row {
    /// The topic's name.
    pub topic: String,
    /// The event's id.
    pub id: String,
    /// The message's key.
    pub key: String,
    /// The headers, as a JSON object of strings.
    pub headers: String,
    /// The body, as received.
    pub body: Bytes,
}

impl Row {
    /// The row for a message.
    pub fn of(message: &Message, topics: &Templates) -> Self {
        Self {
            topic: message.address(topics),
            id: message.id().to_string(),
            key: message.key().into_owned(),
            headers: headers(message),
            body: message.body().clone(),
        }
    }

    /// What the row takes, in bytes, without the log's own structure.
    pub fn bytes(&self) -> usize {
        self.id.len() + self.key.len() + self.headers.len() + self.body.len()
    }
}

/// The names are those of the Kafka sink, so that a consumer can change over without a new parser.
fn headers(message: &Message) -> String {
    let attributes = message.cloud_event();
    let extensions = message.extensions();
    let mut headers: BTreeMap<Cow<'_, str>, &str> = BTreeMap::new();
    headers.insert("content-type".into(), message.event().content_type());
    for (name, value) in &attributes {
        headers.insert(format!("ce_{name}").into(), value);
    }
    for (name, value) in &extensions {
        headers.insert((*name).into(), value);
    }
    serde_json::to_string(&headers).expect("strings always are JSON")
}
