//! What came of many deliveries.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::command_error::CommandError;
use crate::cli::output::Output;
use crate::cli::webhook_client::WebhookResponse;

/// The answers, counted, and how long they took.
#[derive(Default)]
pub(super) struct LoadReport {
    answers: BTreeMap<(u16, String), u64>,
    unanswered: BTreeMap<String, u64>,
    times: Vec<Duration>,
    /// How long all of it took.
    pub took: Duration,
}

impl LoadReport {
    pub(super) fn count(&mut self, reply: &WebhookResponse) {
        let answer = (reply.status, reply.said.clone());
        *self.answers.entry(answer).or_default() += 1;
        self.times.push(reply.took);
    }

    pub(super) fn count_unanswered(&mut self, error: &anyhow::Error) {
        *self.unanswered.entry(format!("{error:#}")).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        for (error, count) in other.unanswered {
            *self.unanswered.entry(error).or_default() += count;
        }
        self.times.extend(other.times);
    }

    /// Prints it; fails unless every answer was 200.
    pub(super) fn show(mut self, output: &mut Output) -> Result<(), CommandError> {
        for ((status, said), count) in &self.answers {
            output.line(format_args!("{status} {said}: {count}"))?;
        }
        for (error, count) in &self.unanswered {
            output.line(format_args!("no answer ({error}): {count}"))?;
        }
        self.times.sort_unstable();
        let milliseconds = |share| percentile(&self.times, share).as_secs_f64() * 1000.0;
        #[allow(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let rate = self.times.len() as f64 / self.took.as_secs_f64();
        output.line(format_args!(
            "p50 {:.1} ms, p99 {:.1} ms, {rate:.0} answers a second",
            milliseconds(50),
            milliseconds(99),
        ))?;
        let good = self.unanswered.is_empty() && self.answers.keys().all(|(code, _)| *code == 200);
        if good {
            Ok(())
        } else {
            Err(CommandError::Negative)
        }
    }
}

/// The time within which `share` percent of the sorted times are (nearest rank).
fn percentile(sorted: &[Duration], share: usize) -> Duration {
    let rank = (sorted.len() * share).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
