//! Events as one JSON object a line.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::sink::store::StoredMessage;

#[derive(Serialize)]
struct EventLine<'a> {
    position: u64,
    id: &'a str,
    key: &'a str,
    headers: &'a BTreeMap<String, String>,
    /// How long the body is.
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Writes a line for each entry. The body stands in `body` as its text, or in `body_base64` where
/// it is not UTF-8; either way the very bytes can be had back. Without `bodies` there is neither.
pub(super) fn write(entries: &[StoredMessage], bodies: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut out, &line(entry, bodies))
            .expect("texts and numbers always are JSON");
        out.push(b'\n');
    }
    out
}

fn line(entry: &StoredMessage, bodies: bool) -> EventLine<'_> {
    let text = std::str::from_utf8(&entry.body).ok();
    let is_base64 = bodies && text.is_none();
    EventLine {
        position: entry.position,
        id: &entry.id,
        key: &entry.key,
        headers: &entry.headers,
        bytes: entry.body.len(),
        body: text.filter(|_| bodies),
        body_base64: is_base64.then(|| STANDARD.encode(&entry.body)),
    }
}
