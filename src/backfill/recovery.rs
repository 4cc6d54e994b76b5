//! Recovery while the bridge runs: a task for each source that has it, and one over them, which hears of
//! reloads, of operators, and of outages of the listener.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::manual_run::ManualRun;
use super::outage::{self, OutageDetector};
use super::recovery_handle::RecoveryHandle;
use super::recovery_rules::RecoveryRules;
use super::run_line::RunLine;
use super::source_recovery::SourceRecovery;
use super::state_file::StateFile;
use crate::name::SourceName;
use crate::pipeline::Pipeline;

/// Runs that operators may ask for and that have not begun.
const MAX_WAITING_RUNS: usize = 4;

/// The recovery of all sources.
#[derive(Debug)]
pub struct Recovery {
    pipeline: Pipeline,
    /// The spool's folder, beside which it is kept when a record was last asked.
    folder: PathBuf,
    rules: watch::Receiver<Arc<RecoveryRules>>,
    requests: mpsc::Receiver<(SourceName, ManualRun)>,
    /// Those that run, each with the way to ask it for a run.
    running: HashMap<SourceName, mpsc::Sender<ManualRun>>,
    tasks: JoinSet<SourceName>,
    outages: watch::Sender<u64>,
    detector: OutageDetector,
    looked_at: (Instant, Timestamp),
}

impl Recovery {
    /// A recovery that accepts into `pipeline`, and its handle.
    #[must_use]
    pub fn new(
        pipeline: Pipeline,
        folder: PathBuf,
        rules: watch::Receiver<Arc<RecoveryRules>>,
    ) -> (Self, RecoveryHandle) {
        let (sender, requests) = mpsc::channel(MAX_WAITING_RUNS);
        let handle = RecoveryHandle::new(sender, rules.clone());
        let recovery = Self {
            pipeline,
            folder,
            rules,
            requests,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            outages: watch::Sender::new(0),
            detector: OutageDetector::default(),
            looked_at: (Instant::now(), Timestamp::now()),
        };
        (recovery, handle)
    }

    /// Runs until it is stopped. A run that is under way then ends where it stands.
    ///
    /// # Errors
    /// When a source's task has panicked.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut tick = interval(outage::LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_new();
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.rules.changed() => if changed.is_err() { break },
                Some(ended) = self.tasks.join_next() => { self.running.remove(&ended?); }
                Some((source, run)) = self.requests.recv() => self.pass_on(&source, run),
                _ = tick.tick() => self.detect_outage(),
            }
        }
        self.tasks.shutdown().await;
        Ok(())
    }

    /// Begins with the sources that are new.
    fn begin_new(&mut self) {
        let rules = self.rules.borrow_and_update().clone();
        for name in rules.sources.keys() {
            if self.running.contains_key(name) {
                continue;
            }
            let (sender, requests) = mpsc::channel(MAX_WAITING_RUNS);
            let file = StateFile::of(&self.folder, name);
            let signals = (self.rules.clone(), requests, self.outages.subscribe());
            let source = SourceRecovery::new(name.clone(), self.pipeline.clone(), file, signals);
            self.tasks.spawn(source.run());
            self.running.insert(name.clone(), sender);
        }
    }

    fn pass_on(&self, source: &SourceName, run: ManualRun) {
        let lines = run.lines.clone();
        let is_taken = match self.running.get(source) {
            Some(requests) => requests.try_send(run).is_ok(),
            None => false,
        };
        if !is_taken {
            let said = "other runs of this source wait already: try again later";
            // Nobody may hear any more.
            let _ = lines.try_send(RunLine::Failed(said.to_owned()));
        }
    }

    fn detect_outage(&mut self) {
        let (instant, time) =
            std::mem::replace(&mut self.looked_at, (Instant::now(), Timestamp::now()));
        // A machine that slept shows it by the one clock, a process that was stopped by both.
        let by_wall = Duration::try_from(self.looked_at.1.duration_since(time));
        let passed = instant.elapsed().max(by_wall.unwrap_or_default());
        let refused = outage::refused(&self.pipeline.metrics);
        let is_open = self.pipeline.ready().is_ok();
        if self.detector.look(passed, refused, is_open) {
            tracing::info!(
                "deliveries are taken again after an outage: the providers' records are asked for what was missed"
            );
            self.outages.send_modify(|count| *count += 1);
        }
    }
}
