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
//! a wrong password does not cost us the old connection. What it looks at after that, such as the
//! right to the virtual host, does: then the sink connects with the former credentials again, and
//! tries the new ones now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::Event;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, ConnectionError, NotConnected};
use super::publish_queue::PublishQueue;
use super::publisher::ConnectionLost;
use super::session::Session;
use super::settings::RabbitMqSettings;
use crate::seeded::{self, Bug};
use crate::sink::{Needs, SinkHealth, Stage};

const SHORTEST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// A connection that lasted this long was a good one, and the next delay is short again.
const STEADY: Duration = Duration::from_secs(10);
/// lapin tells of a lost connection; should it once not, this notices.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// The time for a polite close, which a broker in trouble will not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// After new credentials failed that cost us the connection: each attempt is a short outage.
const CREDENTIALS_RETRY: Duration = Duration::from_secs(60);

/// Owns the connection.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// What the sink is configured with now.
    pub settings: watch::Receiver<Arc<RabbitMqSettings>>,
    /// What it will be sent.
    pub needs: Needs,
    /// What waits to be published.
    pub queue: Arc<PublishQueue>,
    /// What the metrics and the log show.
    pub health: watch::Sender<SinkHealth>,
    /// Says when to stop.
    pub stop: CancellationToken,
}

/// Why a session is no longer served.
enum SessionEnd {
    Stopped,
    Lost(String),
    /// Another one takes its place.
    Replaced(Box<Session>),
    /// Another one is to take its place, and the broker allows only one of them.
    MakesWay,
}

/// The session with new credentials.
enum Successor {
    Connected(Box<Session>),
    /// None can be made while the former one is there.
    AfterFormer,
}

/// Why no session is served any more.
enum Unserved {
    /// The sink is closed.
    Stopped,
    /// The connection is gone, and why.
    Lost(String),
    /// The connection was closed to make way for one with new credentials; these were the former ones.
    MadeWay(Arc<RabbitMqSettings>),
}

/// Why there is no session.
enum OpenError {
    Unconnected(NotConnected),
    Unready(ConnectionError),
}

impl OpenError {
    fn is_over_limit(&self) -> bool {
        matches!(self, Self::Unconnected(failure) if failure.error.is_over_limit())
    }
}

/// Closes the queue when the task ends, however it ends: nobody waits for a task that is gone, and
/// nobody believes it connected.
struct CloseOnDrop(Arc<PublishQueue>, watch::Sender<SinkHealth>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.1.send_modify(|health| health.connected = false);
        self.0.close("the sink is closed");
    }
}

impl Supervisor {
    /// Keeps a connection until it is told to stop.
    pub async fn run(mut self) {
        let _closer = CloseOnDrop(Arc::clone(&self.queue), self.health.clone());
        let mut delay = ReconnectDelay::default();
        let mut logged = String::new();
        let mut sessions: u64 = 0;
        // Connections that only wait for their last confirms; with this task they end too.
        let mut retiring = JoinSet::new();
        let mut former = None;
        loop {
            let began = Instant::now();
            self.settings.mark_unchanged();
            let reason = match self
                .until_stopped(self.open_or_fall_back(former.clone()))
                .await
            {
                None => return,
                Some(Err(error)) => self.count(error),
                Some(Ok(session)) => {
                    logged.clear();
                    former = former.filter(|former| former == session.settings());
                    match self.serve(session, &mut sessions, &mut retiring).await {
                        Unserved::Stopped => return,
                        Unserved::Lost(reason) => reason,
                        Unserved::MadeWay(settings) => {
                            former = Some(settings);
                            continue;
                        }
                    }
                }
            };
            self.down(&reason, &mut logged);
            if began.elapsed() >= STEADY + self.settings.borrow().publish_timeout {
                delay = ReconnectDelay::default();
            }
            let mut settings = self.settings.clone();
            let rest = async {
                tokio::select! {
                    () = tokio::time::sleep(delay.next()) => {}
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
    async fn open(&self) -> Result<Session, OpenError> {
        let settings = Arc::clone(&self.settings.borrow());
        self.open_with(settings).await
    }

    async fn open_with(&self, settings: Arc<RabbitMqSettings>) -> Result<Session, OpenError> {
        let connection = Connection::open(&settings)
            .await
            .map_err(OpenError::Unconnected)?;
        Session::begin(connection, settings, &self.needs, &self.queue)
            .await
            .map_err(OpenError::Unready)
    }

    /// A session with the settings of now; where those do not work, with the former ones, if the
    /// connection with them was closed only to make way.
    async fn open_or_fall_back(
        &self,
        former: Option<Arc<RabbitMqSettings>>,
    ) -> Result<Session, OpenError> {
        let (error, former) = match (self.open().await, former) {
            (Err(error), Some(former)) => (error, former),
            (opened, _) => return opened,
        };
        let reason = self.count(error);
        let session = self.open_with(former).await?;
        tracing::error!(broker = %session.address(), reason, "the new credentials of a RabbitMQ sink do not work; it is connected with the former ones again");
        Ok(session)
    }

    /// Serves a session and those that take its place, until there is none.
    async fn serve(
        &mut self,
        mut session: Session,
        number: &mut u64,
        retiring: &mut JoinSet<()>,
    ) -> Unserved {
        loop {
            *number += 1;
            self.up(&session, *number);
            match self.watch(&mut session).await {
                SessionEnd::Stopped => {
                    self.queue.close("the sink is closed");
                    session.end().await;
                    session.close(CLOSE_TIMEOUT).await;
                    return Unserved::Stopped;
                }
                SessionEnd::Lost(reason) => {
                    self.queue.close(&reason);
                    session.end().await;
                    return Unserved::Lost(reason);
                }
                SessionEnd::MakesWay => {
                    // The queue stays open: each message's wait has an end, because the next
                    // connection has a deadline, and without one the queue is closed.
                    let settings = Arc::clone(session.settings());
                    let ended = self.until_stopped(session.retire(CLOSE_TIMEOUT)).await;
                    return ended.map_or(Unserved::Stopped, |()| Unserved::MadeWay(settings));
                }
                SessionEnd::Replaced(successor) => {
                    let old = std::mem::replace(&mut session, *successor);
                    retiring.spawn(old.retire(CLOSE_TIMEOUT));
                    while retiring.try_join_next().is_some() {}
                }
            }
        }
    }

    async fn watch(&mut self, session: &mut Session) -> SessionEnd {
        let this = &*self;
        let mut settings = this.settings.clone();
        let in_use = Arc::clone(session.settings());
        let mut successor = Box::pin(this.successor(&mut settings, &in_use));
        let mut status = tokio::time::interval(STATUS_INTERVAL);
        let end = loop {
            tokio::select! {
                () = this.stop.cancelled() => break SessionEnd::Stopped,
                Some(event) = session.events.next() => this.notice(event, session),
                Some(ended) = session.publishers.join_next() => {
                    break SessionEnd::Lost(match ended {
                        Ok(ConnectionLost(reason)) => reason,
                        Err(error) => format!("a publisher ended: {error}"),
                    });
                }
                next = &mut successor => break match next {
                    Successor::Connected(next) => SessionEnd::Replaced(next),
                    Successor::AfterFormer => SessionEnd::MakesWay,
                },
                _ = status.tick() => {
                    if !session.is_connected() {
                        break SessionEnd::Lost("the connection was closed".to_owned());
                    }
                }
            }
        };
        drop(successor);
        if matches!(end, SessionEnd::Replaced(_)) {
            self.settings = settings;
        }
        end
    }

    /// A session with newer settings than those of `seen`, as soon as there are some and they work.
    /// Where the sink fell back to former ones, its settings are tried again after a while.
    async fn successor(
        &self,
        seen: &mut watch::Receiver<Arc<RabbitMqSettings>>,
        in_use: &Arc<RabbitMqSettings>,
    ) -> Successor {
        let fell_back = *seen.borrow() != *in_use;
        tokio::select! {
            changed = seen.changed() => if changed.is_err() {
                // The sink is being dropped.
                return std::future::pending().await;
            },
            () = tokio::time::sleep(CREDENTIALS_RETRY), if fell_back => {}
        }
        let (mut delay, mut logged) = (ReconnectDelay::default(), String::new());
        loop {
            seen.mark_unchanged();
            let reason = match self.open().await {
                Ok(session) => return Successor::Connected(Box::new(session)),
                Err(failure) if failure.is_over_limit() => {
                    tracing::info!(broker = %seen.borrow().address, "RabbitMQ allows no further connection: the one with the former credentials is closed first");
                    return Successor::AfterFormer;
                }
                Err(failure) => self.count(failure),
            };
            if logged != reason {
                let broker = &seen.borrow().address;
                tracing::error!(%broker, reason, "the new credentials of a RabbitMQ sink do not work; the connection with the old ones is kept");
                logged = reason;
            }
            tokio::select! {
                () = tokio::time::sleep(delay.next()) => {}
                Ok(()) = seen.changed() => delay = ReconnectDelay::default(),
            }
        }
    }

    fn notice(&self, event: Event, session: &Session) {
        match event {
            Event::ConnectionBlocked(reason) => {
                let reason = format!("the broker has blocked publishers: {reason}");
                self.queue.close(&reason);
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
            self.queue.close("the broker has blocked publishers");
        } else {
            self.queue.open();
        }
        tracing::info!(broker = %session.address(), "connected to RabbitMQ");
    }

    /// Counts it by its stage, and says it in words.
    fn count(&self, error: OpenError) -> String {
        match error {
            OpenError::Unconnected(failure) => {
                let of = |health: &mut SinkHealth, stage: Stage| {
                    *health.failures.entry(stage).or_default() += 1;
                };
                self.health.send_modify(|health| of(health, failure.stage));
                failure.to_string()
            }
            OpenError::Unready(error) => error.to_string(),
        }
    }

    /// Shows the outage in the metrics, and in the log where the reason is news.
    fn down(&self, reason: &str, logged: &mut String) {
        assert!(
            !seeded::is(Bug::PanicInSupervisor),
            "a panic on purpose over: {reason}"
        );
        self.health.send_modify(|health| {
            health.connected = false;
            health.blocked = false;
        });
        let reason = format!("not connected to RabbitMQ: {reason}");
        self.queue.close(&reason);
        if *logged != reason {
            tracing::warn!(broker = %self.settings.borrow().address, reason, "RabbitMQ is away");
            *logged = reason;
        }
    }
}

/// The time between two attempts, which grows.
#[derive(Debug)]
struct ReconnectDelay(Duration);

impl Default for ReconnectDelay {
    fn default() -> Self {
        Self(SHORTEST_DELAY)
    }
}

impl ReconnectDelay {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST_DELAY);
        jittered(now)
    }
}

/// Half to all of the delay, so that many bridges do not connect at once.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.5 + 0.5 * rand::random::<f64>())
}
