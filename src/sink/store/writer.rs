//! The writer thread of the store: it writes whatever waits together, tells the readers, confirms, and
//! takes the steps of retention in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::catalog::MAX_TOPICS;
use super::encoded_message::EncodedMessage;
use super::settings::Clock;
use super::shared::SharedStore;
use super::store_log::StoreLog;
use crate::log::lock::FolderLock;
use crate::seeded::{self, Bug};
use crate::sink::PublishError;

/// The most messages in one batch.
const MAX_GROUP: usize = 512;

/// A group is closed once its messages have these bytes: a batch must not take long.
const MAX_GROUP_BYTES: usize = 4 << 20;

/// How often the thread looks while nothing is published.
const TICK: Duration = Duration::from_secs(1);

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum StoreCommand {
    /// Write a message, and answer with its position once it is on the disk.
    Append(EncodedMessage, oneshot::Sender<Result<u64, PublishError>>),
    /// Write to the disk to see whether that works.
    Probe(oneshot::Sender<Result<(), PublishError>>),
    /// Give the folder back.
    Close(oneshot::Sender<()>),
}

/// What is written together, and who waits for it.
#[derive(Debug, Default)]
struct Group {
    messages: Vec<EncodedMessage>,
    bytes: usize,
    publishers: Vec<oneshot::Sender<Result<u64, PublishError>>>,
    probes: Vec<oneshot::Sender<Result<(), PublishError>>>,
}

impl Group {
    fn add(&mut self, message: EncodedMessage, reply: oneshot::Sender<Result<u64, PublishError>>) {
        self.bytes += message.bytes();
        self.messages.push(message);
        self.publishers.push(reply);
    }

    fn len(&self) -> usize {
        self.publishers.len() + self.probes.len()
    }

    /// Tells everybody what became of it: the messages' positions, in order. Whoever dropped the
    /// publish gave the message up; it is stored all the same.
    fn answer(self, written: &Result<Vec<u64>, PublishError>) {
        for (at, publisher) in self.publishers.into_iter().enumerate() {
            let _ = publisher.send(written.as_ref().map(|it| it[at]).map_err(Clone::clone));
        }
        for probe in self.probes {
            let _ = probe.send(written.as_ref().map(drop).map_err(Clone::clone));
        }
    }
}

/// What the thread works on.
#[derive(Debug)]
pub(super) struct StoreWriter {
    pub path: PathBuf,
    /// Held until the thread ends.
    pub lock: FolderLock,
    pub clock: Clock,
    pub log: StoreLog,
    pub shared: Arc<SharedStore>,
    /// Whether what retention needs has failed, which is said once.
    pub is_troubled: bool,
}

impl StoreWriter {
    /// Works until it is told to close, or nobody is left who could tell it.
    pub fn run(mut self, mut commands: mpsc::Receiver<StoreCommand>, runtime: &Runtime) {
        self.tick();
        let mut pause = Duration::ZERO;
        loop {
            let next =
                runtime.block_on(async { tokio::time::timeout(pause, commands.recv()).await });
            match next {
                Ok(Some(command)) => {
                    if let Some(done) = self.work(command, &mut commands) {
                        return self.close(commands, Some(done));
                    }
                }
                Ok(None) => return self.close(commands, None),
                Err(_) if pause == TICK => self.tick(),
                Err(_) => {}
            }
            pause = if self.tend() { Duration::ZERO } else { TICK };
        }
    }

    /// Does what is asked, and all publishes that wait with it; the asker, if it is to close.
    fn work(
        &mut self,
        first: StoreCommand,
        commands: &mut mpsc::Receiver<StoreCommand>,
    ) -> Option<oneshot::Sender<()>> {
        let max_bytes = self.log.max_group_bytes().min(MAX_GROUP_BYTES);
        let mut group = Group::default();
        let mut next = Some(first);
        let mut closing = None;
        while let Some(command) = next {
            match command {
                StoreCommand::Append(message, reply)
                    if !self.shared.change().admit(&message.topic) =>
                {
                    let _ = reply.send(Err(PublishError::Unroutable(format!(
                        "{} would be one topic more than the {MAX_TOPICS} a store keeps: use a topic template that names fewer",
                        message.topic
                    ))));
                }
                StoreCommand::Append(message, reply) => group.add(message, reply),
                StoreCommand::Probe(reply) => group.probes.push(reply),
                StoreCommand::Close(done) => closing = Some(done),
            }
            let full = closing.is_some() || group.len() >= MAX_GROUP || group.bytes >= max_bytes;
            next = if full { None } else { commands.try_recv().ok() };
        }
        if group.len() > 0 {
            let written = self.append(&group.messages);
            group.answer(&written);
        }
        closing
    }

    /// Readers hear of the batch first, so that whoever gets a receipt can read the entry.
    fn append(&mut self, messages: &[EncodedMessage]) -> Result<Vec<u64>, PublishError> {
        for message in messages {
            seeded::panic_over(Bug::PanicInStore, &message.body);
        }
        let appended = self.log.append(messages, self.now_ms());
        let positions = appended.map_err(|error| PublishError::Unavailable(self.failed(&error)))?;
        self.shared.written();
        Ok(positions)
    }

    fn tick(&mut self) {
        match self.log.tick(self.now_ms()) {
            Ok(true) => self.shared.written(),
            Ok(false) => {}
            Err(error) => drop(self.failed(&error)),
        }
    }

    /// Takes one step of retention or of the next segment; whether there is more to do at once.
    fn tend(&mut self) -> bool {
        match self.log.tend(self.now_ms()) {
            Ok(more) => {
                self.is_troubled = false;
                more
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_troubled, true) {
                    tracing::warn!(%error, path = %self.path.display(), "The topic log cannot make its next file; it is tried again");
                }
                false
            }
        }
    }

    /// What to tell the publishers.
    fn failed(&self, error: &dyn std::error::Error) -> String {
        let text = format!("cannot write {}: {error}", self.path.display());
        self.shared.failed(&text);
        text
    }

    fn close(
        mut self,
        mut commands: mpsc::Receiver<StoreCommand>,
        done: Option<oneshot::Sender<()>>,
    ) {
        commands.close();
        // What still waits is dropped, and its publishers are told by that.
        while commands.try_recv().is_ok() {}
        let now_ms = self.now_ms();
        self.shared.close();
        if let Err(error) = self.log.tick(now_ms) {
            tracing::warn!(%error, "The topic log was not closed in order; the next start makes up for it");
        }
        drop(self.lock);
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from((self.clock)().as_millisecond()).unwrap_or(0)
    }
}
