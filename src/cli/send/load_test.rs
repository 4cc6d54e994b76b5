//! A load test: many deliveries, at a rate and several at once.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::load_report::LoadReport;
use crate::cli::command_error::CommandError;
use crate::cli::terminal_progress::TerminalProgress;
use crate::cli::webhook_client::WebhookResponse;
use crate::threads;

/// How many, how fast, how many at once.
pub(super) struct LoadTest {
    pub count: u64,
    pub rate: Option<f64>,
    pub parallel: u16,
}

/// What the threads share.
struct LoadRun<'a> {
    test: &'a LoadTest,
    began: Instant,
    next: AtomicU64,
    given_up: AtomicBool,
    progress: TerminalProgress,
}

impl LoadTest {
    /// Runs it, on this thread and on as many more as are to be under way at once. An answer that never
    /// comes is counted like any other; a delivery that cannot even be made ends the test.
    pub(super) fn run(
        &self,
        deliver: &(dyn Fn() -> Result<WebhookResponse, CommandError> + Sync),
    ) -> Result<LoadReport, CommandError> {
        let others = usize::from(self.parallel.saturating_sub(1));
        threads::can_be_made(others).map_err(anyhow::Error::from)?;
        let run = LoadRun {
            test: self,
            began: Instant::now(),
            next: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            progress: TerminalProgress::towards(self.count),
        };
        let outcome = Mutex::new((LoadReport::default(), None));
        let take_part = || {
            let (report, failure) = run.take_part(deliver);
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.0.add(report);
            outcome.1 = outcome.1.take().or(failure);
        };
        let started = thread::scope(|scope| {
            for _ in 0..others {
                // `spawn` would panic where somebody else has taken the thread by now.
                let started = thread::Builder::new().spawn_scoped(scope, take_part);
                if let Err(error) = started {
                    run.given_up.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            take_part();
            Ok(())
        });
        run.progress.finish();
        started.context("a thread of the load test cannot be started")?;
        let (mut report, failure) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.took = run.began.elapsed();
        failure.map_or(Ok(report), Err)
    }
}

impl LoadRun<'_> {
    /// One thread's share.
    fn take_part(
        &self,
        deliver: &(dyn Fn() -> Result<WebhookResponse, CommandError> + Sync),
    ) -> (LoadReport, Option<CommandError>) {
        let mut report = LoadReport::default();
        while !self.given_up.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.test.count {
                break;
            }
            self.await_turn(number);
            match deliver() {
                Ok(reply) => report.count(&reply),
                Err(CommandError::Failed(error)) => report.count_unanswered(&error),
                Err(failure) => {
                    self.given_up.store(true, Ordering::Relaxed);
                    return (report, Some(failure));
                }
            }
            self.progress.advance(1);
        }
        (report, None)
    }

    /// Pauses until this delivery is due: the pace is kept by the clock, so that slow answers do not
    /// slow the rate as long as enough may be under way.
    fn await_turn(&self, number: u64) {
        let Some(rate) = self.test.rate else { return };
        #[allow(clippy::cast_precision_loss, reason = "a pace need not be exact")]
        let due = self.began + Duration::from_secs_f64(number as f64 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
