//! The recovery of one source: when its record is asked, by whom, and what came of it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::manual_run::ManualRun;
use super::pace::Pace;
use super::records::{open_record, record_facts};
use super::recovery_rules::{RecoveryRules, RecoverySource};
use super::run::{READER_PATIENCE, Run};
use super::run_error::RunError;
use super::run_line::{RunLine, Summary};
use super::run_memory::RunMemory;
use super::run_result::RunResult;
use super::schedule::Schedule;
use super::search::{RecordPart, Search};
use super::state_file::{RecoveryState, StateFile};
use crate::name::SourceName;
use crate::pipeline::Pipeline;

/// What a source's recovery is told: of reloads, by operators, of outages that are over.
pub(super) type RecoverySignals = (
    watch::Receiver<Arc<RecoveryRules>>,
    mpsc::Receiver<ManualRun>,
    watch::Receiver<u64>,
);

/// The recovery of one source.
#[derive(Debug)]
pub(super) struct SourceRecovery {
    name: SourceName,
    pipeline: Pipeline,
    file: StateFile,
    state: RecoveryState,
    memory: RunMemory,
    pace: Pace,
    rules: watch::Receiver<Arc<RecoveryRules>>,
    requests: mpsc::Receiver<ManualRun>,
    outages: watch::Receiver<u64>,
    /// How the last run of its own accord ended, and how many entries it could not read.
    last: RunResult,
    unreadable: u64,
}

/// Why it does something.
enum Trigger {
    Due,
    Outage,
    Request(ManualRun),
    Reload,
    Stop,
}

/// A run, or why it has no end.
enum RunEnd {
    Ended(Result<Summary, RunError>),
    Reloaded,
    HungUp,
}

impl SourceRecovery {
    pub fn new(
        name: SourceName,
        pipeline: Pipeline,
        file: StateFile,
        (rules, requests, outages): RecoverySignals,
    ) -> Self {
        Self {
            name,
            pipeline,
            file,
            state: RecoveryState::default(),
            memory: RunMemory::default(),
            pace: Pace::default(),
            rules,
            requests,
            outages,
            last: RunResult::Completed,
            unreadable: 0,
        }
    }

    /// Runs for as long as the source recovers; returns its name.
    pub async fn run(mut self) -> SourceName {
        let mut next = Instant::now();
        let mut settings = None;
        while let Some((source, rules)) = self.source() {
            if settings.as_ref() != Some(&source.settings) {
                self.state = self.file.read(source.settings.audited()).await;
                self.show_series(&source);
                // Whoever mends a key wants to see that it works.
                next = Instant::now();
                settings = Some(source.settings.clone());
            }
            match self.next_trigger(next).await {
                Trigger::Due => {
                    self.run_scheduled(&source, &rules).await;
                    let schedule = Schedule::of(&source.settings);
                    next = Instant::now() + schedule.wait(&self.state, Timestamp::now());
                }
                Trigger::Outage => next = Instant::now(),
                Trigger::Request(run) => self.run_manual(run, &source, &rules).await,
                Trigger::Reload => {}
                Trigger::Stop => break,
            }
        }
        self.remove_series();
        self.name
    }

    /// The source as it is configured now; none where it does not recover any more.
    fn source(&mut self) -> Option<(Arc<RecoverySource>, Arc<RecoveryRules>)> {
        let rules = self.rules.borrow_and_update().clone();
        let source = rules.sources.get(&self.name)?;
        Some((Arc::clone(source), rules))
    }

    async fn next_trigger(&mut self, next: Instant) -> Trigger {
        tokio::select! {
            biased;
            changed = self.rules.changed() => match changed {
                Ok(()) => Trigger::Reload,
                Err(_) => Trigger::Stop,
            },
            request = self.requests.recv() => request.map_or(Trigger::Stop, Trigger::Request),
            () = sleep_until(next) => Trigger::Due,
            over = self.outages.changed() => match over {
                Ok(()) => Trigger::Outage,
                Err(_) => Trigger::Stop,
            },
        }
    }

    /// The runs of its own accord: what failed first, and then everything, where that is due.
    async fn run_scheduled(&mut self, source: &RecoverySource, rules: &RecoveryRules) {
        let has_audit = record_facts(source.settings.record).has_events;
        let is_due = Schedule::of(&source.settings).is_audit_due(&self.state, Timestamp::now());
        let parts = [RecordPart::Failed, RecordPart::All];
        for part in parts
            .into_iter()
            .take(if has_audit && is_due { 2 } else { 1 })
        {
            let began = Timestamp::now();
            let search = Search::of(&source.settings, part, began);
            let RunEnd::Ended(ended) = self.run_once((source, rules), search, None).await else {
                return;
            };
            let result = self.count(&ended);
            self.log(&ended, result);
            if result != RunResult::Completed {
                return;
            }
            self.note_completed(part, began).await;
        }
    }

    /// A run that an operator has asked for.
    async fn run_manual(&mut self, run: ManualRun, source: &RecoverySource, rules: &RecoveryRules) {
        let ManualRun {
            search,
            dry_run,
            lines,
        } = run;
        let reader = Some((lines.clone(), dry_run));
        let last = match self.run_once((source, rules), search, reader).await {
            RunEnd::Ended(ended) => {
                self.count(&ended);
                RunLine::last(ended)
            }
            RunEnd::Reloaded => {
                let said = "the configuration was reloaded meanwhile: run it again";
                RunLine::Failed(said.to_owned())
            }
            RunEnd::HungUp => return,
        };
        // He may have hung up, or read no more.
        let _ = lines.send_timeout(last, READER_PATIENCE).await;
    }

    /// A run under one configuration: a reload ends it, and so does a reader that hangs up.
    async fn run_once(
        &mut self,
        (source, rules): (&RecoverySource, &RecoveryRules),
        search: Search,
        reader: Option<(mpsc::Sender<RunLine>, bool)>,
    ) -> RunEnd {
        let mut record = open_record(&source.source, &source.settings, &self.pace);
        let (lines, dry_run) = reader.unzip();
        let run = Run {
            source: &self.name,
            record: &mut *record,
            memory: &mut self.memory,
            pipeline: &self.pipeline,
            terms: Arc::clone(&rules.terms),
            search,
            dry_run: dry_run.unwrap_or_default(),
            lines: lines.clone(),
        };
        let hung_up = async {
            match &lines {
                Some(lines) => lines.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = run.run() => RunEnd::Ended(ended),
            // An error says that the bridge stops.
            _ = self.rules.changed() => {
                self.rules.mark_changed();
                RunEnd::Reloaded
            }
            () = hung_up => RunEnd::HungUp,
        }
    }

    fn count(&self, ended: &Result<Summary, RunError>) -> RunResult {
        let result = RunResult::of(ended);
        let runs = &self.pipeline.metrics.backfill_runs_total;
        let labels = [self.name.as_str(), result.as_str()];
        runs.with_label_values(&labels).inc();
        result
    }

    /// What is logged is a change: a record that stays out of reach is named once.
    fn log(&mut self, ended: &Result<Summary, RunError>, result: RunResult) {
        let (source, is_new) = (&self.name, result != self.last);
        match ended {
            Err(error) if is_new => {
                tracing::error!(%source, result = result.as_str(), %error, "the provider's record could not be gone through: what was missed is not recovered until this works");
            }
            Err(error) => {
                tracing::debug!(%source, %error, "the provider's record could not be gone through");
            }
            Ok(_) if result == RunResult::Incomplete && is_new => {
                tracing::warn!(%source, "the provider's record changed while it was gone through: what may be missing of it is for the next run");
            }
            Ok(_) if is_new => {
                tracing::info!(%source, "the provider's record can be gone through again");
            }
            Ok(_) => {}
        }
        if let Ok(summary) = ended {
            let unreadable = summary.unreadable;
            if unreadable > 0 && unreadable != self.unreadable {
                tracing::warn!(%source, unreadable, "entries of the provider's record are no events; with log.filter \"info,hookferry::backfill=debug\" each is named");
            }
            self.unreadable = unreadable;
        }
        self.last = result;
    }

    /// A run that began then was complete.
    async fn note_completed(&mut self, part: RecordPart, began: Timestamp) {
        self.state.complete(part, began);
        let last = &self
            .pipeline
            .metrics
            .backfill_last_success_timestamp_seconds;
        let labels = [self.name.as_str()];
        last.with_label_values(&labels)
            .set(Timestamp::now().as_second());
        if let Err(error) = self.file.write(self.state.clone()).await {
            tracing::warn!(source = %self.name, %error, "when the provider's record was last asked cannot be written: after a restart all of it is asked for again");
        }
    }

    /// Shows what the configuration and the last run before the start say.
    fn show_series(&self, source: &RecoverySource) {
        let (metrics, labels) = (&self.pipeline.metrics, [self.name.as_str()]);
        let every = i64::try_from(source.settings.every.as_secs()).unwrap_or(i64::MAX);
        let interval = &metrics.backfill_interval_seconds;
        interval.with_label_values(&labels).set(every);
        let last = self.state.checked_at.map_or(0, Timestamp::as_second);
        let success = &metrics.backfill_last_success_timestamp_seconds;
        success.with_label_values(&labels).set(last);
    }

    /// Nobody must wait for a source that does not recover any more.
    fn remove_series(&self) {
        let (metrics, labels) = (&self.pipeline.metrics, [self.name.as_str()]);
        for gauge in [
            &metrics.backfill_interval_seconds,
            &metrics.backfill_last_success_timestamp_seconds,
        ] {
            // An error says that there is none.
            let _ = gauge.remove_label_values(&labels);
        }
    }
}
