//! A row of the list of events.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::backfill::provider_record::{EntryContent, RecordEntry, UnreadableEntry};
use crate::event::{Content, Event};
use crate::source::{ApiError, ApiResponse, RecoveredDelivery, Source};

/// The most characters of a status that are told.
const MAX_STATUS_CHARS: usize = 40;

/// What a row is known by: its `$uri`, or all of it where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RowKey([u8; 16]);

impl RowKey {
    pub fn of(bytes: &[u8]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Self(key)
    }
}

/// A row that was read.
#[derive(Debug)]
pub(super) struct ReadRow {
    pub key: RowKey,
    pub entry: Result<RecordEntry, UnreadableEntry>,
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

/// Reads the rows of an answer. One that is no event must not hide the others; a body with more than
/// `max_body_bytes` would find no place behind the listener.
///
/// # Errors
/// When it is no list.
pub(super) fn read(
    source: &Source,
    response: &ApiResponse,
    max_body_bytes: usize,
    now: Timestamp,
) -> Result<Vec<ReadRow>, ApiError> {
    let rows: Vec<&RawValue> = serde_json::from_slice(response.body())
        .map_err(|error| ApiError::not_json_of("a list of events", &error))?;
    let row = |(number, raw): (usize, &&RawValue)| {
        let Ok(row) = serde_json::from_str::<EventRow<'_>>(raw.get()) else {
            return ReadRow {
                key: RowKey::of(raw.get().as_bytes()),
                entry: Err(UnreadableEntry {
                    name: format!("row {} of a page", number + 1),
                    reason: "it has not the members of an event, or others of another type".into(),
                }),
            };
        };
        ReadRow {
            key: RowKey::of(row.uri.as_bytes()),
            entry: entry(source, response, &row, max_body_bytes, now).map_err(|reason| {
                UnreadableEntry {
                    name: row.uri.escape_debug().take(100).collect(),
                    reason,
                }
            }),
        }
    };
    Ok(rows.iter().enumerate().map(row).collect())
}

fn entry(
    source: &Source,
    response: &ApiResponse,
    row: &EventRow<'_>,
    max_body_bytes: usize,
    now: Timestamp,
) -> Result<RecordEntry, String> {
    let recovered = RecoveredDelivery::read(source, response, row.payload, now)
        .map_err(|error| error.to_string())?;
    let bytes = recovered.delivery().body().len();
    if bytes > max_body_bytes {
        return Err(format!(
            "its payload has {bytes} bytes, and max_body is {max_body_bytes}"
        ));
    }
    let preview = Event::preview(recovered.delivery());
    let (event_type, triggered_at) = match &preview.content {
        Content::Understood(content) => {
            let time = content.triggered_at.ok_or("its payload has no time")?;
            (content.event_type.to_string(), time)
        }
        Content::Quarantined(quarantine) => {
            let reason = quarantine.reason.as_str();
            return Err(format!("its payload cannot be understood: {reason}"));
        }
    };
    let printable = row.status.chars().filter(|c| !c.is_control());
    Ok(RecordEntry {
        name: row.uri.rsplit('/').next().unwrap_or_default().to_owned(),
        event_type,
        triggered_at,
        is_delivered: row.status == "success",
        status: printable.take(MAX_STATUS_CHARS).collect(),
        not_before: None,
        content: EntryContent::Delivery(Box::new(recovered), preview),
    })
}
