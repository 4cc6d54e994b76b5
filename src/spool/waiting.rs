//! Those who wait until every sink is done with an event.

use std::collections::HashMap;

use super::bundle::Answer;
use super::command::{Appended, Reply};

/// The waiting, by the sequence of the event.
#[derive(Debug, Default)]
pub(super) struct Waiting(HashMap<u64, Event>);

#[derive(Debug, Default)]
struct Event {
    replies: Vec<(Reply<Answer>, Appended)>,
    buried: bool,
}

impl Waiting {
    /// Answers `appended` to the reply once every sink is done.
    pub fn until_done(&mut self, sequence: u64, reply: Reply<Answer>, appended: Appended) {
        let event = self.0.entry(sequence).or_default();
        // A sender that tries again and again during an outage leaves only its last try here.
        event.replies.retain(|(earlier, _)| !earlier.is_closed());
        event.replies.push((reply, appended));
    }

    /// A sink has set the event aside, so it will not be delivered everywhere.
    pub fn buried(&mut self, sequence: u64) {
        if let Some(event) = self.0.get_mut(&sequence) {
            event.buried = true;
        }
    }

    /// Every sink is done with the event.
    pub fn done(&mut self, sequence: u64) {
        let Some(event) = self.0.remove(&sequence) else {
            return;
        };
        for (reply, appended) in event.replies {
            let outcome = if event.buried {
                Appended::DeadLettered
            } else {
                appended
            };
            // A caller that is gone has been answered 503 or has hung up.
            let _ = reply.send(Ok(outcome));
        }
    }
}
