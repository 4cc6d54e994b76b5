//! The store: a durable log of topics in a folder of the bridge, so that it runs where there is no
//! broker. Written by one thread, a group of messages at a time, and read by long polling through a
//! [`TopicLog`]. It is the second user of [`crate::log`].
//!
//! It keeps what it confirmed for as long as retention says. Where a part of it is damaged, the rest
//! is still served: this log is a convenience, and the spool is the one with the promise.

mod catalog;
mod log;
mod owner;
mod recovery;
mod row;
mod segment;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod topic_log;

use std::io;
use std::path::{Path, PathBuf};
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
use crate::log::disk::SystemDisk;
use crate::log::lock::{FolderLock, LOCK_NAME, LockError};
use crate::log::recover::{RecoverError, Recovered};
use crate::route::Templates;
use log::{Limits, Log};
use owner::{Order, Owner};
use row::Row;
use shared::Shared;
pub use topic_log::{Entry, MAX_ENTRIES, MAX_WAIT, ReadError, TopicLog, TopicSummary};

/// Messages that may wait for the owner thread: two groups, so that one gathers while one is written.
const MAX_WAITING: usize = 1024;

/// The longest a message waits for its batch.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// The longest a check waits for the disk.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);

/// A group is closed once its messages have these bytes: a batch must not take long.
const MAX_GROUP_BYTES: usize = 4 << 20;

/// The largest message, in bytes: it is in memory several times while it is written.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Where the time comes from; retention goes by it.
pub type Clock = fn() -> Timestamp;

/// What the store runs on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// The names of the topics.
    pub topics: Templates,
    /// Entries older than this are deleted, a segment at a time.
    pub retention: Duration,
    /// Beyond this size the oldest entries are deleted, in bytes of files.
    pub max_size_bytes: u64,
}

/// Why the store cannot be opened, named by what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{} is in use by another process: stop that one, or give this one a path of its own", .path.display())]
    Held {
        /// The folder.
        path: PathBuf,
    },
    /// The path is that of a file.
    #[error("{} names a file, perhaps an old database file of a development version: move it away; the store is a folder now", .path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// What is in the folder is not ours, is of a newer program, or cannot be read.
    #[error("{} cannot be used: {cause}", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: RecoverError,
    },
    /// The system does not let us.
    #[error("cannot open {}: {cause}; the folder it is in must exist, be writable and have space", .path.display())]
    Io {
        /// The folder.
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
    /// Opens the log and starts its thread. Blocks while it reads the newest segment.
    ///
    /// # Errors
    /// Named by the reaction. Nothing was changed in a folder that is not a store's.
    pub fn open(settings: Settings) -> Result<Self, StoreError> {
        Self::open_with_clock(settings, Timestamp::now)
    }

    /// Opens the log with another clock than the system's.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_clock(settings: Settings, clock: Clock) -> Result<Self, StoreError> {
        let path = std::path::absolute(&settings.path);
        let path = path.map_err(|cause| StoreError::Io {
            path: settings.path.clone(),
            cause,
        })?;
        let (disk, lock) = claim(&path)?;
        let limits = Limits::new(settings.retention, settings.max_size_bytes);
        let opened = Log::open(Arc::new(disk), limits);
        let (log, shared) = opened.map_err(|cause| StoreError::Unusable {
            path: path.clone(),
            cause,
        })?;
        let owner = Owner {
            path: path.clone(),
            lock,
            clock,
            log,
            shared: Arc::clone(&shared),
            is_troubled: false,
        };
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
        TopicLog::new(Arc::clone(&self.shared))
    }

    async fn append(&self, row: Row) -> Result<(), PublishError> {
        let (reply, written) = oneshot::channel();
        let gone = || PublishError::Unavailable("the store is closed".into());
        self.orders
            .send(Order::Append(row, reply))
            .await
            .map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
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

    fn address(&self, message: &Message) -> String {
        message.shared_address(&self.settings.topics)
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
                remedy: "make room on its disk, and let the bridge write to it".into(),
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

/// Opens the folder and locks it. Nothing is made in a folder with files of something else.
fn claim(path: &Path) -> Result<(SystemDisk, FolderLock), StoreError> {
    let io = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotADirectory => StoreError::NoFolder {
            path: path.to_owned(),
        },
        _ => StoreError::Io {
            path: path.to_owned(),
            cause,
        },
    };
    let disk = SystemDisk::open(path).map_err(io)?;
    Recovered::check_names(&disk, &[LOCK_NAME]).map_err(|cause| match cause {
        RecoverError::Io { error, .. } => io(error),
        cause => StoreError::Unusable {
            path: path.to_owned(),
            cause,
        },
    })?;
    match FolderLock::take(path) {
        Ok(lock) => Ok((disk, lock)),
        Err(LockError::Held) => Err(StoreError::Held {
            path: path.to_owned(),
        }),
        Err(LockError::Io(cause)) => Err(io(cause)),
    }
}
