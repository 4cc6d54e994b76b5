//! Callers that wait for delivery: each is answered once every configured sink is done with its
//! event.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::outcome::{AppendResult, Appended};

/// The waiters, by the sequence of the event.
#[derive(Debug, Default)]
pub(super) struct DeliveryWaiters(HashMap<u64, Event>);

#[derive(Debug, Default)]
struct Event {
    replies: Vec<(oneshot::Sender<AppendResult>, Appended)>,
    is_set_aside: bool,
}

impl DeliveryWaiters {
    /// Answers `appended` to the reply once every sink is done.
    pub fn add(&mut self, sequence: u64, reply: oneshot::Sender<AppendResult>, appended: Appended) {
        let event = self.0.entry(sequence).or_default();
        // A sender that tries again and again during an outage leaves only its last try here.
        event.replies.retain(|(earlier, _)| !earlier.is_closed());
        event.replies.push((reply, appended));
    }

    /// A sink has set the event aside, so it will not be delivered everywhere.
    pub fn set_aside(&mut self, sequence: u64) {
        if let Some(event) = self.0.get_mut(&sequence) {
            event.is_set_aside = true;
        }
    }

    /// Every configured sink is done with the event.
    pub fn done(&mut self, sequence: u64) {
        let Some(event) = self.0.remove(&sequence) else {
            return;
        };
        for (reply, appended) in event.replies {
            let outcome = if event.is_set_aside {
                Appended::DeadLettered
            } else {
                appended
            };
            // A caller that is gone has been answered 503 or has hung up.
            let _ = reply.send(Ok(outcome));
        }
    }

    /// The event cannot be delivered any more: whoever waits is told that it is not there.
    pub fn lost(&mut self, sequence: u64) {
        self.0.remove(&sequence);
    }
}
