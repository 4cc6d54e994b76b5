//! The one task that owns the connection: makes it, watches it, makes it anew. lapin's own recovery
//! is not used, because it hides outages, and an outage is what everybody upstream must know of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use lapin::Event;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, ConnectionError};
use super::publisher::{Link, Lost, Publisher};
use super::queue::Queue;
use super::settings::Settings;
use super::topology::{self, Exchanges};
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
    /// What the sink is configured with.
    pub settings: Arc<Settings>,
    /// What it will be sent.
    pub needs: Needs,
    /// What waits to be published.
    pub queue: Arc<Queue>,
    /// What the world sees.
    pub health: watch::Sender<Health>,
    /// Says when to stop.
    pub stop: CancellationToken,
}

/// Why a connection is no longer served.
enum End {
    Stopped,
    Lost(String),
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
    pub async fn run(self) {
        let _keeper = GateKeeper(Arc::clone(&self.queue), self.health.clone());
        let mut pause = SHORTEST_PAUSE;
        let mut told = String::new();
        let mut connections: u64 = 0;
        loop {
            let began = Instant::now();
            let reason = match self.until_stopped(Connection::open(&self.settings)).await {
                None => return,
                Some(Err(failure)) => {
                    self.count(failure.stage);
                    failure.to_string()
                }
                Some(Ok(connection)) => {
                    connections += 1;
                    told.clear();
                    match self.serve(connection, connections).await {
                        End::Stopped => return,
                        End::Lost(reason) => reason,
                    }
                }
            };
            self.down(&reason, &mut told);
            if began.elapsed() >= STEADY + self.settings.connect_timeout {
                pause = SHORTEST_PAUSE;
            }
            if self
                .until_stopped(tokio::time::sleep(jittered(pause)))
                .await
                .is_none()
            {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn until_stopped<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            done = doing => Some(done),
        }
    }

    /// Serves a connection until it is lost or the sink is closed.
    async fn serve(&self, connection: Connection, number: u64) -> End {
        let mut events = Box::pin(connection.amqp().events_listener());
        let (blocked, receiver) = watch::channel(connection.amqp().status().blocked());
        let link = Arc::new(Link {
            connection,
            settings: Arc::clone(&self.settings),
            exchanges: Exchanges::default(),
            blocked: receiver,
        });
        match self.until_stopped(self.set_up(&link)).await {
            None => return End::Stopped,
            Some(Err(error)) => return End::Lost(error.to_string()),
            Some(Ok(())) => {}
        }
        let mut publishers = JoinSet::new();
        for _ in 0..self.settings.channels {
            let publisher = Publisher::new(Arc::clone(&link), Arc::clone(&self.queue));
            publishers.spawn(publisher.run());
        }
        self.up(number, *blocked.borrow());
        let end = self
            .watch(&link, &mut events, &blocked, &mut publishers)
            .await;
        self.queue.shut(match &end {
            End::Stopped => "the sink is closed",
            End::Lost(reason) => reason,
        });
        publishers.shutdown().await;
        if matches!(end, End::Stopped) {
            link.connection.close(GOODBYE).await;
        }
        end
    }

    async fn set_up(&self, link: &Link) -> Result<(), ConnectionError> {
        let wrong = topology::set_up(
            &link.connection,
            &self.settings,
            &self.needs,
            &link.exchanges,
        )
        .await?;
        for reason in wrong {
            tracing::warn!(reason, "RabbitMQ is not set up as configured");
        }
        Ok(())
    }

    async fn watch(
        &self,
        link: &Link,
        events: &mut (impl Stream<Item = Event> + Unpin),
        blocked: &watch::Sender<bool>,
        publishers: &mut JoinSet<Lost>,
    ) -> End {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return End::Stopped,
                Some(event) = events.next() => self.notice(event, blocked),
                Some(ended) = publishers.join_next() => {
                    return End::Lost(match ended {
                        Ok(Lost(reason)) => reason,
                        Err(error) => format!("a publisher ended: {error}"),
                    });
                }
                _ = look.tick() => {
                    if !link.connection.amqp().status().connected() {
                        return End::Lost("the connection was closed".to_owned());
                    }
                }
            }
        }
    }

    fn notice(&self, event: Event, blocked: &watch::Sender<bool>) {
        match event {
            Event::ConnectionBlocked(reason) => {
                let reason = format!("the broker has blocked publishers: {reason}");
                self.queue.shut(&reason);
                blocked.send_replace(true);
                self.health.send_modify(|health| health.blocked = true);
                tracing::warn!(reason, "RabbitMQ takes no messages");
            }
            Event::ConnectionUnblocked => {
                blocked.send_replace(false);
                self.health.send_modify(|health| health.blocked = false);
                self.queue.open();
                tracing::info!("RabbitMQ takes messages again");
            }
            // A lost connection shows in its status, which the next look reads.
            _ => {}
        }
    }

    fn up(&self, number: u64, blocked: bool) {
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
        tracing::info!(broker = %self.settings.address, "connected to RabbitMQ");
    }

    fn count(&self, stage: Stage) {
        self.health
            .send_modify(|health| *health.failures.entry(stage).or_default() += 1);
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
            tracing::warn!(broker = %self.settings.address, reason, "RabbitMQ is away");
            *told = reason;
        }
    }
}

/// Half to all of the pause, so that many bridges do not knock at once.
fn jittered(pause: Duration) -> Duration {
    // Without randomness from the system there is still a pause, only the same for all.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}
