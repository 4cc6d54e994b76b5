//! What an operator may see of the spool: through the bridge that runs on it, or, where none runs,
//! by reading its folder and changing nothing. Lists are bounded in bytes and read no bodies unless
//! they are asked for.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::dead_letters::{DAMAGED, DeadLetterFile, DeadLetterName};
use super::error::SpoolError;
use super::folder;
use super::record::SpoolRecord;
use super::shared::SharedSpool;
use crate::event::{Content, Event};
use crate::name::SinkName;

/// The most entries of one answer.
pub const MAX_LISTED: usize = 1000;
/// Bytes of records that one answer is made from, unless one alone has more.
const MAX_LISTED_BYTES: usize = 4 << 20;

/// Why an inspection failed.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// There is no such entry.
    #[error("there is no {0}")]
    NotFound(String),
    /// It is there, but cannot be done.
    #[error("{0}")]
    Impossible(String),
    /// The disk says no for now.
    #[error("the spool cannot do it now: {0}")]
    Unavailable(String),
    /// The spool is closed.
    #[error("the spool is closed")]
    Closed,
}

/// The spool in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolOverview {
    /// Bytes of the events that wait.
    pub bytes: u64,
    /// Bytes of all its files.
    pub file_bytes: u64,
    /// Bytes its files may have; none where only the folder was looked at.
    pub max_bytes: Option<u64>,
    /// Events it may hold; as above.
    pub max_events: Option<u64>,
    /// Records that were lost to damage, ever.
    pub lost_records: u64,
    /// Each sink it knows.
    pub sinks: Vec<SinkOverview>,
}

/// One sink's share of the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkOverview {
    /// The sink.
    pub sink: SinkName,
    /// Events that wait for it.
    pub pending: u64,
    /// Dead letters of it.
    pub dead_letters: u64,
    /// Events that waited for it and were lost to damage, ever.
    pub lost: u64,
    /// When the oldest event that waits was received.
    pub oldest_received_at: Option<Timestamp>,
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEvent {
    /// Its place; later events have higher ones.
    pub sequence: u64,
    /// The sinks that still wait for it.
    pub sinks: Vec<SinkName>,
    /// Everything but its body.
    pub event: Event,
    /// The body, where it was asked for.
    #[serde(flatten)]
    pub body: Option<Body>,
}

/// A body as JSON can carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The unchanged text.
    #[serde(rename = "body")]
    Text(String),
    /// The unchanged bytes, where they are no UTF-8.
    #[serde(rename = "body_base64")]
    Base64(String),
}

/// An event set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its name, by which it can be shown, requeued or dropped.
    pub name: DeadLetterName,
    /// The sink that cannot take it.
    pub sink: SinkName,
    /// Why.
    pub reason: String,
    /// What the sink said.
    pub detail: String,
    /// When it was set aside; none where the dead letter does not check.
    pub set_aside_at: Option<Timestamp>,
    /// Everything but its body; none where the dead letter does not check.
    pub event: Option<Event>,
    /// The body, where it was asked for.
    #[serde(flatten)]
    pub body: Option<Body>,
}

/// Access to a spool for looking at it.
#[derive(Debug, Clone)]
pub struct SpoolView {
    shared: Arc<SharedSpool>,
}

impl Body {
    /// The body as JSON can carry it.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(base64::engine::general_purpose::STANDARD.encode(bytes)),
        }
    }
}

impl SpoolView {
    pub(super) fn of(shared: Arc<SharedSpool>) -> Self {
        Self { shared }
    }

    /// Looks at the folder of a stopped bridge, and changes nothing in it. None where a bridge runs
    /// on it.
    ///
    /// # Errors
    /// When there is no spool, or it cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>, SpoolError> {
        folder::is_no_file(path)?;
        if folder::is_held(path)? {
            return Ok(None);
        }
        let shared = Arc::new(folder::look(path)?);
        Ok(Some(Self::of(shared)))
    }

    /// The spool in numbers.
    ///
    /// # Errors
    /// When the oldest events cannot be read.
    pub fn overview(&self) -> Result<SpoolOverview, InspectionError> {
        let inner = self.shared.lock();
        let state = &inner.state;
        let (mut sinks, mut oldest) = (Vec::new(), Vec::new());
        for known in &state.sinks {
            let pending = state.pending(known.index);
            oldest.push(pending.first_from(0));
            sinks.push(SinkOverview {
                pending: pending.count(),
                dead_letters: self.shared.dead_letters.count(&known.name) as u64,
                lost: state.lost_totals.get(&known.name).copied().unwrap_or(0),
                oldest_received_at: None,
                sink: known.name.clone(),
            });
        }
        let (bytes, lost_records) = (state.live_bytes(), state.lost_records);
        drop(inner);
        for (sink, oldest) in sinks.iter_mut().zip(oldest) {
            let records = self.records(oldest.as_slice(), 1, false)?;
            let received_at = records.first().map(|record| record.event().received_at());
            sink.oldest_received_at = received_at;
        }
        // The writer thread says its limits; where none runs, nobody does.
        let flags = &self.shared.flags;
        let limit = |said: &AtomicU64| Some(said.load(Ordering::Relaxed)).filter(|it| *it > 0);
        Ok(SpoolOverview {
            bytes,
            file_bytes: flags.file_bytes.load(Ordering::Relaxed),
            max_bytes: limit(&flags.max_bytes),
            max_events: limit(&flags.max_events),
            lost_records,
            sinks,
        })
    }

    /// The events that wait for any sink, after sequence `after`, oldest first: at most `limit`, and
    /// fewer where they are large. None means that there are no more.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn pending(
        &self,
        after: u64,
        limit: usize,
        bodies: bool,
    ) -> Result<Vec<PendingEvent>, InspectionError> {
        let mut after = after;
        loop {
            let sequences = self.pending_after(after, limit.min(MAX_LISTED));
            let records = self.records(&sequences, MAX_LISTED_BYTES, bodies)?;
            let events = records
                .iter()
                .filter_map(|it| self.pending_event(it, bodies));
            let events: Vec<PendingEvent> = events.collect();
            let Some(last) = sequences.last().filter(|_| events.is_empty()) else {
                return Ok(events);
            };
            // All of them have left since; those behind have not been read yet.
            let last_read = records.last().map(|record| record.position().sequence);
            after = last_read.unwrap_or(*last);
        }
    }

    /// One event that waits, with its body.
    ///
    /// # Errors
    /// When there is none with this sequence.
    pub fn pending_one(&self, sequence: u64) -> Result<PendingEvent, InspectionError> {
        let records = self.records(&[sequence], MAX_LISTED_BYTES, true)?;
        let event = records
            .first()
            .and_then(|record| self.pending_event(record, true));
        event.ok_or_else(|| InspectionError::NotFound(format!("event {sequence} in the spool")))
    }

    /// The events with these sequences that wait, without their bodies.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn pending_at(&self, sequences: &[u64]) -> Result<Vec<PendingEvent>, InspectionError> {
        let records = self.records(sequences, MAX_LISTED_BYTES, false)?;
        let events = records
            .iter()
            .filter_map(|it| self.pending_event(it, false));
        Ok(events.collect())
    }

    /// The dead letters of events with these sequences, without their bodies.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn dead_letters_of(&self, sequences: &[u64]) -> Result<Vec<DeadLetter>, InspectionError> {
        let sinks = self.shared.lock().state.sinks.clone();
        let names = sequences.iter().flat_map(|sequence| {
            sinks.iter().map(|sink| DeadLetterName {
                sequence: *sequence,
                sink: sink.name.clone(),
            })
        });
        let mut found = Vec::new();
        for name in names.filter(|name| self.shared.dead_letters.has(name)) {
            match self.described(&name, false) {
                Ok((letter, _)) => found.push(letter),
                // It has left since it was listed.
                Err(InspectionError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The dead letters after one, in the order of their names: at most `limit`, and fewer where
    /// they are large. None means that there are no more.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn dead_letters(
        &self,
        after: Option<&DeadLetterName>,
        limit: usize,
        bodies: bool,
    ) -> Result<Vec<DeadLetter>, InspectionError> {
        let (mut dead_letters, mut bytes) = (Vec::new(), 0);
        let mut after = after.cloned();
        while dead_letters.len() < limit.min(MAX_LISTED) && bytes < MAX_LISTED_BYTES {
            let Some(name) = self
                .shared
                .dead_letters
                .names_after(after.as_ref(), 1)
                .pop()
            else {
                break;
            };
            match self.described(&name, bodies) {
                Ok((letter, size)) => {
                    bytes += size;
                    dead_letters.push(letter);
                }
                // It has left since it was listed.
                Err(InspectionError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            after = Some(name);
        }
        Ok(dead_letters)
    }

    /// One dead letter, with its body.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetter, InspectionError> {
        Ok(self.described(name, true)?.0)
    }

    /// What a dead letter says, and the bytes of its record; of one that does not check, that it does not.
    fn described(
        &self,
        name: &DeadLetterName,
        bodies: bool,
    ) -> Result<(DeadLetter, usize), InspectionError> {
        let letter = match self.letter(name) {
            Err(InspectionError::Impossible(_)) => None,
            letter => Some(letter?),
        };
        let event = letter.as_ref().map(|letter| letter.record.event());
        let size = letter.as_ref().map(|letter| letter.record.position().bytes);
        let described = DeadLetter {
            name: name.clone(),
            sink: name.sink.clone(),
            event: event.cloned(),
            body: event.filter(|_| bodies).map(|it| Body::of(it.body())),
            set_aside_at: letter.as_ref().map(|letter| letter.set_aside_at),
            reason: letter.as_ref().map_or("damaged", |it| &it.reason).into(),
            detail: letter.as_ref().map_or(DAMAGED, |it| &it.detail).into(),
        };
        Ok((described, size.unwrap_or(0) as usize))
    }

    /// A dead letter as it lies on the disk; one that does not check is `Impossible`.
    pub(super) fn letter(&self, name: &DeadLetterName) -> Result<DeadLetterFile, InspectionError> {
        let read = self.shared.dead_letters.read(name);
        read.map_err(|error| match error.kind() {
            ErrorKind::NotFound => InspectionError::NotFound(format!("dead letter {name}")),
            ErrorKind::InvalidData => {
                InspectionError::Impossible(format!("dead letter {name}: {error}"))
            }
            _ => InspectionError::Unavailable(error.to_string()),
        })
    }

    fn pending_after(&self, after: u64, limit: usize) -> Vec<u64> {
        let inner = self.shared.lock();
        let state = &inner.state;
        let of_sinks = state.sinks.iter().flat_map(|sink| {
            let pending = state.pending(sink.index);
            pending.iter_from(after.saturating_add(1)).take(limit)
        });
        let sequences: BTreeSet<u64> = of_sinks.collect();
        sequences.into_iter().take(limit).collect()
    }

    fn records(
        &self,
        sequences: &[u64],
        bytes: usize,
        bodies: bool,
    ) -> Result<Vec<Arc<SpoolRecord>>, InspectionError> {
        let read = if bodies {
            self.shared.read(sequences, bytes)
        } else {
            self.shared.read_heads(sequences, bytes)
        };
        read.map_err(|error| InspectionError::Unavailable(error.to_string()))
    }

    fn pending_event(&self, record: &SpoolRecord, bodies: bool) -> Option<PendingEvent> {
        let sequence = record.position().sequence;
        let inner = self.shared.lock();
        let waiting = inner.state.waiting_for(sequence);
        let names = waiting.iter().map(|sink| inner.state.name_of(sink));
        let sinks: Vec<SinkName> = names.collect();
        drop(inner);
        // It may have left since it was read.
        (!sinks.is_empty()).then(|| PendingEvent {
            sequence,
            sinks,
            event: record.event().clone(),
            body: bodies.then(|| Body::of(record.event().body())),
        })
    }
}

/// A short description of an event, for a list.
#[must_use]
pub fn describe(event: &Event) -> String {
    match event.content() {
        Content::Understood(content) => match &content.object_id {
            Some(object) => format!("{} {object}", content.event_type),
            None => content.event_type.to_string(),
        },
        Content::Quarantined(quarantine) => format!("quarantine ({})", quarantine.reason.as_str()),
    }
}
