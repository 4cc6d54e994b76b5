//! The oracle: many senders that behave as the provider does, and a check of what came out.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::delivery::numbered;
use super::{Post, Seen};
use crate::eventually::eventually;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Where the bridge is now: it comes back on another port.
#[derive(Debug, Clone)]
pub struct Target(Arc<Mutex<SocketAddr>>);

impl Target {
    pub fn new(address: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(address)))
    }

    pub fn moves_to(&self, address: SocketAddr) {
        *self.0.lock().expect("no panic inside") = address;
    }

    fn now(&self) -> SocketAddr {
        *self.0.lock().expect("no panic inside")
    }
}

/// A delivery that was answered 200.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub object: String,
    pub number: usize,
    pub body: String,
}

/// Senders under way.
pub struct Load {
    senders: JoinSet<()>,
    sent: Arc<Mutex<Vec<Sent>>>,
    statuses: Arc<Mutex<BTreeMap<u16, usize>>>,
}

impl Load {
    /// One sender for each object: it sends `each` events, one after the other, and repeats each
    /// until it is answered 200.
    pub fn start(target: &Target, source: &str, objects: usize, each: usize) -> Self {
        let (sent, statuses) = (Arc::default(), Arc::default());
        let mut senders = JoinSet::new();
        for object in 0..objects {
            let sender = Sender {
                target: target.clone(),
                source: source.to_owned(),
                object: format!("object{object}"),
                sent: Arc::clone(&sent),
                statuses: Arc::clone(&statuses),
            };
            senders.spawn(async move {
                for number in 0..each {
                    sender.deliver(number).await;
                }
            });
        }
        Self {
            senders,
            sent,
            statuses,
        }
    }

    /// How many have been answered 200 so far.
    pub fn answered(&self) -> usize {
        self.sent.lock().expect("no panic inside").len()
    }

    /// Waits until so many have been answered 200.
    pub async fn reaches(&self, count: usize) {
        eventually(
            &format!("{count} deliveries are answered 200"),
            async || (self.answered() >= count).then_some(()),
        )
        .await;
    }

    /// How often each status was answered.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.statuses.lock().expect("no panic inside").clone()
    }

    /// Waits for every sender to end.
    pub async fn finish(mut self) -> Vec<Sent> {
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("no sender panics");
        }
        std::mem::take(&mut *self.sent.lock().expect("no panic inside"))
    }
}

struct Sender {
    target: Target,
    source: String,
    object: String,
    sent: Arc<Mutex<Vec<Sent>>>,
    statuses: Arc<Mutex<BTreeMap<u16, usize>>>,
}

impl Sender {
    async fn deliver(&self, number: usize) {
        let body = numbered("sample.uploaded", &self.object, number);
        let began = Instant::now();
        // The provider's retries, sooner. (A future in a task cannot borrow from a closure, so this
        // is `eventually` spelt out.)
        let id = loop {
            if let Some(id) = self.attempt(&body).await {
                break id;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "a delivery is not answered 200 within {PATIENCE:?}"
            );
            tokio::time::sleep(PAUSE).await;
        };
        self.sent.lock().expect("no panic inside").push(Sent {
            id,
            object: self.object.clone(),
            number,
            body,
        });
    }

    async fn attempt(&self, body: &str) -> Option<String> {
        let answer = Post::signed(&self.source, body)
            .to(self.target.now())
            .await
            .ok()?;
        *self
            .statuses
            .lock()
            .expect("no panic inside")
            .entry(answer.status)
            .or_default() += 1;
        assert!(
            answer.status == 200 || answer.status == 503,
            "what cannot be kept is answered 503, never {answer:?}"
        );
        (answer.status == 200).then(|| answer.id())
    }
}

pub fn ids(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|one| one.id.clone()).collect()
}

/// P2 and P3: every event answered 200 is there, with the bytes that were sent.
pub fn assert_all_there(sent: &[Sent], seen: &[Seen]) {
    assert!(!sent.is_empty(), "nothing was sent, so nothing is shown");
    let bodies: HashMap<&str, &[u8]> = seen
        .iter()
        .map(|one| (one.id.as_str(), one.body.as_slice()))
        .collect();
    for one in sent {
        let body = bodies.get(one.id.as_str());
        assert_eq!(body, Some(&one.body.as_bytes()), "{one:?} was answered 200");
    }
}

/// P5: the first occurrences of each object's events are in the order they were sent in.
pub fn assert_in_order(sent: &[Sent], seen: &[Seen]) {
    let numbers: HashMap<&str, (&str, usize)> = sent
        .iter()
        .map(|one| (one.id.as_str(), (one.object.as_str(), one.number)))
        .collect();
    let mut reached: HashMap<&str, usize> = HashMap::new();
    for one in seen {
        let Some((object, number)) = numbers.get(one.id.as_str()) else {
            continue;
        };
        let next = reached.entry(object).or_default();
        assert!(
            number <= next,
            "{object}: number {number} came before number {next}"
        );
        if number == next {
            *next += 1;
        }
    }
    let expected = sent.len();
    let complete: usize = reached.values().sum();
    assert_eq!(complete, expected, "every event is there once at least");
}

/// Every event is there exactly once: what a run without a crash gives.
pub fn assert_once(sent: &[Sent], seen: &[Seen]) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for one in seen {
        *counts.entry(one.id.as_str()).or_default() += 1;
    }
    for one in sent {
        assert_eq!(counts.get(one.id.as_str()), Some(&1), "{one:?}");
    }
    assert_eq!(seen.len(), sent.len(), "nothing else is there");
}
