//! What an operator may see of the spool and change in it. It runs on the spool's own thread, so it
//! sees every commit and no half of one.

use std::sync::Arc;

use base64::Engine as _;
use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::record::{Record, Row};
use super::sinks;
use super::table::{self, DeadRow};
use super::tally::Tally;
use super::write::Writer;
use crate::event::{Content, Event, SinkIndex, SinkSet};
use crate::name::SinkName;

/// The most entries of one answer.
pub const MAX_LISTED: usize = 1000;

pub(super) type Inspector = Box<dyn FnOnce(&mut Inspection<'_>) + Send>;

/// Why an inspection failed.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// There is no such entry.
    #[error("there is no {0}")]
    NotFound(String),
    /// It is there, but cannot be done.
    #[error("{0}")]
    Impossible(String),
    /// The database said no.
    #[error("the spool's database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The spool is closed or cannot be read now.
    #[error("the spool cannot be read now")]
    Closed,
}

/// The spool in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// Bytes of the events and dead letters.
    pub bytes: i64,
    /// Bytes it may hold.
    pub max_bytes: u64,
    /// Events it may hold.
    pub max_events: u64,
    /// Each sink it knows.
    pub sinks: Vec<SinkOverview>,
}

/// One sink's share of the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkOverview {
    /// The sink.
    pub sink: SinkName,
    /// Events that wait for it.
    pub pending: i64,
    /// Dead letters of it.
    pub dead_letters: i64,
    /// When the oldest event that waits was received.
    pub oldest_received_at: Option<Timestamp>,
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEvent {
    /// Its place; later events have higher ones.
    pub sequence: u64,
    /// The sinks it was accepted for.
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
    /// Its number, by which it can be shown, requeued or dropped.
    pub number: i64,
    /// The sink that cannot take it.
    pub sink: SinkName,
    /// Why.
    pub reason: String,
    /// What the sink said.
    pub detail: String,
    /// When it was set aside.
    pub buried_at: Timestamp,
    /// Everything but its body; none where the record is damaged.
    pub event: Option<Event>,
    /// The body, where it was asked for.
    #[serde(flatten)]
    pub body: Option<Body>,
}

/// Access to the spool's tables for one inspection.
pub struct Inspection<'a> {
    connection: &'a mut Connection,
    sinks: &'a [(SinkIndex, SinkName)],
    writer: Writer<'a>,
    done: Done,
}

/// What an inspection changed.
#[derive(Default)]
pub(super) struct Done {
    pub requeued: Vec<Arc<Record>>,
    pub discarded: Vec<(SinkIndex, u64)>,
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

impl<'a> Inspection<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        sinks: &'a [(SinkIndex, SinkName)],
        writer: Writer<'a>,
    ) -> Self {
        Self {
            connection,
            sinks,
            writer,
            done: Done::default(),
        }
    }

    /// What was changed, and the numbers as they are now.
    pub(super) fn finish(self) -> (Done, Tally, u64) {
        (self.done, self.writer.tally, self.writer.next_sequence)
    }

    /// Runs `change` in a transaction; where it fails, the numbers stay as they were.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&Connection, &mut Writer<'a>) -> rusqlite::Result<T>,
    ) -> Result<T, InspectionError> {
        let before = self.writer.tally.clone();
        let transaction = self.connection.transaction()?;
        let result = change(&transaction, &mut self.writer)
            .and_then(|done| self.writer.tally.save(&before, &transaction).map(|()| done))
            .and_then(|done| transaction.commit().map(|()| done));
        if result.is_err() {
            self.writer.tally = before;
        }
        Ok(result?)
    }

    /// The spool in numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn overview(&self) -> Result<Overview, InspectionError> {
        let tally = &self.writer.tally;
        let known = sinks::set(self.sinks);
        let mut sinks = Vec::new();
        for (index, name) in self.sinks {
            let first = table::read_after(self.connection, (*index, known), 0, 1, 1)?.pop();
            sinks.push(SinkOverview {
                sink: name.clone(),
                pending: tally.pending[index.number()],
                dead_letters: tally.dead[index.number()],
                oldest_received_at: first
                    .and_then(|row| row.read().ok())
                    .map(|record| record.event().received_at()),
            });
        }
        let settings = self.writer.settings;
        Ok(Overview {
            bytes: tally.bytes,
            max_bytes: settings.limits.max_bytes,
            max_events: settings.limits.max_events,
            sinks,
        })
    }

    /// The events that wait for any sink, after sequence `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pending(
        &self,
        after: u64,
        limit: usize,
        with_body: bool,
    ) -> Result<Vec<PendingEvent>, InspectionError> {
        let rows = table::list_after(self.connection, after, limit.min(MAX_LISTED))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| self.pending_event(&row, with_body))
            .collect())
    }

    /// One event that waits, with its body.
    ///
    /// # Errors
    /// When there is none with this sequence.
    pub fn pending_one(&self, sequence: u64) -> Result<PendingEvent, InspectionError> {
        let row = table::read_one(self.connection, sequence)?;
        row.and_then(|row| self.pending_event(&row, true))
            .ok_or_else(|| InspectionError::NotFound(format!("event {sequence} in the spool")))
    }

    fn pending_event(&self, row: &Row, with_body: bool) -> Option<PendingEvent> {
        let record = row.read().ok()?;
        let position = record.position();
        let sinks = position
            .sinks
            .iter()
            .map(|index| self.name(index))
            .collect();
        let body = with_body.then(|| Body::of(record.event().body()));
        Some(PendingEvent {
            sequence: position.sequence,
            sinks,
            event: record.event().clone(),
            body,
        })
    }

    /// Drops every event that waits for `sink`. Only for a sink that no dispatcher serves.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn discard_pending(&mut self, sink: SinkIndex) -> Result<u64, InspectionError> {
        let sinks = (sink, sinks::set(self.sinks));
        let count = self.change(|connection, writer| {
            let (mut after, mut count) = (0, 0);
            loop {
                let rows = table::read_after(connection, sinks, after, MAX_LISTED, usize::MAX)?;
                let Some(last) = rows.last() else {
                    return Ok(count);
                };
                after = last.sequence;
                for row in rows.iter().filter(|row| row.sinks.contains(sink)) {
                    discard(connection, writer, row, sink)?;
                    count += 1;
                }
            }
        })?;
        self.done.discarded.push((sink, count));
        Ok(count)
    }

    /// The dead letters after number `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dead_letters(
        &self,
        after: i64,
        limit: usize,
        with_body: bool,
    ) -> Result<Vec<DeadLetter>, InspectionError> {
        let rows = table::dead_letters(self.connection, after, limit.min(MAX_LISTED))?;
        Ok(rows
            .into_iter()
            .map(|dead| self.dead_letter(dead, with_body))
            .collect())
    }

    /// One dead letter, with its body.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn dead_letter_one(&self, number: i64) -> Result<DeadLetter, InspectionError> {
        Ok(self.dead_letter(self.find_dead(number)?, true))
    }

    /// Puts a dead letter back among the events that wait.
    ///
    /// # Errors
    /// When there is none with this number, or its record is damaged.
    pub fn requeue(&mut self, number: i64) -> Result<(), InspectionError> {
        let dead = self.find_dead(number)?;
        if dead.row.verify().is_err() {
            let text = format!(
                "dead letter {number} is damaged and cannot be published; export it, look at its bytes, and drop it"
            );
            return Err(InspectionError::Impossible(text));
        }
        let record = self.change(|connection, writer| writer.requeue(connection, dead))?;
        self.done.requeued.push(record);
        Ok(())
    }

    /// Drops a dead letter for good.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn discard_dead_letter(&mut self, number: i64) -> Result<(), InspectionError> {
        let dead = self.find_dead(number)?;
        self.change(|connection, writer| {
            table::exhume(connection, number)?;
            writer.tally.dead[dead.sink.number()] -= 1;
            writer.tally.bytes -= i64::from(dead.row.bytes());
            Ok(())
        })
    }

    fn find_dead(&self, number: i64) -> Result<DeadRow, InspectionError> {
        let found = table::dead_letters(self.connection, number - 1, 1)?
            .pop()
            .filter(|dead| dead.number == number);
        found.ok_or_else(|| InspectionError::NotFound(format!("dead letter {number}")))
    }

    fn dead_letter(&self, dead: DeadRow, with_body: bool) -> DeadLetter {
        let body = with_body.then(|| Body::of(&dead.row.body));
        DeadLetter {
            number: dead.number,
            sink: self.name(dead.sink),
            reason: dead.reason,
            detail: dead.detail,
            buried_at: dead.buried_at,
            event: dead.row.read().ok().map(|record| record.event().clone()),
            body,
        }
    }

    /// The sink's name; a damaged file may hold a number that has none.
    fn name(&self, index: SinkIndex) -> SinkName {
        let known = self.sinks.iter().find(|(known, _)| *known == index);
        known.map_or_else(|| placeholder(index), |(_, name)| name.clone())
    }
}

/// The name of a sink whose own was lost.
pub(super) fn placeholder(index: SinkIndex) -> SinkName {
    SinkName::parse(&format!("unknown-{}", index.number())).expect("letters, a dash and digits")
}

fn discard(
    connection: &Connection,
    writer: &mut Writer<'_>,
    row: &Row,
    sink: SinkIndex,
) -> rusqlite::Result<()> {
    let settled = table::settled_sinks(connection, row.sequence)?;
    let left = SinkSet::from_bits(row.sinks.bits() & !settled.bits()).without(sink);
    let changed = table::settle(connection, row.position(), sink, left.is_empty())?;
    writer.tally.settle(sink, row.bytes(), changed);
    Ok(())
}

/// A short description of an event, for a list.
#[must_use]
pub fn describe(event: &Event) -> String {
    match event.content() {
        Content::Understood(content) => format!("{} {}", content.event_type, content.object_id),
        Content::Quarantined(quarantine) => format!("quarantine ({})", quarantine.reason.as_str()),
    }
}
