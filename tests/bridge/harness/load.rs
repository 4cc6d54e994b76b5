//! The driver: many senders that behave as the provider does, and write down all that they try.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::delivery::{now, numbered};
use super::setup::SECRET;
use super::{Answer, Connection, Post, Tls};
use crate::eventually::eventually_within;

/// The longest outage of a test, and some more.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(20);

/// Where the bridge is now, because it comes back on another port, and what it is sent to with.
#[derive(Debug, Clone)]
pub struct Target {
    place: Arc<Mutex<(SocketAddr, &'static str)>>,
    tls: Option<Tls>,
    /// Whether connections are kept between deliveries, as the provider's client does.
    keeps: bool,
}

impl Target {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            place: Arc::new(Mutex::new((address, SECRET))),
            tls: None,
            keeps: true,
        }
    }

    /// The same place, reached by TLS.
    pub fn by(self, tls: &Tls) -> Self {
        let tls = Some(tls.clone());
        Self { tls, ..self }
    }

    /// The same place, by a new connection for every delivery.
    pub fn anew(self) -> Self {
        let keeps = false;
        Self { keeps, ..self }
    }

    async fn open(&self, address: SocketAddr) -> std::io::Result<Connection> {
        match &self.tls {
            None => Connection::open(address).await,
            Some(tls) => tls.open(address).await,
        }
    }

    pub fn moves_to(&self, address: SocketAddr) {
        self.place.lock().expect("no panic inside").0 = address;
    }

    /// From the next attempt on, deliveries are signed with this secret.
    pub fn signs_with(&self, secret: &'static str) {
        self.place.lock().expect("no panic inside").1 = secret;
    }

    fn now(&self) -> (SocketAddr, &'static str) {
        *self.place.lock().expect("no panic inside")
    }
}

/// One attempt at a delivery; without a status where the connection failed, and nobody can tell
/// what became of it.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub began: Instant,
    pub took: Duration,
    pub secret: &'static str,
    pub status: Option<u16>,
    /// The id in the answer, where it was 200.
    pub id: Option<String>,
}

/// One event, and everything that was tried to deliver it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub object: String,
    /// Its place among the events of the object: each is sent after the one before was answered 200.
    pub number: usize,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
    pub attempts: Vec<Attempt>,
}

impl Sent {
    fn new(object: &str, number: usize, body: &str) -> Self {
        Self {
            object: object.to_owned(),
            number,
            digest: digest(body.as_bytes()),
            attempts: Vec::new(),
        }
    }

    /// The ids it was answered 200 with: one, unless the bridge is wrong.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.id.as_deref())
    }
}

/// SHA-256 of a body.
pub fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Everything that was sent, in the order of the first attempts per object.
#[derive(Debug, Clone, Default)]
pub struct Journal(pub Vec<Sent>);

impl Journal {
    /// The ids of all events that were answered 200.
    pub fn ids(&self) -> Vec<String> {
        let first = |sent: &Sent| sent.ids().next().map(str::to_owned);
        self.0.iter().filter_map(first).collect()
    }

    /// How often each status was answered.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        for status in self.attempts().filter_map(|attempt| attempt.status) {
            *statuses.entry(status).or_default() += 1;
        }
        statuses
    }

    /// What 99 of 100 answers took at most, of the attempts that began in this time.
    ///
    /// # Panics
    /// When there were fewer than 100: then it would say nothing.
    pub fn p99(&self, from: Instant, to: Instant) -> Duration {
        let mut took: Vec<Duration> = self
            .attempts()
            .filter(|attempt| attempt.status.is_some() && (from..to).contains(&attempt.began))
            .map(|attempt| attempt.took)
            .collect();
        assert!(took.len() >= 100, "{} answers are too few", took.len());
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    /// Everything that was tried.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter().flat_map(|sent| &sent.attempts)
    }
}

/// Senders under way.
pub struct Load {
    senders: JoinSet<()>,
    written: Arc<Mutex<Written>>,
    enough: Arc<AtomicBool>,
}

#[derive(Default)]
struct Written {
    journal: Journal,
    answered: usize,
    statuses: BTreeMap<u16, usize>,
}

impl Load {
    /// One sender for each object: it sends `each` events, one after the other, and repeats each
    /// until it is answered 200.
    pub fn start(target: &Target, source: &str, objects: usize, each: usize) -> Self {
        Self::paced(target, source, (objects, each), Duration::ZERO)
    }

    /// The same without an end: see [`Self::stop`].
    pub fn endless(target: &Target, source: &str, objects: usize) -> Self {
        Self::start(target, source, objects, usize::MAX)
    }

    /// The same, but no sender begins an event sooner than `every` after the one before.
    pub fn paced(
        target: &Target,
        source: &str,
        (objects, each): (usize, usize),
        every: Duration,
    ) -> Self {
        let written: Arc<Mutex<Written>> = Arc::default();
        let enough = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for object in 0..objects {
            let mut sender = Sender {
                target: target.clone(),
                source: source.to_owned(),
                object: format!("object{object}"),
                connection: None,
                written: Arc::clone(&written),
            };
            let enough = Arc::clone(&enough);
            senders.spawn(async move {
                for number in (0..each).take_while(|_| !enough.load(Ordering::Relaxed)) {
                    let next = Instant::now() + every;
                    sender.deliver(number).await;
                    tokio::time::sleep_until(next.into()).await;
                }
            });
        }
        Self {
            senders,
            written,
            enough,
        }
    }

    /// One delivery of any body, tried once.
    pub async fn once(target: &Target, source: &str, object: &str, body: &str) -> Sent {
        let mut sender = Sender {
            target: target.clone(),
            source: source.to_owned(),
            object: object.to_owned(),
            connection: None,
            written: Arc::default(),
        };
        let mut sent = Sent::new(object, 0, body);
        sender.attempt(body, &mut sent).await;
        sent
    }

    /// How many events have been answered 200 so far.
    pub fn answered(&self) -> usize {
        self.written.lock().expect("no panic inside").answered
    }

    /// Waits until so many have been answered 200.
    pub async fn reaches(&self, count: usize) {
        let what = format!("{count} deliveries are answered 200");
        eventually_within(PATIENCE, &what, async || {
            (self.answered() >= count).then_some(())
        })
        .await;
    }

    /// How often each status was answered so far.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let written = self.written.lock().expect("no panic inside");
        written.statuses.clone()
    }

    /// Lets every sender end with the event it is at.
    pub async fn stop(self) -> Journal {
        self.enough.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits for every sender to end.
    pub async fn finish(mut self) -> Journal {
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("no sender panics");
        }
        std::mem::take(&mut self.written.lock().expect("no panic inside").journal)
    }
}

struct Sender {
    target: Target,
    source: String,
    object: String,
    /// Kept between deliveries, as the provider's client would.
    connection: Option<(SocketAddr, Connection)>,
    written: Arc<Mutex<Written>>,
}

impl Sender {
    async fn deliver(&mut self, number: usize) {
        let body = numbered("sample.uploaded", &self.object, number);
        let mut sent = Sent::new(&self.object, number, &body);
        let began = Instant::now();
        // The provider's retries, sooner. (A future in a task cannot borrow from a closure, so this
        // is `eventually` spelt out.)
        while !self.attempt(&body, &mut sent).await {
            assert!(
                began.elapsed() < PATIENCE,
                "a delivery is not answered 200 within {PATIENCE:?}: {sent:?}"
            );
            tokio::time::sleep(PAUSE).await;
        }
        let mut written = self.written.lock().expect("no panic inside");
        written.answered += 1;
        written.journal.0.push(sent);
    }

    /// Whether it was answered 200.
    async fn attempt(&mut self, body: &str, sent: &mut Sent) -> bool {
        let (began, (address, secret)) = (Instant::now(), self.target.now());
        let answer = self.exchange(address, secret, body).await;
        let status = answer.as_ref().map(|answer| answer.status);
        let id = answer
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.id());
        if let Some(status) = status {
            let mut written = self.written.lock().expect("no panic inside");
            *written.statuses.entry(status).or_default() += 1;
        }
        sent.attempts.push(Attempt {
            began,
            took: began.elapsed(),
            secret,
            status,
            id,
        });
        status == Some(200)
    }

    async fn exchange(&mut self, address: SocketAddr, secret: &str, body: &str) -> Option<Answer> {
        let kept = self.connection.take().filter(|(to, _)| *to == address);
        let mut connection = match kept {
            Some((_, connection)) => connection,
            None => self.target.open(address).await.ok()?,
        };
        let post = Post::signed_with(&self.source, body, secret, now());
        connection.send(&post.bytes()).await.ok()?;
        let answer = connection.answer().await.ok()??;
        if self.target.keeps && answer.header("connection") != Some("close") {
            self.connection = Some((address, connection));
        }
        Some(answer)
    }
}
