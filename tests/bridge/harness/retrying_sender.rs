//! One Codex as the sender of what its record shows: each event is delivered a few times and then
//! given up, and the record says how that ended.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::delivery::{now, numbered};
use super::events_api::{EventStatus, EventsApi, Row};
use super::load::{Attempt, Sent, digest};
use super::setup::SECRET;
use super::{Journal, Post};

/// How often a delivery is tried, and how soon again.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// Senders under way, one for each object.
pub struct RetryingSender {
    senders: JoinSet<()>,
    listener: Arc<Mutex<Option<SocketAddr>>>,
    journal: Arc<Mutex<Journal>>,
    each: usize,
    objects: usize,
}

impl RetryingSender {
    /// One sender for each object: it sends `each` events, the next one once the one before was
    /// answered 200 or given up, and none sooner than `every` after the one before.
    pub fn start(
        api: &EventsApi,
        source: &str,
        (objects, each): (usize, usize),
        every: Duration,
    ) -> Self {
        let (listener, journal) = (Arc::default(), Arc::<Mutex<Journal>>::default());
        let mut senders = JoinSet::new();
        for object in 0..objects {
            let sender = OfObject {
                api: api.clone(),
                source: source.to_owned(),
                object: format!("object{object}"),
                listener: Arc::clone(&listener),
            };
            let journal = Arc::clone(&journal);
            senders.spawn(async move {
                for number in 0..each {
                    let next = Instant::now() + every;
                    let sent = sender.sends(number).await;
                    journal.lock().expect("no panic inside").0.push(sent);
                    tokio::time::sleep_until(next.into()).await;
                }
            });
        }
        Self {
            senders,
            listener,
            journal,
            each,
            objects,
        }
    }

    /// From now on deliveries go there; nowhere, where nobody listens.
    pub fn moves_to(&self, listener: Option<SocketAddr>) {
        *self.listener.lock().expect("no panic inside") = listener;
    }

    /// Whether every event has been sent or given up.
    pub fn is_done(&self) -> bool {
        self.journal.lock().expect("no panic inside").0.len() == self.each * self.objects
    }

    /// Waits for every sender to end; what was tried.
    pub async fn finish(mut self) -> Journal {
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("no sender panics");
        }
        std::mem::take(&mut self.journal.lock().expect("no panic inside"))
    }
}

struct OfObject {
    api: EventsApi,
    source: String,
    object: String,
    listener: Arc<Mutex<Option<SocketAddr>>>,
}

impl OfObject {
    /// Triggers an event and delivers it, or gives it up.
    async fn sends(&self, number: usize) -> Sent {
        let body = numbered("sample.uploaded", &self.object, number);
        // White space behind an object is no part of it.
        let body = body.trim_end();
        let row = if number.is_multiple_of(2) {
            Row::object(body)
        } else {
            Row::text(body)
        };
        let id = self.api.adds(row.status(EventStatus::Pending));
        let mut sent = Sent {
            object: self.object.clone(),
            number,
            digest: digest(body.as_bytes()),
            attempts: Vec::new(),
        };
        for _ in 0..TRIES {
            let attempt = self.attempt(body).await;
            let is_taken = attempt.status == Some(200);
            sent.attempts.push(attempt);
            if is_taken {
                self.api.becomes(&id, EventStatus::Success);
                return sent;
            }
            self.api.becomes(&id, EventStatus::Retryable);
            tokio::time::sleep(PAUSE).await;
        }
        self.api.becomes(&id, EventStatus::Failed);
        sent
    }

    async fn attempt(&self, body: &str) -> Attempt {
        let began = Instant::now();
        let listener = *self.listener.lock().expect("no panic inside");
        let post = Post::signed_with(&self.source, body, SECRET, now());
        let answer = match listener {
            Some(address) => post.to(address).await.ok(),
            None => None,
        };
        let is_taken = answer.as_ref().is_some_and(|answer| answer.status == 200);
        Attempt {
            began,
            took: began.elapsed(),
            secret: SECRET,
            status: answer.as_ref().map(|answer| answer.status),
            id: answer.filter(|_| is_taken).map(|answer| answer.id()),
        }
    }
}
