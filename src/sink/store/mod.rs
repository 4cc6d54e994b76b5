//! The store: a durable topic log in one SQLite file, so that the bridge runs where there is no
//! broker. Written by one thread that commits in groups, read by long polling through a
//! [`TopicLog`].
//!
//! It keeps what it confirmed for as long as retention says. A file that cannot be read is moved
//! aside and a new one begins: this log is a convenience, and the spool is the one with the promise.

mod log;
mod owner;
mod row;
mod shared;
mod topic_log;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{
    Finding, Health, Message, Needs, PublishError, Receipt, RefusalReason, Severity, Sink,
};
use crate::route::Templates;
use crate::sqlite::{Claim, OpenError};
use log::Limits;
use owner::{Order, Owner};
use row::Row;
use shared::Shared;
pub use topic_log::{Entry, MAX_ENTRIES, MAX_WAIT, ReadError, TopicLog, TopicSummary};

/// Messages that may wait for the owner thread: two groups, so that one gathers while one commits.
const MAX_WAITING: usize = 1024;

/// The longest a message waits for its commit.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// The longest a check waits for the disk.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);

/// The largest message, in bytes. SQLite's own limit for a row is 10⁹, and one row over it would
/// fail the whole group.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Where the time comes from; retention goes by it.
pub type Clock = fn() -> Timestamp;

/// What the store runs on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// The names of the topics.
    pub topics: Templates,
    /// Entries older than this are deleted.
    pub retention: Duration,
    /// Beyond this size the oldest entries are deleted, in bytes.
    pub max_size_bytes: u64,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is of no use, and cannot be moved away either.
    #[error("{} cannot be used, and not be moved aside: {cause}; move it away by hand", .path.display())]
    Aside {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// There are no more threads.
    #[error("cannot start the store's thread: {0}")]
    Thread(#[source] io::Error),
}

/// The embedded sink.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    path: PathBuf,
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the log and starts its thread. Blocks while it reads the file.
    ///
    /// # Errors
    /// When another process has the file, a newer program wrote it, or the system does not let us.
    pub fn open(settings: Settings) -> Result<Self, StoreError> {
        Self::open_with_clock(settings, Timestamp::now)
    }

    /// Opens the log with another clock than the system's.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_clock(settings: Settings, clock: Clock) -> Result<Self, StoreError> {
        let claim = Claim::take(&settings.path, log::IDENTITY)?;
        let path = claim.path().to_owned();
        let limits = Limits {
            retention: settings.retention,
            max_size_bytes: settings.max_size_bytes,
        };
        let shared = Arc::new(Shared::new());
        let owner = Owner::open(claim, limits, clock, Arc::clone(&shared))?;
        let (orders, queue) = mpsc::channel(MAX_WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(StoreError::Thread)?;
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || owner.run(queue, &runtime))
            .map_err(StoreError::Thread)?;
        Ok(Self {
            settings,
            path,
            orders,
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A handle for reading.
    #[must_use]
    pub fn log(&self) -> TopicLog {
        TopicLog::new(self.path.clone(), Arc::clone(&self.shared))
    }

    async fn append(&self, row: Row) -> Result<(), PublishError> {
        let (reply, committed) = oneshot::channel();
        let gone = || PublishError::Unavailable("the store is closed".into());
        self.orders
            .send(Order::Append(row, reply))
            .await
            .map_err(|_| gone())?;
        committed.await.map_err(|_| gone())?
    }

    async fn probe(&self) -> Result<u64, String> {
        let (reply, probed) = oneshot::channel();
        let gone = || "the store is closed".to_owned();
        let answer = timeout(CHECK_DEADLINE, async {
            self.orders
                .send(Order::Probe(reply))
                .await
                .map_err(|_| gone())?;
            probed.await.map_err(|_| gone())?
        });
        answer
            .await
            .unwrap_or_else(|_| Err("the disk does not answer in time".into()))
    }

    /// Takes the ended thread's result: its last act was the answer, or a panic kept it from one.
    fn join(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The store's thread had panicked");
        }
    }

    fn is_running(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

#[async_trait]
impl Sink for Store {
    async fn publish(&self, message: &Message) -> Result<Receipt, PublishError> {
        let row = Row::of(message, &self.settings.topics);
        if row.bytes() > MAX_MESSAGE_BYTES {
            return Err(PublishError::Refused {
                reason: RefusalReason::TooLarge,
                detail: format!("the store takes messages of {MAX_MESSAGE_BYTES} bytes at most"),
            });
        }
        match timeout(PUBLISH_DEADLINE, self.append(row)).await {
            Ok(appended) => appended.map(|()| message.receipt()),
            Err(_) => Err(PublishError::Unavailable(
                "the disk does not answer in time".into(),
            )),
        }
    }

    async fn check(&self, _: &Needs) -> Vec<Finding> {
        let path = self.path.display();
        let most = bytesize::ByteSize(self.settings.max_size_bytes);
        let finding = match self.probe().await {
            Ok(bytes) => Finding {
                severity: Severity::Good,
                found: format!(
                    "{path} is writable and holds {} of {most}",
                    bytesize::ByteSize(bytes)
                ),
                remedy: String::new(),
            },
            Err(text) => Finding {
                severity: Severity::Error,
                found: format!("{path} cannot be written: {text}"),
                remedy: "make room on its disk, and let the bridge write to its folder".into(),
            },
        };
        vec![finding]
    }

    fn health(&self) -> Health {
        let health = self.shared.health();
        Health {
            connected: health.connected && self.is_running(),
            ..health
        }
    }

    async fn ended(&self) {
        // The thread holds the other end as long as it runs.
        self.orders.closed().await;
    }

    async fn close(&self, deadline: Duration) {
        let (done, closed) = oneshot::channel();
        let in_time = timeout(deadline, async {
            if self.orders.send(Order::Close(done)).await.is_ok() {
                // An error means that the thread has ended before.
                let _ = closed.await;
            }
        })
        .await
        .is_ok();
        if in_time {
            self.join();
        } else {
            tracing::warn!("The topic log was not closed in time; the next start makes up for it");
        }
    }
}
