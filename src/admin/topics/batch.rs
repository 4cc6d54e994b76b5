//! Events as a CloudEvents 1.0 batch (JSON event format, sections 3.1 and 4).
//!
//! A body that was understood stands in `data` as it was received, spliced in and not encoded again;
//! every other body stands in `data_base64`, so that none can break the array for its reader. The format allows lower-case letters and digits in the names
//! of attributes, so our own headers lose their hyphens: `hookferry-origin` is `hookferryorigin`.
//! The topic's position and the key travel as `hookferryposition` and `partitionkey`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::sink::store::StoredMessage;

/// Writes all entries as one array.
pub(super) fn write(entries: &[StoredMessage]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_event(&mut out, entry);
    }
    out.push(b']');
    out
}

fn write_event(out: &mut Vec<u8>, entry: &StoredMessage) {
    serde_json::to_writer(&mut *out, &attributes(entry)).expect("texts always are JSON");
    // The object is open again, for the one member that is not a text of ours.
    out.pop();
    if is_json(entry) {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(&entry.body);
    } else {
        out.extend_from_slice(b",\"data_base64\":\"");
        out.extend_from_slice(STANDARD.encode(&entry.body).as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
}

fn attributes(entry: &StoredMessage) -> BTreeMap<String, Cow<'_, str>> {
    let mut attributes = BTreeMap::new();
    attributes.insert("partitionkey".into(), entry.key.as_str().into());
    // As a text, because the format's integers have 32 bits.
    let position = entry.position.to_string();
    attributes.insert("hookferryposition".into(), position.into());
    for (name, value) in &entry.headers {
        let name = match name.strip_prefix("ce_") {
            Some(name) => name.to_owned(),
            None if name == "content-type" => "datacontenttype".to_owned(),
            None => name.replace('-', ""),
        };
        attributes.insert(name, value.as_str().into());
    }
    attributes
}

/// Whether the body can stand in the array as it is: it was understood, which means strict JSON of
/// bounded depth, its type says JSON, and the bytes at hand still are.
fn is_json(entry: &StoredMessage) -> bool {
    // Without a type the format takes data for JSON.
    let says_json = entry
        .headers
        .get("content-type")
        .is_none_or(|content_type| {
            let media_type = content_type.split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case("application/json")
                || media_type.to_ascii_lowercase().ends_with("+json")
        });
    let is_understood = !entry.headers.contains_key("hookferry-reason");
    says_json && is_understood && is_json_text(&entry.body)
}

fn is_json_text(body: &[u8]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(body);
    std::str::from_utf8(body).is_ok()
        && IgnoredAny::deserialize(&mut reader).is_ok()
        && reader.end().is_ok()
}
