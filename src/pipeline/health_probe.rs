//! A health probe of a loop: a question that the loop answers in its next round, unless it hangs.

use tokio::sync::{mpsc, oneshot};

/// Asks a loop whether it still runs.
#[derive(Debug, Clone)]
pub struct HealthProbe(mpsc::Sender<oneshot::Sender<()>>);

/// The end that the loop answers.
#[derive(Debug)]
pub(super) struct ProbeResponder(mpsc::Receiver<oneshot::Sender<()>>);

/// The loop has ended.
#[derive(Debug, thiserror::Error)]
#[error("it has ended")]
pub struct LoopEnded;

impl HealthProbe {
    /// A question, and the end that answers it.
    pub(super) fn new() -> (Self, ProbeResponder) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), ProbeResponder(receiver))
    }

    /// Returns once the loop has come round, and not at all where it is stuck: whoever asks sets
    /// the deadline.
    ///
    /// # Errors
    /// When the loop has ended.
    pub async fn probe(&self) -> Result<(), LoopEnded> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| LoopEnded)?;
        answer.await.map_err(|_| LoopEnded)
    }
}

impl ProbeResponder {
    /// Waits for the question and answers it.
    pub async fn answer(&mut self) {
        match self.0.recv().await {
            // Whoever asked may have run into its own deadline.
            Some(reply) => drop(reply.send(())),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn only_a_loop_that_runs_answers_its_probe() {
        let (probe, mut responder) = HealthProbe::new();
        assert!(
            probe.probe().now_or_never().is_none(),
            "nobody has come round"
        );
        // The question that nobody waits for any more is answered all the same.
        let turn = async {
            loop {
                responder.answer().await;
            }
        };
        tokio::select! {
            answered = probe.probe() => answered.expect("it runs"),
            never = turn => never,
        }
        drop(responder);
        assert!(probe.probe().await.is_err(), "it has ended");
    }
}
