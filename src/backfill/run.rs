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
use super::run_memory::RunMemory;
use super::search::Search;
use crate::event::EventId;
use crate::history::{DeliveryNotes, DeliveryOutcome, DeliveryRecord, EventNotes, UnixMicros};
use crate::name::SourceName;
use crate::pipeline::{AcceptStatus, Accepted, Pipeline, Refusal, Terms};
use crate::source::{ApiError, EventOrigin, RecoveredDelivery};

/// This part of the spool is left to deliveries.
const LARGEST_FILL_RATIO: f64 = 0.5;
/// How long a run waits for the spool; the next one goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks whether it need not wait any more.
const POLL: Duration = Duration::from_millis(200);
/// How long it waits for whoever hears of it.
pub(super) const READER_PATIENCE: Duration = Duration::from_secs(60);

/// A run.
#[derive(Debug)]
pub struct Run<'a> {
    /// Whose events.
    pub source: &'a SourceName,
    /// Where they are listed.
    pub record: &'a mut dyn ProviderRecord,
    /// What the runs before it have brought back.
    pub memory: &'a mut RunMemory,
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
            counts.list_ended(self.record.is_whole());
            counts.missing += missing.len() as u64;
            let is_cut = missing.is_cut;
            for (place, entry) in missing.into_entries() {
                self.send_line(RunLine::Missing(MissingEvent::of(&entry)))
                    .await;
                if !self.dry_run {
                    let result = self.bring_back(entry).await?;
                    counts.add(result);
                    self.send_progress(counts);
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
        let began = self.pipeline.spool.remembers_since();
        self.record.begin(&self.search);
        while let Some(page) = self.record.next_page().await? {
            counts.list(page.entries.len() + page.answered);
            counts.add_listed(EventResult::Known, page.answered);
            let mut wanted = Vec::new();
            for entry in page.entries {
                match entry {
                    Ok(entry) => wanted.extend(self.wanted(entry, counts)),
                    Err(entry) => self.count_unreadable(&entry, counts),
                }
            }
            self.keep_missing(wanted, began, (&mut missing, counts))
                .await?;
            self.send_progress(counts);
        }
        Ok(missing)
    }

    /// The entry, if it is looked for and old enough.
    fn wanted(&self, entry: RecordEntry, counts: &mut RunCounts<'_>) -> Option<RecordEntry> {
        let (now, &Search { since, until, .. }) = (Timestamp::now(), &self.search);
        if entry.triggered_at < since || !self.search.takes(&entry.event_type) {
            return None;
        }
        let is_redelivery = matches!(entry.content, EntryContent::Redelivery);
        let waits = entry.not_before.is_some_and(|from| from > now)
            || (is_redelivery && self.memory.was_just_asked(&entry.name, now));
        if entry.triggered_at >= until || waits {
            counts.add_listed(EventResult::TooYoung, 1);
            return None;
        }
        Some(entry)
    }

    fn count_unreadable(&self, entry: &UnreadableEntry, counts: &mut RunCounts<'_>) {
        counts.add_listed(EventResult::Unreadable, 1);
        let (source, name, reason) = (self.source, &entry.name, &entry.reason);
        tracing::debug!(%source, name, reason, "an entry of the provider's record is no event");
    }

    /// Keeps those of these entries that the spool does not know. `began` is since when it knew all
    /// events when the list began: what it forgets meanwhile was known by then.
    async fn keep_missing(
        &self,
        entries: Vec<RecordEntry>,
        began: i64,
        (missing, counts): (&mut MissingEntries, &mut RunCounts<'_>),
    ) -> Result<(), RunError> {
        let ids: Vec<Option<EventId>> = entries.iter().map(RecordEntry::known_by).collect();
        let asked: Vec<EventId> = ids.iter().flatten().copied().collect();
        let (known, since) = if asked.is_empty() {
            (Vec::new(), i64::MIN)
        } else {
            (
                self.pipeline.spool.known(asked).await?,
                self.remembers_since().await?,
            )
        };
        let mut known = known.into_iter();
        for (entry, id) in entries.into_iter().zip(ids) {
            let is_known = id.is_some() && known.next() == Some(true);
            let triggered = entry.triggered_at.as_second();
            let is_beyond = id.is_some() && triggered < since;
            let was_known = triggered >= began || self.memory.has(&entry.name);
            if is_known {
                counts.add_listed(EventResult::Known, 1);
            } else if is_beyond && (entry.is_delivered || was_known) {
                counts.add_listed(EventResult::Forgotten, 1);
            } else {
                missing.add(entry);
            }
        }
        Ok(())
    }

    /// Since when all accepted events are known, in seconds since 1970.
    async fn remembers_since(&self) -> Result<i64, RunError> {
        let began = Instant::now();
        loop {
            let since = self.pipeline.spool.remembers_since();
            if since != i64::MAX {
                return Ok(since);
            }
            if began.elapsed() > PATIENCE {
                return Err(RunError::Reindexing);
            }
            sleep(POLL).await;
        }
    }

    async fn bring_back(&mut self, entry: RecordEntry) -> Result<EventResult, RunError> {
        self.wait_for_space().await?;
        let name = entry.name;
        let result = match entry.content {
            EntryContent::Delivery(delivery, _) => self.accept(*delivery).await?,
            EntryContent::Redelivery => self.redeliver(&name).await?,
        };
        self.memory.note(name, Timestamp::now());
        Ok(result)
    }

    /// Deliveries come first, and so do those that are asked for again.
    async fn wait_for_space(&self) -> Result<(), RunError> {
        let began = Instant::now();
        while self.pipeline.spool.fill_ratio() > LARGEST_FILL_RATIO {
            if began.elapsed() > PATIENCE {
                return Err(RunError::SpoolHalfFull);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn accept(&self, delivery: RecoveredDelivery) -> Result<EventResult, RunError> {
        let (started, mut notes) = (Instant::now(), DeliveryNotes::default());
        let accepting = self.pipeline.accept(delivery, &self.terms, &mut notes);
        let accepted = accepting.await;
        self.record_delivery(started, &notes, &accepted);
        Ok(match accepted?.status() {
            AcceptStatus::Accepted | AcceptStatus::Quarantined => EventResult::Recovered,
            // It was delivered meanwhile.
            AcceptStatus::Duplicate => EventResult::Known,
            AcceptStatus::Dropped => EventResult::Dropped,
        })
    }

    fn record_delivery(
        &self,
        started: Instant,
        notes: &DeliveryNotes,
        accepted: &Result<Accepted, Refusal>,
    ) {
        let took = started.elapsed();
        let (outcome, reason) = match accepted {
            Ok(accepted) => (accepted.status().into(), None),
            Err(refusal) => (DeliveryOutcome::Refused, Some(refusal.reason())),
        };
        self.pipeline.recorder.delivery(&DeliveryRecord {
            answered_at: UnixMicros::now(),
            took,
            source: self.source.as_str(),
            origin: EventOrigin::Backfill,
            address: None,
            outcome,
            status: 0,
            reason,
            request_id: None,
            signature: None,
            event: notes.event.as_ref().map(EventNotes::facts),
        });
    }

    async fn redeliver(&mut self, name: &str) -> Result<EventResult, RunError> {
        match self.record.redeliver(name).await {
            Ok(()) => Ok(EventResult::Redelivered),
            // It may have gone from the record meanwhile; the others must not wait for it.
            Err(ApiError::Invalid(reason) | ApiError::NotFound(reason)) => {
                let source = self.source;
                tracing::debug!(%source, name, reason, "the provider does not deliver an entry of its record again");
                Ok(EventResult::Unreadable)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who has not read the last progress yet needs no other.
    fn send_progress(&self, counts: &RunCounts<'_>) {
        if let Some(lines) = &self.lines {
            let progress = Progress {
                listed: counts.listed,
                total: self.record.total(),
                missing: counts.missing,
                done: counts.brought_back(),
            };
            // It is full, or closed.
            let _ = lines.try_send(RunLine::Progress(progress));
        }
    }

    /// A reader that takes no line any more is left behind.
    async fn send_line(&mut self, line: RunLine) {
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
