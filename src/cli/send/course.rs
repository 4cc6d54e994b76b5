//! Many deliveries, at a rate and several at once.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::tally::Tally;
use crate::cli::failure::Failure;
use crate::cli::progress::Progress;
use crate::cli::webhook::Reply;

/// How many, how fast, how many at once.
pub(super) struct Course {
    pub count: u64,
    pub rate: Option<f64>,
    pub parallel: u16,
}

/// What the threads share.
struct Running<'a> {
    course: &'a Course,
    began: Instant,
    next: AtomicU64,
    given_up: AtomicBool,
    progress: Progress,
}

impl Course {
    /// Runs it. An answer that never comes is counted like any other; a delivery that cannot even be
    /// made ends the course.
    pub(super) fn run(
        &self,
        deliver: &(dyn Fn() -> Result<Reply, Failure> + Sync),
    ) -> Result<Tally, Failure> {
        let running = Running {
            course: self,
            began: Instant::now(),
            next: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            progress: Progress::towards(self.count),
        };
        let outcome = Mutex::new((Tally::default(), None));
        thread::scope(|scope| {
            for _ in 0..self.parallel {
                scope.spawn(|| {
                    let (tally, failure) = running.take_part(deliver);
                    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                    outcome.0.add(tally);
                    outcome.1 = outcome.1.take().or(failure);
                });
            }
        });
        running.progress.finish();
        let (mut tally, failure) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.took = running.began.elapsed();
        failure.map_or(Ok(tally), Err)
    }
}

impl Running<'_> {
    /// One thread's share.
    fn take_part(
        &self,
        deliver: &(dyn Fn() -> Result<Reply, Failure> + Sync),
    ) -> (Tally, Option<Failure>) {
        let mut tally = Tally::default();
        while !self.given_up.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.course.count {
                break;
            }
            self.await_turn(number);
            match deliver() {
                Ok(reply) => tally.count(&reply),
                Err(Failure::Failed(error)) => tally.count_unanswered(&error),
                Err(failure) => {
                    self.given_up.store(true, Ordering::Relaxed);
                    return (tally, Some(failure));
                }
            }
            self.progress.advance(1);
        }
        (tally, None)
    }

    /// Pauses until this delivery is due: the pace is kept by the clock, so that slow answers do not
    /// slow the rate as long as enough may be under way.
    fn await_turn(&self, number: u64) {
        let Some(rate) = self.course.rate else { return };
        #[allow(clippy::cast_precision_loss, reason = "a pace, not an account")]
        let due = self.began + Duration::from_secs_f64(number as f64 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
