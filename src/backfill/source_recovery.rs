//! The recovery of one source: when its record is asked, by whom, and what came of it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::manual_run::ManualRun;
use super::records::open_record;
use super::recovery_rules::{RecoveryRules, RecoverySource};
use super::run::{READER_PATIENCE, Run};
use super::run_error::RunError;
use super::run_line::{RunLine, Summary};
use super::run_result::RunResult;
use super::schedule::{Schedule, completed};
use super::search::{RecordPart, Search};
use super::state_file::{RecoveryState, StateFile};
use crate::name::SourceName;
use crate::pipeline::Pipeline;

/// What a source's recovery hears: of reloads, of operators, of outages that are over.
pub(super) type Heard = (
    watch::Receiver<Arc<RecoveryRules>>,
    mpsc::Receiver<ManualRun>,
    watch::Receiver<u64>,
);

/// The recovery of one source.
#[derive(Debug)]
pub(super) struct SourceRecovery {
    name: SourceName,
    pipeline: Pipeline,
    file: Option<StateFile>,
    state: RecoveryState,
    rules: watch::Receiver<Arc<RecoveryRules>>,
    asked: mpsc::Receiver<ManualRun>,
    outages: watch::Receiver<u64>,
    /// How the last run of its own accord ended, and how many entries it could not read.
    last: RunResult,
    unreadable: u64,
}

/// Why it does something.
enum Wake {
    Due,
    Outage,
    Asked(ManualRun),
    Reloaded,
    Ended,
}

impl SourceRecovery {
    pub fn new(
        name: SourceName,
        pipeline: Pipeline,
        file: Option<StateFile>,
        (rules, asked, outages): Heard,
    ) -> Self {
        let state = file.as_ref().map(StateFile::read).unwrap_or_default();
        Self {
            name,
            pipeline,
            file,
            state,
            rules,
            asked,
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
                self.show(&source);
                // Whoever mends a key wants to see that it works.
                next = Instant::now();
                settings = Some(source.settings.clone());
            }
            match self.wake(next).await {
                Wake::Due => {
                    self.look(&source, &rules).await;
                    let schedule = Schedule::of(&source.settings);
                    next = Instant::now() + schedule.wait(&self.state, Timestamp::now());
                }
                Wake::Outage => next = Instant::now(),
                Wake::Asked(run) => self.look_for(run, &source, &rules).await,
                Wake::Reloaded => {}
                Wake::Ended => break,
            }
        }
        self.hide();
        self.name
    }

    /// The source as it is configured now; none where it does not recover any more.
    fn source(&mut self) -> Option<(Arc<RecoverySource>, Arc<RecoveryRules>)> {
        let rules = self.rules.borrow_and_update().clone();
        let source = rules.sources.get(&self.name)?;
        Some((Arc::clone(source), rules))
    }

    async fn wake(&mut self, next: Instant) -> Wake {
        tokio::select! {
            biased;
            changed = self.rules.changed() => match changed {
                Ok(()) => Wake::Reloaded,
                Err(_) => Wake::Ended,
            },
            asked = self.asked.recv() => asked.map_or(Wake::Ended, Wake::Asked),
            () = sleep_until(next) => Wake::Due,
            over = self.outages.changed() => match over {
                Ok(()) => Wake::Outage,
                Err(_) => Wake::Ended,
            },
        }
    }

    /// A run of its own accord.
    async fn look(&mut self, source: &RecoverySource, rules: &RecoveryRules) {
        let now = Timestamp::now();
        let part = Schedule::of(&source.settings).part(&self.state, now);
        let mut record = open_record(&source.source, &source.settings);
        let run = Run {
            source: &self.name,
            record: &mut *record,
            pipeline: &self.pipeline,
            terms: Arc::clone(&rules.terms),
            search: Search::of(&source.settings, part, now),
            dry_run: false,
            lines: None,
        };
        let ended = run.run().await;
        let result = self.count(&ended);
        self.log(&ended, result);
        if result == RunResult::Completed {
            self.note_completed(part, now).await;
        }
    }

    /// A run that an operator has asked for. It is dropped where he hears no more of it.
    async fn look_for(&mut self, run: ManualRun, source: &RecoverySource, rules: &RecoveryRules) {
        let ManualRun {
            search,
            dry_run,
            lines,
        } = run;
        let mut record = open_record(&source.source, &source.settings);
        let run = Run {
            source: &self.name,
            record: &mut *record,
            pipeline: &self.pipeline,
            terms: Arc::clone(&rules.terms),
            search,
            dry_run,
            lines: Some(lines.clone()),
        };
        let ended = tokio::select! {
            ended = run.run() => ended,
            () = lines.closed() => return,
        };
        self.count(&ended);
        let last = match ended {
            Ok(summary) => RunLine::Summary(summary),
            Err(error) => RunLine::Failed(error.to_string()),
        };
        // He may have hung up, or read no more.
        let _ = lines.send_timeout(last, READER_PATIENCE).await;
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
        let source = &self.name;
        match ended {
            Err(error) if result != self.last => {
                tracing::error!(%source, result = result.as_str(), %error, "the provider's record could not be gone through: what was missed is not recovered until this works");
            }
            Err(error) => {
                tracing::debug!(%source, %error, "the provider's record could not be gone through");
            }
            Ok(summary) => {
                if self.last != RunResult::Completed {
                    tracing::info!(%source, "the provider's record can be gone through again");
                }
                let unreadable = summary.unreadable;
                if unreadable > 0 && unreadable != self.unreadable {
                    tracing::warn!(%source, unreadable, "entries of the provider's record are no events; with log.filter \"info,hookferry::backfill=debug\" each is named");
                }
                self.unreadable = unreadable;
            }
        }
        self.last = result;
    }

    /// A run that began then was complete.
    async fn note_completed(&mut self, part: RecordPart, began: Timestamp) {
        self.state = completed(self.state, part, began);
        let last = &self
            .pipeline
            .metrics
            .backfill_last_success_timestamp_seconds;
        let labels = [self.name.as_str()];
        last.with_label_values(&labels)
            .set(Timestamp::now().as_second());
        let (Some(file), state) = (self.file.clone(), self.state) else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || file.write(&state)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(source = %self.name, %error, "when the provider's record was last asked cannot be written: after a restart all of it is asked for again");
        }
    }

    /// Shows what the configuration and the last run before the start say.
    fn show(&self, source: &RecoverySource) {
        let (metrics, labels) = (&self.pipeline.metrics, [self.name.as_str()]);
        let every = i64::try_from(source.settings.every.as_secs()).unwrap_or(i64::MAX);
        let interval = &metrics.backfill_interval_seconds;
        interval.with_label_values(&labels).set(every);
        let last = self.state.checked_at.map_or(0, Timestamp::as_second);
        let success = &metrics.backfill_last_success_timestamp_seconds;
        success.with_label_values(&labels).set(last);
    }

    /// Nobody must wait for a source that does not recover any more.
    fn hide(&self) {
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
