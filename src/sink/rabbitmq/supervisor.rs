//! The one task that owns the connection: makes it, watches it, makes it anew. lapin's own recovery
//! is not used, because it hides outages, and an outage is what everybody upstream must know of.
//!
//! New credentials are tried on a second connection beside the one in use. Only when that one can
//! publish does the first take no more batches; it ends when those it has are confirmed. So nothing
//! is in doubt, and credentials that do not work change nothing but the log and the metrics. At most
//! one message of an object is outstanding, so two connections cannot change an order.
//!
//! Where the broker allows no second connection, the first one ends beforehand, and what comes in
//! between waits in the queue. The broker looks at the password before it counts connections, so
//! a wrong password does not cost us the old one; what it looks at after that, such as the right to
//! the virtual host, may: then events wait in the spool until the configuration is mended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::Event;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, ConnectionError, NotConnected};
use super::publisher::Lost;
use super::queue::Queue;
use super::session::Session;
use super::settings::Settings;
use crate::seeded::{self, Bug};
use crate::sink::{Health, Needs, Stage};

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A connection that lasted this long was a good one, and the next pause is short again.
const STEADY: Duration = Duration::from_secs(10);
/// lapin tells of a lost connection; should it once not, this notices.
const LOOK: Duration = Duration::from_secs(1);
/// The time for a polite goodbye, which a broker in trouble will not answer.
const GOODBYE: Duration = Duration::from_secs(1);

/// Owns the connection.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// What the sink is configured with now.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// What it will be sent.
    pub needs: Needs,
    /// What waits to be published.
    pub queue: Arc<Queue>,
    /// What the world sees.
    pub health: watch::Sender<Health>,
    /// Says when to stop.
    pub stop: CancellationToken,
}

/// Why a session is no longer served.
enum End {
    Stopped,
    Lost(String),
    /// Another one takes its place.
    Renewed(Box<Session>),
    /// Another one is to take its place, and the broker allows only one of them.
    Yields,
}

/// What follows on a session.
enum Next {
    Session(Box<Session>),
    /// None can be made while this one is there.
    AfterThisOne,
}

/// What became of a session and those that took its place.
enum Served {
    /// The sink is closed.
    Stopped,
    /// The connection is gone, and why.
    Lost(String),
    /// The connection was closed to make place for the next one.
    Yielded,
}

/// Why there is no session.
enum Failure {
    Unconnected(NotConnected),
    Unready(ConnectionError),
}

impl Failure {
    fn is_over_limit(&self) -> bool {
        matches!(self, Self::Unconnected(failure) if failure.error.is_over_limit())
    }
}

/// Shuts the gate when the task ends, however it ends: nobody waits for a task that is gone, and
/// nobody believes it connected.
struct GateKeeper(Arc<Queue>, watch::Sender<Health>);

impl Drop for GateKeeper {
    fn drop(&mut self) {
        self.1.send_modify(|health| health.connected = false);
        self.0.shut("the sink is closed");
    }
}

impl Supervisor {
    /// Keeps a connection until it is told to stop.
    pub async fn run(mut self) {
        let _keeper = GateKeeper(Arc::clone(&self.queue), self.health.clone());
        let mut pause = Pause::default();
        let mut told = String::new();
        let mut sessions: u64 = 0;
        // Connections that only wait for their last confirms; with this task they end too.
        let mut retiring = JoinSet::new();
        loop {
            let began = Instant::now();
            self.settings.mark_unchanged();
            let reason = match self.until_stopped(self.open()).await {
                None => return,
                Some(Err(failure)) => self.count(failure),
                Some(Ok(session)) => {
                    told.clear();
                    match self.serve(session, &mut sessions, &mut retiring).await {
                        Served::Stopped => return,
                        Served::Lost(reason) => reason,
                        Served::Yielded => continue,
                    }
                }
            };
            self.down(&reason, &mut told);
            if began.elapsed() >= STEADY + self.settings.borrow().connect_timeout {
                pause = Pause::default();
            }
            let mut settings = self.settings.clone();
            let rest = async {
                tokio::select! {
                    () = tokio::time::sleep(pause.next()) => {}
                    Ok(()) = settings.changed() => {}
                }
            };
            if self.until_stopped(rest).await.is_none() {
                return;
            }
        }
    }

    async fn until_stopped<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            done = doing => Some(done),
        }
    }

    /// A session with the settings of now, ready to publish.
    async fn open(&self) -> Result<Session, Failure> {
        let settings = Arc::clone(&self.settings.borrow());
        let connection = Connection::open(&settings)
            .await
            .map_err(Failure::Unconnected)?;
        Session::begin(connection, settings, &self.needs, &self.queue)
            .await
            .map_err(Failure::Unready)
    }

    /// Serves a session and those that take its place, until there is none.
    async fn serve(
        &mut self,
        mut session: Session,
        number: &mut u64,
        retiring: &mut JoinSet<()>,
    ) -> Served {
        loop {
            *number += 1;
            self.up(&session, *number);
            match self.watch(&mut session).await {
                End::Stopped => {
                    self.queue.shut("the sink is closed");
                    session.end().await;
                    session.close(GOODBYE).await;
                    return Served::Stopped;
                }
                End::Lost(reason) => {
                    self.queue.shut(&reason);
                    session.end().await;
                    return Served::Lost(reason);
                }
                End::Yields => {
                    // The gate stays open: each job's wait has an end, because the next connection
                    // has a deadline, and without one the gate is shut.
                    let ended = self.until_stopped(session.retire(GOODBYE)).await;
                    return ended.map_or(Served::Stopped, |()| Served::Yielded);
                }
                End::Renewed(successor) => {
                    let old = std::mem::replace(&mut session, *successor);
                    retiring.spawn(old.retire(GOODBYE));
                    while retiring.try_join_next().is_some() {}
                }
            }
        }
    }

    async fn watch(&mut self, session: &mut Session) -> End {
        let this = &*self;
        let mut settings = this.settings.clone();
        let mut successor = Box::pin(this.successor(&mut settings));
        let mut look = tokio::time::interval(LOOK);
        let end = loop {
            tokio::select! {
                () = this.stop.cancelled() => break End::Stopped,
                Some(event) = session.events.next() => this.notice(event, session),
                Some(ended) = session.publishers.join_next() => {
                    break End::Lost(match ended {
                        Ok(Lost(reason)) => reason,
                        Err(error) => format!("a publisher ended: {error}"),
                    });
                }
                next = &mut successor => break match next {
                    Next::Session(next) => End::Renewed(next),
                    Next::AfterThisOne => End::Yields,
                },
                _ = look.tick() => {
                    if !session.is_connected() {
                        break End::Lost("the connection was closed".to_owned());
                    }
                }
            }
        };
        drop(successor);
        if matches!(end, End::Renewed(_)) {
            self.settings = settings;
        }
        end
    }

    /// A session with newer settings than those of `seen`, as soon as there are some and they work.
    async fn successor(&self, seen: &mut watch::Receiver<Arc<Settings>>) -> Next {
        if seen.changed().await.is_err() {
            // The sink is being dropped.
            return std::future::pending().await;
        }
        let (mut pause, mut told) = (Pause::default(), String::new());
        loop {
            seen.mark_unchanged();
            let reason = match self.open().await {
                Ok(session) => return Next::Session(Box::new(session)),
                Err(failure) if failure.is_over_limit() => {
                    tracing::info!(broker = %seen.borrow().address, "RabbitMQ allows no further connection: the one with the former credentials is closed first");
                    return Next::AfterThisOne;
                }
                Err(failure) => self.count(failure),
            };
            if told != reason {
                let broker = &seen.borrow().address;
                tracing::error!(%broker, reason, "the new credentials of a RabbitMQ sink do not work; the connection with the old ones is kept");
                told = reason;
            }
            tokio::select! {
                () = tokio::time::sleep(pause.next()) => {}
                Ok(()) = seen.changed() => pause = Pause::default(),
            }
        }
    }

    fn notice(&self, event: Event, session: &Session) {
        match event {
            Event::ConnectionBlocked(reason) => {
                let reason = format!("the broker has blocked publishers: {reason}");
                self.queue.shut(&reason);
                session.block(true);
                self.health.send_modify(|health| health.blocked = true);
                tracing::warn!(reason, "RabbitMQ takes no messages");
            }
            Event::ConnectionUnblocked => {
                session.block(false);
                self.health.send_modify(|health| health.blocked = false);
                self.queue.open();
                tracing::info!("RabbitMQ takes messages again");
            }
            // A lost connection shows in its status, which the next look reads.
            _ => {}
        }
    }

    fn up(&self, session: &Session, number: u64) {
        let blocked = session.is_blocked();
        self.health.send_modify(|health| {
            health.connected = true;
            health.blocked = blocked;
            health.reconnects = number - 1;
        });
        if blocked {
            self.queue.shut("the broker has blocked publishers");
        } else {
            self.queue.open();
        }
        tracing::info!(broker = %session.address(), "connected to RabbitMQ");
    }

    /// Counts it by its stage, and says it in words.
    fn count(&self, failure: Failure) -> String {
        match failure {
            Failure::Unconnected(failure) => {
                let of = |health: &mut Health, stage: Stage| {
                    *health.failures.entry(stage).or_default() += 1;
                };
                self.health.send_modify(|health| of(health, failure.stage));
                failure.to_string()
            }
            Failure::Unready(error) => error.to_string(),
        }
    }

    /// Tells the world, and the log where the reason is news.
    fn down(&self, reason: &str, told: &mut String) {
        assert!(
            !seeded::is(Bug::PanicInSupervisor),
            "a panic on purpose over: {reason}"
        );
        self.health.send_modify(|health| {
            health.connected = false;
            health.blocked = false;
        });
        let reason = format!("not connected to RabbitMQ: {reason}");
        self.queue.shut(&reason);
        if *told != reason {
            tracing::warn!(broker = %self.settings.borrow().address, reason, "RabbitMQ is away");
            *told = reason;
        }
    }
}

/// The time between two attempts, which grows.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(SHORTEST_PAUSE)
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST_PAUSE);
        jittered(now)
    }
}

/// Half to all of the pause, so that many bridges do not knock at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())
}
