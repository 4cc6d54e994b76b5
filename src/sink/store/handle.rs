//! The store as a sink: it encodes each message, hands it to the writer thread, and returns once the
//! batch is on the disk.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::encoded_message::EncodedMessage;
use super::error::StoreError;
use super::settings::{Clock, StoreSettings};
use super::shared::SharedStore;
use super::store_log::{StoreLimits, StoreLog};
use super::topic_log::TopicLog;
use super::writer::{StoreCommand, StoreWriter};
use crate::log::disk::SystemDisk;
use crate::log::lock::{FolderLock, LOCK_NAME, LockError};
use crate::log::recover::Recovered;
use crate::sink::{
    Destination, Finding, Message, Needs, PublishError, Receipt, RefusalReason, Sink, SinkHealth,
};

/// Messages that may wait for the writer thread: two groups, so that one gathers while one is written.
const MAX_WAITING: usize = 1024;

/// The longest a message waits for its batch.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// The longest a check waits for the disk.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);

/// The largest message, in bytes: it is in memory several times while it is written.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// The embedded sink.
#[derive(Debug)]
pub struct Store {
    settings: StoreSettings,
    commands: mpsc::Sender<StoreCommand>,
    shared: Arc<SharedStore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the log and starts its thread. Blocks while it reads the newest segment.
    ///
    /// # Errors
    /// Named by the reaction. Nothing was changed in a folder that is not a store's.
    pub fn open(settings: StoreSettings) -> Result<Self, StoreError> {
        Self::open_with_clock(settings, Timestamp::now)
    }

    /// Opens the log with another clock than the system's.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_clock(mut settings: StoreSettings, clock: Clock) -> Result<Self, StoreError> {
        let path = std::path::absolute(&settings.path);
        settings.path = path.map_err(|cause| StoreError::io(&settings.path, cause))?;
        let path = &settings.path;
        let (disk, lock) = claim(path)?;
        let limits = StoreLimits::new(settings.retention, settings.max_size_bytes);
        let opened = StoreLog::open(Arc::new(disk), limits);
        let (log, shared) = opened.map_err(|cause| StoreError::log(path, cause))?;
        let writer = StoreWriter {
            path: path.clone(),
            lock,
            clock,
            log,
            shared: Arc::clone(&shared),
            is_troubled: false,
        };
        let (commands, queue) = mpsc::channel(MAX_WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(StoreError::Thread)?;
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run(queue, &runtime))
            .map_err(StoreError::Thread)?;
        Ok(Self {
            settings,
            commands,
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A handle for reading.
    #[must_use]
    pub fn log(&self) -> TopicLog {
        TopicLog::new(Arc::clone(&self.shared))
    }

    /// Sends the thread a command, and waits for the answer.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> StoreCommand,
        deadline: Duration,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let sent = self.commands.send(command(reply)).await;
            sent.map_err(|_| Unanswered::Closed)?;
            answer.await.map_err(|_| Unanswered::Closed)
        };
        timeout(deadline, asked)
            .await
            .unwrap_or(Err(Unanswered::Late))
    }

    /// Asks the thread for what may fail as a publish does.
    async fn try_ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, PublishError>>) -> StoreCommand,
        deadline: Duration,
    ) -> Result<T, PublishError> {
        let answer = self.ask(command, deadline).await;
        answer.unwrap_or_else(|error| Err(PublishError::Unavailable(error.to_string())))
    }

    /// Takes the ended thread's result: its last act was the answer, or a panic kept it from one.
    fn join(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The store's thread had panicked");
        }
    }
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// The thread has ended.
    #[error("the store is closed")]
    Closed,
    /// The deadline has passed.
    #[error("the disk does not answer in time")]
    Late,
}

#[async_trait]
impl Sink for Store {
    fn kind(&self) -> &'static str {
        "store"
    }

    async fn publish(&self, message: &Message) -> Result<Receipt, PublishError> {
        let encoded = EncodedMessage::of(message, &self.settings.topic);
        if encoded.bytes() > MAX_MESSAGE_BYTES {
            return Err(PublishError::Refused {
                reason: RefusalReason::TooLarge,
                detail: format!("the store takes messages of {MAX_MESSAGE_BYTES} bytes at most"),
            });
        }
        let topic = encoded.topic.clone();
        let append = |reply| StoreCommand::Append(encoded, reply);
        let position = self.try_ask(append, PUBLISH_DEADLINE).await?;
        Ok(message.receipt(Destination::Store { topic, position }))
    }

    fn address(&self, message: &Message) -> String {
        message.shared_name(&self.settings.topic)
    }

    async fn check(&self, _: &Needs) -> Vec<Finding> {
        let path = self.settings.path.display();
        let finding = match self.try_ask(StoreCommand::Probe, CHECK_DEADLINE).await {
            Ok(()) => Finding::good(format!(
                "{path} is writable and holds {} of {}",
                bytesize::ByteSize(self.shared.catalog().used_bytes()),
                bytesize::ByteSize(self.settings.max_size_bytes)
            )),
            Err(error) => Finding::error(
                format!("{path} cannot be written: {error}"),
                "make room on its disk, and let the bridge write to it",
            ),
        };
        vec![finding]
    }

    fn health(&self) -> SinkHealth {
        let health = self.shared.health();
        SinkHealth {
            // The thread holds the other end as long as it runs.
            connected: health.connected && !self.commands.is_closed(),
            ..health
        }
    }

    async fn ended(&self) {
        self.commands.closed().await;
    }

    async fn close(&self, deadline: Duration) {
        if let Err(Unanswered::Late) = self.ask(StoreCommand::Close, deadline).await {
            tracing::warn!("The topic log was not closed in time; the next start makes up for it");
        } else {
            self.join();
        }
    }
}

/// Opens the folder and locks it. Nothing is made in a folder with files of something else.
fn claim(path: &Path) -> Result<(SystemDisk, FolderLock), StoreError> {
    let disk = SystemDisk::open(path).map_err(|cause| StoreError::io(path, cause))?;
    let known = Recovered::check_names(&disk, &[LOCK_NAME]);
    known.map_err(|cause| StoreError::log(path, cause))?;
    let lock = FolderLock::take(path).map_err(|error| match error {
        LockError::Held => StoreError::Held { path: path.into() },
        LockError::Io(cause) => StoreError::io(&path.join(LOCK_NAME), cause),
    })?;
    Ok((disk, lock))
}
