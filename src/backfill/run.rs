//! One run: what is missing is found, and brought back.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::missing::{EntryPlace, MissingEntries};
use super::provider_record::{EntryContent, ProviderRecord, RecordEntry, UnreadableEntry};
use super::run_counts::{EventResult, RunCounts};
use super::run_error::RunError;
use super::run_line::{MissingEvent, Progress, RunLine, Summary};
use super::search::Search;
use crate::event::{Event, EventId};
use crate::name::SourceName;
use crate::pipeline::{AcceptStatus, Pipeline, Terms};
use crate::source::ApiError;

/// Ids that are looked up at once: deliveries wait meanwhile.
const IDS_AT_ONCE: usize = 64;
/// This part of the spool is left to deliveries.
const LARGEST_FILL_RATIO: f64 = 0.5;
/// How long a run waits for the spool to get emptier; the next one goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits for whoever hears of it.
pub(super) const READER_PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A run.
#[derive(Debug)]
pub struct Run<'a> {
    /// Whose events.
    pub source: &'a SourceName,
    /// Where they are listed.
    pub record: &'a mut dyn ProviderRecord,
    /// Where they are accepted.
    pub pipeline: &'a Pipeline,
    /// On what terms.
    pub terms: Arc<Terms>,
    /// What is looked for.
    pub search: Search,
    /// Whether nothing is brought back.
    pub dry_run: bool,
    /// Whoever wants to hear of it.
    pub lines: Option<mpsc::Sender<RunLine>>,
}

impl Run<'_> {
    /// Runs to the end. It can be dropped at any time: what was accepted goes its way.
    ///
    /// # Errors
    /// When the list could not be read whole, or what is missing was not accepted.
    pub async fn run(mut self) -> Result<Summary, RunError> {
        let (metrics, source) = (Arc::clone(&self.pipeline.metrics), self.source);
        let mut counts = RunCounts::new(&metrics, source);
        let ended = self.rounds(&mut counts).await;
        self.log(&counts);
        ended.map(|()| counts.summary(self.dry_run))
    }

    /// As many lists as it takes until none is cut short. Each begins behind the one before it: what a
    /// route drops stays missing.
    async fn rounds(&mut self, counts: &mut RunCounts<'_>) -> Result<(), RunError> {
        let mut behind = None;
        loop {
            let missing = self.missing(behind.as_ref(), counts).await?;
            counts.list_ended();
            counts.missing += missing.len() as u64;
            let is_cut = missing.is_cut;
            for (place, entry) in missing.into_entries() {
                self.tell(RunLine::Missing(MissingEvent::of(&entry))).await;
                if !self.dry_run {
                    let result = self.bring_back(entry).await?;
                    counts.add(result);
                    self.tell_progress(counts);
                }
                behind = Some(place);
            }
            if !is_cut {
                return Ok(());
            }
        }
    }

    /// Lists the record, and keeps what is missing.
    async fn missing(
        &mut self,
        behind: Option<&EntryPlace>,
        counts: &mut RunCounts<'_>,
    ) -> Result<MissingEntries, RunError> {
        let mut missing = MissingEntries::behind(behind);
        let since = self.pipeline.spool.remembers_since();
        if since == i64::MAX {
            return Err(RunError::Reindexing);
        }
        self.record.begin(&self.search);
        while let Some(page) = self.record.next_page().await? {
            counts.list(page.len());
            let mut wanted = Vec::new();
            for entry in page {
                match entry {
                    Ok(entry) => wanted.extend(self.wanted(entry, counts)),
                    Err(entry) => self.unreadable(&entry, counts),
                }
            }
            let is_known = self.known(&wanted).await?;
            for (entry, is_known) in wanted.into_iter().zip(is_known) {
                let is_forgotten = !entry.is_failed && entry.triggered_at.as_second() < since;
                if is_known {
                    counts.add_listed(EventResult::Known);
                } else if is_forgotten {
                    counts.add_listed(EventResult::Forgotten);
                } else {
                    missing.add(entry);
                }
            }
            self.tell_progress(counts);
        }
        Ok(missing)
    }

    /// The entry, if it is looked for and old enough.
    fn wanted(&self, entry: RecordEntry, counts: &mut RunCounts<'_>) -> Option<RecordEntry> {
        let Search { since, until, .. } = self.search;
        if entry.triggered_at < since || !self.search.takes(&entry.event_type) {
            return None;
        }
        let waits = entry.not_before.is_some_and(|from| from > Timestamp::now());
        if entry.triggered_at >= until || waits {
            counts.add_listed(EventResult::TooYoung);
            return None;
        }
        Some(entry)
    }

    fn unreadable(&self, entry: &UnreadableEntry, counts: &mut RunCounts<'_>) {
        counts.add_listed(EventResult::Unreadable);
        let (source, name, reason) = (self.source, &entry.name, &entry.reason);
        tracing::debug!(%source, name, reason, "an entry of the provider's record is no event");
    }

    /// Which of these the spool knows; of a delivery that is to be repeated only its bytes tell.
    async fn known(&self, entries: &[RecordEntry]) -> Result<Vec<bool>, RunError> {
        let mut known = Vec::with_capacity(entries.len());
        for some in entries.chunks(IDS_AT_ONCE) {
            let id = |entry: &RecordEntry| match &entry.content {
                EntryContent::Event(event) => Some(event.deduplication_id()),
                EntryContent::Redelivery => None,
            };
            let ids: Vec<Option<EventId>> = some.iter().map(id).collect();
            let asked = ids.iter().flatten().copied().collect();
            let mut answers = self.pipeline.spool.known(asked).await?.into_iter();
            known.extend(
                ids.iter()
                    .map(|id| id.is_some() && answers.next() == Some(true)),
            );
        }
        Ok(known)
    }

    async fn bring_back(&mut self, entry: RecordEntry) -> Result<EventResult, RunError> {
        if let EntryContent::Event(event) = entry.content {
            return self.accept(*event).await;
        }
        match self.record.redeliver(&entry.name).await {
            Ok(()) => Ok(EventResult::Redelivered),
            // It may have gone from the record meanwhile; the others must not wait for it.
            Err(ApiError::Invalid(reason)) => {
                let (source, name) = (self.source, &entry.name);
                tracing::warn!(%source, name, reason, "the provider does not deliver an entry of its record again");
                Ok(EventResult::Unreadable)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn accept(&self, event: Event) -> Result<EventResult, RunError> {
        let began = Instant::now();
        while self.pipeline.spool.fill_ratio() > LARGEST_FILL_RATIO {
            if began.elapsed() > PATIENCE {
                return Err(RunError::SpoolHalfFull);
            }
            sleep(LOOK_AGAIN).await;
        }
        let accepted = self.pipeline.accept_event(event, &self.terms).await?;
        Ok(match accepted.status() {
            AcceptStatus::Accepted | AcceptStatus::Quarantined => EventResult::Recovered,
            // It was delivered meanwhile.
            AcceptStatus::Duplicate => EventResult::Known,
            AcceptStatus::Dropped => EventResult::Dropped,
        })
    }

    /// Who has not read the last progress yet needs no other.
    fn tell_progress(&self, counts: &RunCounts<'_>) {
        let done = [
            EventResult::Recovered,
            EventResult::Redelivered,
            EventResult::Dropped,
        ];
        let progress = Progress {
            listed: counts.listed,
            total: self.record.total(),
            missing: counts.missing,
            done: done.into_iter().map(|result| counts.of(result)).sum(),
        };
        if let Some(lines) = &self.lines {
            // It is full, or closed.
            let _ = lines.try_send(RunLine::Progress(progress));
        }
    }

    /// A reader that takes no line any more is left behind.
    async fn tell(&mut self, line: RunLine) {
        if let Some(lines) = &self.lines
            && lines.send_timeout(line, READER_PATIENCE).await.is_err()
        {
            self.lines = None;
        }
    }

    /// That events were missing is what an operator must hear of.
    fn log(&self, counts: &RunCounts<'_>) {
        let source = self.source;
        let (recovered, redelivered) = (
            counts.of(EventResult::Recovered),
            counts.of(EventResult::Redelivered),
        );
        if recovered + redelivered > 0 {
            tracing::warn!(%source, recovered, redelivered, "events that no webhook had brought were recovered from the provider's record: deliveries are being lost");
        }
    }
}
