//! Answers that reach the callers of one thread together.
//!
//! To wake a task that waits on another thread takes a system call. A commit answers dozens of
//! callers on a few threads, and a call for each of them is time in which the spool's thread does
//! not commit; so all answers for a thread travel as one batch, which that thread hands out.

use tokio::sync::{mpsc, oneshot};

use super::outcome::AppendResult;

type Batch = Vec<(oneshot::Sender<AppendResult>, AppendResult)>;

/// The callers on one thread. What waits here is bounded by the number of callers.
#[derive(Debug, Clone)]
pub(super) struct CallerThread(mpsc::UnboundedSender<Batch>);

/// Somebody who waits for an answer.
#[derive(Debug)]
pub(super) struct AppendCaller {
    /// Where it waits.
    pub reply: oneshot::Sender<AppendResult>,
    /// With whom, if its thread hands out batches.
    pub among: Option<CallerThread>,
}

/// Answers that are on their way out.
#[derive(Debug, Default)]
pub(super) struct ReplyBatches {
    batches: Vec<(CallerThread, Batch)>,
    /// Of callers whose thread hands out nothing.
    alone: Batch,
}

impl CallerThread {
    /// The callers of a thread on which what is returned runs for as long as they call.
    pub fn of_a_thread() -> (Self, impl Future<Output = ()> + 'static) {
        let (sender, mut batches) = mpsc::unbounded_channel();
        let hand_out = async move {
            while let Some(batch) = batches.recv().await {
                answer(batch);
            }
        };
        (Self(sender), hand_out)
    }
}

impl ReplyBatches {
    /// Puts an answer to those that go to the same thread.
    pub fn put(&mut self, caller: AppendCaller, answer: AppendResult) {
        let Some(callers) = caller.among else {
            self.alone.push((caller.reply, answer));
            return;
        };
        let mut known = self.batches.iter_mut();
        match known.find(|(other, _)| other.0.same_channel(&callers.0)) {
            Some((_, batch)) => batch.push((caller.reply, answer)),
            None => self.batches.push((callers, vec![(caller.reply, answer)])),
        }
    }

    /// Sends all of them. Where a thread hands out nothing any more, its callers are woken one by
    /// one.
    pub fn send(self) {
        answer(self.alone);
        for (callers, batch) in self.batches {
            if let Err(unsent) = callers.0.send(batch) {
                answer(unsent.0);
            }
        }
    }
}

fn answer(batch: Batch) {
    for (reply, answer) in batch {
        // A caller that has hung up is not told; the event is kept all the same.
        let _ = reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::outcome::Appended;

    const ANSWER: AppendResult = Ok(Appended::Accepted);

    fn caller(among: Option<&CallerThread>) -> (AppendCaller, oneshot::Receiver<AppendResult>) {
        let (reply, answer) = oneshot::channel();
        let among = among.cloned();
        (AppendCaller { reply, among }, answer)
    }

    #[tokio::test]
    async fn callers_of_several_threads_and_of_none_are_answered() {
        let (one, hand_out_one) = CallerThread::of_a_thread();
        let (other, hand_out_other) = CallerThread::of_a_thread();
        let of = [Some(&one), Some(&other), Some(&one), None];
        let (callers, answers): (Vec<_>, Vec<_>) = of.map(caller).into_iter().unzip();
        let mut batches = ReplyBatches::default();
        for caller in callers {
            batches.put(caller, ANSWER);
        }
        assert_eq!(batches.batches.len(), 2);
        batches.send();
        drop((one, other));
        tokio::join!(hand_out_one, hand_out_other);
        for answer in answers {
            assert_eq!(answer.await, Ok(ANSWER));
        }
    }

    #[tokio::test]
    async fn a_thread_that_hands_out_nothing_more_keeps_no_answer() {
        let (callers, hand_out) = CallerThread::of_a_thread();
        drop(hand_out);
        let (caller, answer) = caller(Some(&callers));
        let mut batches = ReplyBatches::default();
        batches.put(caller, ANSWER);
        batches.send();
        assert_eq!(answer.await, Ok(ANSWER));
    }
}
